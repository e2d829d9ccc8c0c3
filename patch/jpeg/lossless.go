package jpeg

import "fmt"

// Lossless coding (T.81, annex H) of one scan: each sample is predicted from its
// neighbours, and the difference has a Huffman code.

// lossless is a picture that is read so.
type lossless struct {
	rows  int  // of MCUs, that are read
	first bool // the next row is predicted from the left only
	left  int  // rows up to the next restart marker
	diffs [4][]int32
	lines [4][2][]uint16 // of samples, the last one of the row of MCUs before is in [1]
	out   [4][]byte      // the rows of an MCU
}

// setupLossless checks the scan's header and makes room for rows.
func (r *Reader) setupLossless() error {
	s, l := &r.scan, &r.plain
	if len(s.comps) < r.Components {
		return fmt.Errorf("lossless coding in several scans: %w", ErrUnsupported)
	}
	if s.ss < 1 || s.ss > 7 || s.se != 0 || s.ah != 0 || s.al > 7 {
		return fmt.Errorf("lossless coding by predictor %d, parameters %d, %d and %d", s.ss, s.se, s.ah, s.al)
	}
	r.across, r.down = ceilDiv(r.Width, r.maxH), ceilDiv(r.Height, r.maxV)
	if r.restart%r.across != 0 {
		return fmt.Errorf("a restart interval of %d, want whole rows of %d", r.restart, r.across)
	}
	l.rows, l.first, l.left = 0, true, r.restart/r.across
	for i := range r.Components {
		c := &r.comps[i]
		c.width, c.height = ceilDiv(r.Width*c.h, r.maxH), ceilDiv(r.Height*c.v, r.maxV)
	}
	return nil
}

// startLossless begins to read.
func (r *Reader) startLossless() error {
	s, l := &r.scan, &r.plain
	units := 0
	for i := range r.Components {
		c := &r.comps[i]
		units += c.h * c.v
		if c.td > 3 {
			return fmt.Errorf("a Huffman table %d, want 0 to 3", c.td)
		}
		r.dc[c.td].wide = true
		if err := r.dc[c.td].prepare(); err != nil {
			return err
		}
		n := r.across * c.h
		l.diffs[i] = grow(l.diffs[i], n*c.v)
		for j := range l.lines[i] {
			l.lines[i][j] = grow(l.lines[i][j], n)
		}
		l.out[i] = grow(l.out[i], n*c.v)
	}
	if r.Components > 1 && units > 10 { // B.2.3
		return fmt.Errorf("%d samples an MCU, want at most 10", units)
	}
	s.left, s.next, s.run, s.insufficient = r.restart, 0, 0, false
	return r.load()
}

// losslessRow reads a row of MCUs.
func (r *Reader) losslessRow() error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	l, s := &r.plain, &r.scan
	if l.rows == 0 {
		if err := r.startLossless(); err != nil {
			return err
		}
	}
	if r.restart > 0 {
		if l.left == 0 {
			if err := r.resync(); err != nil {
				return err
			}
			l.first, l.left = true, r.restart/r.across
		}
		l.left--
	}
	for x := range r.across {
		for i := range r.Components {
			c := &r.comps[i]
			for v := range c.v {
				for h := range c.h {
					l.diffs[i][v*r.across*c.h+x*c.h+h] = s.r.difference(&r.dc[c.td])
				}
			}
		}
		// What libjpeg makes of the rest is nothing to rely on.
		if over, err := r.over(); err != nil {
			return err
		} else if over {
			return fmt.Errorf("truncated JPEG: lossless data end in row %d of %d", l.rows*r.maxV, r.Height)
		}
	}
	for i := range r.Components {
		r.undo(i)
	}
	l.first = false
	l.rows++
	return nil
}

// difference reads one (H.1.2.2).
func (b *bitReader) difference(h *huffman) int32 {
	b.refill()
	e := b.symbol(h)
	if e>>24 == oddDifference {
		b.take(e & 63)
		return 1 << 15
	}
	d := value(b.acc<<(e&63), e>>8&15)
	b.take(e >> 16 & 63)
	return int32(d)
}

// undo makes samples of a component's differences (H.1.2.1), by libjpeg's
// arithmetic of sixteen bits.
func (r *Reader) undo(i int) {
	s, l, c := &r.scan, &r.plain, &r.comps[i]
	n := r.across * c.h
	first := l.first
	for row := range min(c.v, c.height-l.rows*c.v) {
		diffs := l.diffs[i][row*n:][:c.width]
		here, above := l.lines[i][0][:c.width], l.lines[i][1][:c.width]
		predictor := s.ss
		left := int32(1) << (8 - s.al - 1)
		if first {
			predictor, first = 1, false
		} else {
			left = int32(above[0])
		}
		predicted := left
		for x, d := range diffs {
			if x > 0 {
				a, b, corner := int32(here[x-1]), int32(above[x]), int32(above[x-1])
				switch predictor {
				case 1:
					predicted = a
				case 2:
					predicted = b
				case 3:
					predicted = corner
				case 4:
					predicted = a + b - corner
				case 5:
					predicted = a + (b-corner)>>1
				case 6:
					predicted = b + (a-corner)>>1
				case 7:
					predicted = (a + b) >> 1
				}
			}
			here[x] = uint16(predicted + d)
		}
		out := l.out[i][row*n:]
		for x, v := range here {
			out[x] = byte(v << s.al)
		}
		l.lines[i][0], l.lines[i][1] = l.lines[i][1], l.lines[i][0]
	}
}

// losslessPixels converts n pixels of row y from column x on to RGBA.
func (r *Reader) losslessPixels(dst []byte, y, x, n int) {
	l := &r.plain
	for i := range r.Components {
		c := &r.comps[i]
		row := min(y%r.maxV/c.vs, c.height-1-(l.rows-1)*c.v)
		line := l.out[i][row*r.across*c.h:]
		r.up.lines[i] = grow(r.up.lines[i], n+rowSlack)
		for j := range n {
			r.up.lines[i][j] = line[(x+j)/c.hs]
		}
	}
	r.convert(dst, r.up.lines, n)
}
