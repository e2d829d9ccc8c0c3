package patch

import (
	"fmt"
	"image"
	"image/color"
)

// opaque converts any picture that a decoder returns to NRGBA with its
// bounds at (0, 0) and drops its alpha as PIL's convert("RGB") does: the
// colour stays what the file says, also where it was transparent. Sixteen bits
// become eight by their high byte.
func opaque(m image.Image) (*image.NRGBA, error) {
	b := m.Bounds()
	w, h := b.Dx(), b.Dy()
	if w <= 0 || h <= 0 {
		return nil, fmt.Errorf("empty picture, %d×%d pixels", w, h)
	}
	if c, ok := m.(*image.NRGBA); ok && b.Min == (image.Point{}) && c.Stride == 4*w {
		for i := 3; i < len(c.Pix); i += 4 {
			c.Pix[i] = 255
		}
		return c, nil
	}
	row, err := rowReader(m)
	if err != nil {
		return nil, err
	}
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		row(out.Pix[y*out.Stride:y*out.Stride+4*w], y)
	}
	return out, nil
}

// rowReader returns the conversion of row y of m, counted from its top, to
// opaque RGBA.
func rowReader(m image.Image) (func(dst []byte, y int), error) {
	switch m := m.(type) {
	case *image.Gray:
		return func(dst []byte, y int) {
			src := m.Pix[y*m.Stride:]
			for i := 0; i < len(dst); i += 4 {
				v := src[i/4]
				dst[i], dst[i+1], dst[i+2], dst[i+3] = v, v, v, 255
			}
		}, nil
	case *image.Gray16:
		return func(dst []byte, y int) {
			src := m.Pix[y*m.Stride:]
			for i := 0; i < len(dst); i += 4 {
				v := src[i/2]
				dst[i], dst[i+1], dst[i+2], dst[i+3] = v, v, v, 255
			}
		}, nil
	case *image.NRGBA:
		return func(dst []byte, y int) {
			copy(dst, m.Pix[y*m.Stride:])
			for i := 3; i < len(dst); i += 4 {
				dst[i] = 255
			}
		}, nil
	case *image.NRGBA64:
		return func(dst []byte, y int) {
			src := m.Pix[y*m.Stride:]
			for i := 0; i < len(dst); i += 4 {
				dst[i], dst[i+1], dst[i+2], dst[i+3] = src[2*i], src[2*i+2], src[2*i+4], 255
			}
		}, nil
	case *image.RGBA:
		return func(dst []byte, y int) {
			src := m.Pix[y*m.Stride:]
			for i := 0; i < len(dst); i += 4 {
				a := src[i+3]
				dst[i], dst[i+1], dst[i+2], dst[i+3] = divideAlpha(src[i], a), divideAlpha(src[i+1], a), divideAlpha(src[i+2], a), 255
			}
		}, nil
	case *image.RGBA64:
		return func(dst []byte, y int) {
			src := m.Pix[y*m.Stride:]
			for i := 0; i < len(dst); i += 4 {
				a := src[2*i+6]
				dst[i], dst[i+1], dst[i+2], dst[i+3] = divideAlpha(src[2*i], a), divideAlpha(src[2*i+2], a), divideAlpha(src[2*i+4], a), 255
			}
		}, nil
	case *image.Paletted:
		table := flatPalette(m.Palette)
		return func(dst []byte, y int) { paletteRow(dst, m.Pix[y*m.Stride:], 8, &table, 256) }, nil
	}
	return nil, fmt.Errorf("no conversion from %T", m)
}

// flatPalette is a palette's colours without their alpha. An index beyond the
// palette is black: 256 entries bound every byte.
func flatPalette(p color.Palette) (table [256][3]uint8) {
	for i, c := range p[:min(len(p), 256)] {
		table[i][0], table[i][1], table[i][2] = opaqueColor(c)
	}
	return table
}

// paletteRow converts indices of 1, 2, 4 or 8 bits, the first in the highest,
// to opaque RGBA. It reports whether all are below n.
func paletteRow(dst, src []byte, bits int, colors *[256][3]uint8, n int) bool {
	highest := byte(0)
	if bits == 8 {
		for i, v := range src[:len(dst)/4] {
			highest = max(highest, v)
			c := &colors[v]
			d := dst[4*i : 4*i+4 : 4*i+4]
			d[0], d[1], d[2], d[3] = c[0], c[1], c[2], 255
		}
		return int(highest) < n
	}
	mask, bit := byte(1<<bits-1), 8
	for i := 0; i < len(dst); i += 4 {
		bit -= bits
		v := src[0] >> bit & mask
		highest = max(highest, v)
		c := &colors[v]
		d := dst[i : i+4 : i+4]
		d[0], d[1], d[2], d[3] = c[0], c[1], c[2], 255
		if bit == 0 {
			bit, src = 8, src[1:]
		}
	}
	return int(highest) < n
}

// divideAlpha undoes a premultiplication with Pillow's rounding (down).
func divideAlpha(v, a uint8) uint8 {
	if a == 0 || a == 255 {
		return v
	}
	return clip(255 * int(v) / int(a))
}

// opaqueColor is a palette's colour without its alpha.
func opaqueColor(c color.Color) (r, g, b uint8) {
	switch c := c.(type) {
	case color.NRGBA:
		return c.R, c.G, c.B
	case color.RGBA:
		return divideAlpha(c.R, c.A), divideAlpha(c.G, c.A), divideAlpha(c.B, c.A)
	case color.Gray:
		return c.Y, c.Y, c.Y
	}
	n := color.NRGBAModel.Convert(c).(color.NRGBA)
	return n.R, n.G, n.B
}

func clip(v int) uint8 {
	if uint(v) > 255 {
		return uint8(^v >> 63)
	}
	return uint8(v)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
