package jpeg

import "fmt"

// Lossless coding (T.81, annex H): each sample is predicted from its neighbours,
// and the difference has a Huffman code. A file of one scan is read row by row;
// of one of several, all samples are kept.

// lossless is a scan that is read so.
type lossless struct {
	across int    // MCUs in a row
	h, v   [4]int // samples of an MCU
	rows   int    // of MCUs, that are read
	first  bool   // the next row is predicted from the left only
	left   int    // rows up to the next restart marker
	diffs  [4][]int32
	lines  [4][2][]uint16 // of samples, the last one of the row of MCUs before is in [1]
	out    [4][]byte      // the rows of an MCU
	whole  [4][]byte      // all rows, of a file of several scans
	read   bool           // they are there
}

// setupLossless says what the frame and the first scan say of the picture.
func (r *Reader) setupLossless() error {
	if r.Components == 1 { // rows are read as many at a time as the factor says
		r.maxV = r.comps[0].tall
		r.comps[0].v = r.maxV
	}
	r.across, r.down = ceilDiv(r.Width, r.maxH), ceilDiv(r.Height, r.maxV)
	for i := range r.Components {
		c := &r.comps[i]
		c.width, c.height = ceilDiv(r.Width*c.h, r.maxH), ceilDiv(r.Height*c.v, r.maxV)
	}
	r.plain.rows, r.plain.read = 0, false
	return r.checkLossless()
}

// checkLossless checks a scan's header and says what its MCUs are.
func (r *Reader) checkLossless() error {
	s, l := &r.scan, &r.plain
	if s.ss < 1 || s.ss > 7 || s.se != 0 || s.ah != 0 || s.al >= r.precision() {
		return fmt.Errorf("lossless coding by predictor %d, parameters %d, %d and %d", s.ss, s.se, s.ah, s.al)
	}
	l.across = r.across
	units := 0
	for _, i := range s.comps {
		l.h[i], l.v[i] = r.comps[i].h, r.comps[i].v
		units += l.h[i] * l.v[i]
	}
	if len(s.comps) == 1 { // samples are MCUs (A.2.2)
		i := s.comps[0]
		l.across, l.h[i], l.v[i] = r.comps[i].width, 1, 1
	} else if units > 10 { // B.2.3
		return fmt.Errorf("%d samples an MCU, want at most 10", units)
	}
	if r.restart%l.across != 0 {
		return fmt.Errorf("a restart interval of %d, want whole rows of %d", r.restart, l.across)
	}
	return nil
}

// stride is how many samples lie between two rows of a component.
func (r *Reader) stride(i int) int { return r.across * r.comps[i].h }

// startLossless begins to read a scan.
func (r *Reader) startLossless() error {
	s, l := &r.scan, &r.plain
	l.rows, l.first, l.left = 0, true, r.restart/l.across
	for _, i := range s.comps {
		c := &r.comps[i]
		if c.td > 3 {
			return fmt.Errorf("a Huffman table %d, want 0 to 3", c.td)
		}
		r.dc[c.td].wide = true
		if err := r.dc[c.td].prepare(); err != nil {
			return err
		}
		n := r.stride(i)
		l.diffs[i] = grow(l.diffs[i], n*c.v)
		for j := range l.lines[i] {
			l.lines[i][j] = grow(l.lines[i][j], n)
		}
		if !r.Scans {
			l.out[i] = grow(l.out[i], n*c.v)
		}
	}
	s.left, s.next, s.run, s.insufficient = r.restart, 0, 0, false
	return r.load()
}

// losslessUntil decodes what row y of the picture needs.
func (r *Reader) losslessUntil(y int) error {
	l := &r.plain
	if r.Scans {
		if l.read {
			return nil
		}
		return r.losslessScans()
	}
	for l.rows <= y/r.maxV {
		if l.rows == 0 {
			if err := r.startLossless(); err != nil {
				return err
			}
		}
		if err := r.losslessRow(); err != nil {
			return err
		}
	}
	return nil
}

// losslessScans reads all scans up to the end of the image.
func (r *Reader) losslessScans() error {
	l := &r.plain
	var seen [4]bool
	for i := range r.Components {
		l.whole[i] = grow(l.whole[i], r.stride(i)*r.down*r.comps[i].v)
	}
	for n := 1; ; n++ {
		if err := r.losslessScan(); err != nil {
			return fmt.Errorf("scan %d: %w", n, err)
		}
		for _, i := range r.scan.comps {
			seen[i] = true
		}
		marker, err := r.markers(false)
		if err != nil {
			return err
		}
		if marker == eoi {
			break
		}
		if err := r.checkLossless(); err != nil {
			return fmt.Errorf("scan %d: %w", n+1, err)
		}
	}
	for i, ok := range seen[:r.Components] {
		if !ok {
			return fmt.Errorf("no scan of component %d", i)
		}
	}
	l.read = true
	return nil
}

// losslessScan reads a scan.
func (r *Reader) losslessScan() error {
	l := &r.plain
	if err := r.startLossless(); err != nil {
		return err
	}
	for y := range r.down {
		for _, i := range r.scan.comps {
			l.out[i] = l.whole[i][y*r.comps[i].v*r.stride(i):]
			r.visits += r.comps[i].v * r.stride(i) / 16
		}
		if err := r.losslessRow(); err != nil {
			return err
		}
		if r.visits > MaxVisits {
			return fmt.Errorf("more samples in all scans than %d: %w", 16*MaxVisits, ErrWork)
		}
	}
	return nil
}

// losslessRow reads what a row of MCUs of all components is made of.
func (r *Reader) losslessRow() error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	l, s := &r.plain, &r.scan
	lines := 1
	if len(s.comps) == 1 {
		c := &r.comps[s.comps[0]]
		lines = min(c.v, c.height-l.rows*c.v)
	}
	for line := range lines {
		if err := r.readDifferences(line); err != nil {
			return err
		}
	}
	for _, i := range s.comps {
		r.undo(i)
	}
	l.first = false
	l.rows++
	return nil
}

// readDifferences reads a row of the scan's MCUs. As in libjpeg, those after the
// end of their segment are of zero bits up to the end of the row, and those of
// the rows below are no differences from a beginning.
func (r *Reader) readDifferences(line int) error {
	l, s := &r.plain, &r.scan
	if r.restart > 0 {
		if l.left == 0 {
			if err := r.resync(); err != nil {
				return err
			}
			l.first, l.left = true, r.restart/l.across
		}
		l.left--
	}
	row := func(i, v int) []int32 { return l.diffs[i][(line+v)*l.across*l.h[i]:][:l.across*l.h[i]] }
	if s.insufficient {
		l.first = true
		for _, i := range s.comps {
			for v := range l.v[i] {
				clear(row(i, v))
			}
		}
		return nil
	}
	for x := range l.across {
		for _, i := range s.comps {
			table, h := &r.dc[r.comps[i].td], l.h[i]
			for v := range l.v[i] {
				d := l.diffs[i][(line+v)*l.across*h+x*h:][:h]
				for j := range d {
					d[j] = s.r.difference(table)
				}
			}
		}
		over, err := r.over()
		if err != nil {
			return err
		}
		if !over {
			continue
		}
		for _, i := range s.comps {
			zeros := bitReader{data: make([]byte, 16)}
			d := zeros.difference(&r.dc[r.comps[i].td])
			for v := range l.v[i] {
				rest := row(i, v)[(x+1)*l.h[i]:]
				for j := range rest {
					rest[j] = d
				}
			}
		}
		break
	}
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
	n := l.across * l.h[i]
	first := l.first
	low := r.precision() - 8 // bits of a sample that are dropped
	for row := range min(c.v, c.height-l.rows*c.v) {
		diffs := l.diffs[i][row*n:][:c.width]
		here, above := l.lines[i][0][:c.width], l.lines[i][1][:c.width]
		predictor := s.ss
		left := int32(1) << (r.precision() - s.al - 1)
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
		out := l.out[i][row*r.stride(i):]
		for x, v := range here {
			out[x] = byte(v << s.al >> low)
		}
		l.lines[i][0], l.lines[i][1] = l.lines[i][1], l.lines[i][0]
	}
}

// losslessPixels converts n pixels of row y from column x on to RGBA.
func (r *Reader) losslessPixels(dst []byte, y, x, n int) {
	l := &r.plain
	for i := range r.Components {
		c := &r.comps[i]
		rows, row := l.whole[i], min(y/c.vs, c.height-1)
		if !r.Scans {
			rows, row = l.out[i], row-(l.rows-1)*c.v
		}
		line := rows[row*r.stride(i):]
		r.up.lines[i] = grow(r.up.lines[i], n+rowSlack)
		for j := range n {
			r.up.lines[i][j] = line[(x+j)/c.hs]
		}
	}
	r.convert(dst, r.up.lines, n)
}
