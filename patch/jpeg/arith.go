package jpeg

import "fmt"

// Arithmetic coding (T.81, annex D, F.1.4 and G.1.3), as libjpeg reads it
// (jdarith.c): a code that leads nowhere ends what a scan can say, and data that
// end are followed by zeros.

// fixed is the state of decisions that are as often one as the other.
const fixed = 113

// arith reads decisions. Its memory is a Reader's.
type arith struct {
	c, a   uint32
	ct     int  // bits that are left of the byte in c; -16 at first
	broken bool // nothing more can be read up to the next restart
	count  int  // decisions

	dc    [16][64]uint8
	ac    [16][256]uint8
	fixed uint8

	lower, upper [16]uint8 // conditioning of DC: what is small
	split        [16]uint8 // of AC: the last low coefficient
}

// standard is the conditioning of an image that says none (F.1.4.4.1.4 and
// F.1.4.4.2).
func (e *arith) standard() {
	for i := range 16 {
		e.lower[i], e.upper[i], e.split[i] = 0, 1, 5
	}
}

// condition reads a DAC segment (B.2.4.3) that is right.
func (e *arith) condition(b []byte) {
	for ; len(b) > 1; b = b[2:] {
		if b[0] < 16 {
			e.lower[b[0]], e.upper[b[0]] = b[1]&15, b[1]>>4
		} else {
			e.split[b[0]-16] = b[1]
		}
	}
}

// startArithmetic begins a scan, or what follows a restart marker.
func (r *Reader) startArithmetic() error {
	s, e := &r.scan, &r.arith
	e.c, e.a, e.ct, e.broken, e.fixed = 0, 0, -16, false, fixed
	for _, i := range s.comps {
		c := &r.comps[i]
		if c.td > 15 || c.ta > 15 {
			return fmt.Errorf("a table %d or %d of arithmetic coding, want 0 to 15", c.td, c.ta)
		}
		if !r.Progressive || s.ss == 0 && s.ah == 0 {
			e.dc[c.td] = [64]uint8{}
			c.predicted, c.context = 0, 0
		}
		if !r.Progressive || s.ss > 0 {
			e.ac[c.ta] = [256]uint8{}
		}
	}
	return nil
}

// decision reads one with the state that it moves on.
func (r *Reader) decision(state *uint8) int {
	e := &r.arith
	for e.a < 0x8000 {
		if e.ct--; e.ct < 0 {
			e.c = e.c<<8 | uint32(r.file.coded())
			if e.ct += 8; e.ct < 0 {
				if e.ct++; e.ct == 0 {
					e.a = 0x8000
				}
			}
		}
		e.a <<= 1
	}
	e.count++
	was := *state
	q := estimates[was&0x7f]
	qe := uint32(q.qe)
	e.a -= qe
	sense := was & 0x80
	if low := e.a << e.ct; e.c >= low {
		e.c -= low
		small := e.a < qe
		e.a = qe
		if small {
			*state = sense ^ q.more
			return int(sense >> 7)
		}
	} else {
		if e.a >= 0x8000 {
			return int(sense >> 7)
		}
		if e.a >= qe {
			*state = sense ^ q.more
			return int(sense >> 7)
		}
	}
	*state = sense ^ q.less
	return int(sense>>7) ^ 1
}

// coded is the next byte of entropy-coded data, 0 behind them. The end of the
// file is noted.
func (s *stream) coded() byte {
	if s.marker != 0 {
		return 0
	}
	if s.at >= len(s.data) {
		s.ended = true
		return 0
	}
	b := s.data[s.at]
	s.at++
	if b != 0xff {
		return b
	}
	for s.at < len(s.data) && s.data[s.at] == 0xff {
		s.at++
	}
	if s.at >= len(s.data) {
		s.ended = true
		return 0
	}
	s.at++
	if m := s.data[s.at-1]; m != 0 {
		s.marker = m
		return 0
	}
	return 0xff
}

// arithDC reads a DC coefficient (F.1.4.1), and reports whether it is one.
func (r *Reader) arithDC(c *component) bool {
	e := &r.arith
	stats := &e.dc[c.td]
	at := c.context
	if r.decision(&stats[at]) == 0 {
		c.context = 0
		return true
	}
	sign := r.decision(&stats[at+1])
	at += 2 + sign
	m := r.decision(&stats[at])
	if m != 0 {
		for at = 20; r.decision(&stats[at]) == 1; at++ {
			if m <<= 1; m == 0x8000 {
				e.broken = true
				return false
			}
		}
	}
	switch {
	case m < 1<<e.lower[c.td]>>1:
		c.context = 0
	case m > 1<<e.upper[c.td]>>1:
		c.context = 12 + 4*sign
	default:
		c.context = 4 + 4*sign
	}
	c.predicted = (c.predicted + r.magnitude(stats[at+14:], m, sign)) & 0xffff
	return true
}

// magnitude reads the bits of a value below its highest (F.1.4.3.3).
func (r *Reader) magnitude(stats []uint8, m, sign int) int {
	v := m
	for m >>= 1; m > 0; m >>= 1 {
		if r.decision(&stats[0]) == 1 {
			v |= m
		}
	}
	if v++; sign == 1 {
		return -v
	}
	return v
}

// arithAC reads the AC coefficients of a band (F.1.4.2) and returns which places,
// by their number in the file's order, have a value.
func (r *Reader) arithAC(b *[64]int16, c *component, ss, se, al int) (mask uint64) {
	e := &r.arith
	stats := &e.ac[c.ta]
	for k := ss; k <= se; k++ {
		at := 3 * (k - 1)
		if r.decision(&stats[at]) == 1 {
			break
		}
		for r.decision(&stats[at+1]) == 0 {
			at += 3
			if k++; k > se {
				e.broken = true
				return mask
			}
		}
		sign := r.decision(&e.fixed)
		at += 2
		m := r.decision(&stats[at])
		if m != 0 && r.decision(&stats[at]) == 1 {
			m <<= 1
			if at = 189; k > int(e.split[c.ta]) {
				at = 217
			}
			for ; r.decision(&stats[at]) == 1; at++ {
				if m <<= 1; m == 0x8000 {
					e.broken = true
					return mask
				}
			}
		}
		v := int16(r.magnitude(stats[at+14:], m, sign) << al)
		b[zigzag[k]] = v
		if v != 0 {
			mask |= 1 << k
		}
	}
	return mask
}

// arithRefine reads one more bit of a band's coefficients (G.1.3.3).
func (r *Reader) arithRefine(b *[64]int16, c *component) (mask uint64) {
	s, e := &r.scan, &r.arith
	stats := &e.ac[c.ta]
	one := int16(1) << s.al
	last := s.se
	for last > 0 && b[zigzag[last]] == 0 {
		last--
	}
	for k := s.ss; k <= s.se; k++ {
		at := 3 * (k - 1)
		if k > last && r.decision(&stats[at]) == 1 {
			break
		}
		for {
			v := &b[zigzag[k]]
			if *v != 0 {
				if r.decision(&stats[at+2]) == 1 {
					if *v < 0 {
						*v -= one
					} else {
						*v += one
					}
				}
				break
			}
			if r.decision(&stats[at+1]) == 1 {
				*v = one
				if r.decision(&e.fixed) == 1 {
					*v = -one
				}
				mask |= 1 << k
				break
			}
			at += 3
			if k++; k > s.se {
				e.broken = true
				return mask
			}
		}
	}
	return mask
}

// decisionsAVisit is how many decisions are worth a visit of a block.
const decisionsAVisit = 16

// arithBatch is after how many MCUs at most decoding looks at its context.
const arithBatch = 256

// arithOver says after an MCU whether the file has ended before it, or the work
// is too much.
func (r *Reader) arithOver() error {
	if r.file.ended {
		return errCut
	}
	r.visits += r.arith.count / decisionsAVisit
	r.arith.count %= decisionsAVisit
	if r.visits > MaxVisits {
		return fmt.Errorf("%d visits of blocks, the limit is %d: %w", r.visits, MaxVisits, ErrWork)
	}
	return nil
}

// arithInterval is interval.
func (r *Reader) arithInterval(x, y, n int, wanted bool) error {
	var block [64]int16
	s := &r.scan
	slot := y % r.ring
	for end := x + n; x < end; x++ {
		if x%arithBatch == 0 {
			if err := r.ctx.Err(); err != nil {
				return err
			}
		}
		shown := wanted && x >= r.need.x0 && x < r.need.x1
		for _, i := range s.comps {
			c := &r.comps[i]
			for v := range c.v {
				at := (slot*c.v+v)*r.size*c.stride + x*c.h*r.size
				for range c.h {
					clear(block[:])
					if !r.arith.broken && r.arithDC(c) {
						block[0] = int16(c.predicted)
						r.arithAC(&block, c, 1, 63, 0)
					}
					if shown {
						inverse(c.plane[at:], c.stride, r.size, &block, c.q, 63)
					}
					at += r.size
				}
			}
		}
		if err := r.arithOver(); err != nil {
			return err
		}
	}
	return nil
}

// arithMCUs reads MCUs [from, to) of a scan, as mcus, first and refine do.
func (r *Reader) arithMCUs(from, to, wide int) error {
	s, e := &r.scan, &r.arith
	for at := from; at < to; at++ {
		if at%arithBatch == 0 {
			if err := r.ctx.Err(); err != nil {
				return err
			}
		}
		r.good(at)
		x, y := at%wide, at/wide
		for _, i := range s.comps {
			c := &r.comps[i]
			h, v := c.h, c.v
			if len(s.comps) == 1 {
				h, v = 1, 1
			}
			r.visits += h * v
			for dy := range v {
				for dx := range h {
					if dc := r.Progressive && s.ss == 0 && s.ah > 0; e.broken && !dc {
						continue
					}
					r.arithBlock(c, r.block(c, x*h+dx, y*v+dy), at)
				}
			}
		}
		if err := r.arithOver(); err != nil {
			return err
		}
	}
	return nil
}

// arithBlock reads what a scan says of a block.
func (r *Reader) arithBlock(c *component, b *[64]int16, at int) {
	s := &r.scan
	switch {
	case !r.Progressive:
		if r.arithDC(c) {
			b[0] = int16(c.predicted)
			r.arithAC(b, c, 1, 63, 0)
		}
	case s.ss == 0 && s.ah > 0:
		b[0] |= int16(r.decision(&r.arith.fixed)) << s.al
	case s.ss == 0:
		if r.arithDC(c) {
			b[0] = int16(c.predicted << s.al)
		}
	default:
		var mask uint64
		if s.ah > 0 {
			mask = r.arithRefine(b, c)
		} else {
			mask = r.arithAC(b, c, s.ss, s.se, s.al)
		}
		if was := c.masks.leaf[at]; mask|was != was {
			c.masks.set(at, mask|was)
		}
	}
}
