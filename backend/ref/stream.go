package ref

import (
	"errors"
	"fmt"
	"math"

	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// maxFloats bounds the memory of one tensor, 16 GiB: the oracle is for small
// models, and an absurd size shall fail as it does on other backends.
const maxFloats = 1 << 32

var errClosed = errors.New("ref: stream is closed")

// NewStream returns a stream. Priorities mean nothing to it.
func (Backend) NewStream(backend.StreamOptions) (backend.Stream, error) { return &stream{}, nil }

// stream is a queue of functions; operations that read or write memory live
// in ops.go.
type stream struct {
	queue  []func()
	temps  []backend.Tensor
	err    error
	closed bool
}

// do enqueues f unless something has failed.
func (s *stream) do(f func()) {
	if s.closed {
		s.err = errClosed
	}
	if s.err == nil {
		s.queue = append(s.queue, f)
	}
}

// Threads does nothing: there is one.
func (s *stream) Threads(int) {}

func (s *stream) Sync() error {
	if s.closed {
		s.err = errClosed
	}
	err := s.err
	if err == nil {
		for _, t := range s.temps {
			spoil(t)
		}
		for _, f := range s.queue {
			f()
		}
	}
	s.queue, s.err = nil, nil
	return err
}

func (s *stream) Close() error {
	s.closed, s.queue, s.temps = true, nil, nil
	return nil
}

func (s *stream) Alloc(shape ...int) backend.Tensor {
	size := 1
	for _, n := range shape {
		if n < 1 {
			panic(fmt.Sprintf("ref: alloc %v", tensor.Shape(shape)))
		}
		if size > maxFloats/n {
			if s.err == nil {
				s.err = fmt.Errorf("ref: alloc %v, want at most %d values", tensor.Shape(shape).Clone(), maxFloats)
			}
			t := layout(shape)
			t.Mem = &memory{size: math.MaxInt}
			return t
		}
		size *= n
	}
	return newTensor(shape)
}

// Temp is Alloc, but holds the caller to the contract: its values are those
// of one Sync, not a number before they are written.
func (s *stream) Temp(shape ...int) backend.Tensor {
	t := s.Alloc(shape...)
	m := t.Mem.(*memory)
	if m.temp = true; m.values != nil {
		s.temps = append(s.temps, t)
	}
	return t
}

func (s *stream) Write(dst backend.Tensor, src *tensor.Dense) {
	values := backend.CheckHost("Write", dst, src)
	if s.closed {
		s.err = errClosed
	}
	if s.err != nil {
		return
	}
	images, rows := extent(dst)
	for b := range images {
		for r := range rows {
			values = values[copy(row(dst, b, r), values):]
		}
	}
}

func (s *stream) Read(dst *tensor.Dense, src backend.Tensor) {
	values := backend.CheckHost("Read", src, dst)
	s.do(func() {
		to := values
		images, rows := extent(src)
		for b := range images {
			for r := range rows {
				to = to[copy(to, row(src, b, r)):]
			}
		}
	})
}
