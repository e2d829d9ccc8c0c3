package jpeg

import "fmt"

// readScans reads all coefficients up to the end of the image.
func (r *Reader) readScans() error {
	r.resetStore()
	for i := range r.Components {
		c := &r.comps[i]
		if r.Progressive {
			c.masks.reset(c.wide * c.high)
		}
		for k := range c.bits {
			c.bits[k] = -1
		}
		for k := range c.before {
			c.before[k] = -1
		}
	}
	for n := 1; ; n++ {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if err := r.startScan(); err != nil {
			return fmt.Errorf("scan %d: %w", n, err)
		}
		if r.Progressive {
			if err := r.progress(n); err != nil {
				return fmt.Errorf("scan %d: %w", n, err)
			}
		}
		if err := r.readScanData(); err != nil {
			return fmt.Errorf("scan %d: %w", n, err)
		}
		marker, err := r.markers(false)
		if err != nil {
			return err
		}
		if marker == eoi {
			if r.smooth = r.smoothing(n); r.smooth {
				r.keepMeans()
			}
			return nil
		}
	}
}

// progress checks a progressive scan's parameters (G.1.1.1) and notes which
// bits of which coefficients are known after it.
func (r *Reader) progress(n int) error {
	s := &r.scan
	band := s.ss == 0 && s.se == 0 || s.ss > 0 && s.ss <= s.se && s.se < 64 && len(s.comps) == 1
	if !band || s.ah > 0 && s.al != s.ah-1 || s.al > 13 {
		return fmt.Errorf("coefficients %d to %d of %d components, bits %d to %d", s.ss, s.se, len(s.comps), s.ah, s.al)
	}
	for _, i := range s.comps {
		c := &r.comps[i]
		for k := min(s.ss, 1); k < known; k++ {
			if c.before[k] = 0; n > 1 {
				c.before[k] = c.bits[k]
			}
		}
		for k := s.ss; k <= s.se; k++ {
			c.bits[k] = int8(s.al)
		}
	}
	return nil
}

// batch is after how many MCUs at most a scan looks at its context.
const batch = 4096

// readScanData reads the entropy-coded data of a scan.
func (r *Reader) readScanData() error {
	s := &r.scan
	wide, high := r.across, r.down
	if len(s.comps) == 1 { // blocks are MCUs (A.2.2)
		c := &r.comps[s.comps[0]]
		wide, high = c.wide, c.high
	}
	read := r.mcus
	if r.Progressive && s.ss > 0 {
		if read = r.first; s.ah > 0 {
			read = r.refine
		}
	}
	if r.Arithmetic {
		read = r.arithMCUs
	}
	r.seen = 0
	defer func() { r.goodRow = r.rowOf(r.seen, wide) }()
	for at, end := 0, wide*high; at < end; {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		r.lost = -1
		if s.insufficient {
			r.lost = at
		}
		n, err := r.ready(end - at)
		if err != nil {
			return err
		}
		if m := r.file.marker; s.insufficient && (r.restart == 0 || m >= sof0 && (m < rst0 || m > rst7)) {
			return nil // nothing more comes in this scan
		}
		n = min(n, max(batch, s.run))
		if !s.insufficient {
			if err := read(at, at+n, wide); err != nil {
				return err
			}
		}
		at += n
		s.left -= n
		if r.visits > MaxVisits {
			return fmt.Errorf("%d visits of blocks, the limit is %d: %w", r.visits, MaxVisits, ErrWork)
		}
	}
	return nil
}

// good notes that MCU at of a scan had data. As in libjpeg, the first one behind
// a restart marker that came too early does not count.
func (r *Reader) good(at int) {
	if at != r.lost {
		r.seen = at
	}
}

// rowOf is the row of MCUs of all components that MCU at of a scan is in.
func (r *Reader) rowOf(at, wide int) int {
	row := at / wide
	if len(r.scan.comps) == 1 {
		row /= r.comps[r.scan.comps[0]].v
	}
	return row
}

// cursor finds the coefficients of one component's blocks, one after another.
type cursor struct {
	c          *component
	wide       int
	begin, end int // blocks of the row
	row        []int16
}

// block is block at, to be written to.
func (u *cursor) block(r *Reader, at int) *[64]int16 {
	if at >= u.end {
		y := at / u.wide
		u.begin, u.end = y*u.wide, (y+1)*u.wide
		r.block(u.c, 0, y)
		u.row = u.c.rows[y]
	}
	return (*[64]int16)(u.row[64*(at-u.begin):])
}

// mcus reads MCUs [from, to) of a scan that has all coefficients, or the DC
// coefficients of a progressive one.
func (r *Reader) mcus(from, to, wide int) error {
	s := &r.scan
	var temp coefficients
	for at := from; at < to; at++ {
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
					b := r.block(c, x*h+dx, y*v+dy)
					switch {
					case !r.Progressive:
						r.whole(c, b, &temp)
					case s.ah > 0:
						s.r.refill()
						b[0] |= int16(s.r.acc>>63) << s.al
						s.r.take(1)
					default:
						s.r.refill()
						e := s.r.symbol(&r.dc[c.td])
						c.predicted += int(value(s.r.acc<<(e&63), e>>8&15))
						s.r.take(e >> 16 & 63)
						if c.predicted != int(int32(c.predicted)) {
							return fmt.Errorf("a DC coefficient of %d", c.predicted)
						}
						b[0] = int16(c.predicted << s.al)
					}
				}
			}
		}
		if over, err := r.over(); over {
			return err
		}
	}
	return nil
}

// whole reads all coefficients of a block. A second scan of them, which should
// not be, adds to the first as in libjpeg.
func (r *Reader) whole(c *component, b *[64]int16, temp *coefficients) {
	clear(temp[:])
	last := r.scan.r.block(temp, &r.dc[c.td], &r.ac[c.ta])
	c.predicted += int(temp[0])
	b[0] = int16(c.predicted)
	for k := 1; k <= last; k++ {
		if v := temp[zigzag[k]]; v != 0 {
			b[zigzag[k]] = v
		}
	}
}

// first reads AC coefficients of which no bit is known (G.1.2.2).
func (r *Reader) first(from, to, wide int) error {
	s := &r.scan
	c := &r.comps[s.comps[0]]
	table := &r.ac[c.ta]
	br := s.r
	limit := 8 * s.n
	se, al := uint32(s.se), s.al
	blocks := cursor{c: c, wide: wide}
	at := from
	for at < to {
		if s.run > 0 {
			n := min(s.run, to-at)
			at += n
			s.run -= n
			r.good(at - 1)
			continue
		}
		r.visits++
		r.good(at)
		b := blocks.block(r, at)
		mask := c.masks.leaf[at]
		was := mask
		for k := uint32(s.ss); k <= se; k++ {
			br.refill()
			e := br.symbol(table)
			size := e >> 8 & 15
			if size == 0 {
				if e>>24 == 16 {
					br.take(e & 63)
					k += 15
					continue
				}
				run := runLength(e)
				br.take(e & 63)
				s.run = int(1)<<run - 1 + int(br.acc>>1>>(63-run))
				br.take(run)
				break
			}
			k += e>>24 - 1
			place := zigzag[k&127]
			v := value(br.acc<<(e&63), size) << al
			br.take(e >> 16 & 63)
			b[place] = v
			if v != 0 {
				mask |= 1 << min(k, 63)
			} else {
				mask &^= 1 << min(k, 63)
			}
		}
		if mask != was {
			c.masks.set(at, mask)
		}
		at++
		if br.consumed() > limit {
			s.r = br
			if over, err := r.over(); over {
				return err
			}
		}
	}
	s.r = br
	return nil
}

// transformRow makes samples of row y of the MCUs.
func (r *Reader) transformRow(y int) {
	for i := range r.Components {
		c := &r.comps[i]
		if c.q == nil { // no scan had it
			c.latched = quantizer{}
			c.q = &c.latched
		}
		for v := range c.v {
			by := y*c.v + v
			if by >= c.high {
				break
			}
			at := (y%r.ring*c.v + v) * r.size * c.stride
			for x := r.need.x0 * c.h; x < min(r.need.x1*c.h, c.wide); x++ {
				b := c.read(x, by)
				dst := c.plane[at+x*r.size:]
				switch {
				case r.smooth:
					b = r.smoothed(c, x, by)
					inverse(dst, c.stride, r.size, b, c.q, 63)
				case r.Progressive && c.masks.leaf[by*c.wide+x] == 0:
					inverse(dst, c.stride, r.size, b, c.q, 0)
				default:
					inverse(dst, c.stride, r.size, b, c.q, 63)
				}
			}
		}
	}
}
