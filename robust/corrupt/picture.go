package corrupt

import (
	"context"
	"fmt"
	"image"

	"github.com/vitserve/vitserve/patch"
	"gorgonia.org/tensor"
)

// MinSize is the least edge of a picture in pixels.
const MinSize = 32

// Picture is a picture of bytes.
type Picture struct {
	W, H int
	Pix  []uint8 // (H, W, 3)
}

// New returns a black picture.
func New(w, h int) *Picture { return &Picture{w, h, make([]uint8, 3*w*h)} }

// Decode reads a whole photo, upright. Errors are patch.Decode's.
func Decode(ctx context.Context, data []byte, o patch.Options) (*Picture, error) {
	p, err := patch.Decode(ctx, data, o)
	if err != nil {
		return nil, err
	}
	return FromImage(p.Image), nil
}

// FromImage copies an opaque image.
func FromImage(m *image.NRGBA) *Picture {
	p := New(m.Rect.Dx(), m.Rect.Dy())
	for y := range p.H {
		from, to := m.Pix[y*m.Stride:][:4*p.W], p.Pix[3*y*p.W:][:3*p.W]
		for len(to) >= 3 {
			to[0], to[1], to[2] = from[0], from[1], from[2]
			from, to = from[4:], to[3:]
		}
	}
	return p
}

// FromPixels rounds a model's input (3, H, W) in [0, 1] to bytes: what it was
// made of.
func FromPixels(t *tensor.Dense) *Picture {
	h, w := t.Shape()[1], t.Shape()[2]
	p := New(w, h)
	v, n := t.Float32s(), w*h
	for i := range n {
		p.Pix[3*i], p.Pix[3*i+1], p.Pix[3*i+2] = uint8(v[i]*255+0.5), uint8(v[n+i]*255+0.5), uint8(v[2*n+i]*255+0.5)
	}
	return p
}

// Image copies the picture to an opaque image.
func (p *Picture) Image() *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, p.W, p.H))
	p.copyTo(m)
	return m
}

func (p *Picture) copyTo(m *image.NRGBA) {
	for from, to := p.Pix, m.Pix; len(from) >= 3; from, to = from[3:], to[4:] {
		to[0], to[1], to[2], to[3] = from[0], from[1], from[2], 255
	}
}

// Set makes p a picture of a size, with anything in it, in the memory it has.
func (p *Picture) Set(w, h int) {
	p.W, p.H, p.Pix = w, h, grow(p.Pix, 3*w*h)
}

func (p *Picture) check() error {
	if min(p.W, p.H) < MinSize {
		return fmt.Errorf("corrupt: picture of %d×%d pixels, want %d or more an edge", p.W, p.H, MinSize)
	}
	return nil
}

// grow returns n values in the memory of s if that is enough.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// unit is v/255 for each byte.
var unit = func() (t [256]float64) {
	for v := range t {
		t[v] = float64(v) / 255
	}
	return t
}()

// level is the byte of a value in [0, 1], what is outside cut off: truncated,
// as numpy makes bytes of it.
func level(v float64) uint8 {
	switch {
	case !(v > 0):
		return 0
	case v >= 1:
		return 255
	}
	return uint8(v * 255)
}

// work is the memory of a disturbance, kept for the next.
type work struct {
	floats []lease[float64]
	words  []lease[uint64]
	bytes  []lease[uint8]
	ints   []lease[int]
	counts []lease[uint16]
}

// lease is memory that may be lent.
type lease[T any] struct {
	mem  []T
	lent bool
}

// take lends n values of anything, until done.
func take[T any](of *[]lease[T], n int) []T {
	for i := range *of {
		if l := &(*of)[i]; !l.lent {
			l.mem, l.lent = grow(l.mem, n), true
			return l.mem
		}
	}
	*of = append(*of, lease[T]{make([]T, n), true})
	return (*of)[len(*of)-1].mem
}

func free[T any](of []lease[T]) {
	for i := range of {
		of[i].lent = false
	}
}

func (w *work) done() {
	free(w.floats)
	free(w.words)
	free(w.bytes)
	free(w.ints)
	free(w.counts)
}
