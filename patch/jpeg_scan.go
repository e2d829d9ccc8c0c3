package patch

import "fmt"

// decode reads a whole file into planes of size × size samples a block: 8 for
// all of them, 4, 2 or 1 for a picture of a half, a quarter or an eighth. The
// size that the file declares has been checked.
func (m *jpegImage) decode(data []byte, size int) error {
	scan, err := m.readHeader(data)
	if err != nil {
		return err
	}
	m.allocate(size)
	across := m.comps[0].blocks / m.comps[0].h
	mcus := across * (m.comps[0].rows / m.comps[0].v)
	interval := m.restart
	if interval == 0 {
		interval = mcus
	}
	for done, i := 0, 0; ; i++ {
		n, marker, rest := m.segment(scan)
		scan = rest
		for c := range m.color {
			m.comps[c].predicted = 0
		}
		todo := min(interval, mcus-done)
		if err := m.interval(n, done, todo, across); err != nil {
			return err
		}
		if done += todo; done == mcus {
			if marker != 0xd9 { // no end of image: more scans, or cut off
				return errNotOurs
			}
			return nil
		}
		if int(marker) != 0xd0+i&7 {
			return fmt.Errorf("restart marker %d: found %#x", i&7, marker)
		}
	}
}

// interval decodes MCUs [from, from+todo) from the n bytes of a segment.
func (m *jpegImage) interval(n, from, todo, across int) error {
	r := bitReader{data: m.bits}
	var coef coefficients
	x, y := from%across, from/across
	for range todo {
		for i := range m.color {
			c := &m.comps[i]
			dc, ac, q := &m.dc[c.td], &m.ac[c.ta], &m.quant[c.tq]
			for v := range c.v {
				at := (y*c.v+v)*m.size*c.stride + x*c.h*m.size
				for range c.h {
					last, ok := r.block(&coef, dc, ac)
					if !ok {
						return fmt.Errorf("bad Huffman code in block (%d, %d)", x, y)
					}
					c.predicted += int32(coef[0])
					coef[0] = int16(c.predicted)
					m.inverse(c.plane[at:], c.stride, &coef, q, last)
					at += m.size
				}
			}
		}
		if r.consumed() > 8*n {
			return fmt.Errorf("the scan ends in MCU (%d, %d)", x, y)
		}
		if x++; x == across {
			x, y = 0, y+1
		}
	}
	return nil
}

// inverse multiplies, transforms and clears a block.
func (m *jpegImage) inverse(dst []byte, stride int, coef *coefficients, q *[64]int32, last int) {
	switch {
	case last == 0:
		flat(dst, stride, m.size, int32(coef[0])*q[0])
		coef[0] = 0
		return
	case m.size == 8:
		idct8(dst, stride, coef, q)
	case m.size == 4:
		idct4(dst, stride, coef, q)
	case m.size == 2:
		idct2(dst, stride, coef, q)
	default:
		flat(dst, stride, 1, int32(coef[0])*q[0])
	}
	clear(coef[:64])
}
