package patch

import (
	"compress/lzw"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
)

// gifFrame is the first frame of a GIF (GIF89a, sections 18 to 23).
type gifFrame struct {
	width, height int // of the canvas
	rect          image.Rectangle
	interlaced    bool
	colors        []byte // its palette, three bytes each
	transparent   int    // index of the transparent colour; -1: none
	bits          int    // of the first codes, less one
	code          []byte // sub-blocks of LZW code, and what follows
}

var errGIFColors = errors.New("no color table")

// openGIF reads a file up to its first frame's code.
func openGIF(data []byte) (*gifFrame, error) {
	const header, descriptor = 13, 10
	if len(data) < header {
		return nil, io.ErrUnexpectedEOF
	}
	le := binary.LittleEndian
	f := &gifFrame{width: int(le.Uint16(data[6:])), height: int(le.Uint16(data[8:])), transparent: -1}
	colors, data, err := gifColors(data[10], data[header:])
	if err != nil {
		return nil, err
	}
	for {
		if len(data) < 2 {
			return nil, io.ErrUnexpectedEOF
		}
		switch data[0] {
		case 0x21:
			if data, err = f.extension(data[1], data[2:]); err != nil {
				return nil, err
			}
		case 0x2c:
			if len(data) < descriptor {
				return nil, io.ErrUnexpectedEOF
			}
			x, y := int(le.Uint16(data[1:])), int(le.Uint16(data[3:]))
			f.rect = image.Rect(x, y, x+int(le.Uint16(data[5:])), y+int(le.Uint16(data[7:])))
			if !f.rect.In(image.Rect(0, 0, f.width, f.height)) {
				return nil, fmt.Errorf("frame %v is not inside the canvas of %d×%d", f.rect, f.width, f.height)
			}
			flags := data[9]
			f.interlaced = flags&0x40 != 0
			own, rest, err := gifColors(flags, data[descriptor:])
			switch {
			case err != nil:
				return nil, err
			case len(own) > 0:
				colors = own
			case len(colors) == 0:
				return nil, errGIFColors
			}
			f.colors = colors
			if len(rest) == 0 {
				return nil, io.ErrUnexpectedEOF
			}
			if f.bits = int(rest[0]); f.bits < 2 || f.bits > 8 {
				return nil, fmt.Errorf("codes of %d bits, want 2 to 8", f.bits)
			}
			f.code = rest[1:]
			return f, nil
		default:
			return nil, fmt.Errorf("block of type %#x before the first frame", data[0])
		}
	}
}

// gifColors takes the table that flags announce.
func gifColors(flags byte, data []byte) (colors, rest []byte, err error) {
	if flags&0x80 == 0 {
		return nil, data, nil
	}
	n := 3 << (flags&7 + 1)
	if len(data) < n {
		return nil, nil, fmt.Errorf("color table of %d bytes, found %d: %w", n, len(data), io.ErrUnexpectedEOF)
	}
	return data[:n], data[n:], nil
}

// extension reads one that has a label, and returns what follows it.
func (f *gifFrame) extension(label byte, data []byte) ([]byte, error) {
	const text, control, comment, application = 0x01, 0xf9, 0xfe, 0xff
	skip := 0
	switch label {
	case control:
		if len(data) < 6 {
			return nil, io.ErrUnexpectedEOF
		}
		if data[0] != 4 || data[5] != 0 {
			return nil, fmt.Errorf("graphic control of %d bytes that ends with %d, want 4 and 0", data[0], data[5])
		}
		if data[1]&1 == 1 {
			f.transparent = int(data[4])
		}
		return data[6:], nil
	case text:
		skip = 13
	case application:
		if len(data) == 0 {
			return nil, io.ErrUnexpectedEOF
		}
		skip = 1 + int(data[0])
	case comment:
	default:
		return nil, fmt.Errorf("extension %#x", label)
	}
	if len(data) < skip {
		return nil, io.ErrUnexpectedEOF
	}
	for data = data[skip:]; ; {
		if len(data) == 0 || len(data) < 1+int(data[0]) {
			return nil, io.ErrUnexpectedEOF
		}
		n := int(data[0])
		if data = data[1+n:]; n == 0 {
			return data, nil
		}
	}
}

// gifBlocks are the bytes in sub-blocks up to the empty one.
type gifBlocks struct {
	ctx   context.Context
	block []byte // what is left of one
	rest  []byte // what follows it
}

// next goes to the next sub-block; io.EOF is the empty one.
func (b *gifBlocks) next() error {
	if err := b.ctx.Err(); err != nil {
		return err
	}
	if len(b.rest) == 0 {
		return io.ErrUnexpectedEOF
	}
	n := int(b.rest[0])
	if n == 0 {
		return io.EOF
	}
	if len(b.rest) < 1+n {
		b.rest = nil
		return io.ErrUnexpectedEOF
	}
	b.block, b.rest = b.rest[1:1+n], b.rest[1+n:]
	return nil
}

// ReadByte makes b an io.ByteReader.
func (b *gifBlocks) ReadByte() (byte, error) {
	if len(b.block) == 0 {
		if err := b.next(); err != nil {
			return 0, err
		}
	}
	c := b.block[0]
	b.block = b.block[1:]
	return c, nil
}

func (b *gifBlocks) Read(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		if p[n], err = b.ReadByte(); err == nil {
			n++
		}
	}
	return n, err
}

var errGIFMore = errors.New("too much image data")

// end says what follows the code that was read: the rest of its sub-block, or
// one of a single byte, and nothing else. Some encoders write that much.
func (b *gifBlocks) end() error {
	if len(b.block) == 0 {
		if err := b.next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if len(b.block) > 1 {
			return errGIFMore
		}
	}
	if err := b.next(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errGIFMore
		}
		return err
	}
	return nil
}

// A code of w bits, at most 12, is one of 2ʷ strings, of which the longest has
// as many bytes: LZW makes no more than 4096 bytes of 12 bits.
func unpackedLZW(code int64) int64 { return code*8*4096/12 + 4096 }

// gifCost refuses files whose code is too short for their frame.
func gifCost(data []byte, w, h int) (int64, error) {
	f, err := openGIF(data)
	if err != nil {
		return 0, err
	}
	var n int64
	for rest := f.code; len(rest) > 0 && rest[0] != 0; rest = rest[min(1+int(rest[0]), len(rest)):] {
		n += int64(rest[0])
	}
	if most := unpackedLZW(n); most < int64(f.rect.Dx())*int64(f.rect.Dy()) {
		return 0, fmt.Errorf("%d bytes of LZW code become %d pixels at most, the frame has %d×%d", n, most, f.rect.Dx(), f.rect.Dy())
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
	var colors [256][3]uint8
	n := copy3(colors[:], f.colors)
	background := 0
	switch {
	case f.transparent >= n: // the palette is longer by transparent black
		n = f.transparent + 1
	case f.transparent >= 0:
		background = f.transparent
	}
	blocks := &gifBlocks{ctx: ctx, rest: f.code}
	code := lzw.NewReader(blocks, lzw.LSB, f.bits)
	canvas := image.NewNRGBA(image.Rect(0, 0, f.width, f.height))
	in := f.rect
	row := make([]byte, in.Dx())
	for _, y := range f.rows() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(code, row); err != nil {
			return nil, fmt.Errorf("row %d: %w", y, noEOF(err))
		}
		dst := canvas.Pix[(in.Min.Y+y)*canvas.Stride:][4*in.Min.X : 4*in.Max.X]
		if !paletteRow(dst, row, 8, &colors, n) {
			return nil, fmt.Errorf("row %d has an index beyond the palette of %d", y, n)
		}
	}
	if n, err := code.Read(make([]byte, 1)); n > 0 {
		return nil, errGIFMore
	} else if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) { // the end need not be told
		return nil, err
	}
	if err := blocks.end(); err != nil {
		return nil, err
	}
	return canvas, surround(ctx, canvas, in, colors[background])
}

// copy3 fills colors from bytes and returns their number.
func copy3(colors [][3]uint8, b []byte) (n int) {
	for ; n < len(colors) && 3*n+3 <= len(b); n++ {
		colors[n] = [3]uint8(b[3*n:])
	}
	return n
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
