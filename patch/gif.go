package patch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
)

// gifFrame is the first frame of a GIF, as its headers describe it (GIF89a,
// sections 18 to 23).
type gifFrame struct {
	width, height   int // of the canvas
	rect            image.Rectangle
	interlaced      bool
	code            int64    // bytes of LZW code
	transparent     int      // index of the transparent colour
	color           [3]uint8 // that colour in the file
	haveTransparent bool     // and whether there is one
}

// readGIF finds the first frame where image/gif does; ok is false if that
// would find none.
func readGIF(data []byte) (f gifFrame, ok bool) {
	const header, descriptor = 13, 10
	le := binary.LittleEndian
	table := func(flags byte) int { // bytes of a colour table
		if flags&0x80 == 0 {
			return 0
		}
		return 3 << (flags&7 + 1)
	}
	if len(data) < header {
		return f, false
	}
	f.width, f.height = int(le.Uint16(data[6:])), int(le.Uint16(data[8:]))
	size := table(data[10])
	data = data[header:]
	if len(data) < size {
		return f, false
	}
	colors, data := data[:size], data[size:]
	for len(data) >= 2 {
		switch data[0] {
		case 0x21: // extension: label, sub-blocks, an empty one
			skip := 2
			switch {
			case data[1] == 0xf9 && len(data) >= 8 && data[2] == 4:
				if data[3]&1 == 1 {
					f.haveTransparent, f.transparent = true, int(data[6])
				}
			case data[1] == 0x01: // text, whose first block has a fixed size
				skip += 13
			}
			data = data[min(skip, len(data)):]
			_, data = gifBlocks(data)
		case 0x2c: // the first frame
			if len(data) < descriptor {
				return f, false
			}
			x, y := int(le.Uint16(data[1:])), int(le.Uint16(data[3:]))
			f.rect = image.Rect(x, y, x+int(le.Uint16(data[5:])), y+int(le.Uint16(data[7:])))
			f.interlaced = data[9]&0x40 != 0
			n := table(data[9])
			data = data[descriptor:]
			if n > 0 {
				colors = data[:min(n, len(data))]
			}
			if data = data[min(n+1, len(data)):]; len(data) == 0 { // behind the width of codes
				return f, false
			}
			f.code, _ = gifBlocks(data)
			if f.haveTransparent = f.haveTransparent && 3*f.transparent+3 <= len(colors); f.haveTransparent {
				f.color = [3]byte(colors[3*f.transparent:])
			}
			return f, true
		default:
			return f, false
		}
	}
	return f, false
}

// gifBlocks counts the bytes in sub-blocks up to the empty one and returns
// what follows.
func gifBlocks(data []byte) (n int64, rest []byte) {
	for len(data) > 0 && data[0] != 0 {
		size := min(1+int(data[0]), len(data))
		n += int64(size - 1)
		data = data[size:]
	}
	return n, data[min(1, len(data)):]
}

// A code of w bits, at most 12, is one of 2ʷ strings, of which the longest has
// as many bytes: LZW makes no more than 4096 bytes of 12 bits.
func unpackedLZW(code int64) int64 { return code*8*4096/12 + 4096 }

// gifCost is the canvas, and image/gif's frame of a byte a pixel, twice if it
// is interlaced.
func gifCost(data []byte, w, h int) (int64, error) {
	bytes := 4 * int64(w) * int64(h)
	f, ok := readGIF(data)
	if !ok {
		return bytes, nil
	}
	pixels := int64(f.rect.Dx()) * int64(f.rect.Dy())
	if most := unpackedLZW(f.code); most < pixels {
		return 0, fmt.Errorf("%d bytes of LZW code become %d pixels at most, the frame has %d×%d", f.code, most, f.rect.Dx(), f.rect.Dy())
	}
	if f.interlaced {
		pixels *= 2
	}
	return bytes + pixels, nil
}

// decodeGIF returns the first frame on the file's whole canvas. What the
// frame leaves free has the transparent colour if there is one and the first
// colour otherwise, as Pillow has it.
func decodeGIF(ctx context.Context, data []byte) (*image.NRGBA, error) {
	m, err := gif.Decode(newReader(ctx, data))
	if err != nil {
		return nil, err
	}
	frame, ok := m.(*image.Paletted)
	f, found := readGIF(data)
	if !ok || !found {
		return nil, errors.New("first frame has no palette")
	}
	// image/gif makes the transparent entry black; the file's own colour is
	// what dropping alpha leaves.
	background := 0
	if f.haveTransparent && f.transparent < len(frame.Palette) {
		background = f.transparent
		frame.Palette[background] = color.NRGBA{f.color[0], f.color[1], f.color[2], 255}
	}
	colors := flatPalette(frame.Palette)
	canvas := image.NewNRGBA(image.Rect(0, 0, f.width, f.height))
	in := frame.Rect
	for y := range f.height {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		row := canvas.Pix[y*canvas.Stride:][:canvas.Stride]
		if in != canvas.Rect {
			for i := 0; i < len(row); i += 4 {
				c := colors[background]
				row[i], row[i+1], row[i+2], row[i+3] = c[0], c[1], c[2], 255
			}
		}
		if y >= in.Min.Y && y < in.Max.Y {
			paletteRow(row[4*in.Min.X:4*in.Max.X], frame.Pix[(y-in.Min.Y)*frame.Stride:], 8, &colors, 256)
		}
	}
	return canvas, nil
}
