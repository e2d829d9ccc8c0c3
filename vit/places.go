package vit

import (
	"math"
	"slices"

	"github.com/vitserve/vitserve/attention"
	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// rope uploads rotary positions; without angles there are none.
func (u *uploader) rope(c Config, angles *tensor.Dense) *backend.Rope {
	if angles == nil {
		return nil
	}
	cos, sin := turns(angles, c.Dim/c.Heads, c.Rope == RopePairs)
	return &backend.Rope{Cos: u.tensor(cos), Sin: u.tensor(sin), Prefix: c.Prefix, Interleaved: c.Rope == RopePairs}
}

// turns returns the cosines and sines of angles (n, heads·d/2), each beside
// both values that it turns, (n, heads·d). They are of the angle as it is
// stored, as PyTorch's are.
func turns(angles *tensor.Dense, d int, pairs bool) (cos, sin *tensor.Dense) {
	shape := angles.Shape().Clone()
	shape[1] *= 2
	cos, sin = tensor.New(tensor.WithShape(shape...), tensor.Of(tensor.Float32)), tensor.New(tensor.WithShape(shape...), tensor.Of(tensor.Float32))
	for i, a := range angles.Float32s()[:angles.Shape().TotalSize()] {
		first, step := 2*i, 1
		if !pairs {
			first, step = i/(d/2)*d+i%(d/2), d/2
		}
		s, c := math.Sincos(float64(a))
		for _, j := range []int{first, first + step} {
			cos.Float32s()[j], sin.Float32s()[j] = float32(c), float32(s)
		}
	}
	return cos, sin
}

// relative uploads the table of relative positions of a block. Blocks that
// share one have it once.
func (u *uploader) relative(c Config, table *tensor.Dense) *backend.Relative {
	if table == nil {
		return nil
	}
	if u.tables == nil {
		u.tables = map[*tensor.Dense]backend.Tensor{}
	}
	t, done := u.tables[table]
	if !done {
		t = u.tensor(table)
		u.tables[table] = t
	}
	rows, cols := c.Grid()
	return &backend.Relative{Table: t, Grid: [2]int{rows, cols}, Prefix: c.Prefix}
}

// bias allocates memory for the relative positions of one block, if there are
// any.
func (c Config) bias(s backend.Stream) (t backend.Tensor) {
	if c.Relative {
		t = s.Alloc(c.Heads, c.Tokens(), c.Tokens())
	}
	return t
}

// keptPlaces returns memory for the places of n images that keep so many
// tokens each.
func (s *Session) keptPlaces(n, tokens int) (p attention.Places, err error) {
	c, patches := s.m.cfg, tokens-s.m.cfg.Prefix
	if rope := s.m.blocks[0].attn.Rope; rope != nil {
		width := rope.Cos.Shape[1]
		both, err := s.angles.Shaped(s.stream, 2*n, patches, width)
		if err != nil {
			return p, err
		}
		kept := *rope
		kept.Cos, kept.Sin = both.First(n), both.First(n)
		kept.Sin.Offset += n * both.Batch
		p.Rope = &kept
	}
	if c.Relative {
		if p.Bias, err = s.biases.Shaped(s.stream, n, c.Heads, tokens, tokens); err != nil {
			return p, err
		}
	}
	return p, nil
}

// keepRope enqueues the rotary positions of the patches that images keep.
func (s *Session) keepRope(kept, of *backend.Rope, keep [][]int) {
	if of == nil {
		return
	}
	rows := slices.Concat(keep...)
	for _, t := range []struct{ to, from backend.Tensor }{{kept.Cos, of.Cos}, {kept.Sin, of.Sin}} {
		all := t.from // one for all images
		all.Shape, all.Batch = tensor.Shape{len(keep), t.from.Shape[0], t.from.Shape[1]}, 0
		s.stream.Gather(t.to, all, rows)
	}
}
