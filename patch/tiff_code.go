package patch

import (
	"bytes"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"math/bits"

	"github.com/vitserve/vitserve/patch/jpeg"
	"golang.org/x/image/ccitt"
	"golang.org/x/image/tiff/lzw"
)

// decodeTIFF reads the first picture of a file row by row. x/image/tiff would
// hold whole strips, which may be the whole picture at sixteen bits, beside
// the picture, and knows no context.
func decodeTIFF(ctx context.Context, data []byte) (*image.NRGBA, error) {
	f, err := openTIFF(data)
	if err != nil {
		return nil, err
	}
	m := image.NewNRGBA(image.Rect(0, 0, f.width, f.height))
	across, down := f.blocks()
	t := tiffReader{tiffFile: f, ctx: ctx, convert: f.rower()}
	for n := range across * down * f.present {
		b := f.block(n%across, n/across%down, n/across/down)
		read := t.readBlock
		if f.compression == jpegCode {
			read = t.readJPEG
		}
		if err := read(m, b); err != nil {
			return nil, fmt.Errorf("block (%d, %d): %w", b.x, b.y, err)
		}
	}
	return m, nil
}

// tiffReader reads blocks one after the other, in the same memory.
type tiffReader struct {
	*tiffFile
	ctx     context.Context
	convert func(dst, src []byte, plane int) error
	row     []byte
	code    []byte // mirrored
	inflate io.ReadCloser
	unpack  unpacker
}

var errNoPixels = errors.New("not enough pixel data")

// readBlock reads a block; what its code has beyond its pixels does not matter.
func (f *tiffReader) readBlock(m *image.NRGBA, b tiffBlock) error {
	if f.mirrored {
		f.code = grow(f.code, len(b.code))
		for i, v := range b.code {
			f.code[i] = bits.Reverse8(v)
		}
		b.code = f.code
	}
	code, err := f.open(b)
	if err != nil {
		return err
	}
	r := io.LimitReader(code, b.largest)
	f.row = grow(f.row, b.row)
	row := f.row
	for y := range b.seenH {
		if err := f.ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(r, row)
		if n < b.need {
			if err != io.EOF && err != io.ErrUnexpectedEOF {
				return err
			}
			return fmt.Errorf("truncated TIFF: row %d of %d bytes, found %d: %w", y, b.need, n, errNoPixels)
		}
		if f.predict {
			f.undoDifferences(row)
		}
		if err := f.convert(m.Pix[(b.y+y)*m.Stride+4*b.x:][:4*b.seenW], row, b.plane); err != nil {
			return err
		}
	}
	return nil
}

// jpeg is the file that a block's JPEG is with the tables of all, and with a
// segment that says what its colours are.
func (f *tiffFile) jpeg(b tiffBlock) []byte {
	out := []byte("\xff\xd8")
	if f.samples == 3 {
		transform := byte(0)
		if f.photometric == ycbcr {
			transform = 1
		}
		out = append(out, "\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"...)
		out = append(out, transform)
	}
	if t := f.tables; len(t) > 4 {
		out = append(out, bytes.TrimSuffix(t[2:], []byte("\xff\xd9"))...)
	}
	return append(out, b.code[min(2, len(b.code)):]...)
}

// readJPEG reads a block that is a JPEG (TIFF Technical Note 2).
func (f *tiffReader) readJPEG(m *image.NRGBA, b tiffBlock) error {
	r, err := jpeg.Open(f.ctx, f.jpeg(b))
	if err != nil {
		return err
	}
	defer r.Close()
	if r.Width < b.seenW || r.Height < b.seenH {
		return fmt.Errorf("a JPEG of %d×%d pixels, want %d×%d", r.Width, r.Height, b.seenW, b.seenH)
	}
	for y := range b.seenH {
		if err := f.ctx.Err(); err != nil {
			return err
		}
		dst := m.Pix[(b.y+y)*m.Stride+4*b.x:][:4*b.seenW]
		r.Row(dst, y, 0, b.seenW)
		if f.photometric == whiteIsZero {
			for i := range dst {
				dst[i] ^= 255 * byte(min(1, 3-i&3))
			}
		}
	}
	return r.Finish()
}

// undoDifferences adds to each sample that of the pixel on its left (TIFF 6.0,
// section 14).
func (f *tiffFile) undoDifferences(row []byte) {
	if f.bits == 8 {
		n := f.samples / f.planes
		for i := n; i < len(row); i++ {
			row[i] += row[i-n]
		}
		return
	}
	n := 2 * (f.samples / f.planes)
	for i := n; i+2 <= len(row); i += 2 {
		f.order.PutUint16(row[i:], f.order.Uint16(row[i:])+f.order.Uint16(row[i-n:]))
	}
}

// open returns the bytes that a block's code stands for.
func (f *tiffReader) open(b tiffBlock) (io.Reader, error) {
	src := newReader(f.ctx, b.code)
	switch f.compression {
	case lzwCode:
		return lzw.NewReader(src, lzw.MSB, 8), nil
	case deflate, deflateOld:
		if f.inflate != nil {
			return f.inflate, f.inflate.(zlib.Resetter).Reset(src, nil)
		}
		z, err := zlib.NewReader(src)
		f.inflate = z
		return z, err
	case packBits:
		f.unpack = unpacker{ctx: f.ctx, src: b.code, left: b.largest}
		return &f.unpack, nil
	case group3, group4:
		order, kind := ccitt.MSB, ccitt.Group3
		if f.number(tiffFillOrder, 1) == lowBitsFirst {
			order = ccitt.LSB
		}
		if f.compression == group4 {
			kind = ccitt.Group4
		}
		return ccitt.NewReader(src, order, kind, b.w, b.h, &ccitt.Options{Invert: f.photometric == whiteIsZero}), nil
	}
	return src, nil
}

// unpacker undoes PackBits (TIFF 6.0, section 9): n from 0 to 127 stands
// before n+1 bytes, n from -127 to -1 before a byte that comes 1-n times, and
// -128 before nothing.
type unpacker struct {
	ctx  context.Context
	src  []byte
	left int64 // bytes that may still come
	todo []byte
	buf  [128]byte // a byte that comes several times
}

var errUnpacked = errors.New("PackBits become more than the block can hold")

func (u *unpacker) Read(p []byte) (int, error) {
	for len(u.todo) == 0 {
		if len(u.src) == 0 {
			return 0, io.EOF
		}
		n := int(int8(u.src[0]))
		u.src = u.src[1:]
		switch {
		case n >= 0:
			if len(u.src) <= n {
				return 0, io.ErrUnexpectedEOF
			}
			u.todo, u.src = u.src[:n+1], u.src[n+1:]
		case n > -128:
			if len(u.src) == 0 {
				return 0, io.ErrUnexpectedEOF
			}
			u.todo = u.buf[:1-n]
			fill(u.todo, u.src[0])
			u.src = u.src[1:]
		case len(u.src)%4096 == 0: // nothing may come many times
			if err := u.ctx.Err(); err != nil {
				return 0, err
			}
		}
		if u.left -= int64(len(u.todo)); u.left < 0 {
			return 0, errUnpacked
		}
	}
	n := copy(p, u.todo)
	u.todo = u.todo[n:]
	return n, nil
}
