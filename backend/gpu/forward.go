//go:build cgo && linux

package gpu

import (
	"fmt"
	"slices"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/gpu/kernels"
)

// own returns the layer of w, which must be of this backend.
func (s *stream) own(w backend.Linear) *linear {
	l, ok := w.(*linear)
	if !ok || l.b != s.b {
		panic(fmt.Sprintf("gpu: linear layer (%d, %d) of another backend (%T)", w.Out(), w.In(), w))
	}
	if l.weight == nil {
		panic(fmt.Sprintf("gpu: linear layer (%d, %d) is closed", l.out, l.in))
	}
	return l
}

// operands returns the memory of a layer's weight and bias.
func (l *linear) operands() (weight, bias uint64) {
	if l.bias != nil {
		bias = l.bias.mem.Handle
	}
	return l.weight.mem.Handle, bias
}

// gemm adds a matrix product, in tiles as large as leave no multiprocessor
// without work: no bit depends on them.
func (p *program) gemm(kernel string, g kernels.Gemm, mems ...uint64) {
	tile, name := 64, kernel+"_64"
	if rows, columns := ceil(int(g.Rows), 128), ceil(int(g.Out), 128); kernel == "linear" && rows*columns >= 2*p.s.b.d.Units {
		tile, name = 128, kernel+"_128"
	}
	add(p, name, [3]int{ceil(int(g.Rows), tile), ceil(int(g.Out), tile), 1}, g, mems...)
}

// Linear implements backend.Stream.
func (s *stream) Linear(y, x backend.Tensor, w backend.Linear, e backend.Epilogue) {
	l := s.own(w)
	backend.CheckLinear(y, x, w, l.gated, e)
	weight, bias := l.operands()
	s.do(false, func(p *program) {
		images, rows, _ := extent(x)
		g := kernels.Gemm{Rows: p.whole(images * rows), N: int32(rows), K: int32(l.in), Out: int32(l.out), Act: int32(e.Act)}
		var to, from, residual, pre uint64
		to, g.Y = p.view(y)
		from, g.X = p.view(x)
		residual, g.Residual = p.view(e.Residual)
		pre, g.Pre = p.view(e.Pre)
		p.gemm("linear", g, to, from, residual, pre, weight, bias)
	})
}

// patches describes the patches of an image for a product.
func patches(pixels backend.Tensor, e *backend.PatchEmbed) (g kernels.Gemm, prefix int) {
	cols := pixels.Shape[3] / e.Patch[1]
	n := pixels.Shape[2] / e.Patch[0] * cols
	if !e.Prefix.IsZero() {
		prefix = e.Prefix.Shape[0]
	}
	return kernels.Gemm{
		N: int32(n), PH: int32(e.Patch[0]), PW: int32(e.Patch[1]), Cols: int32(cols), Height: int32(pixels.Shape[2]),
	}, prefix
}

// PatchEmbed implements backend.Stream: a product whose inputs are patches,
// whose residual the positions.
func (s *stream) PatchEmbed(x, pixels backend.Tensor, p *backend.PatchEmbed) {
	backend.CheckPatchEmbed(x, pixels, p)
	l, embed := s.own(p.Proj), *p
	weight, bias := l.operands()
	s.do(false, func(p *program) {
		g, prefix := patches(pixels, &embed)
		g.Rows, g.K, g.Out = p.whole(x.Shape[0]*int(g.N)), int32(l.in), int32(l.out)
		if prefix > 0 {
			to, view := p.view(x)
			from, rows := p.view(embed.Prefix)
			rows.Batch = 0
			p.copyRows(to, view, from, rows, x.Rows(0, prefix))
		}
		var to, from, pos uint64
		to, g.Y = p.view(x.Rows(prefix, x.Shape[1]))
		from, g.X = p.view(pixels)
		pos, g.Residual = p.view(embed.Pos)
		g.Residual.Batch = 0
		p.gemm("patch_embed", g, to, from, pos, 0, weight, bias)
	})
}

// norm returns the parameters of a norm of x.
func (p *program) norm(x backend.Tensor, n backend.Norm) (from, weight, bias uint64, params kernels.Norm) {
	images, rows, columns := extent(x)
	heads := max(n.Heads, 1)
	params = kernels.Norm{N: int32(rows), C: int32(columns / heads), Heads: int32(heads), Rows: p.whole(images * rows * heads), Eps: n.Eps}
	if n.RMS {
		params.RMS = 1
	}
	from, params.X = p.view(x)
	weight, at := p.at(n.Weight)
	params.Weight = int64(at)
	bias, at = p.at(n.Bias)
	params.Bias = int64(at)
	return from, weight, bias, params
}

// LayerNorm implements backend.Stream.
func (s *stream) LayerNorm(y, x backend.Tensor, n backend.Norm) {
	backend.CheckLayerNorm(y, x, n)
	s.do(false, func(p *program) {
		from, weight, bias, params := p.norm(x, n)
		var to, residual uint64
		to, params.Y = p.view(y)
		residual, params.Residual = p.view(n.Residual)
		add(p, "layernorm", [3]int{ceil(int(params.Rows), 8), 1, 1}, params, to, from, weight, bias, residual)
	})
}

// wide returns the width of the kernels for heads of d values, and in how many
// pieces of it such a head comes.
func wide(d int) (width, pieces int) {
	if d <= 64 {
		return 64, 1
	}
	return 128, ceil(d, 128)
}

// scores are what all kernels of attention look at, beside their own.
type scores struct {
	kernels.Heads
	images, width, pieces   int
	q, k, v, bias, cos, sin uint64
}

// scores returns them.
func (p *program) scores(q, k, v backend.Tensor, a backend.Attention) scores {
	d := q.Shape[2] / a.Heads
	c := scores{Heads: kernels.Heads{
		Heads: int32(a.Heads), D: int32(d), Rows: int32(q.Shape[1]), N: int32(k.Shape[1]), Scale: a.Scale,
	}, images: q.Shape[0]}
	c.width, c.pieces = wide(d)
	c.q, c.Q = p.heads(q, d)
	c.k, c.K = p.heads(k, d)
	c.v, c.V = p.heads(v, d)
	if len(a.Bias.Shape) == 4 {
		c.bias, c.Bias = p.heads(a.Bias, a.Bias.Shape[2]*a.Bias.Row)
	} else if !a.Bias.IsZero() {
		c.bias, c.Bias = p.heads(a.Bias, a.Bias.Batch)
		c.Bias.Batch = 0
	}
	if a.Causal {
		c.Causal = 1
	}
	if r := a.Rope; r != nil {
		c.cos, c.Cos = p.angles(r.Cos, d)
		c.sin, c.Sin = p.angles(r.Sin, d)
		c.Prefix = int32(r.Prefix)
		if r.Interleaved {
			c.Interleaved = 1
		}
	}
	return c
}

// angles returns rotary positions, which may be an image's or a head's own.
func (p *program) angles(t backend.Tensor, d int) (uint64, kernels.HeadView) {
	head := 0
	if t.Shape[len(t.Shape)-1] > d {
		head = d
	}
	mem, v := p.heads(t, head)
	if len(t.Shape) == 2 {
		v.Batch = 0
	}
	return mem, v
}

// add adds a kernel of attention with a group for 32 rows and a place in the
// grid's second and third dimension.
func (c *scores) add(p *program, kernel string, rows, second int, mems ...uint64) {
	add(p, fmt.Sprintf("%s_%d", kernel, c.width), [3]int{ceil(rows, 32), second, c.images}, c.Heads, mems...)
}

// stats takes room for what is kept of a row of the softmax.
func (c *scores) stats(p *program) uint64 {
	c.Stats = int64(p.take(c.images * int(c.Heads.Heads) * int(c.Rows) * 4))
	return p.s.room.Handle
}

// Attention implements backend.Stream.
func (s *stream) Attention(o, q, k, v backend.Tensor, a backend.Attention) {
	backend.CheckAttention(o, q, k, v, a)
	a.Rows = slices.Clone(a.Rows)
	s.do(false, func(p *program) {
		c := p.scores(q, k, v, a)
		out, view := p.heads(o, int(c.D))
		c.O = view
		var stats uint64
		if !a.Probs.IsZero() {
			stats = c.stats(p)
		}
		c.add(p, "attention", int(c.Rows), a.Heads*c.pieces, out, c.q, c.k, c.v, c.bias, c.cos, c.sin, stats)
		if a.Probs.IsZero() {
			return
		}
		kept, list := int(c.Rows), uint64(0)
		if a.Rows != nil {
			if kept = len(a.Rows); kept == 0 {
				return
			}
			list, c.List = p.list(a.Rows)
		}
		var probs uint64
		probs, c.Probs = p.heads(a.Probs, kept*a.Probs.Row)
		c.Kept = int32(kept)
		c.add(p, "attention_probs", kept, a.Heads, probs, c.q, c.k, c.bias, c.cos, c.sin, stats, list)
	})
}

// ends are spans as a list.
func ends(spans []backend.Span) (list []int) {
	for _, s := range spans {
		list = append(list, s.Lo, s.Hi)
	}
	return list
}

// Pool implements backend.Stream.
func (s *stream) Pool(y, x backend.Tensor, spans ...backend.Span) {
	backend.CheckPool(y, x, spans...)
	list := ends(spans)
	s.do(false, func(p *program) {
		images, _, columns := extent(x)
		params := kernels.Rows{All: int64(images * len(list) / 2 * columns), C: int32(columns), Spans: int32(len(list) / 2)}
		if params.All == 0 {
			return
		}
		var to, from, at uint64
		to, params.Y = p.view(y)
		from, params.X = p.view(x)
		at, params.List = p.list(list)
		add(p, "pool", outputs(int(params.All)), params, to, from, at)
	})
}

// Gather implements backend.Stream.
func (s *stream) Gather(y, x backend.Tensor, rows []int) {
	backend.CheckGather(y, x, rows)
	rows = slices.Clone(rows)
	s.do(false, func(p *program) {
		images, n, columns := extent(y)
		params := kernels.Rows{All: int64(images * n * columns), N: int32(n), C: int32(columns)}
		if len(rows) != n {
			params.Each = 1
		}
		if params.All == 0 {
			return
		}
		var to, from, at uint64
		to, params.Y = p.view(y)
		from, params.X = p.view(x)
		at, params.List = p.list(rows)
		add(p, "copy_rows", outputs(int(params.All)), params, to, from, at)
	})
}

// RelativeBias implements backend.Stream.
func (s *stream) RelativeBias(y backend.Tensor, r *backend.Relative, tokens []int) {
	backend.CheckRelativeBias(y, r, tokens)
	relative, tokens := *r, slices.Clone(tokens)
	s.do(false, func(p *program) {
		d := len(y.Shape)
		heads, rows, n := y.Shape[d-3], y.Shape[d-2], y.Shape[d-1]
		images := 1
		if d == 4 {
			images = y.Shape[0]
		}
		params := kernels.Relative{
			All: int64(images * heads * rows * n), Heads: int32(heads), R: int32(rows), N: int32(n),
			H: int32(relative.Grid[0]), W: int32(relative.Grid[1]), Prefix: int32(relative.Prefix),
		}
		var to, at uint64
		if d == 4 {
			to, params.Y = p.heads(y, rows*y.Row)
		} else {
			to, params.Y = p.heads(y, y.Batch)
		}
		table, offset := p.at(relative.Table)
		params.Table, params.Row = int64(offset), int64(relative.Table.Row)
		if tokens != nil {
			at, params.List = p.list(tokens)
		}
		add(p, "relative_bias", outputs(int(params.All)), params, to, table, at)
	})
}
