//go:build cgo && linux

package gpu

import (
	"slices"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/gpu/kernels"
)

// LinearGrad implements backend.Stream.
func (s *stream) LinearGrad(dx, dy backend.Tensor, w backend.Linear, e backend.Epilogue) {
	l := s.own(w)
	backend.CheckLinearGrad(dx, dy, w, l.gated, e)
	weight, _ := l.operands()
	if e.Act == backend.Identity {
		e.Pre = backend.Tensor{}
	}
	s.do(false, func(p *program) {
		images, rows, _ := extent(dy)
		g := kernels.Gemm{Rows: p.whole(images * rows), N: int32(rows), K: int32(l.out), Out: int32(l.in), Act: int32(e.Act)}
		var to, from, residual, pre uint64
		to, g.Y = p.view(dx)
		from, g.X = p.view(dy)
		residual, g.Residual = p.view(e.Residual)
		pre, g.Pre = p.view(e.Pre)
		p.gemm("linear_grad", g, to, from, residual, pre, weight, 0)
	})
}

// PatchEmbedGrad implements backend.Stream.
func (s *stream) PatchEmbedGrad(dpixels, dx backend.Tensor, p *backend.PatchEmbed) {
	backend.CheckPatchEmbedGrad(dpixels, dx, p)
	l, embed := s.own(p.Proj), *p
	weight, _ := l.operands()
	s.do(false, func(p *program) {
		g, prefix := patches(dpixels, &embed)
		g.Rows, g.K, g.Out = p.whole(dx.Shape[0]*int(g.N)), int32(l.out), int32(l.in)
		var to, from uint64
		to, g.Y = p.view(dpixels)
		p.copyRows(to, g.Y, 0, kernels.View{}, dpixels) // what no patch looks at
		from, g.X = p.view(dx.Rows(prefix, dx.Shape[1]))
		p.gemm("patch_embed_grad", g, to, from, 0, 0, weight, 0)
	})
}

// LayerNormGrad implements backend.Stream.
func (s *stream) LayerNormGrad(dx, dy, x backend.Tensor, n backend.Norm, residual backend.Tensor) {
	backend.CheckLayerNormGrad(dx, dy, x, n, residual)
	s.do(false, func(p *program) {
		from, weight, _, params := p.norm(x, n)
		var to, in, rest uint64
		to, params.Y = p.view(dx)
		in, params.DY = p.view(dy)
		rest, params.Residual = p.view(residual)
		add(p, "layernorm_grad", [3]int{ceil(int(params.Rows), 8), 1, 1}, params, to, from, weight, in, rest)
	})
}

// AttentionGrad implements backend.Stream: each gradient has a kernel that
// computes the probabilities anew, from a row's maximum and sum.
func (s *stream) AttentionGrad(dq, dk, dv, do, q, k, v backend.Tensor, a backend.Attention) {
	backend.CheckAttentionGrad(dq, dk, dv, do, q, k, v, a)
	s.do(false, func(p *program) {
		c := p.scores(q, k, v, a)
		d, rows, n := int(c.D), int(c.Rows), int(c.N)
		out, view := p.heads(do, d)
		c.O = view
		stats := c.stats(p)
		var toQ, toK, toV, probs, relevance uint64
		toQ, c.DQ = p.heads(dq, d)
		toK, c.DK = p.heads(dk, d)
		toV, c.DV = p.heads(dv, d)
		probs, c.Probs = p.heads(a.ProbsGrad, rows*a.ProbsGrad.Row)
		relevance, c.Relevance = p.heads(a.Relevance, 0)
		in := []uint64{out, c.q, c.k, c.v, c.bias, c.cos, c.sin, stats}
		c.add(p, "attention_stats", rows, a.Heads, in...)
		if !dq.IsZero() {
			c.add(p, "attention_grad_q", rows, a.Heads*c.pieces, append([]uint64{toQ}, in...)...)
			p.turnBack(&c, toQ, c.DQ, rows)
		}
		if !dk.IsZero() || !dv.IsZero() {
			c.add(p, "attention_grad_kv", n, a.Heads*c.pieces, append([]uint64{toK, toV}, in...)...)
		}
		if !dk.IsZero() {
			p.turnBack(&c, toK, c.DK, n)
		}
		if !a.ProbsGrad.IsZero() || !a.Relevance.IsZero() {
			c.add(p, "attention_captures", rows, ceil(n, 32), append([]uint64{probs, relevance}, in...)...)
		}
	})
}

// turnBack turns gradients of queries or keys that rotary positions have
// turned.
func (p *program) turnBack(c *scores, mem uint64, v kernels.HeadView, n int) {
	if c.cos == 0 {
		return
	}
	all := c.images * int(c.Heads.Heads) * n * int(c.D) / 2
	add(p, "turn_grad", outputs(all), kernels.Turn{
		Y: v, Cos: c.Cos, Sin: c.Sin, All: int64(all), Heads: c.Heads.Heads, D: c.D, N: int32(n), Prefix: c.Prefix, Interleaved: c.Interleaved,
	}, mem, c.cos, c.sin)
}

// PoolGrad implements backend.Stream.
func (s *stream) PoolGrad(dx, dy backend.Tensor, spans ...backend.Span) {
	backend.CheckPoolGrad(dx, dy, spans...)
	list := ends(spans)
	s.do(false, func(p *program) { p.spread("pool_grad", dx, dy, list, kernels.Rows{Spans: int32(len(list) / 2)}) })
}

// GatherGrad implements backend.Stream.
func (s *stream) GatherGrad(dx, dy backend.Tensor, rows []int) {
	backend.CheckGatherGrad(dx, dy, rows)
	rows = slices.Clone(rows)
	s.do(false, func(p *program) {
		params := kernels.Rows{Listed: int32(dy.Shape[1])}
		if len(rows) != dy.Shape[1] {
			params.Each = 1
		}
		p.spread("gather_grad", dx, dy, rows, params)
	})
}

// spread adds a kernel that gives tokens what became of them.
func (p *program) spread(kernel string, dx, dy backend.Tensor, list []int, params kernels.Rows) {
	images, n, columns := extent(dx)
	params.All, params.N, params.C = int64(images*n*columns), int32(n), int32(columns)
	var to, from, at uint64
	to, params.Y = p.view(dx)
	from, params.X = p.view(dy)
	if len(list) > 0 {
		at, params.List = p.list(list)
	}
	add(p, kernel, outputs(int(params.All)), params, to, from, at)
}
