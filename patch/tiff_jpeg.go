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
	out := append(jpegTables(f.tables), b.code[min(2, len(b.code)):]...)
	return append(out, jpegEnds...) // as libtiff does where the code ends
}

// jpegEnds are ends of an image, as many as a segment may lack bytes.
const jpegEnds = "\xff\xd9\xff\xd9\xff\xd9\xff\xd9\xff\xd9\xff\xd9\xff\xd9\xff\xd9"

// jpegTables is a file of the tables that are right, as far as libjpeg would
// read them. Where they end too early libtiff gives it ends of an image, which are
// the rest of a segment.
func jpegTables(t []byte) []byte {
	const dqt, dht, most = 0xdb, 0xc4, 4096 // bytes of a segment of whole tables
	out := []byte("\xff\xd8")
	t = t[min(2, len(t)):]
	for len(t) >= 4 {
		if t[0] != 0xff || t[1] == 0xff || t[1] == 0 { // passed over
			t = t[1:]
			continue
		}
		n := 2 + (int(t[2])<<8 | int(t[3]))
		if lacking := n - len(t); lacking > 0 && n <= most {
			t = append(t[:len(t):len(t)], bytes.Repeat([]byte{0xff, 0xd9}, (lacking+1)/2)...)[:n]
		}
		if n < 4 || n > len(t) || t[1] != dqt && t[1] != dht && t[1] != 0xdd && t[1] < 0xe0 {
			break
		}
		if n > 4 && (t[1] == dqt && t[4]&15 > 3 || t[1] == dht && t[4]&^0x10 > 3) {
			break
		}
		out = append(out, t[:n]...)
		t = t[n:]
	}
	return out
}

// jpegColors says what the components of a block's JPEG are: by what the TIFF
// says, not by what the JPEG does.
func (f *tiffFile) jpegColors() jpeg.Colors {
	switch {
	case f.bits == 12:
		return jpeg.AsTwelve
	case f.photometric == ycbcr && f.planes == 1:
		return jpeg.AsYCbCr
	}
	return jpeg.AsSamples
}

// fits refuses the JPEG of a block that is far larger. The last strip may be as
// high as it likes, if it takes no memory.
func (f *tiffFile) fits(h jpeg.Header, b tiffBlock) error {
	const spare = 64 << 20
	n := f.samples / f.planes
	wide, high := h.Width > 2*b.w+16, h.Height > 2*b.h+16
	if high && !f.tiled && h.Width == b.w && b.y+b.h == f.height && h.Cost(0).Rows <= spare {
		high = false
	}
	if wide || high || h.Components != n {
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
	w := min(b.seenW, r.Width) // what a smaller one lacks is 0
	if as == jpeg.AsTwelve {
		w = min(w, r.Width&^1) // libtiff packs pairs of samples and leaves one that is alone at 0
	}
	f.row = grow(f.row, 4*b.seenW)
	clear(f.row)
	for y := range b.seenH {
		if err := f.ctx.Err(); err != nil {
			return err
		}
		dst := m.Pix[(b.y+y)*m.Stride+4*b.x:][:4*b.seenW]
		if y >= r.Height {
			clear(f.row)
		} else {
			r.Row(f.row, y, 0, w)
		}
		if as == jpeg.AsYCbCr {
			copy(dst, f.row)
			for i := 3; i < len(dst); i += 4 {
				dst[i] = 255
			}
			continue
		}
		for i := range b.seenW { // samples side by side
			copy(f.row[n*i:n*i+n], f.row[4*i:4*i+4])
		}
		f.convert(dst, f.row, b.plane)
	}
	return r.Err() // what follows the rows does not matter
}
