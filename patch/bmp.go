package patch

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"slices"

	"golang.org/x/image/bmp"
)

// bmpConfig is that of x/image/bmp, which calls some broken files unsupported,
// too, and does not say what it lacks.
func bmpConfig(data []byte) (image.Config, error) {
	c, err := bmp.DecodeConfig(bytes.NewReader(data))
	const header = 34 // up to the compression, in every header from BITMAPINFOHEADER on
	if !errors.Is(err, bmp.ErrUnsupported) || len(data) < header {
		return c, err
	}
	le := binary.LittleEndian
	size, bits, compression := le.Uint32(data[14:]), le.Uint16(data[28:]), le.Uint32(data[30:])
	what := fmt.Sprintf("header of %d bytes, %d bits a pixel, compression %d", size, bits, compression)
	switch size {
	case 12, 16, 52, 56, 64: // OS/2's, and two of Adobe's
		return c, fmt.Errorf("header of %d bytes: %w", size, err)
	case 40, 108, 124:
		const most = 6 // BI_ALPHABITFIELDS
		known := slices.Contains([]uint16{0, 1, 2, 4, 8, 16, 24, 32}, bits) && compression <= most
		if known && (bits == 0 || bits == 16 || compression != 0) {
			return c, fmt.Errorf("%s: %w", what, err)
		}
	}
	return c, fmt.Errorf("%d×%d pixels, %d planes, %s", int32(le.Uint32(data[18:])), int32(le.Uint32(data[22:])), le.Uint16(data[26:]), what)
}

// bmpRows is where the pixels of a BMP lie that bmpConfig accepted.
type bmpRows struct {
	image.Config
	bits   int    // a pixel
	stride int    // bytes of a row, a multiple of four
	upside bool   // the first row is the lowest
	pix    []byte // what there is from the first row on
}

func readBMP(data []byte) (r bmpRows, err error) {
	if r.Config, err = bmpConfig(data); err != nil {
		return r, err
	}
	le := binary.LittleEndian
	r.bits, r.upside = int(le.Uint16(data[28:])), int32(le.Uint32(data[22:])) > 0
	r.stride = (r.Width*r.bits + 31) / 32 * 4
	r.pix = data[min(int64(le.Uint32(data[10:])), int64(len(data))):]
	return r, nil
}

// bmpCost refuses files that lack rows.
func bmpCost(data []byte, w, h int) (int64, error) {
	r, err := readBMP(data)
	if err == nil && len(r.pix) < r.stride*h {
		err = fmt.Errorf("%d×%d pixels of %d bits take %d bytes, found %d", w, h, r.bits, r.stride*h, len(r.pix))
	}
	return 4 * int64(w) * int64(h), err
}

// decodeBMP reads rows of blue, green and red, or of indices. x/image would
// need five bytes a pixel, and knows no context.
func decodeBMP(ctx context.Context, data []byte) (*image.NRGBA, error) {
	r, err := readBMP(data)
	if err != nil {
		return nil, err
	}
	colors, _ := r.ColorModel.(color.Palette)
	palette := flatPalette(colors)
	m := image.NewNRGBA(image.Rect(0, 0, r.Width, r.Height))
	for y := range r.Height {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		to := y
		if r.upside {
			to = r.Height - 1 - y
		}
		src, dst := r.pix[y*r.stride:][:r.stride], m.Pix[to*m.Stride:][:m.Stride]
		if r.bits <= 8 {
			if !paletteRow(dst, src, r.bits, &palette, len(colors)) {
				return nil, fmt.Errorf("row %d has an index beyond the palette of %d", y, len(colors))
			}
			continue
		}
		for i, n := 0, r.bits/8; i < len(dst); i += 4 {
			d, s := dst[i:i+4:i+4], src[:3]
			d[0], d[1], d[2], d[3] = s[2], s[1], s[0], 255
			src = src[n:]
		}
	}
	return m, nil
}
