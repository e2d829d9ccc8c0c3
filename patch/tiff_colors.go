package patch

import (
	"errors"
	"image"
	"io"
)

// tiffColors is the YCbCr of a TIFF that is no JPEG, as libtiff makes RGB of it
// (tif_color.c): samples of color are shared by pixels, which lie one after the
// other before them, and repeated; coefficients and the levels of black and
// white are the file's.
type tiffColors struct {
	across, down int // pixels that share colors
	y, crR, cbB  [256]int32
	crG, cbG     [256]int32 // with 16 bits of fraction
}

// row is how many bytes rows of so many pixels take that share colors.
func (c *tiffColors) row(w int) int { return ceilDiv(w, c.across) * (c.across*c.down + 2) }

// readColors reads what the YCbCr is.
func (f *tiffFile) readColors() error {
	c := &tiffColors{across: 2, down: 2}
	if s, _ := f.first(tiffSubsampling, 2); s.len() == 2 {
		c.across, c.down = int(s.at(0)), int(s.at(1))
	}
	switch [2]int{c.across, c.down} {
	case [2]int{1, 1}:
	case [2]int{4, 4}, [2]int{4, 2}, [2]int{4, 1}, [2]int{2, 2}, [2]int{2, 1}, [2]int{1, 2}:
		if f.planes > 1 {
			return lacking("YCbCr subsampled by %d×%d in %d planes", c.across, c.down, f.planes)
		}
	default:
		return lacking("YCbCr subsampled by %d×%d", c.across, c.down)
	}
	luma := [3]float32{0.299, 0.587, 0.114}
	f.numbers(tiffYCbCr, luma[:])
	levels := [6]float32{0, 255, 128, 255, 128, 255}
	f.numbers(tiffReferenceLevels, levels[:])
	c.prepare(luma, levels)
	f.colors = c
	return nil
}

// numbers reads the values of a tag, if all of them are there.
func (f *tiffFile) numbers(tag uint16, to []float32) {
	v, _ := f.first(tag, uint64(len(to)))
	if v.len() < len(to) {
		return
	}
	for i := range to {
		to[i] = float32(v.float(i))
	}
}

// prepare computes the tables: of red 0.299, say, follows what Cr adds to it.
func (c *tiffColors) prepare(luma [3]float32, levels [6]float32) {
	const shift, half = 16, 1 << 15
	fix := func(v float32) int32 { return int32(float64(min(max(v, 0), 2))*(1<<shift) + 0.5) }
	red := 2 - 2*luma[0]
	blue := 2 - 2*luma[2]
	d1, d2 := fix(red), -fix(luma[0]*red/luma[1])
	d3, d4 := fix(blue), -fix(luma[2]*blue/luma[1])
	level := func(code int, black, white, most float32) int32 {
		between := white - black
		if between == 0 {
			between = 1
		}
		v := float32(int32(code)-int32(black)) * most / between
		if v != v { // not a number
			v = 0
		}
		return int32(min(max(v, -128*32), 128*32))
	}
	for i := range 256 {
		cr := level(i-128, levels[4]-128, levels[5]-128, 127)
		cb := level(i-128, levels[2]-128, levels[3]-128, 127)
		c.crR[i] = (d1*cr + half) >> shift
		c.cbB[i] = (d3*cb + half) >> shift
		c.crG[i] = d2 * cr
		c.cbG[i] = d4*cb + half
		c.y[i] = level(i, levels[0], levels[1], 255)
	}
}

func (c *tiffColors) rgb(y, cb, cr byte) (r, g, b byte) {
	v := c.y[y]
	return clip(int(v + c.crR[cr])), clip(int(v + (c.cbG[cb]+c.crG[cr])>>16)), clip(int(v + c.cbB[cb]))
}

// broken reports whether a block's code has something wrong before its end;
// libtiff then leaves differences as they are.
func (f *tiffReader) broken(b tiffBlock) (bool, error) {
	code, err := f.open(b)
	if err == nil {
		n := int64(f.rows(b.h)) * int64(b.row)
		_, err = io.CopyN(io.Discard, code, n)
	}
	return err != nil, f.ctx.Err()
}

// readShared reads a block of pixels that share colors. What is wrong with its
// code leaves the rest at 0, as libtiff has it.
func (f *tiffReader) readShared(m *image.NRGBA, b tiffBlock) error {
	asis := false
	if f.predictor > 0 {
		var err error
		if asis, err = f.broken(b); err != nil {
			return err
		}
	}
	code, err := f.open(b)
	if err != nil {
		if e := f.ctx.Err(); e != nil {
			return e
		}
		code = errorReader{}
	}
	c := f.colors
	most := b.largest
	if !f.tiled { // libtiff counts in rows of pixels, rounded down
		most = int64(f.rows(b.seenH)) * int64(c.down) * int64(b.row/c.down)
	}
	r := io.LimitReader(code, most)
	f.row = grow(f.row, b.row)
	size := c.across*c.down + 2
	torn := false
	for y := 0; y < b.seenH; y += c.down {
		if err := f.ctx.Err(); err != nil {
			return err
		}
		n := 0
		if !torn {
			n, err = io.ReadFull(r, f.row)
			torn = err != nil
		}
		clear(f.row[n:])
		// libtiff takes them for rows of pixels, if they can be such.
		if part := b.row / c.down; !asis && part*c.down == b.row && part%f.samples == 0 {
			for i := 0; i < n; i += part {
				f.undoDifferences(f.row[i:min(i+part, n)])
			}
		}
		for dy := range min(c.down, b.seenH-y) {
			dst := m.Pix[(b.y+y+dy)*m.Stride+4*b.x:][:4*b.seenW]
			for x := range b.seenW {
				s := f.row[x/c.across*size:][:size]
				d := dst[4*x:][:4]
				d[0], d[1], d[2] = c.rgb(s[dy*c.across+x%c.across], s[size-2], s[size-1])
				d[3] = 255
			}
		}
	}
	return nil
}

// errorReader has nothing to read.
type errorReader struct{}

var errNothing = errors.New("nothing to read")

func (errorReader) Read([]byte) (int, error) { return 0, errNothing }
