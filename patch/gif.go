package patch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"strings"
)

// gifFrame is the first frame of a GIF (GIF89a, sections 18 to 23).
type gifFrame struct {
	width, height int // of the canvas
	rect          image.Rectangle
	interlaced    bool
	colors        []byte // its palette, three bytes each; none: grays
	transparent   int    // index of the transparent colour; -1: none
	bits          int    // of the first codes, less one
	code          []byte // sub-blocks of LZW code, and what follows
}

var errGIFCut = errors.New("truncated GIF: no whole frame")

// openGIF reads a file up to its first frame's code. What is between blocks is
// skipped, as Pillow does.
func openGIF(data []byte) (*gifFrame, error) {
	const header, descriptor = 13, 10
	if len(data) < header {
		return nil, errGIFCut
	}
	le := binary.LittleEndian
	f := &gifFrame{width: int(le.Uint16(data[6:])), height: int(le.Uint16(data[8:])), transparent: -1}
	global, data := gifColors(data[10], data[header:])
	for {
		if len(data) == 0 {
			return nil, errGIFCut
		}
		switch data[0] {
		case 0x21:
			var err error
			if data, err = f.extension(data[1:]); err != nil {
				return nil, err
			}
		case 0x2c:
			if len(data) < descriptor {
				return nil, errGIFCut
			}
			x, y := int(le.Uint16(data[1:])), int(le.Uint16(data[3:]))
			f.rect = image.Rect(x, y, x+int(le.Uint16(data[5:])), y+int(le.Uint16(data[7:])))
			if f.rect.Empty() {
				return nil, fmt.Errorf("frame of %d×%d pixels", f.rect.Dx(), f.rect.Dy())
			}
			f.width, f.height = max(f.width, f.rect.Max.X), max(f.height, f.rect.Max.Y)
			flags := data[9]
			f.interlaced = flags&0x40 != 0
			own, rest := gifColors(flags, data[descriptor:])
			f.colors = global
			if flags&0x80 != 0 {
				f.colors = own
			}
			if len(rest) == 0 {
				return nil, errGIFCut
			}
			if f.bits = int(rest[0]); f.bits > lzwBits {
				return nil, fmt.Errorf("codes of %d bits, want at most %d", f.bits, lzwBits)
			}
			f.code = rest[1:]
			return f, nil
		case ';':
			return nil, errors.New("no frame before the end")
		default:
			data = data[1:]
		}
	}
}

// gifColors takes the table that flags announce.
func gifColors(flags byte, data []byte) (colors, rest []byte) {
	if flags&0x80 == 0 {
		return nil, data
	}
	n := min(3<<(flags&7+1), len(data))
	return data[:n], data[n:]
}

// extension reads one from its label on, and returns what follows it.
func (f *gifFrame) extension(data []byte) ([]byte, error) {
	const control, comment, application = 0xf9, 0xfe, 0xff
	if len(data) == 0 {
		return nil, errGIFCut
	}
	label := data[0]
	block, data := gifBlock(data[1:])
	switch {
	case label == comment && len(block) == 0:
		return data, nil
	case label == control && len(block) > 0:
		transparent := block[0]&1 == 1
		if len(block) < 3 || transparent && len(block) < 4 {
			return nil, fmt.Errorf("graphic control of %d bytes, want 4", len(block))
		}
		if transparent {
			f.transparent = int(block[3])
		}
	case label == application && strings.HasPrefix(string(block), "NETSCAPE2.0"):
		_, data = gifBlock(data)
	}
	for {
		if block, data = gifBlock(data); len(block) == 0 {
			return data, nil
		}
	}
}

// gifBlock takes a sub-block, as far as it is there.
func gifBlock(data []byte) (block, rest []byte) {
	if len(data) == 0 {
		return nil, nil
	}
	n := min(1+int(data[0]), len(data))
	return data[1:n], data[n:]
}

// A code of w bits, at most 12, is one of 2ʷ strings, of which the longest has
// as many bytes: LZW makes no more than 4096 bytes of 12 bits.
func unpackedLZW(code int64) int64 { return code*8*4096/12 + 4096 }

func gifConfig(data []byte) (c image.Config, err error) {
	f, err := openGIF(data)
	if err != nil {
		return c, err
	}
	return image.Config{Width: f.width, Height: f.height}, nil
}

// gifCost refuses files whose code is too short for their frame.
func gifCost(data []byte, w, h int) (int64, error) {
	f, err := openGIF(data)
	if err != nil {
		return 0, err
	}
	n := int64(len(f.code))
	if most := unpackedLZW(n); most < int64(f.rect.Dx())*int64(f.rect.Dy()) {
		return 0, fmt.Errorf("truncated GIF: %d bytes of LZW code become %d pixels at most, the frame has %d×%d", n, most, f.rect.Dx(), f.rect.Dy())
	}
	return 4*int64(w)*int64(h) + 5*int64(w) + 64<<10, nil
}

// decodeGIF returns the first frame on the file's whole canvas. What the
// frame leaves free has the transparent colour if there is one and the first
// colour otherwise, as Pillow has it. image/gif would need another byte a
// pixel, twice that of interlaced frames.
func decodeGIF(ctx context.Context, data []byte) (*image.NRGBA, error) {
	f, err := openGIF(data)
	if err != nil {
		return nil, err
	}
	colors := f.palette()
	code := newGIFCode(ctx, f.code, f.bits)
	canvas := image.NewNRGBA(image.Rect(0, 0, f.width, f.height))
	in := f.rect
	row := make([]byte, in.Dx())
	for _, y := range f.rows() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := code.read(row); err != nil {
			return nil, fmt.Errorf("row %d: %w", y, err)
		}
		paletteRow(canvas.Pix[(in.Min.Y+y)*canvas.Stride:][4*in.Min.X:4*in.Max.X], row, 8, &colors, 256)
	}
	return canvas, surround(ctx, canvas, in, colors[max(f.transparent, 0)])
}

// palette is the frame's: black beyond its end. Without one, or with one that
// says the same, indices are grays.
func (f *gifFrame) palette() (colors [256][3]uint8) {
	gray := true
	for i := range min(len(f.colors)/3, 256) {
		colors[i] = [3]uint8(f.colors[3*i:])
		gray = gray && colors[i] == [3]uint8{byte(i), byte(i), byte(i)}
	}
	if gray {
		for i := range colors {
			colors[i] = [3]uint8{byte(i), byte(i), byte(i)}
		}
	}
	return colors
}

// rows is the order of a frame's rows (appendix E).
func (f *gifFrame) rows() []int {
	h := f.rect.Dy()
	passes := [][2]int{{0, 1}}
	if f.interlaced {
		passes = [][2]int{{0, 8}, {4, 8}, {2, 4}, {1, 2}}
	}
	rows := make([]int, 0, h)
	for _, p := range passes {
		for y := p[0]; y < h; y += p[1] {
			rows = append(rows, y)
		}
	}
	return rows
}

// surround fills m outside of in.
func surround(ctx context.Context, m *image.NRGBA, in image.Rectangle, color [3]uint8) error {
	for y := range m.Rect.Dy() {
		if err := ctx.Err(); err != nil {
			return err
		}
		row := m.Pix[y*m.Stride:][:m.Stride]
		parts := [2][]byte{row, nil}
		if y >= in.Min.Y && y < in.Max.Y {
			parts = [2][]byte{row[:4*in.Min.X], row[4*in.Max.X:]}
		}
		for _, p := range parts {
			for i := 0; i < len(p); i += 4 {
				p[i], p[i+1], p[i+2], p[i+3] = color[0], color[1], color[2], 255
			}
		}
	}
	return nil
}
