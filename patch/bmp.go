package patch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"math"
	"slices"
)

var errBMPKind = errors.New("kind of BMP that is not decoded")

// bmpFile is a BMP whose header has been read (BITMAPINFOHEADER and its
// relatives, and OS/2's): what is read is what Pillow reads.
type bmpFile struct {
	width, height int
	bits          int // a pixel
	rowBits       int // of an index; not always as many, see readPalette
	stride        int // bytes of a row, a multiple of four
	down          bool
	runs          bool // pixels are run-length coded,
	runs4         bool // two to a byte
	palette       [256][3]byte
	fields        [3]bmpField // of red, green and blue, of pixels of more than 8 bits
	pix           []byte      // what there is from the first row on
	odd           int         // 1 if pix begins at an odd byte of the file
}

// bmpField is a colour in a pixel: its bits from shift on, and its highest value.
type bmpField struct{ shift, most uint32 }

// Values of a header's compression.
const (
	bmpRaw, bmpRuns8, bmpRuns4, bmpFields = 0, 1, 2, 3
)

// bmpMasks are the orders of red, green, blue and alpha that are read, by bits.
var bmpMasks = map[int][][4]uint32{
	16: {{0xf800, 0x7e0, 0x1f}, {0x7c00, 0x3e0, 0x1f}},
	24: {{0xff0000, 0xff00, 0xff}},
	32: {
		{0xff0000, 0xff00, 0xff, 0},
		{0xff000000, 0xff0000, 0xff00, 0},
		{0xff000000, 0xff00, 0xff, 0},
		{0xff000000, 0xff0000, 0xff00, 0xff},
		{0xff, 0xff00, 0xff0000, 0xff000000},
		{0xff0000, 0xff00, 0xff, 0xff000000},
		{0xff000000, 0xff00, 0xff, 0xff0000},
		{0, 0, 0, 0},
	},
}

// bmpHeaders are the lengths of headers: OS/2's of 12 and 64 bytes, and Windows'.
var bmpHeaders = []int64{12, 40, 52, 56, 64, 108, 124}

// bmpMagics are "BM" with nothing reserved, or with a header behind it.
func bmpMagics() []string {
	m := []string{"BM????\x00\x00\x00\x00"}
	for _, n := range bmpHeaders {
		m = append(m, "BM????????????"+string([]byte{byte(n), 0, 0, 0}))
	}
	return m
}

// dibMagics are the headers of a BMP that lacks its file header.
func dibMagics() (m []string) {
	for _, n := range bmpHeaders {
		m = append(m, string([]byte{byte(n), 0, 0, 0}))
	}
	return m
}

// bmpFormat is a format whose pixels are those of a BMP that open finds.
func bmpFormat(name string, magics []string, open func([]byte) (*bmpFile, error)) format {
	return format{
		name:   name,
		magics: magics,
		config: func(data []byte) (c image.Config, err error) {
			f, err := open(data)
			if err != nil {
				return c, err
			}
			return image.Config{Width: f.width, Height: f.height}, nil
		},
		cost: func(data []byte, w, h int) (int64, error) {
			f, err := open(data)
			if err != nil {
				return 0, err
			}
			return f.cost()
		},
		decode: func(ctx context.Context, data []byte) (*image.NRGBA, error) {
			f, err := open(data)
			if err != nil {
				return nil, err
			}
			return f.decode(ctx)
		},
	}
}

// openBMP reads the headers and the palette.
func openBMP(data []byte) (*bmpFile, error) {
	const fileHeader = 14
	if len(data) < fileHeader {
		return nil, fmt.Errorf("truncated BMP: header in %d bytes", len(data))
	}
	return readBMP(data, fileHeader, int64(binary.LittleEndian.Uint32(data[10:])))
}

// openDIB is openBMP for a file that begins where the file header of a BMP ends.
func openDIB(data []byte) (*bmpFile, error) { return readBMP(data, 0, 0) }

// readBMP reads the header at a byte of data and the palette. The rows begin at
// offset; 0: behind those.
func readBMP(data []byte, at, offset int64) (f *bmpFile, err error) {
	const core = 12
	le := binary.LittleEndian
	if int64(len(data)) < at+core {
		return nil, fmt.Errorf("truncated BMP: header in %d bytes", len(data))
	}
	f = &bmpFile{}
	size := int64(le.Uint32(data[at:]))
	if !slices.Contains(bmpHeaders, size) {
		return nil, fmt.Errorf("header of %d bytes, want 12, 40, 52, 56, 64, 108 or 124", size)
	}
	if int64(len(data)) < at+size {
		return nil, fmt.Errorf("truncated BMP: header of %d bytes in %d", at+size, len(data))
	}
	header, rest := data[at:at+size], data[at+size:]
	compression, colors, entry := uint32(bmpRaw), int64(0), 3
	if size == core {
		f.width, f.height, f.bits = int(le.Uint16(header[4:])), int(le.Uint16(header[6:])), int(le.Uint16(header[10:]))
	} else {
		w, h := le.Uint32(header[4:]), le.Uint32(header[8:])
		f.bits, compression, colors, entry = int(le.Uint16(header[14:])), le.Uint32(header[16:]), int64(le.Uint32(header[32:])), 4
		if h>>24 == 0xff { // negative: rows go down
			f.down, h = true, -h
		}
		if w > math.MaxInt32 || h > math.MaxInt32 {
			return nil, fmt.Errorf("%d×%d pixels", int32(w), int32(h))
		}
		f.width, f.height = int(w), int(h)
	}
	if !slices.Contains([]int{1, 4, 8, 16, 24, 32, 2}, f.bits) {
		return nil, fmt.Errorf("%d bits a pixel, want 1, 2, 4, 8, 16, 24 or 32", f.bits)
	}
	masks := [4]uint32{0x7c00, 0x3e0, 0x1f}
	if f.bits >= 24 {
		masks = [4]uint32{0xff0000, 0xff00, 0xff}
	}
	switch compression {
	case bmpRaw:
	case bmpRuns8, bmpRuns4:
		if f.bits > 8 {
			return nil, fmt.Errorf("BMP: run-length coding needs 4 or 8 bits a pixel, found %d", f.bits)
		}
		f.runs, f.runs4 = true, compression == bmpRuns4
	case bmpFields:
		if masks, rest, err = f.readMasks(header, rest); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("compression %d, want 0 to 3: %w", compression, errBMPKind)
	}
	for i := range f.fields {
		f.fields[i] = newBMPField(masks[i])
	}
	f.rowBits = f.bits
	if f.bits <= 8 {
		if colors == 0 {
			colors = 1 << f.bits
		}
		if colors > 65536 {
			return nil, fmt.Errorf("palette of %d colors, want at most 65536", colors)
		}
		if offset == at+size {
			offset += int64(entry) * colors
		}
		rest = f.readPalette(rest, int(colors), entry)
	}
	if offset == 0 {
		offset = int64(len(data) - len(rest))
	}
	f.stride = (f.width*f.bits + 31) / 32 * 4
	f.pix, f.odd = data[min(offset, int64(len(data))):], int(offset&1)
	return f, nil
}

// readMasks reads which bits of a pixel are which colour, from the header or
// behind a short one.
func (f *bmpFile) readMasks(header, rest []byte) (masks [4]uint32, after []byte, err error) {
	const at, alpha = 40, 56
	from := rest
	n := 3
	if len(header) >= at+12 {
		from = header[at:]
		if len(header) >= alpha {
			n = 4
		}
	} else if len(rest) < 12 {
		return masks, rest, fmt.Errorf("truncated BMP: masks of 12 bytes, found %d", len(rest))
	} else {
		rest = rest[12:]
	}
	for i := range n {
		masks[i] = binary.LittleEndian.Uint32(from[4*i:])
	}
	known := masks
	if f.bits < 32 {
		known[3] = 0
	}
	if !slices.Contains(bmpMasks[f.bits], known) {
		return masks, rest, fmt.Errorf("bit fields %08x of %d bits a pixel: %w", masks, f.bits, errBMPKind)
	}
	if masks == ([4]uint32{}) {
		masks = [4]uint32{0xff0000, 0xff00, 0xff}
	}
	return masks, rest, nil
}

func newBMPField(mask uint32) (f bmpField) {
	for mask != 0 && mask&1 == 0 {
		mask >>= 1
		f.shift++
	}
	f.most = mask
	return f
}

// readPalette takes colours of blue, green and red; what is not there is black.
// If they are a ramp of grays, Pillow forgets them and takes the pixels of any
// depth for grays of eight bits, or of one if there are only two.
func (f *bmpFile) readPalette(rest []byte, colors, entry int) (after []byte) {
	for i := range min(colors, len(f.palette)) {
		if len(rest) < entry*i+3 {
			break
		}
		b := rest[entry*i:]
		f.palette[i] = [3]byte{b[2], b[1], b[0]}
	}
	gray := true
	for i := range colors {
		want := byte(i)
		if colors == 2 {
			want = byte(255 * i)
		}
		b := rest[min(entry*i, len(rest)):]
		gray = gray && i < 256 && len(b) >= 3 && b[0] == want && b[1] == want && b[2] == want
	}
	switch {
	case gray && colors > 2:
		for i := range f.palette {
			f.palette[i] = [3]byte{byte(i), byte(i), byte(i)}
		}
		f.rowBits = 8
	case gray:
		for i := 1; i < len(f.palette); i++ {
			f.palette[i] = [3]byte{255, 255, 255}
		}
		f.rowBits = 1
	}
	return rest[min(entry*colors, len(rest)):]
}

// cost refuses files that lack rows. Of runs any number of pixels may be
// left out, but Pillow wants their end, or all rows.
func (f *bmpFile) cost() (n int64, err error) {
	w, h := f.width, f.height
	n = 4 * int64(w) * int64(h)
	if f.runs {
		return n, nil
	}
	row := int64(w*f.rowBits+7) / 8
	if row > int64(f.stride) {
		return 0, fmt.Errorf("grays of %d bits in rows of %d bytes, want %d", f.bits, f.stride, row)
	}
	// The last row may lack its padding.
	need := int64(f.stride)*int64(h-1) + row
	if int64(len(f.pix)) < need {
		err = fmt.Errorf("truncated BMP: %d×%d pixels of %d bits take %d bytes, found %d", w, h, f.rowBits, need, len(f.pix))
	}
	return n, err
}

// decode reads rows of fields, or of indices.
func (f *bmpFile) decode(ctx context.Context) (*image.NRGBA, error) {
	m := image.NewNRGBA(image.Rect(0, 0, f.width, f.height))
	if f.runs {
		return m, f.readRuns(ctx, m)
	}
	for y := range f.height {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f.row(m.Pix[f.place(y)*m.Stride:][:m.Stride], f.pix[y*f.stride:])
	}
	return m, nil
}

// place is where row y of the file lies in the picture.
func (f *bmpFile) place(y int) int {
	if f.down {
		return y
	}
	return f.height - 1 - y
}

// row converts a row of pixels, the first bits or bytes first.
func (f *bmpFile) row(dst, src []byte) {
	le := binary.LittleEndian
	r, g, b := f.fields[0], f.fields[1], f.fields[2]
	switch {
	case f.bits <= 8:
		paletteRow(dst, src, f.rowBits, &f.palette, 256)
	case f.bits == 16:
		for i := 0; i < len(dst); i += 4 {
			v := uint32(le.Uint16(src[i/2:]))
			d := dst[i : i+4 : i+4]
			d[0], d[1], d[2], d[3] = r.of(v), g.of(v), b.of(v), 255
		}
	case r.shift == 16 && g.shift == 8 && b.shift == 0:
		for i, n := 0, f.bits/8; i < len(dst); i += 4 {
			d, s := dst[i:i+4:i+4], src[:3]
			d[0], d[1], d[2], d[3] = s[2], s[1], s[0], 255
			src = src[min(n, len(src)):]
		}
	default:
		n := f.bits / 8
		red, green, blue := r.shift/8, g.shift/8, b.shift/8
		for i := 0; i < len(dst); i += 4 {
			d := dst[i : i+4 : i+4]
			d[0], d[1], d[2], d[3] = src[red], src[green], src[blue], 255
			src = src[min(n, len(src)):]
		}
	}
}

// of is the field's value in v as one of 0 to 255, rounded down as Pillow does.
func (f bmpField) of(v uint32) byte { return byte(v >> f.shift & f.most * 255 / f.most) }
