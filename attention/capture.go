package attention

import (
	"fmt"
	"math"
	"slices"

	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// Capture asks for probabilities. The zero value asks for none.
type Capture struct {
	Rows  []int          // which rows of Probs' third dimension; nil: all
	Probs backend.Tensor // (B, H, len(Rows), N)
}

// GradCapture asks for gradients of probabilities. The zero value asks for
// none.
type GradCapture struct {
	Probs     backend.Tensor // (B, H, R, N) ∂L/∂probabilities
	Relevance backend.Tensor // (B, R, N) see backend.Attention
}

// Read enqueues copies to the host of what was captured of N tokens: ∂L/∂A
// (B, H, N, N) and relevance (B, N, N), nil where it was not asked for. Rows
// behind the R that were computed have no gradient and are zeros; after the
// stream's Sync, done puts the others in their places.
func (c GradCapture) Read(s backend.Stream, n int) (probs, relevance *tensor.Dense, done func()) {
	var after []func()
	all := func(x backend.Tensor) *tensor.Dense {
		if x.IsZero() {
			return nil
		}
		d := read(s, x)
		rows := x.Shape[len(x.Shape)-2]
		if rows == n {
			return d
		}
		shape := x.Shape.Clone()
		shape[len(shape)-2] = n
		whole := tensor.New(tensor.WithShape(shape...), tensor.Of(tensor.Float32))
		after = append(after, func() {
			for from, to := d.Float32s(), whole.Float32s(); len(from) > 0; from, to = from[rows*n:], to[n*n:] {
				copy(to, from[:rows*n])
			}
		})
		return whole
	}
	probs, relevance = all(c.Probs), all(c.Relevance)
	return probs, relevance, func() {
		for _, f := range after {
			f()
		}
	}
}

// read enqueues a copy to a new host tensor.
func read(s backend.Stream, x backend.Tensor) *tensor.Dense {
	d := tensor.New(tensor.WithShape(x.Shape...), tensor.Of(tensor.Float32))
	s.Read(d, x)
	return d
}

// Captures is a stream's memory for what layers capture. Each layer's is read
// out before the next writes its own, so that one is enough for all. The zero
// value has none yet.
type Captures struct {
	probs, grads, shares Growing
}

// Probs returns where a layer of H heads keeps the probabilities of rows, or
// of all N tokens if all; the zero Capture where there are none.
func (m *Captures) Probs(s backend.Stream, batch, heads, n int, rows []int, all bool) (c Capture, err error) {
	count := n
	if !all {
		count, c.Rows = len(rows), rows
	}
	if count == 0 {
		return Capture{}, nil
	}
	c.Probs, err = m.probs.Shaped(s, batch, heads, count, n)
	return c, err
}

// Grads returns where a layer of H heads keeps the gradients of the first rows
// of its probabilities, and their relevance, where they are wanted.
func (m *Captures) Grads(s backend.Stream, batch, heads, rows, n int, probs, relevance bool) (c GradCapture, err error) {
	if probs {
		if c.Probs, err = m.grads.Shaped(s, batch, heads, rows, n); err != nil {
			return c, fmt.Errorf("memory for gradients of probabilities: %w", err)
		}
	}
	if relevance {
		if c.Relevance, err = m.shares.Shaped(s, batch, rows, n); err != nil {
			return c, fmt.Errorf("memory for relevance: %w", err)
		}
	}
	return c, nil
}

// Growing is a stream's memory that is used again and again. The zero value
// has none yet.
type Growing struct{ t backend.Tensor }

// Shaped returns the memory with a shape. It grows when more is asked for
// than ever before, by doubling, since a stream's memory is freed only with
// it.
func (g *Growing) Shaped(s backend.Stream, shape ...int) (backend.Tensor, error) {
	size := tensor.Shape(shape).TotalSize()
	if g.t.IsZero() || g.t.Shape[0] < size {
		grown := size
		if !g.t.IsZero() {
			grown = max(min(2*g.t.Shape[0], math.MaxInt32), size)
		}
		t := s.Alloc(grown)
		if err := s.Sync(); err != nil {
			return backend.Tensor{}, err
		}
		g.t = t
	}
	return backend.Tensor{
		Mem: g.t.Mem, Offset: g.t.Offset, Shape: slices.Clone(shape), Batch: size / shape[0], Row: shape[len(shape)-1],
	}, nil
}
