package patch

import (
	"context"
	"encoding/binary"
)

// The transforms work in place, a row at a time (RFC 9649, section 3.5).

// predict adds to each pixel what its tile's mode makes of its neighbours.
func (t *vp8lTransform) predict(ctx context.Context, pix []byte, h int) error {
	n := 4 * t.width
	pix[3] += 255
	for i := 4; i < n; i++ { // the first row: the left neighbour
		pix[i] += pix[i-4]
	}
	across := tiles(t.width, t.bits)
	for y := 1; y < h; y++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		// The row above and one pixel of this one: the last pixel's right
		// neighbour is the row's first.
		above, row := pix[(y-1)*n:y*n+4], pix[y*n:(y+1)*n]
		for i := range 4 { // the first column: the upper neighbour
			row[i] += above[i]
		}
		modes := t.pix[4*across*(y>>t.bits):]
		for x := 1; x < t.width; {
			end := min((x>>t.bits+1)<<t.bits, t.width)
			predictors[modes[4*(x>>t.bits)+1]&15](row, above, 4*x, 4*end)
			x = end
		}
	}
	return nil
}

// predictors are the modes: each adds to row[from:to].
var predictors = [16]func(row, above []byte, from, to int){
	0: predictBlack,
	1: func(row, above []byte, from, to int) {
		for i := from; i < to; i++ {
			row[i] += row[i-4]
		}
	},
	2: func(row, above []byte, from, to int) {
		for i := from; i < to; i++ {
			row[i] += above[i]
		}
	},
	3: func(row, above []byte, from, to int) {
		for i := from; i < to; i++ {
			row[i] += above[i+4]
		}
	},
	4: func(row, above []byte, from, to int) {
		for i := from; i < to; i++ {
			row[i] += above[i-4]
		}
	},
	5: func(row, above []byte, from, to int) {
		for i := from; i < to; i++ {
			row[i] += mean(mean(row[i-4], above[i+4]), above[i])
		}
	},
	6: func(row, above []byte, from, to int) {
		for i := from; i < to; i++ {
			row[i] += mean(row[i-4], above[i-4])
		}
	},
	7: func(row, above []byte, from, to int) {
		for i := from; i < to; i++ {
			row[i] += mean(row[i-4], above[i])
		}
	},
	8: func(row, above []byte, from, to int) {
		for i := from; i < to; i++ {
			row[i] += mean(above[i-4], above[i])
		}
	},
	9: func(row, above []byte, from, to int) {
		for i := from; i < to; i++ {
			row[i] += mean(above[i], above[i+4])
		}
	},
	10: func(row, above []byte, from, to int) {
		for i := from; i < to; i++ {
			row[i] += mean(mean(row[i-4], above[i-4]), mean(above[i], above[i+4]))
		}
	},
	11: predictNearer,
	12: func(row, above []byte, from, to int) {
		for i := from; i < to; i++ {
			row[i] += clip(int(row[i-4]) + int(above[i]) - int(above[i-4]))
		}
	},
	13: func(row, above []byte, from, to int) {
		for i := from; i < to; i++ {
			m := int(mean(row[i-4], above[i]))
			row[i] += clip(m + (m-int(above[i-4]))/2)
		}
	},
	14: func([]byte, []byte, int, int) {}, // of no meaning: nothing
	15: func([]byte, []byte, int, int) {},
}

func predictBlack(row, _ []byte, from, to int) {
	for i := from + 3; i < to; i += 4 {
		row[i] += 255
	}
}

// predictNearer takes the left or the upper neighbour, whichever is nearer to
// left + up - corner over all channels.
func predictNearer(row, above []byte, from, to int) {
	for i := from; i < to; i += 4 {
		l, u, c := row[i-4:i:i], above[i:i+4:i+4], above[i-4:i:i]
		ofLeft, ofUp := 0, 0
		for k := range 4 {
			left, up := int(c[k])-int(u[k]), int(c[k])-int(l[k])
			ofLeft += max(left, -left)
			ofUp += max(up, -up)
		}
		near := u
		if ofLeft < ofUp {
			near = l
		}
		for k, v := range near {
			row[i+k] += v
		}
	}
}

func mean(a, b uint8) uint8 { return uint8((int(a) + int(b)) / 2) }

// crossColor adds parts of green to red and blue, and of red to blue.
func (t *vp8lTransform) crossColor(ctx context.Context, pix []byte, h int) error {
	across := tiles(t.width, t.bits)
	part := func(factor, v uint8) uint8 { return uint8(int(int8(factor)) * int(int8(v)) >> 5) }
	for y := range h {
		if err := ctx.Err(); err != nil {
			return err
		}
		row := pix[4*t.width*y:][:4*t.width]
		factors := t.pix[4*across*(y>>t.bits):]
		for x := 0; x < t.width; {
			end := min((x>>t.bits+1)<<t.bits, t.width)
			f := factors[4*(x>>t.bits):]
			redToBlue, greenToBlue, greenToRed := f[0], f[1], f[2]
			for ; x < end; x++ {
				p := row[4*x : 4*x+4 : 4*x+4]
				p[0] += part(greenToRed, p[1])
				p[2] += part(greenToBlue, p[1]) + part(redToBlue, p[0])
			}
		}
	}
	return nil
}

// addGreen adds green to red and blue.
func (t *vp8lTransform) addGreen(ctx context.Context, pix []byte) error {
	const part = 1 << 18
	for len(pix) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		some := pix[:min(part, len(pix))]
		pix = pix[len(some):]
		for i := 0; i < len(some); i += 4 {
			p := some[i : i+4 : i+4]
			p[0] += p[1]
			p[2] += p[1]
		}
	}
	return nil
}

// spread makes pixels of indices, several of which may be in the green of one:
// packed, w × h, is the end of pix.
func (t *vp8lTransform) spread(ctx context.Context, pix, packed []byte, w, h int) error {
	le := binary.LittleEndian
	var colors [256]uint32
	for i := range colors {
		colors[i] = le.Uint32(t.pix[4*i:])
	}
	row := make([]byte, 4*w)
	bits := 8 >> t.bits
	mask, last := 1<<bits-1, 1<<t.bits-1
	for y := range h {
		if err := ctx.Err(); err != nil {
			return err
		}
		copy(row, packed[4*w*y:])
		dst, src := pix[4*t.width*y:][:4*t.width], row
		v := 0
		for x := range t.width {
			if x&last == 0 {
				v = int(src[1])
				src = src[4:]
			}
			le.PutUint32(dst[4*x:], colors[v&mask])
			v >>= bits
		}
	}
	return nil
}
