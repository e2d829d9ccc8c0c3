package patch

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	sums "hash"
	"io"
)

// pngRows reads rows of filtered samples. A stream may end after any row but
// none: the others are zeros.
type pngRows struct {
	file        *pngFile
	code        *bufio.Reader
	inflate     io.Reader
	sum         sums.Hash32
	some, ended bool
}

func (r *pngRows) next(row []byte) error {
	if r.ended {
		clear(row)
		return nil
	}
	_, err := io.ReadFull(r.inflate, row)
	if errors.Is(err, io.EOF) && r.some {
		r.ended = true
		clear(row)
		return nil
	}
	_, _ = r.sum.Write(row) // to memory
	r.some = true
	return noEOF(err)
}

// end checks the sum of all rows, if the stream ends with them and has it where
// zlib sees it with the last row. More data, and what is wrong with them, do not
// matter.
func (r *pngRows) end() error {
	if n, err := r.inflate.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		return nil
	}
	var sum [4]byte
	at := r.file.given - int64(r.code.Buffered())
	if _, err := io.ReadFull(r.code, sum[:]); err != nil {
		return nil
	}
	const before = 8 // bytes in which the last row's code ends, an empty block after it
	if want := binary.BigEndian.Uint32(sum[:]); want != r.sum.Sum32() && r.file.together(max(0, at-before), at+3) {
		return fmt.Errorf("pixels have checksum %08x, want %08x", r.sum.Sum32(), want)
	}
	return nil
}

// pngPass is one of the seven pictures that Adam7 makes of one (8.1): pixels
// from (x, y) on in steps of dx and dy.
type pngPass struct{ x, y, dx, dy int }

var (
	pngWhole = []pngPass{{0, 0, 1, 1}}
	adam7    = []pngPass{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}}
)

func (p *pngFile) passes() []pngPass {
	if p.interlaced {
		return adam7
	}
	return pngWhole
}

// size is that of a pass, whose rows are of n bytes with the filter's.
func (p *pngFile) size(s pngPass) (w, h, n int) {
	w, h = ceilDiv(p.frame.Dx()-s.x, s.dx), ceilDiv(p.frame.Dy()-s.y, s.dy)
	return w, h, 1 + (w*pngSamples[p.color]*p.depth+7)/8
}

// raw is how many bytes the data inflates to.
func (p *pngFile) raw() (n int64) {
	for _, s := range p.passes() {
		if w, h, row := p.size(s); w > 0 && h > 0 {
			n += int64(h) * int64(row)
		}
	}
	return n
}

// unfilter undoes a row's filter (PNG, 9.2); pixel is how many bytes back the
// left neighbour is.
func unfilter(filter int, row, above []byte, pixel int) {
	switch filter {
	case 1: // Sub
		for i := pixel; i < len(row); i++ {
			row[i] += row[i-pixel]
		}
	case 2: // Up
		above = above[:len(row)]
		for i, v := range above {
			row[i] += v
		}
	case 3: // Average
		above = above[:len(row)]
		for i := range min(pixel, len(row)) {
			row[i] += above[i] / 2
		}
		for i := pixel; i < len(row); i++ {
			row[i] += uint8((int(row[i-pixel]) + int(above[i])) / 2)
		}
	case 4:
		for c := range pixel {
			paeth(row, above, c, pixel)
		}
	}
}

// paeth adds to each byte of one channel the neighbour that is nearest to
// left + up - corner (9.4).
func paeth(row, above []byte, channel, step int) {
	above = above[:len(row)]
	left, corner := 0, 0
	for i := channel; i < len(row); i += step {
		up := int(above[i])
		// Distances of left + up - corner from left, up and corner.
		dl, du := up-corner, left-corner
		dc := dl + du
		dl, du, dc = max(dl, -dl), max(du, -du), max(dc, -dc)
		near := corner
		if dl <= du && dl <= dc {
			near = left
		} else if du <= dc {
			near = up
		}
		left = (int(row[i]) + near) & 0xff
		row[i] = uint8(left)
		corner = up
	}
}

// row converts a row of samples to opaque RGBA. Sixteen bits become eight by
// their high byte.
func (p *pngFile) row(dst, src []byte) {
	switch {
	case p.depth < 8 || p.color == pngPalette:
		paletteRow(dst, src, p.depth, &p.palette, 256)
		return
	case p.color == pngRGB && p.depth == 8:
		rgbRow(dst, src)
		return
	case p.color == pngRGBA && p.depth == 8:
		copy(dst, src)
		for i := 3; i < len(dst); i += 4 {
			dst[i] = 255
		}
		return
	}
	sample := p.depth / 8
	n := pngSamples[p.color] * sample
	g, b := sample, 2*sample
	if p.color == pngGray || p.color == pngGrayAlpha {
		g, b = 0, 0
	}
	for i := 0; i < len(dst); i += 4 {
		s := src[:b+1]
		d := dst[i : i+4 : i+4]
		d[0], d[1], d[2], d[3] = s[0], s[g], s[b], 255
		src = src[n:]
	}
}

// rgbRow spreads three bytes a pixel over four.
func rgbRow(dst, src []byte) {
	for i, j := 0, 0; i+4 <= len(dst); i, j = i+4, j+3 {
		d, s := dst[i:i+4:i+4], src[j:j+3:j+3]
		d[0], d[1], d[2], d[3] = s[0], s[1], s[2], 255
	}
}

// inflated is how many bytes one byte of Deflate can become: a run of 258 takes
// a bit for its length and one for its distance (RFC 1951, 3.2.5).
const inflated = 8 / 2 * 258

// pngCost refuses files whose data is too short for their pixels.
func pngCost(data []byte, w, h int) (int64, error) {
	p, err := openPNG(context.Background(), data)
	if err != nil {
		return 0, err
	}
	var n int64
	for rest := p.rest; len(rest) >= 8; {
		length := int64(binary.BigEndian.Uint32(rest))
		if string(rest[4:8]) == "IDAT" {
			n += min(length, int64(len(rest)-8))
		}
		rest = rest[min(pngFrame+length, int64(len(rest))):]
	}
	if need := p.raw(); n*inflated < need {
		return 0, fmt.Errorf("%d bytes of IDAT inflate to %d at most, %d×%d pixels need %d", n, n*inflated, w, h, need)
	}
	row := int64(w) * 8
	return 4*int64(w)*int64(h) + 4*row, nil
}
