// Package jpeg decodes JPEG files as libjpeg-turbo 3 does when Pillow calls
// it: the same pixels, bit for bit, from sequential, progressive and lossless files of
// eight bits, of any sampling, in one or many scans, and from most of those
// that are damaged. Section numbers are those of ITU-T T.81.
//
// Work follows the bytes of a file, its coefficients and the pixels asked for;
// memory is what Header.Cost says; and both end with the context.
package jpeg

import (
	"context"
	"errors"
	"fmt"
	"image"
	"sync"
)

// Errors of files beside broken ones.
var (
	ErrUnsupported = errors.New("kind of JPEG that is not decoded")
	ErrWork        = errors.New("more work than a picture is worth")
)

// MaxVisits is how often blocks may be visited in the scans of one file: a
// hundred times each block of a picture of 12 megapixels in three components
// of full size. A block in a run of blocks that a scan adds nothing to is not
// visited.
const MaxVisits = 100 * 3 * 12_000_000 / 64

// Header is what a file says of itself before its first scan.
type Header struct {
	Width, Height int
	Components    int       // 1, 3 or 4; of samples as they are 2, too
	Sampling      [4][2]int // of each component, across and down
	Progressive   bool
	Arithmetic    bool // coding, not Huffman's
	Lossless      bool
	Scans         bool // coefficients come in more than one scan
}

// Reader decodes one file at a time, from its top down; its memory is kept for
// the next file. One goroutine at a time.
type Reader struct {
	Header
	ctx  context.Context
	file stream

	comps   [4]component
	quant   [4]quantizer
	dc, ac  [4]huffman
	restart int // MCUs between restart markers; 0: none
	color   colors
	as      Colors
	maxH    int
	maxV    int
	across  int // MCUs in a row of all components
	down    int
	size    int // samples a block has on each edge: 8, or 4, 2, 1 when scaled down

	scan    scan
	arith   arith
	plain   lossless
	visits  int
	bits    []byte // entropy-coded bytes of a segment without stuffing
	dirty   int    // bytes of bits that may not be zero
	blocks  int    // of a row of MCUs of all components
	lent    lent
	chunks  [][]int16 // of coefficients
	chunk   int       // that rows are taken of
	free    []int16   // the rest of it
	picture []byte    // of RGBA, that is being decoded to
	smooth  bool      // coefficients are guessed
	seen    int       // MCU of a scan, the last that had data
	goodRow int       // of MCUs, the last that the last scan had data for
	lost    int       // the MCU before which data had run out and came again; -1: none
	work    [64]int16

	done int                          // rows of MCUs that are samples
	ring int                          // rows of MCUs that planes keep
	need struct{ x0, x1, y0, y1 int } // MCUs whose samples are wanted
	up   upsampler
	err  error
}

// component is a plane of samples.
type component struct {
	id, h, v   int
	tall       int // the factor v that the file gives it; v is 1 of one that is alone
	tq, td, ta int
	hs, vs     int // pixels a sample stands for, across and down
	blocks     int // in a row of the plane, whole MCUs
	base       int // of its first block among those of a row of MCUs
	wide, high int // blocks that count
	width      int // samples that count
	height     int
	stride     int
	plane      []byte // ring·v·size × stride
	predicted  int    // DC
	context    int    // of the next one in arithmetic code
	q          *quantizer
	latched    quantizer
	bits       [64]int8    // of each coefficient by how many bits its last scan was shifted; -1: no scan had it
	before     [known]int8 // the same before the last scan
	masks      masks
	rows       [][]int16 // of blocks; nil: zeros
	means      []int16   // of blocks, where coefficients are guessed
}

// Plane is one component's samples.
type Plane struct {
	Pix           []byte
	Stride        int
	Width, Height int     // that count
	SpanX, SpanY  float64 // samples that the picture is wide and high; it may end within the last one
}

var readers = sync.Pool{New: func() any { return new(Reader) }}

// Open reads a file's header. Close gives the reader's memory back.
func Open(ctx context.Context, data []byte) (*Reader, error) {
	return OpenAs(ctx, data, AsSaid)
}

// Colors say what the components of a file are.
type Colors int

// A JPEG in a TIFF is not asked what its colours are.
const (
	AsSaid     Colors = iota // by the file
	AsYCbCr                  // if there are three
	AsSamples                // whatever they mean: Row leaves component i in byte i of a pixel
	AsRepeated               // the same, and a sample of fewer is repeated, not interpolated
	AsTwelve                 // one component of twelve bits, of which Row leaves the highest eight in byte 0
)

// precision is how many bits a sample has.
func (r *Reader) precision() int {
	if r.as == AsTwelve {
		return 12
	}
	return 8
}

// OpenAs is Open for a file whose colours are known.
func OpenAs(ctx context.Context, data []byte, as Colors) (*Reader, error) {
	r := readers.Get().(*Reader)
	r.as = as
	if err := r.open(ctx, data); err != nil {
		err = r.truncated(err)
		r.Close()
		return nil, err
	}
	return r, nil
}

// truncated says of an error that is the file's end where that is.
func (r *Reader) truncated(err error) error {
	if !errors.Is(err, errCut) {
		return err
	}
	where := "before its pixels"
	switch {
	case r.Width == 0 || r.ring == 0 && !r.Lossless:
	case r.Scans:
		where = "before the end of its scans"
	case r.Lossless:
		where = fmt.Sprintf("in row %d of %d", min(r.plain.rows*r.maxV, r.Height), r.Height)
	default:
		where = fmt.Sprintf("in row %d of %d", min(8*r.done*r.maxV, r.Height), r.Height)
	}
	return fmt.Errorf("truncated JPEG: %w after %d bytes, %s", err, len(r.file.data), where)
}

// Close gives the reader's memory to the next.
func (r *Reader) Close() {
	r.file, r.ctx, r.picture, r.free = stream{}, nil, nil, nil
	if len(r.chunks) > chunksKept {
		clear(r.chunks[chunksKept:])
		r.chunks = r.chunks[:chunksKept]
	}
	for i := range r.comps {
		clear(r.comps[i].rows)
	}
	readers.Put(r)
}

// ReadHeader is the header of a file, read without taking memory.
func ReadHeader(data []byte) (Header, error) { return ReadHeaderAs(data, AsSaid) }

// ReadHeaderAs is ReadHeader for a file whose colours are known.
func ReadHeaderAs(data []byte, as Colors) (Header, error) {
	r, err := OpenAs(context.Background(), data, as)
	if err != nil {
		return Header{}, err
	}
	defer r.Close()
	return r.Header, nil
}

// Chroma returns how many pixels a sample of colour stands for, across and
// down; ok is false where the components are neither gray nor YCbCr of full
// luma.
func (r *Reader) Chroma() (hs, vs int, ok bool) {
	switch {
	case r.Lossless:
		return 0, 0, false
	case r.color.kind == gray:
		return 1, 1, true
	case r.color.kind == ycc && r.comps[0].hs == 1 && r.comps[0].vs == 1:
		return max(r.comps[1].hs, r.comps[2].hs), max(r.comps[1].vs, r.comps[2].vs), true
	}
	return 0, 0, false
}

// Crop says that only pixels (x0, y0) to (x1, y1) will be asked for. What lies
// outside is read, as it decides whether the file is whole, but not
// transformed.
func (r *Reader) Crop(x0, y0, x1, y1 int) {
	const reach = 4 // a sample beside what is wanted, of the widest
	w, h := 8*r.maxH, 8*r.maxV
	r.need.x0, r.need.x1 = max(0, x0-reach)/w, min(r.across, ceilDiv(x1+reach, w))
	r.need.y0, r.need.y1 = max(0, y0-reach)/h, min(r.down, ceilDiv(y1+reach, h))
}

// Row returns n pixels of row y from column x on as RGBA, in buf. Rows are
// asked for from the top down. After an error, which Finish returns, they are
// anything.
func (r *Reader) Row(buf []byte, y, x, n int) []byte {
	if r.err == nil {
		r.err = r.until(y)
	}
	switch {
	case r.err != nil:
	case r.Lossless:
		r.losslessPixels(buf[:4*n], y, x, n)
	default:
		r.pixels(buf[:4*n], y, x, n)
	}
	return buf
}

// Err is what was wrong with the rows so far.
func (r *Reader) Err() error { return r.truncated(r.err) }

// Finish reads the rest of the file and says whether it was whole.
func (r *Reader) Finish() error {
	if r.err == nil && r.Lossless {
		r.err = r.until(r.Height - 1)
	} else if r.err == nil {
		r.need.y0, r.need.y1 = 0, 0
		r.err = r.rows(r.down)
	}
	if r.err == nil {
		r.err = r.ending()
	}
	return r.truncated(r.err)
}

// Planes decodes the whole file to planes with blocks of size × size samples:
// 8, or 4, 2 and 1 for a picture of a half, a quarter or an eighth. A lossless
// file has no blocks; Chroma says so.
func (r *Reader) Planes(size int) ([]Plane, error) {
	if r.Lossless {
		return nil, fmt.Errorf("planes of lossless coding: %w", ErrUnsupported)
	}
	r.size, r.ring = size, r.down
	err := r.begin()
	if err == nil {
		err = r.rows(r.down)
	}
	if err == nil {
		err = r.ending()
	}
	if err != nil {
		return nil, r.truncated(err)
	}
	planes := make([]Plane, r.Components)
	for i := range planes {
		c := &r.comps[i]
		planes[i] = Plane{
			c.plane, c.stride, c.width, c.height,
			float64(r.Width*c.h*size) / float64(8*r.maxH), float64(r.Height*c.v*size) / float64(8*r.maxV),
		}
	}
	return planes, nil
}

// Decode reads a whole file.
func Decode(ctx context.Context, data []byte) (*image.NRGBA, error) {
	r, err := Open(ctx, data)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.decode()
}

func (r *Reader) decode() (*image.NRGBA, error) {
	m := image.NewNRGBA(image.Rect(0, 0, r.Width, r.Height))
	r.picture = m.Pix
	for y := range r.Height {
		r.Row(m.Pix[y*m.Stride:][:4*r.Width], y, 0, r.Width)
		if r.err != nil {
			break
		}
	}
	if err := r.Finish(); err != nil {
		return nil, err
	}
	return m, nil
}

// until decodes what row y of the picture needs.
func (r *Reader) until(y int) error {
	if r.Lossless {
		return r.losslessUntil(y)
	}
	if r.ring == 0 {
		r.size, r.ring = 8, min(2, r.down)
		if err := r.begin(); err != nil {
			r.ring = 0
			return err
		}
	}
	last := 0 // row of MCUs
	for i := range r.Components {
		c := &r.comps[i]
		last = max(last, min(y/c.vs+1, c.height-1)/(8*c.v))
	}
	return r.rows(min(last+1, r.down))
}

// begin prepares the planes and, where coefficients come in many scans, reads
// them all.
func (r *Reader) begin() error {
	for i := range r.Components {
		c := &r.comps[i]
		c.stride = c.blocks * r.size
		// Samples that count, by libjpeg's rule: rounded up.
		c.width = ceilDiv(r.Width*c.h*r.size, 8*r.maxH)
		c.height = ceilDiv(r.Height*c.v*r.size, 8*r.maxV)
		c.plane = grow(c.plane, c.stride*c.v*r.size*r.ring+planeSlack)
	}
	r.done = 0
	if r.Scans {
		return r.readScans()
	}
	return r.startScan()
}

// rows makes samples of the rows of MCUs before row n.
func (r *Reader) rows(n int) error {
	for ; r.done < n; r.done++ {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		wanted := r.done >= r.need.y0 && r.done < r.need.y1
		if r.Scans {
			if wanted {
				r.transformRow(r.done)
			}
		} else if err := r.sequentialRow(r.done, wanted); err != nil {
			return err
		}
	}
	return nil
}

// planeSlack lets vector code read a little beyond a plane's end.
const planeSlack = 64

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

func clip(v int) uint8 {
	if uint(v) > 255 {
		return uint8(^v >> 63)
	}
	return uint8(v)
}
