package patch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"math/bits"
)

const icoMagic = "\x00\x00\x01\x00"

// icon is the picture of an ICO that Pillow takes: the largest, and of several
// such the one of the fewest bits a pixel. It is a PNG or a BMP without its file
// header, of which the upper half of the declared rows are a mask.
type icon struct {
	data []byte // the whole file
	at   int64  // of the picture
	size int64  // bytes that it is said to take
	bits int    // a pixel, as the directory says
}

// openICO reads the directory.
func openICO(data []byte) (icon, error) {
	const header, entry = 6, 16
	if len(data) < header {
		return icon{}, fmt.Errorf("truncated ICO: header in %d bytes", len(data))
	}
	le := binary.LittleEndian
	n := int(le.Uint16(data[4:]))
	if n == 0 {
		return icon{}, errors.New("ICO: no picture in it")
	}
	if want := header + n*entry; len(data) < want {
		return icon{}, fmt.Errorf("truncated ICO: a directory of %d pictures takes %d bytes, found %d", n, want, len(data))
	}
	var best icon
	most, least := 0, 0
	for e := data[header : header+n*entry]; len(e) > 0; e = e[entry:] {
		area := (int(e[0]-1) + 1) * (int(e[1]-1) + 1) // 0 stands for 256
		depth := int(le.Uint16(e[6:]))
		if colors := e[2]; depth == 0 && colors > 1 {
			depth = bits.Len8(colors - 1)
		}
		if depth == 0 {
			depth = 256
		}
		if area < most || area == most && depth >= least {
			continue
		}
		most, least = area, depth
		best = icon{data, int64(le.Uint32(e[12:])), int64(le.Uint32(e[8:])), int(le.Uint16(e[6:]))}
	}
	if best.at >= int64(len(data)) {
		return icon{}, fmt.Errorf("truncated ICO: a picture at byte %d of %d", best.at, len(data))
	}
	return best, nil
}

// png is the picture if it is a PNG.
func (c icon) png() ([]byte, bool) {
	file := c.data[c.at:]
	return file, matches(file, "\x89PNG\r\n\x1a\n")
}

// bmp is the picture if it is none.
func (c icon) bmp() (*bmpFile, error) {
	f, err := readBMP(c.data, c.at, 0)
	if err != nil {
		return nil, err
	}
	f.height /= 2
	return f, nil
}

func icoConfig(data []byte) (conf image.Config, err error) {
	c, err := openICO(data)
	if err != nil {
		return conf, err
	}
	if file, ok := c.png(); ok {
		return pngConfig(file)
	}
	f, err := c.bmp()
	if err != nil {
		return conf, err
	}
	return image.Config{Width: f.width, Height: f.height}, nil
}

func icoCost(data []byte, w, h int) (int64, error) {
	c, err := openICO(data)
	if err != nil {
		return 0, err
	}
	if file, ok := c.png(); ok {
		return pngCost(file, w, h)
	}
	f, err := c.bmp()
	if err != nil {
		return 0, err
	}
	if err := c.checkMask(f); err != nil {
		return 0, err
	}
	return f.cost()
}

// checkMask refuses a picture whose alpha is not there. It is dropped, but
// Pillow wants it: of 32 bits a pixel beside the colours, of fewer at the end of
// the picture, a bit a pixel in rows of whole words.
func (c icon) checkMask(f *bmpFile) error {
	w, h := int64(f.width), int64(f.height)
	if c.bits == 32 {
		if need := 4 * w * h; int64(len(f.pix)) < need {
			return fmt.Errorf("truncated ICO: alpha of %d×%d pixels takes %d bytes, found %d", w, h, need, len(f.pix))
		}
		return nil
	}
	row := (w + 31) / 32 * 4
	at := c.at + c.size - row*h
	if need := row*(h-1) + (w+7)/8; at < 0 || at+need > int64(len(c.data)) {
		return fmt.Errorf("truncated ICO: a mask of %d bytes at byte %d of %d", need, at, len(c.data))
	}
	return nil
}

func decodeICO(ctx context.Context, data []byte) (*image.NRGBA, error) {
	c, err := openICO(data)
	if err != nil {
		return nil, err
	}
	if file, ok := c.png(); ok {
		return decodePNG(ctx, file)
	}
	f, err := c.bmp()
	if err != nil {
		return nil, err
	}
	return f.decode(ctx)
}
