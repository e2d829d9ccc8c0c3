package patch

import (
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"math/bits"

	"github.com/klauspost/compress/zstd"
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
	t := tiffReader{tiffFile: f, ctx: ctx, convert: f.rower()}
	defer t.close()
	if f.compression == oldJPEGCode {
		return m, t.readOldJPEG(m)
	}
	for n := range f.present {
		b := f.block(n)
		read := t.readBlock
		switch {
		case f.compression == jpegCode:
			read = t.readJPEG
		case f.colors != nil && f.planes == 1:
			read = t.readShared
		}
		if err := read(m, b); err != nil {
			return nil, fmt.Errorf("block (%d, %d): %w", b.x, b.y, err)
		}
	}
	return m, t.finish(m)
}

// tiffReader reads blocks one after the other, in the same memory.
type tiffReader struct {
	*tiffFile
	ctx     context.Context
	convert func(dst, src []byte, plane int)
	row     []byte
	code    []byte // mirrored
	inflate io.ReadCloser
	zstd    *zstd.Decoder
	unpack  unpacker
	fax     fax
	floats  []byte // a row of them, by bytes
}

var errNoPixels = errors.New("not enough pixel data")

// finish makes pixels of what was there in planes only, and opaque what has no
// block.
func (f *tiffReader) finish(m *image.NRGBA) error {
	across, down := f.blocks()
	whole := f.present == across*down*f.read
	if whole && (f.planes == 1 || f.photometric != inks && f.photometric != ycbcr && f.photometric != cielab) {
		return nil
	}
	empty := f.empty()
	for y := range f.height {
		if err := f.ctx.Err(); err != nil {
			return err
		}
		row := m.Pix[y*m.Stride:][:m.Stride]
		if f.planes > 1 {
			f.mix(row)
			continue
		}
		if whole {
			continue
		}
		for i := 0; i < len(row); i += 4 {
			if row[i+3] == 0 {
				copy(row[i:i+4], empty[:])
			}
		}
	}
	return nil
}

// readBlock reads a block; what its code has beyond its pixels does not matter.
func (f *tiffReader) readBlock(m *image.NRGBA, b tiffBlock) error {
	asis := false
	if f.colors != nil && f.predictor > 0 {
		var err error
		if asis, err = f.broken(b); err != nil {
			return err
		}
	}
	code, err := f.open(b)
	if err != nil {
		if f.colors == nil {
			return err
		}
		code = errorReader{}
	}
	r := io.LimitReader(code, b.largest)
	f.row = grow(f.row, b.row)
	row := f.row
	torn := false
	for y := range b.seenH {
		if err := f.ctx.Err(); err != nil {
			return err
		}
		n := 0
		if !torn {
			n, err = io.ReadFull(r, row)
		}
		if n < b.need && f.colors != nil { // libtiff leaves the rest at 0
			torn = true
			clear(row[n:])
		} else if n < b.need {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return err
			}
			return fmt.Errorf("truncated TIFF: row %d of %d bytes, found %d: %w", y, b.need, n, errNoPixels)
		}
		if !asis {
			f.undoDifferences(row)
		}
		f.convert(m.Pix[(b.y+y)*m.Stride+4*b.x:][:4*b.seenW], row, b.plane)
	}
	return nil
}

// mirror writes bytes of which the lowest bit was the first.
func mirror(dst, src []byte) {
	for i, v := range src {
		dst[i] = bits.Reverse8(v)
	}
}

// open returns the bytes that a block's code stands for.
func (f *tiffReader) open(b tiffBlock) (io.Reader, error) {
	if f.mirrored {
		f.code = grow(f.code, len(b.code))
		mirror(f.code, b.code)
		b.code = f.code
	}
	src := newReader(f.ctx, b.code)
	switch f.compression {
	case lzwCode:
		if len(b.code) > 1 && b.code[0] == 0 && b.code[1]&1 == 1 {
			return newOldLZW(f.ctx, b.code), nil
		}
		return lzw.NewReader(src, lzw.MSB, 8), nil
	case deflate, deflateOld:
		if f.inflate != nil {
			return f.inflate, f.inflate.(zlib.Resetter).Reset(src, nil)
		}
		z, err := zlib.NewReader(src)
		f.inflate = z
		return z, err
	case packBits:
		f.unpack = unpacker{ctx: f.ctx, src: b.code}
		return &f.unpack, nil
	case zstdCode:
		return f.openZstd(b, src)
	case lzmaCode:
		return newXZ(f.ctx, b.code, int64(b.row)*int64(b.h))
	case thunderScan:
		return &thunder{ctx: f.ctx, src: b.code, width: b.w}, nil
	case faxRows, faxWords, group3, group4:
		f.fax.reset(f.ctx, b.code, f.compression, b.w, f.compression == group3 && f.number(tiffT4Options, 0)&1 == 1)
		f.fax.odd, f.fax.tile = b.odd, f.tiled
		return &f.fax, nil
	}
	return src, nil
}

// unpacker undoes PackBits (TIFF 6.0, section 9): n from 0 to 127 stands
// before n+1 bytes, n from -127 to -1 before a byte that comes 1-n times, and
// -128 before nothing.
type unpacker struct {
	ctx  context.Context
	src  []byte
	todo []byte
	buf  [128]byte // a byte that comes several times
}

func (u *unpacker) Read(p []byte) (int, error) {
	for len(u.todo) == 0 {
		if len(u.src) == 0 {
			return 0, io.EOF
		}
		n := int(int8(u.src[0]))
		u.src = u.src[1:]
		switch {
		case n >= 0:
			n = min(n+1, len(u.src)) // fewer may do
			u.todo, u.src = u.src[:n], u.src[n:]
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
	}
	n := copy(p, u.todo)
	u.todo = u.todo[n:]
	return n, nil
}
