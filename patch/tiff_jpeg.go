package patch

import (
	"bytes"
	"fmt"
	"image"

	"github.com/vitserve/vitserve/patch/jpeg"
)

// jpeg is the file that a block's JPEG is with the tables of all (TIFF
// Technical Note 2).
func (f *tiffFile) jpeg(b tiffBlock) []byte {
	t := f.tables
	if len(t) < 4 {
		return b.code
	}
	t = bytes.TrimSuffix(t, []byte("\xff\xd9"))
	return append(t[:len(t):len(t)], b.code[min(2, len(b.code)):]...)
}

// jpegColors says what the components of a block's JPEG are: by what the TIFF
// says, not by what the JPEG does.
func (f *tiffFile) jpegColors() jpeg.Colors {
	if f.photometric == ycbcr && f.planes == 1 {
		return jpeg.AsYCbCr
	}
	return jpeg.AsSamples
}

// fits refuses the JPEG of a block that is smaller, or far larger. The last strip
// may be as high as it likes, if it takes no memory.
func (f *tiffFile) fits(h jpeg.Header, b tiffBlock) error {
	const spare = 64 << 20
	n := f.samples / f.planes
	wide, high := h.Width > 2*b.w+16, h.Height > 2*b.h+16
	if high && !f.tiled && h.Width == b.w && b.y+b.h == f.height && h.Cost(0).Rows <= spare {
		high = false
	}
	if h.Width < b.seenW || h.Height < b.seenH || wide || high || h.Components != n {
		return fmt.Errorf("a JPEG of %d×%d pixels and %d components, want %d×%d and %d", h.Width, h.Height, h.Components, b.w, b.h, n)
	}
	return nil
}

// readJPEG reads a block that is a JPEG.
func (f *tiffReader) readJPEG(m *image.NRGBA, b tiffBlock) error {
	as := f.jpegColors()
	r, err := jpeg.OpenAs(f.ctx, f.jpeg(b), as)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := f.fits(r.Header, b); err != nil {
		return err
	}
	n := f.samples / f.planes
	f.row = grow(f.row, 4*b.seenW)
	for y := range b.seenH {
		if err := f.ctx.Err(); err != nil {
			return err
		}
		dst := m.Pix[(b.y+y)*m.Stride+4*b.x:][:4*b.seenW]
		if as == jpeg.AsYCbCr {
			r.Row(dst, y, 0, b.seenW)
			continue
		}
		row := r.Row(f.row, y, 0, b.seenW)
		for i := range b.seenW { // samples side by side
			copy(row[n*i:n*i+n], row[4*i:])
		}
		f.convert(dst, row, b.plane)
	}
	return r.Finish()
}
