package patch

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/gif"
)

// decodeGIF returns the first frame on the file's whole canvas. What the
// frame leaves free has the transparent colour if there is one and the first
// colour otherwise, as Pillow has it.
func decodeGIF(ctx context.Context, data []byte) (*image.NRGBA, error) {
	c, err := gif.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	m, err := gif.Decode(newReader(ctx, data))
	if err != nil {
		return nil, err
	}
	frame, ok := m.(*image.Paletted)
	if !ok {
		return nil, errors.New("first frame has no palette")
	}
	// image/gif makes the transparent entry black; the file's own colour is
	// what dropping alpha leaves.
	background := 0
	if i, rgb, ok := gifTransparent(data); ok && i < len(frame.Palette) {
		background = i
		frame.Palette[i] = color.NRGBA{rgb[0], rgb[1], rgb[2], 255}
	}
	n, err := opaque(frame)
	if err != nil {
		return nil, err
	}
	b := frame.Bounds()
	if b == image.Rect(0, 0, c.Width, c.Height) {
		return n, nil
	}
	var fill [3]uint8
	if len(frame.Palette) > 0 {
		fill[0], fill[1], fill[2] = opaqueColor(frame.Palette[background])
	}
	canvas := image.NewNRGBA(image.Rect(0, 0, c.Width, c.Height))
	for i := 0; i < len(canvas.Pix); i += 4 {
		canvas.Pix[i], canvas.Pix[i+1], canvas.Pix[i+2], canvas.Pix[i+3] = fill[0], fill[1], fill[2], 255
	}
	in := b.Intersect(canvas.Rect)
	for y := in.Min.Y; y < in.Max.Y; y++ {
		row := n.Pix[(y-b.Min.Y)*n.Stride:][(in.Min.X-b.Min.X)*4:]
		copy(canvas.Pix[canvas.PixOffset(in.Min.X, y):][:in.Dx()*4], row)
	}
	return canvas, nil
}

// gifTransparent reads what image/gif does not tell: the index of the first
// frame's transparent colour and that colour (GIF89a, sections 18 to 23).
func gifTransparent(data []byte) (index int, rgb [3]byte, ok bool) {
	const header, descriptor = 13, 10
	table := func(flags byte) int { // bytes of a colour table
		if flags&0x80 == 0 {
			return 0
		}
		return 3 << (flags&7 + 1)
	}
	if len(data) < header {
		return 0, rgb, false
	}
	size := table(data[10])
	data = data[header:]
	if len(data) < size {
		return 0, rgb, false
	}
	colors, data := data[:size], data[size:]
	for len(data) >= 2 {
		switch data[0] {
		case 0x21: // extension: label, sub-blocks, an empty one
			if data[1] == 0xf9 && len(data) >= 8 && data[2] == 4 {
				ok, index = data[3]&1 == 1, int(data[6])
			}
			data = data[2:]
			for len(data) > 0 && data[0] != 0 {
				data = data[min(1+int(data[0]), len(data)):]
			}
			data = data[min(1, len(data)):]
		case 0x2c: // the first frame
			if len(data) < descriptor {
				return 0, rgb, false
			}
			if n := table(data[9]); n > 0 {
				data = data[descriptor:]
				colors = data[:min(n, len(data))]
			}
			if !ok || 3*index+3 > len(colors) {
				return 0, rgb, false
			}
			return index, [3]byte(colors[3*index:]), true
		default:
			return 0, rgb, false
		}
	}
	return 0, rgb, false
}
