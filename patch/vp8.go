package patch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
)

// This is a decoder of key frames of VP8, which are WebP's lossy pictures. Its
// samples are libwebp's. x/image/vp8 reads a whole file before it decodes any of
// it and knows no context. Section numbers are those of RFC 6386.

// vp8Frame is a frame being decoded.
type vp8Frame struct {
	width, height int
	across, down  int // macroblocks
	first         []byte
	rest          []byte // after the first partition

	modes   boolReader // the first partition
	tokens  []boolReader
	probs   vp8Probs
	quant   [4]vp8Quant // of each segment
	skip    uint8       // probability that a macroblock has coefficients,
	mayskip bool        // if macroblocks say whether they have

	segments     bool // there are several,
	segmentMap   bool // each macroblock says its own
	segmentTree  [3]uint8
	segmentQuant [4]int
	segmentLevel [4]int
	relative     bool // those are added to the frame's
	filter       vp8Filter
	limits       []vp8Limits // of each macroblock

	y, u, v vp8Plane

	// Contexts of the macroblock that is next, from the one on the left and
	// those above.
	left  vp8Edge
	above []vp8Edge
	coef  [25][16]int16 // 16 blocks of luma, 4 and 4 of chroma, the DCs of luma
}

// vp8Quant are the steps of the first and the other coefficients.
type vp8Quant struct{ y, y2, uv [2]int32 }

// vp8Edge is what the next macroblocks need to know of one.
type vp8Edge struct {
	modes  [4]uint8 // of the blocks of 4×4 on its lower or right edge
	filled [9]uint8 // 1 if there are coefficients: 4 blocks of luma, 2 and 2 of chroma, DCs of luma
}

// vp8Plane has a border above and on the left, from which the first
// macroblocks are predicted.
type vp8Plane struct {
	pix    []byte
	stride int
}

func newVP8Plane(w, h int) vp8Plane {
	p := vp8Plane{make([]byte, (w+1)*(h+1)), w + 1}
	for i := range p.stride {
		p.pix[i] = 127
	}
	for y := range h {
		p.pix[(y+1)*p.stride] = 129
	}
	return p
}

// at is where a sample lies.
func (p *vp8Plane) at(x, y int) int { return (y+1)*p.stride + x + 1 }

// row is the n samples of row y.
func (p *vp8Plane) row(y, n int) []byte { return p.pix[p.at(0, y):][:n] }

// openVP8 reads the frame's tag (9.1).
func openVP8(data []byte) (*vp8Frame, error) {
	if len(data) < 10 {
		return nil, io.ErrUnexpectedEOF
	}
	tag := int(data[0]) | int(data[1])<<8 | int(data[2])<<16
	if tag&1 != 0 {
		return nil, errors.New("the first frame is no key frame")
	}
	if string(data[3:6]) != "\x9d\x01\x2a" {
		return nil, fmt.Errorf("start code %x, want 9d012a", data[3:6])
	}
	le := binary.LittleEndian
	f := &vp8Frame{width: int(le.Uint16(data[6:]) & 0x3fff), height: int(le.Uint16(data[8:]) & 0x3fff)}
	f.across, f.down = ceilDiv(f.width, 16), ceilDiv(f.height, 16)
	n := tag >> 5
	if n > len(data)-10 {
		return nil, fmt.Errorf("first partition of %d bytes, found %d: %w", n, len(data)-10, io.ErrUnexpectedEOF)
	}
	f.first, f.rest = data[10:10+n], data[10+n:]
	return f, nil
}

func vp8Config(data []byte) (image.Config, error) {
	f, err := openVP8(data)
	if err != nil {
		return image.Config{}, err
	}
	return image.Config{Width: f.width, Height: f.height}, nil
}

// readHeader reads the first partition up to the macroblocks (9.2 to 9.11).
func (f *vp8Frame) readHeader() error {
	f.modes = newBoolReader(f.first)
	b := &f.modes
	b.flag() // colour space
	b.flag() // whether samples need clamping
	f.segmentTree = [3]uint8{255, 255, 255}
	if f.segments = b.flag(); f.segments {
		f.readSegments(b)
	}
	f.filter.read(b)
	if err := f.readPartitions(1 << b.number(2)); err != nil {
		return err
	}
	f.readQuant(b)
	b.flag() // refresh
	f.probs = vp8Default
	for i := range f.probs {
		for j := range f.probs[i] {
			for k := range f.probs[i][j] {
				for l := range f.probs[i][j][k] {
					if b.bit(vp8Update[i][j][k][l]) == 1 {
						f.probs[i][j][k][l] = uint8(b.number(8))
					}
				}
			}
		}
	}
	if b.flag() {
		f.skip = uint8(b.number(8))
		f.mayskip = true
	}
	return f.short()
}

// readSegments reads what the segments differ in (9.3).
func (f *vp8Frame) readSegments(b *boolReader) {
	f.segmentMap = b.flag()
	if b.flag() {
		f.relative = !b.flag()
		for i := range f.segmentQuant {
			f.segmentQuant[i] = b.optional(7)
		}
		for i := range f.segmentLevel {
			f.segmentLevel[i] = b.optional(6)
		}
	}
	if f.segmentMap {
		for i := range f.segmentTree {
			if b.flag() {
				f.segmentTree[i] = uint8(b.number(8))
			}
		}
	}
}

// readPartitions finds the n partitions of coefficients (9.5).
func (f *vp8Frame) readPartitions(n int) error {
	sizes := 3 * (n - 1)
	if len(f.rest) < sizes {
		return io.ErrUnexpectedEOF
	}
	data := f.rest[sizes:]
	for i := range n {
		size := len(data)
		if i < n-1 {
			s := f.rest[3*i:]
			size = int(s[0]) | int(s[1])<<8 | int(s[2])<<16
		}
		if size > len(data) {
			return fmt.Errorf("partition %d of %d bytes, found %d: %w", i+1, size, len(data), io.ErrUnexpectedEOF)
		}
		if size >= 1<<24 {
			return fmt.Errorf("partition %d of %d bytes, want fewer than %d", i+1, size, 1<<24)
		}
		f.tokens = append(f.tokens, newBoolReader(data[:size]))
		data = data[size:]
	}
	return nil
}

// readQuant reads the steps (9.6).
func (f *vp8Frame) readQuant(b *boolReader) {
	base := b.number(7)
	var change [5]int // of luma's DC, DCs' DC and AC, chroma's DC and AC
	for i := range change {
		change[i] = b.optional(4)
	}
	step := func(table *[128]int32, i, most int) int32 { return table[min(max(i, 0), most)] }
	for i := range f.quant {
		at := base
		if f.segments {
			if at = f.segmentQuant[i]; f.relative {
				at += base
			}
		}
		q := &f.quant[i]
		q.y = [2]int32{step(&vp8DC, at+change[0], 127), step(&vp8AC, at, 127)}
		q.y2 = [2]int32{2 * step(&vp8DC, at+change[1], 127), max(8, step(&vp8AC, at+change[2], 127)*155/100)}
		q.uv = [2]int32{step(&vp8DC, at+change[3], 117), step(&vp8AC, at+change[4], 127)}
	}
}

// short says that a partition ended too soon.
func (f *vp8Frame) short() error {
	ended := f.modes.ended
	for i := range f.tokens {
		ended = ended || f.tokens[i].ended
	}
	if ended {
		return fmt.Errorf("a partition: %w", io.ErrUnexpectedEOF)
	}
	return nil
}

// decodeVP8 decodes a frame into pix, RGBA.
func decodeVP8(ctx context.Context, data, pix []byte) error {
	f, err := openVP8(data)
	if err != nil {
		return err
	}
	if err := f.readHeader(); err != nil {
		return err
	}
	f.y = newVP8Plane(16*f.across, 16*f.down)
	f.u, f.v = newVP8Plane(8*f.across, 8*f.down), newVP8Plane(8*f.across, 8*f.down)
	f.limits = make([]vp8Limits, f.across*f.down)
	f.above = make([]vp8Edge, f.across)
	table := f.filter.limits(f)
	for y := range f.down {
		if err := ctx.Err(); err != nil {
			return err
		}
		f.left = vp8Edge{}
		for x := range f.across {
			f.limits[y*f.across+x] = f.macroblock(x, y, &table)
		}
		if f.modes.ended { // all that follows would be made up
			break
		}
	}
	if err := f.short(); err != nil {
		return err
	}
	if f.filter.level != 0 {
		if err := f.smooth(ctx); err != nil {
			return err
		}
	}
	return f.rgb(ctx, pix)
}

// vp8Least is less than the bits that any macroblock takes in the first
// partition: its modes alone cost three at their likeliest.
const vp8Least = 2

// whole refuses a frame whose first partition cannot have all macroblocks.
func (f *vp8Frame) whole() error {
	n := f.across * f.down
	if 8*len(f.first)+16 < vp8Least*n {
		return fmt.Errorf("first partition of %d bytes, want more than %d for %d macroblocks", len(f.first), vp8Least*n/8-2, n)
	}
	return nil
}
