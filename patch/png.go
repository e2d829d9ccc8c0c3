package patch

import (
	"bufio"
	"cmp"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"hash/crc32"
	"image"
	"io"
	"strings"
)

// This is a reader of PNG that needs one picture of eight bits a sample and two
// rows, whatever the depth and also of interlaced files. image/png would need
// six times as much of the costliest. Of what is wrong it forgives what Pillow
// does: it wants checksums before the pixels only, and nothing behind them.
// Section numbers are those of the W3C's Portable Network Graphics
// Specification, third edition.

// pngFile is a PNG being read.
type pngFile struct {
	ctx  context.Context
	rest []byte // what follows the last chunk that was read
	idat []byte // what is left of the IDAT chunk that is being inflated

	begin []byte // from the first IDAT chunk on
	given int64  // bytes of IDAT that were read

	width, height int             // 0 until the header has been read
	frame         image.Rectangle // what IDAT is a picture of
	control       uint32          // the number of the next fcTL
	depth, color  int
	interlaced    bool
	palette       [256][3]byte // black beyond what the file has; of gray of fewer than eight bits, the grays
	data          bool         // the first IDAT was found
	odd           error        // what is wrong with a header that does not count
	last          bool         // all pixels are there, and no further IDAT is wanted
}

// Colour types (11.2.1).
const (
	pngGray, pngRGB, pngPalette, pngGrayAlpha, pngRGBA = 0, 2, 3, 4, 6
)

// pngSamples is the number of samples a pixel, by colour type.
var pngSamples = [7]int{pngGray: 1, pngRGB: 3, pngPalette: 1, pngGrayAlpha: 2, pngRGBA: 4}

// openPNG reads up to the header.
func openPNG(ctx context.Context, data []byte) (*pngFile, error) {
	const signature = 8
	p := &pngFile{ctx: ctx, rest: data[signature:]}
	for p.width == 0 {
		if err := p.next(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// pngFrame is the length, name and sum of a chunk (5.3).
const pngFrame = 12

// chunk takes the next chunk as far as it is there, and says how long it ought
// to be.
func (p *pngFile) chunk() (name string, body []byte, length int64, err error) {
	if len(p.rest) < 8 {
		return "", nil, 0, fmt.Errorf("truncated PNG: no chunk after %d bytes of one: %w", len(p.rest), io.ErrUnexpectedEOF)
	}
	length, name = int64(binary.BigEndian.Uint32(p.rest)), string(p.rest[4:8])
	rest := p.rest[8:]
	body = rest[:min(length, int64(len(rest)))]
	p.rest = rest[min(length+4, int64(len(rest))):]
	return name, body, length, nil
}

// next reads a chunk up to the first IDAT, whose body is left in p.idat. The
// checksums of those before it must be right.
func (p *pngFile) next() error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	whole := p.rest
	name, body, length, err := p.chunk()
	if err != nil {
		return err
	}
	if name == "IDAT" {
		if p.width == 0 {
			return cmp.Or(p.odd, errors.New("no IHDR before the pixels"))
		}
		p.data, p.idat, p.begin = true, body, whole // its checksum is not looked at
		return nil
	}
	if length+pngFrame > int64(len(whole)) {
		return fmt.Errorf("truncated PNG: chunk %q of %d bytes, found %d: %w", name, length, max(0, len(whole)-pngFrame), io.ErrUnexpectedEOF)
	}
	if err := p.take(name, body); err != nil {
		return err // which says more than that the checksum is wrong, too
	}
	want, got := binary.BigEndian.Uint32(whole[8+length:]), crc32.ChecksumIEEE(whole[4:8+length])
	if got != want && p.width == 0 && p.odd != nil {
		return p.odd
	}
	if got != want {
		return fmt.Errorf("chunk %q has checksum %08x, want %08x", name, got, want)
	}
	return nil
}

// take reads a chunk before the pixels. Those may come in any order, as far as
// it is clear what they mean.
func (p *pngFile) take(name string, body []byte) error {
	switch name {
	case "IHDR":
		width, height := p.width, p.height
		if err := p.readHeader(body); err != nil {
			return err
		}
		if width > 0 && (width != p.width || height != p.height) {
			return fmt.Errorf("%d×%d pixels in a second IHDR, %d×%d in the first", p.width, p.height, width, height)
		}
	case "PLTE":
		return p.readPalette(body)
	case "tRNS":
		return p.checkTransparent(body)
	case "fcTL":
		p.readFrame(body)
	case "IEND":
		return cmp.Or(p.odd, errors.New("IEND before the pixels"))
	}
	return nil
}

// readFrame reads which part of the canvas the pixels are (12.3.3.2): of a PNG
// that moves they may be its first frame. What makes no sense is passed over.
func (p *pngFile) readFrame(b []byte) {
	if len(b) < 26 {
		return
	}
	be := binary.BigEndian
	w, h, x, y := int64(be.Uint32(b[4:])), int64(be.Uint32(b[8:])), int64(be.Uint32(b[12:])), int64(be.Uint32(b[16:]))
	if be.Uint32(b) == p.control && w > 0 && h > 0 && x+w <= int64(p.width) && y+h <= int64(p.height) {
		p.control++
		if p.interlaced { // Pillow's decoder forgets where it is
			x, y = 0, 0
		}
		p.frame = image.Rect(int(x), int(y), int(x+w), int(y+h))
	}
}

// isPNGKind reports whether there are samples of so many bits of a color type.
func isPNGKind(depth, color int) bool {
	switch depth {
	case 1, 2, 4:
		return color == pngGray || color == pngPalette
	case 8:
		return color < len(pngSamples) && pngSamples[color] > 0
	case 16:
		return color < len(pngSamples) && pngSamples[color] > 0 && color != pngPalette
	}
	return false
}

func (p *pngFile) readHeader(b []byte) error {
	if len(b) < 13 {
		return fmt.Errorf("IHDR of %d bytes, want 13", len(b))
	}
	if b[11] != 0 {
		return fmt.Errorf("filter method %d, want 0", b[11])
	}
	w, h := int32(binary.BigEndian.Uint32(b)), int32(binary.BigEndian.Uint32(b[4:]))
	if w <= 0 || h <= 0 {
		return fmt.Errorf("%d×%d pixels", w, h)
	}
	depth, color := int(b[8]), int(b[9])
	p.interlaced = p.interlaced || b[12] != 0
	if isPNGKind(depth, color) {
		p.depth, p.color = depth, color
	} else if p.width == 0 { // another header may follow
		p.odd = fmt.Errorf("bit depth %d, color type %d", depth, color)
		return nil
	}
	p.width, p.height = int(w), int(h)
	p.frame = image.Rect(0, 0, p.width, p.height)
	if p.depth < 8 && p.color == pngGray { // of so few bits, a palette of grays
		for i := range 1 << p.depth {
			v := uint8(i * 255 / (1<<p.depth - 1))
			p.palette[i] = [3]byte{v, v, v}
		}
	}
	return nil
}

// readPalette takes a palette where pixels are indices.
func (p *pngFile) readPalette(b []byte) error {
	if p.color != pngPalette || p.width == 0 {
		return nil
	}
	if len(b) > 3*256 {
		return fmt.Errorf("palette of %d bytes, want at most 768", len(b))
	}
	p.palette = [256][3]byte{}
	for i := range len(b) / 3 {
		p.palette[i] = [3]byte(b[3*i:])
	}
	return nil
}

// checkTransparent refuses what is no transparent colour. Alpha is dropped, and
// the colours with it.
func (p *pngFile) checkTransparent(b []byte) error {
	want := map[int]int{pngGray: 2, pngRGB: 6}[p.color]
	if p.width > 0 && len(b) < want {
		return fmt.Errorf("tRNS of %d bytes in color type %d, want %d", len(b), p.color, want)
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
		if p.last {
			return 0, io.EOF
		}
		whole := p.rest
		name, body, _, err := p.chunk()
		if err != nil {
			return 0, err
		}
		if name != "IDAT" {
			p.rest = whole // it may be that all pixels are there
			return 0, fmt.Errorf("truncated PNG: not enough pixel data before %q: %w", name, io.ErrUnexpectedEOF)
		}
		p.idat = body
	}
	n := copy(b, p.idat)
	p.idat = p.idat[n:]
	p.given += int64(n)
	return n, nil
}

// together reports whether bytes from and to of IDAT come to zlib at once, where
// Pillow reads them: pieces of a chunk of at most 64 kB.
func (p *pngFile) together(from, to int64) bool {
	const piece = 1 << 16
	rest, at := p.begin, int64(0)
	for len(rest) >= 8 && string(rest[4:8]) == "IDAT" {
		length := int64(binary.BigEndian.Uint32(rest))
		if from < at+length {
			return to < at+length && (from-at)/piece == (to-at)/piece
		}
		at += length
		rest = rest[min(pngFrame+length, int64(len(rest))):]
	}
	return false
}

// decode reads the pixels, and checks what follows them.
func (p *pngFile) decode() (*image.NRGBA, error) {
	for !p.data {
		if err := p.next(); err != nil {
			return nil, err
		}
	}
	m := image.NewNRGBA(image.Rect(0, 0, p.width, p.height))
	rows := pngRows{file: p, code: bufio.NewReader(p), sum: adler32.New()}
	var head [2]byte
	if _, err := io.ReadFull(rows.code, head[:]); err != nil {
		return nil, noEOF(err)
	}
	if head[0]&15 != 8 || head[0]>>4 > 7 || (int(head[0])<<8|int(head[1]))%31 != 0 || head[1]&32 != 0 { // RFC 1950, 2.2
		return nil, fmt.Errorf("IDAT begins with %x, which is no zlib stream", head)
	}
	rows.inflate = flate.NewReader(rows.code)
	for _, s := range p.passes() {
		if err := p.readPass(m, &rows, s); err != nil {
			return nil, err
		}
	}
	p.last = true
	if err := rows.end(); err != nil {
		return nil, err
	}
	if p.frame != m.Rect {
		var first [3]byte
		if p.color == pngPalette {
			first = p.palette[0]
		}
		if err := surround(p.ctx, m, p.frame, first); err != nil {
			return nil, err
		}
	}
	return m, p.trailer()
}

// trailer refuses a file that ends within a chunk behind the pixels. Their
// checksums do not matter, nor whether there is an end.
func (p *pngFile) trailer() error {
	for {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		name, body, length, err := p.chunk()
		if err != nil || name == "IEND" || strings.ContainsFunc(name, noPNGName) { // what follows is something else
			return nil
		}
		if int64(len(body)) < length {
			return fmt.Errorf("truncated PNG: chunk %q of %d bytes, found %d: %w", name, length, len(body), io.ErrUnexpectedEOF)
		}
		if name == "tRNS" {
			if err := p.checkTransparent(body); err != nil {
				return err
			}
		}
	}
}

func (p *pngFile) readPass(m *image.NRGBA, rows *pngRows, s pngPass) error {
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
		if err := rows.next(row); err != nil {
			return fmt.Errorf("not enough pixel data in row %d: %w", y, err)
		}
		if row[0] > 4 {
			return fmt.Errorf("filter type %d in row %d, want 0 to 4", row[0], y)
		}
		unfilter(int(row[0]), row[1:], above[1:], pixel)
		out := m.Pix[(p.frame.Min.Y+s.y+y*s.dy)*m.Stride:][4*p.frame.Min.X : 4*p.frame.Max.X]
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

func noPNGName(c rune) bool {
	return (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '_'
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
