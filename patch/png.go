package patch

import (
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"io"
)

// This is a reader of PNG that needs one picture of eight bits a sample and two
// rows, whatever the depth and also of interlaced files. image/png would need
// six times as much of the costliest. What it reads and refuses is the same.
// Section numbers are those of the W3C's Portable Network Graphics
// Specification, third edition.

// pngFile is a PNG being read.
type pngFile struct {
	ctx  context.Context
	rest []byte // what follows the last chunk that was read
	idat []byte // what is left of the IDAT chunk that is being inflated

	width, height int
	depth, color  int
	interlaced    bool
	palette       [256][3]byte // black beyond what the file has; of gray of fewer than eight bits, the grays
	seen          pngStage
}

// Colour types (11.2.1).
const (
	pngGray, pngRGB, pngPalette, pngGrayAlpha, pngRGBA = 0, 2, 3, 4, 6
)

// pngSamples is the number of samples a pixel, by colour type.
var pngSamples = [7]int{pngGray: 1, pngRGB: 3, pngPalette: 1, pngGrayAlpha: 2, pngRGBA: 4}

// pngStage is how far a file has been read: critical chunks have an order (5.6).
type pngStage int

const (
	pngStart pngStage = iota
	pngHeader
	pngColors
	pngTransparent
	pngData
	pngEnd
)

var errPNGOrder = errors.New("chunk out of order")

// openPNG reads the header, which must be the first chunk.
func openPNG(ctx context.Context, data []byte) (*pngFile, error) {
	const signature = 8
	p := &pngFile{ctx: ctx, rest: data[signature:]}
	for p.seen == pngStart {
		if err := p.next(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// chunk takes the next chunk (5.3). One whose checksum is wrong is returned
// with the error.
func (p *pngFile) chunk() (name string, body []byte, err error) {
	const frame = 12 // length, name and sum
	if len(p.rest) < frame {
		return "", nil, io.ErrUnexpectedEOF
	}
	rest := p.rest
	n := binary.BigEndian.Uint32(rest)
	if uint64(n) > uint64(len(p.rest)-frame) {
		return "", nil, fmt.Errorf("chunk %q of %d bytes, found %d: %w", p.rest[4:8], n, len(p.rest)-frame, io.ErrUnexpectedEOF)
	}
	name, body = string(rest[4:8]), rest[8:8+n]
	p.rest = p.rest[frame+n:]
	want, got := binary.BigEndian.Uint32(rest[8+n:]), crc32.ChecksumIEEE(rest[4:8+n])
	if got != want {
		err = fmt.Errorf("chunk %q has checksum %08x, want %08x", name, got, want)
	}
	return name, body, err
}

// next reads a chunk up to the first IDAT, whose body is left in p.idat.
func (p *pngFile) next() error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	name, body, err := p.chunk()
	if name == "" {
		return err
	}
	if wrong := p.take(name, body); wrong != nil {
		return wrong // which says more than that the checksum is wrong, too
	}
	return err
}

func (p *pngFile) take(name string, body []byte) error {
	switch name {
	case "IHDR":
		if p.seen != pngStart {
			return errPNGOrder
		}
		p.seen = pngHeader
		return p.readHeader(body)
	case "PLTE":
		if p.seen != pngHeader {
			return errPNGOrder
		}
		p.seen = pngColors
		return p.readPalette(body)
	case "tRNS":
		if p.seen != pngColors && (p.seen != pngHeader || p.color == pngPalette) || p.seen == pngColors && p.color == pngGray {
			return errPNGOrder
		}
		p.seen = pngTransparent
		return p.checkTransparent(body)
	case "IDAT":
		if p.seen == pngStart || p.seen == pngHeader && p.color == pngPalette {
			return errPNGOrder
		}
		if p.seen != pngData { // others that come when the data is whole are ignored
			p.seen, p.idat = pngData, body
		}
	case "IEND":
		if p.seen != pngData {
			return errPNGOrder
		}
		if len(body) != 0 {
			return fmt.Errorf("IEND of %d bytes, want 0", len(body))
		}
		p.seen = pngEnd
	}
	return nil
}

func (p *pngFile) readHeader(b []byte) error {
	if len(b) != 13 {
		return fmt.Errorf("IHDR of %d bytes, want 13", len(b))
	}
	if b[10] != 0 || b[11] != 0 || b[12] > 1 {
		return fmt.Errorf("compression method %d, filter method %d, interlace method %d, want 0, 0 and 0 or 1", b[10], b[11], b[12])
	}
	w, h := int32(binary.BigEndian.Uint32(b)), int32(binary.BigEndian.Uint32(b[4:]))
	if w <= 0 || h <= 0 {
		return fmt.Errorf("%d×%d pixels", w, h)
	}
	p.width, p.height, p.depth, p.color, p.interlaced = int(w), int(h), int(b[8]), int(b[9]), b[12] == 1
	ok := false
	switch p.depth {
	case 1, 2, 4:
		ok = p.color == pngGray || p.color == pngPalette
	case 8:
		ok = p.color < len(pngSamples) && pngSamples[p.color] > 0
	case 16:
		ok = p.color < len(pngSamples) && pngSamples[p.color] > 0 && p.color != pngPalette
	}
	if !ok {
		return fmt.Errorf("bit depth %d, color type %d", p.depth, p.color)
	}
	if p.depth < 8 && p.color == pngGray { // of so few bits, a palette of grays
		for i := range 1 << p.depth {
			v := uint8(i * 255 / (1<<p.depth - 1))
			p.palette[i] = [3]byte{v, v, v}
		}
	}
	return nil
}

func (p *pngFile) readPalette(b []byte) error {
	n := len(b) / 3
	if len(b)%3 != 0 || n == 0 || n > 256 || n > 1<<p.depth {
		return fmt.Errorf("palette of %d bytes for %d bits", len(b), p.depth)
	}
	if p.color == pngGray || p.color == pngGrayAlpha {
		return fmt.Errorf("a palette in color type %d", p.color)
	}
	for i := range n {
		p.palette[i] = [3]byte(b[3*i:])
	}
	return nil
}

// checkTransparent refuses what is no list of transparent colours. Alpha is
// dropped, and the colours with it.
func (p *pngFile) checkTransparent(b []byte) error {
	want := map[int]int{pngGray: 2, pngRGB: 6, pngPalette: min(len(b), 256)}
	if n, ok := want[p.color]; !ok || len(b) != n {
		return fmt.Errorf("tRNS of %d bytes in color type %d", len(b), p.color)
	}
	return nil
}

// Read makes p the source of its IDAT chunks (10.1), which must follow each
// other.
func (p *pngFile) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	for len(p.idat) == 0 && len(b) > 0 {
		name, body, err := p.chunk()
		if err != nil {
			return 0, err
		}
		if name != "IDAT" {
			return 0, fmt.Errorf("not enough pixel data before %q", name)
		}
		p.idat = body
	}
	n := copy(b, p.idat)
	p.idat = p.idat[n:]
	return n, nil
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
	w, h = ceilDiv(p.width-s.x, s.dx), ceilDiv(p.height-s.y, s.dy)
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

// decode reads the pixels, and the file to its end.
func (p *pngFile) decode() (*image.NRGBA, error) {
	for p.seen < pngData {
		if err := p.next(); err != nil {
			return nil, err
		}
	}
	m := image.NewNRGBA(image.Rect(0, 0, p.width, p.height))
	z, err := zlib.NewReader(p)
	if err != nil {
		return nil, err
	}
	for _, s := range p.passes() {
		if err := p.readPass(m, z, s); err != nil {
			return nil, err
		}
	}
	// The end of the stream has its checksum.
	if n, err := io.ReadFull(z, make([]byte, 1)); n != 0 || len(p.idat) != 0 {
		return nil, errors.New("too much pixel data")
	} else if err != io.EOF {
		return nil, err
	}
	for p.seen < pngEnd {
		if err := p.next(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (p *pngFile) readPass(m *image.NRGBA, z io.Reader, s pngPass) error {
	w, h, n := p.size(s)
	if w <= 0 || h <= 0 {
		return nil
	}
	row, above := make([]byte, n), make([]byte, n)
	pixel := max(1, pngSamples[p.color]*p.depth/8) // bytes between a sample and its left neighbour
	var wide []byte
	if s.dx > 1 {
		wide = make([]byte, 4*w)
	}
	for y := range h {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		if _, err := io.ReadFull(z, row); err != nil {
			return fmt.Errorf("not enough pixel data in row %d: %w", y, err)
		}
		if row[0] > 4 {
			return fmt.Errorf("filter type %d in row %d, want 0 to 4", row[0], y)
		}
		unfilter(int(row[0]), row[1:], above[1:], pixel)
		out := m.Pix[(s.y+y*s.dy)*m.Stride:][:m.Stride]
		if s.dx == 1 {
			p.row(out, row[1:])
		} else {
			p.row(wide, row[1:])
			for x := range w {
				copy(out[4*(s.x+x*s.dx):][:4], wide[4*x:])
			}
		}
		row, above = above, row
	}
	return nil
}

// decodePNG reads a whole file.
func decodePNG(ctx context.Context, data []byte) (*image.NRGBA, error) {
	p, err := openPNG(ctx, data)
	if err != nil {
		return nil, err
	}
	return p.decode()
}

func pngConfig(data []byte) (c image.Config, err error) {
	p, err := openPNG(context.Background(), data)
	if err != nil {
		return c, err
	}
	return image.Config{Width: p.width, Height: p.height}, nil
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
			n += length
		}
		rest = rest[min(12+length, int64(len(rest))):]
	}
	if need := p.raw(); n*inflated < need {
		return 0, fmt.Errorf("%d bytes of IDAT inflate to %d at most, %d×%d pixels need %d", n, n*inflated, w, h, need)
	}
	row := int64(w) * 8
	return 4*int64(w)*int64(h) + 4*row, nil
}
