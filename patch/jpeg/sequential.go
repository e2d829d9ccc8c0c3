package jpeg

import (
	"bytes"
	"errors"
	"fmt"
)

// scan is the one that is being read.
type scan struct {
	comps        []int // in the scan's order
	ss, se       int   // first and last coefficient, in the file's order
	ah, al       int   // bits that were left out before and are now
	n            int   // bytes of its segment
	r            bitReader
	left         int  // MCUs up to the next restart marker
	next         byte // number of that marker
	insufficient bool // the segment has ended before its MCUs
	run          int  // of blocks that nothing is added to
	order        [4]int
}

// readScan reads a scan header (B.2.3).
func (r *Reader) readScan(b []byte) error {
	if r.Width == 0 {
		return fmt.Errorf("a scan without a frame")
	}
	if len(b) < 1 || b[0] < 1 || b[0] > 4 || len(b) != 4+2*int(b[0]) {
		return fmt.Errorf("a scan header of %d bytes", len(b))
	}
	n := int(b[0])
	s := &r.scan
	s.comps = s.order[:0]
	for i := range n {
		// Of components of the same name each is meant once, in the frame's
		// order, by libjpeg's rule.
		found := -1
		for j := range r.Components {
			if r.comps[j].id == int(b[1+2*i]) && j >= i {
				found = j
				break
			}
		}
		for _, j := range s.comps {
			if j == found {
				found = -1
			}
		}
		if found < 0 {
			return fmt.Errorf("a scan of component %d, which is not there or was named before", b[1+2*i])
		}
		s.comps = append(s.comps, found)
		r.comps[found].td, r.comps[found].ta = int(b[2+2*i]>>4), int(b[2+2*i]&15)
	}
	b = b[1+2*n:]
	s.ss, s.se, s.ah, s.al = int(b[0]), int(b[1]), int(b[2]>>4), int(b[2]&15)
	return nil
}

// startScan makes ready for the entropy-coded data of a scan.
func (r *Reader) startScan() error {
	s := &r.scan
	if len(s.comps) > 1 {
		blocks := 0
		for _, i := range s.comps {
			blocks += r.comps[i].h * r.comps[i].v
		}
		if blocks > 10 { // B.2.3
			return fmt.Errorf("%d blocks an MCU, want at most 10", blocks)
		}
	}
	for _, i := range s.comps {
		c := &r.comps[i]
		c.predicted = 0
		if c.q == nil { // the table that stands there when the component comes first
			if c.tq > 3 || !r.quant[c.tq].set {
				return fmt.Errorf("a scan uses quantization table %d, which is not there", c.tq)
			}
			c.latched = r.quant[c.tq]
			c.latched.deep = r.as == AsTwelve
			c.q = &c.latched
		}
		if r.Arithmetic {
			continue
		}
		if err := r.prepareTables(c); err != nil {
			return err
		}
	}
	s.left, s.next, s.run, s.insufficient = r.restart, 0, 0, false
	return r.load()
}

// prepareTables makes ready the Huffman tables that a component needs.
func (r *Reader) prepareTables(c *component) error {
	s := &r.scan
	if !r.Progressive || s.ss == 0 && s.ah == 0 {
		if c.td > 3 {
			return fmt.Errorf("a Huffman table %d, want 0 to 3", c.td)
		}
		if err := r.dc[c.td].prepare(); err != nil {
			return err
		}
	}
	if !r.Progressive || s.ss > 0 {
		if c.ta > 3 {
			return fmt.Errorf("a Huffman table %d, want 0 to 3", c.ta)
		}
		return r.ac[c.ta].prepare()
	}
	return nil
}

// load copies entropy-coded bytes up to the next marker into r.bits, with the
// zero after each 0xff taken out (B.1.1.5) and zeros behind.
func (r *Reader) load() error {
	if r.Arithmetic {
		return r.startArithmetic() // which reads bytes where they are
	}
	f := &r.file
	data := f.data[f.at:]
	if need := len(data) + bitSlack; cap(r.bits) < need {
		r.bits, r.dirty = make([]byte, need), 0
	}
	out := r.bits[:cap(r.bits)]
	n := 0
	for turn := 1; ; turn++ {
		if turn&0xffff == 0 {
			if err := r.ctx.Err(); err != nil {
				return err
			}
		}
		i := bytes.IndexByte(data, 0xff)
		if i < 0 {
			n += copy(out[n:], data)
			data = nil
			break
		}
		n += copy(out[n:], data[:i])
		data = data[i+1:]
		for len(data) > 0 && data[0] == 0xff { // fill bytes
			data = data[1:]
		}
		if len(data) == 0 {
			break
		}
		b := data[0]
		data = data[1:]
		if b != 0 {
			f.marker = b
			break
		}
		out[n] = 0xff
		n++
	}
	f.at = len(f.data) - len(data)
	r.segmentOf(n)
	return nil
}

// segmentOf makes the first n of r.bits the segment that is read.
func (r *Reader) segmentOf(n int) {
	out := r.bits[:cap(r.bits)]
	r.dirty = max(r.dirty, n)
	clear(out[n:min(r.dirty, n+bitSlack)])
	if r.dirty <= n+bitSlack {
		r.dirty = n
	}
	r.scan.n = n
	r.scan.r = bitReader{data: out}
}

// ready returns how many of n MCUs come before the next restart marker, after
// dealing with the one that is due.
func (r *Reader) ready(n int) (int, error) {
	if r.restart == 0 {
		return n, nil
	}
	s := &r.scan
	if s.left == 0 {
		if err := r.resync(); err != nil {
			return 0, err
		}
		for _, i := range s.comps {
			r.comps[i].predicted = 0
		}
		s.run, s.left = 0, r.restart
	}
	return min(n, s.left), nil
}

// resync finds the restart marker that is due. Where another is found, the
// rules are those of libjpeg's jpeg_resync_to_restart: one of the next two
// means that some were lost, and the MCUs between are left empty; one of the
// last two and what is no marker are passed over; one further away is taken
// for the one that is due; any other marker ends the scan.
func (r *Reader) resync() error {
	s, f := &r.scan, &r.file
	if f.marker == 0 && !f.next() {
		return errCut
	}
	want := s.next
	s.next = (s.next + 1) & 7
	for turn := 1; ; turn++ {
		if turn&0xffff == 0 {
			if err := r.ctx.Err(); err != nil {
				return err
			}
		}
		off := (f.marker - rst0 - want) & 7
		switch m := f.marker; {
		case m >= rst0 && m <= rst7 && (off == 0 || off >= 3 && off <= 5):
			f.marker, s.insufficient = 0, false
			return r.load()
		case m < sof0, m >= rst0 && m <= rst7 && off >= 6:
			if !f.next() {
				return errCut
			}
		default:
			if r.Arithmetic {
				return r.startArithmetic()
			}
			r.segmentOf(0)
			return nil
		}
	}
}

// over says after each MCU whether the segment has ended before it.
func (r *Reader) over() (bool, error) {
	if r.scan.r.consumed() <= 8*r.scan.n {
		return false, nil
	}
	if r.file.marker == 0 {
		return true, errCut
	}
	r.scan.insufficient = true
	return true, nil
}

// sequentialRow decodes row y of the MCUs of a picture of one scan.
func (r *Reader) sequentialRow(y int, wanted bool) error {
	for x := 0; x < r.across; {
		n, err := r.ready(r.across - x)
		if err != nil {
			return err
		}
		read := r.interval
		if r.Arithmetic {
			read = r.arithInterval
		}
		if err := read(x, y, n, wanted); err != nil {
			return err
		}
		x += n
		r.scan.left -= n
	}
	return nil
}

// interval decodes n MCUs of row y from MCU x on. Those after the end of their
// segment are gray.
func (r *Reader) interval(x, y, n int, wanted bool) error {
	var coef coefficients
	s := &r.scan
	br := s.r
	limit := 8 * s.n
	slot := y % r.ring
	for end := x + n; x < end; x++ {
		shown := wanted && x >= r.need.x0 && x < r.need.x1
		for _, i := range s.comps {
			c := &r.comps[i]
			dc, ac := &r.dc[c.td], &r.ac[c.ta]
			for v := range c.v {
				at := (slot*c.v+v)*r.size*c.stride + x*c.h*r.size
				for range c.h {
					last := 0
					if !s.insufficient {
						last = br.block(&coef, dc, ac)
						c.predicted += int(coef[0])
						coef[0] = int16(c.predicted)
					}
					block := (*[64]int16)(coef[:])
					if shown {
						inverse(c.plane[at:], c.stride, r.size, block, c.q, last)
					}
					if at += r.size; last == 0 {
						block[0] = 0
					} else {
						clear(block[:])
					}
				}
			}
		}
		if br.consumed() > limit && !s.insufficient {
			s.r = br
			if _, err := r.over(); err != nil {
				return err
			}
		}
	}
	s.r = br
	return nil
}

// inverse multiplies and transforms a block whose last value is at most at
// last.
func inverse(dst []byte, stride, size int, coef *[64]int16, q *quantizer, last int) {
	switch {
	case q.deep:
		idct12(dst, stride, coef, &q.v)
	case last == 0:
		flat(dst, stride, size, coef[0], q.v[0])
	case size == 8:
		idct8(dst, stride, coef, &q.v)
	case size == 4:
		idct4(dst, stride, coef, &q.v)
	case size == 2:
		idct2(dst, stride, coef, &q.v)
	default:
		flat(dst, stride, 1, coef[0], q.v[0])
	}
}

// lookahead is how many bits libjpeg may want to see behind the last MCU's.
const lookahead = 32

// ending says whether what follows the scans is the end of a whole file. A
// picture of one scan is whole without it, once all of its MCUs are there;
// what Pillow sees of the bytes behind must then not be wrong.
func (r *Reader) ending() error {
	if r.Scans {
		return nil // readScans has seen it
	}
	f := &r.file
	if f.marker == 0 && !r.Arithmetic {
		if f.at == len(f.data) && 8*r.scan.n-r.scan.r.consumed() < lookahead {
			return errCut
		}
	}
	const block = 1 << 16 // Pillow reads on block by block
	if end := ceilDiv(f.at, block) * block; end < len(f.data) {
		f.data = f.data[:end]
	}
	marker, err := r.markers(false)
	switch {
	case errors.Is(err, errCut) || err == nil && marker == eoi:
		return nil
	case err != nil:
		return err
	}
	return errors.New("a scan after the only one")
}
