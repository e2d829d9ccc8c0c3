package patch

import (
	"bufio"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"image"
	"io"

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
	m := image.NewNRGBA(image.Rect(0, 0, f.Width, f.Height))
	across, down := f.blocks()
	convert := f.rower()
	for i := range across {
		for j := range down {
			if err := f.readBlock(ctx, m, f.block(i, j), convert); err != nil {
				return nil, fmt.Errorf("block (%d, %d): %w", i, j, err)
			}
		}
	}
	return m, nil
}

var errNoPixels = errors.New("not enough pixel data")

// readBlock reads a block and what its code has beyond its pixels, which may
// be wrong.
func (f *tiffFile) readBlock(ctx context.Context, m *image.NRGBA, b tiffBlock, convert func(dst, src []byte) error) error {
	code, err := f.open(ctx, b)
	if err != nil {
		return err
	}
	r := io.LimitReader(code, b.largest)
	row := make([]byte, b.row+1)[:b.row]
	rows := b.seenH
	if f.predict && b.w > 1 {
		rows = b.h // the differences of padding must be there, too
	}
	for y := range rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(r, row)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		if n < b.need {
			return fmt.Errorf("row %d of %d bytes, found %d: %w", y, b.need, n, errNoPixels)
		}
		if y >= b.seenH {
			continue
		}
		if f.predict {
			f.undoDifferences(row)
		}
		if err := convert(m.Pix[(b.y+y)*m.Stride+4*b.x:][:4*b.seenW], row); err != nil {
			return err
		}
	}
	_, err = io.Copy(io.Discard, r)
	return err
}

// undoDifferences adds to each sample that of the pixel on its left (TIFF 6.0,
// section 14).
func (f *tiffFile) undoDifferences(row []byte) {
	if f.bits == 8 {
		for i := f.samples; i < len(row); i++ {
			row[i] += row[i-f.samples]
		}
		return
	}
	n := 2 * f.samples
	for i := n; i+2 <= len(row); i += 2 {
		f.order.PutUint16(row[i:], f.order.Uint16(row[i:])+f.order.Uint16(row[i-n:]))
	}
}

// open returns the bytes that a block's code stands for.
func (f *tiffFile) open(ctx context.Context, b tiffBlock) (io.Reader, error) {
	src := newReader(ctx, b.code)
	switch f.compression {
	case lzwCode:
		return lzw.NewReader(src, lzw.MSB, 8), nil
	case deflate, deflateOld:
		return zlib.NewReader(src)
	case packBits:
		return &unpacker{src: bufio.NewReader(src), left: b.largest}, nil
	case group3, group4:
		order, kind := ccitt.MSB, ccitt.Group3
		if f.number(tiffFillOrder) == lowBitsFirst {
			order = ccitt.LSB
		}
		if f.compression == group4 {
			kind = ccitt.Group4
		}
		return ccitt.NewReader(src, order, kind, b.w, b.h, &ccitt.Options{Invert: f.photometric == whiteIsZero}), nil
	}
	if b.length > b.largest {
		return nil, fmt.Errorf("%d bytes, want at most %d", b.length, b.largest)
	}
	if int64(len(b.code)) < b.length {
		return nil, fmt.Errorf("%d bytes, found %d: %w", b.length, len(b.code), io.ErrUnexpectedEOF)
	}
	return src, nil
}

// unpacker undoes PackBits (TIFF 6.0, section 9): n from 0 to 127 stands
// before n+1 bytes, n from -127 to -1 before a byte that comes 1-n times, and
// -128 before nothing.
type unpacker struct {
	src  *bufio.Reader
	left int64 // bytes that may still come
	buf  [128]byte
	todo []byte
}

var errUnpacked = errors.New("PackBits become more than the block can hold")

func (u *unpacker) Read(p []byte) (int, error) {
	for len(u.todo) == 0 {
		b, err := u.src.ReadByte()
		if err != nil {
			return 0, err
		}
		n := int(int8(b))
		switch {
		case n >= 0:
			u.todo = u.buf[:n+1]
			if _, err := io.ReadFull(u.src, u.todo); err != nil {
				return 0, noEOF(err)
			}
		case n > -128:
			if b, err = u.src.ReadByte(); err != nil {
				return 0, noEOF(err)
			}
			u.todo = u.buf[:1-n]
			for i := range u.todo {
				u.todo[i] = b
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

// noEOF is err of a read in the midst of something.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
