package vit

import (
	"errors"
	"fmt"

	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// parts tell what attention makes of a token, head by head: head h adds
// f = Wʰ vʰ for every token that it looks at, vʰ (D) its value, Wʰ (C, D) its
// columns of the projection. Only the dot products of such vectors are asked
// for (Output.Gram), and those of heads h and g are vᵍ·(WᵍᵀWʰ vʰ), so that
// no f is ever made.
type parts struct {
	heads [][]backend.Linear // by block and head h (C, D): WᵀWʰ; L·C² floats
}

// makeParts makes them when they are first asked for. A backend shows nobody its
// weights, so the projection is applied to the identity, and derived.
func (s *Session) makeParts() (err error) {
	if s.parts != nil {
		return nil
	}
	c := s.m.cfg
	stream, err := s.m.b.NewStream(backend.StreamOptions{Priority: s.o.Priority})
	if err != nil {
		return err
	}
	p := &parts{}
	defer func() {
		err = errors.Join(err, stream.Close())
		if err != nil {
			err = errors.Join(err, p.close())
		} else {
			s.parts = p
		}
	}()
	in, out := stream.Alloc(1, c.Dim+1, c.Dim), stream.Alloc(1, c.Dim+1, c.Dim)
	// The last row is zero: what comes of it is the bias.
	eye := tensor.New(tensor.WithShape(1, c.Dim+1, c.Dim), tensor.Of(tensor.Float32))
	for i := range c.Dim {
		eye.Float32s()[i*c.Dim+i] = 1
	}
	for _, b := range s.m.blocks {
		stream.Write(in, eye)
		stream.Linear(out, in, b.attn.Proj, backend.Epilogue{})
		columns := read(stream, out)
		if err := stream.Sync(); err != nil {
			return err
		}
		w := columns.Float32s()
		bias := w[c.Dim*c.Dim:]
		for i := range w[:c.Dim*c.Dim] {
			w[i] -= bias[i%c.Dim]
		}
		clear(bias)
		stream.Write(in, columns)
		stream.LinearGrad(out, in, b.attn.Proj, backend.Epilogue{})
		square := read(stream, out) // row j is column j of WᵀW
		if err := stream.Sync(); err != nil {
			return err
		}
		p.heads = append(p.heads, nil)
		heads := &p.heads[len(p.heads)-1] // what is there is closed if the rest fails
		d := c.Dim / c.Heads
		for h := range c.Heads {
			weight := tensor.New(tensor.WithShape(c.Dim, d), tensor.Of(tensor.Float32))
			for j := range d {
				for i, v := range square.Float32s()[(h*d+j)*c.Dim : (h*d+j+1)*c.Dim] {
					weight.Float32s()[i*d+j] = v
				}
			}
			l, err := s.m.b.NewLinear(weight, nil, backend.LinearOptions{Exact: true})
			if err != nil {
				return err
			}
			*heads = append(*heads, l)
		}
	}
	return nil
}

func (p *parts) close() (err error) {
	if p == nil {
		return nil
	}
	for _, heads := range p.heads {
		for _, l := range heads {
			err = errors.Join(err, l.Close())
		}
	}
	return err
}

// gram returns Output.Gram from the values (n, N, C) of n images by block.
func (s *Session) gram(n int, values []*tensor.Dense) ([]*tensor.Dense, error) {
	if err := s.makeParts(); err != nil {
		return nil, fmt.Errorf("projections of the heads: %w", err)
	}
	c, m := s.m.cfg, s.batch(n)
	heads, d, out := c.Heads, c.Dim/c.Heads, m.qkv.Cols(0, c.Dim)
	met := make([][]float32, heads) // by head h, WᵀWʰ vʰ
	var all []*tensor.Dense
	for i, v := range values {
		s.stream.Write(m.y, v)
		for h, l := range s.parts.heads[i] {
			s.stream.Linear(out, m.y.Cols(h*d, (h+1)*d), l, backend.Epilogue{})
			met[h] = read(s.stream, out).Float32s()
		}
		if err := s.stream.Sync(); err != nil {
			return nil, err
		}
		gram := tensor.New(tensor.WithShape(n, c.Tokens(), heads, heads), tensor.Of(tensor.Float32))
		for t := range n * c.Tokens() {
			of := gram.Float32s()[t*heads*heads:]
			for g := range heads {
				at := t*c.Dim + g*d
				for h := range g + 1 {
					p := dot(v.Float32s()[at:at+d], met[h][at:at+d])
					of[g*heads+h], of[h*heads+g] = p, p
				}
			}
		}
		all = append(all, gram)
	}
	return all, nil
}

func dot(x, y []float32) float32 {
	var sum float64
	for i, v := range x {
		sum += float64(v) * float64(y[i])
	}
	return float32(sum)
}
