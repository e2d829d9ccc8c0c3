// Package ref is the oracle: every operation of the seam in plain loops over
// float64, written to be read and compared with, never to be fast. Values are
// rounded to float32 where the seam says that tensors are float32, that is
// once an operation.
//
// Importing it registers the backend "ref".
package ref

import (
	"fmt"
	"time"

	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

func init() {
	backend.Register("ref", func(o backend.Options) (backend.Backend, error) {
		if o.Precision != backend.F32 {
			return nil, fmt.Errorf("precision %v, want %v: %w", o.Precision, backend.F32, backend.ErrUnsupported)
		}
		if o.Device != "" && o.Device != device {
			return nil, fmt.Errorf("device %q, want %q: %w", o.Device, device, backend.ErrUnsupported)
		}
		return Backend{}, nil
	})
}

// Backend computes on one thread of the CPU. Its zero value is ready.
type Backend struct{}

var (
	_ backend.Backend = Backend{}
	_ backend.Stream  = (*stream)(nil)
)

// Name returns "ref".
func (Backend) Name() string { return "ref" }

// device names the only one there is.
const device = "cpu"

// Info says that there is one thread.
func (Backend) Info() backend.Info { return backend.Info{Device: device, Threads: 1} }

// Peak times the scalar product that all of ref's are made of.
func (Backend) Peak(d time.Duration) float64 {
	x, best := make([]float64, 1<<10), 0.0
	for end := time.Now().Add(d); ; {
		const turns = 100
		begin := time.Now()
		for range turns {
			x[0] = dot(x, x)
		}
		best = max(best, float64(turns*2*len(x))/float64(time.Since(begin).Nanoseconds()))
		if time.Now().After(end) {
			return best
		}
	}
}

// Close does nothing: memory is the garbage collector's.
func (Backend) Close() error { return nil }

// Upload copies t.
func (Backend) Upload(t *tensor.Dense) (backend.Tensor, error) {
	values, err := backend.HostFloats(t)
	if err != nil {
		return backend.Tensor{}, fmt.Errorf("ref: upload: %w", err)
	}
	x := newTensor(t.Shape())
	copy(x.Mem.(*memory).values, values)
	return x, nil
}

// Free forgets the values.
func (Backend) Free(t backend.Tensor) {
	if !t.IsZero() {
		t.Mem.(*memory).values = nil
	}
}

// linear is a weight (out, in) as the host has it, and a bias (out) or nil.
type linear struct {
	in, out      int
	weight, bias []float32
	gated        bool
}

func (l *linear) In() int  { return l.in }
func (l *linear) Out() int { return l.out }

// Close forgets the values.
func (l *linear) Close() error {
	l.weight, l.bias = nil, nil
	return nil
}

// NewLinear copies the weight and the bias.
func (Backend) NewLinear(weight, bias *tensor.Dense, o backend.LinearOptions) (backend.Linear, error) {
	w, err := backend.HostFloats(weight)
	if err != nil {
		return nil, fmt.Errorf("ref: weight: %w", err)
	}
	s := weight.Shape()
	if len(s) != 2 || o.Gated && s[0]%2 != 0 {
		return nil, fmt.Errorf("ref: weight %v with gated %v, want (out, in), out even if gated", s, o.Gated)
	}
	l := &linear{out: s[0], in: s[1], weight: append([]float32(nil), w...), gated: o.Gated}
	if bias != nil {
		b, err := backend.HostFloats(bias)
		if err != nil {
			return nil, fmt.Errorf("ref: bias: %w", err)
		}
		if bias.Dims() != 1 || len(b) != l.out {
			return nil, fmt.Errorf("ref: bias %v, weight %v", bias.Shape(), s)
		}
		l.bias = append([]float32(nil), b...)
	}
	return l, nil
}

// memory is the device's memory: the host's.
type memory struct {
	values []float32
	size   int  // len(values), also where values could not be had
	temp   bool // from Temp: not a number at the beginning of a Sync
}

func (m *memory) Floats() int     { return m.size }
func (m *memory) Temporary() bool { return m.temp }

// newTensor returns zeroed memory of a shape, without gaps.
func newTensor(shape tensor.Shape) backend.Tensor {
	t := layout(shape)
	t.Mem = &memory{values: make([]float32, shape.TotalSize()), size: shape.TotalSize()}
	return t
}

// layout returns a tensor of a shape without gaps, without memory.
func layout(shape tensor.Shape) backend.Tensor {
	t := backend.Tensor{Shape: shape.Clone(), Row: shape[len(shape)-1], Batch: 1}
	for _, n := range shape[1:] {
		t.Batch *= n
	}
	return t
}

// row returns row r of image b; r counts all rows between the first and the
// last dimension. Tensors of one and two dimensions are image 0.
func row(t backend.Tensor, b, r int) []float32 {
	at := t.Offset + b*t.Batch + r*t.Row
	return t.Mem.(*memory).values[at : at+t.Shape[len(t.Shape)-1]]
}

// extent returns the numbers of images and of rows an image that row takes.
func extent(t backend.Tensor) (images, rows int) {
	images, rows = 1, 1
	for i, n := range t.Shape[:len(t.Shape)-1] {
		if i == 0 && len(t.Shape) > 2 {
			images = n
		} else {
			rows *= n
		}
	}
	return images, rows
}
