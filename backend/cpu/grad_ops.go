package cpu

import (
	"fmt"

	"github.com/vitserve/vitserve/backend"
)

// PatchEmbedGrad implements backend.Gradients.
func (s *stream) PatchEmbedGrad(dpixels, dx backend.Tensor, p *backend.PatchEmbed) {
	backend.CheckPatchEmbedGrad(dpixels, dx, p)
	s.ops = append(s.ops, op{
		code: opPatchEmbedGrad, y: newView(dpixels), x: newView(dx), l: s.transposed(s.own(p.Proj)),
		prefix: newView(p.Prefix), patch: p.Patch,
		grid: [2]int{dpixels.Shape[2], dpixels.Shape[3] / p.Patch[1]},
	})
}

// LayerNormGrad implements backend.Gradients.
func (s *stream) LayerNormGrad(dx, dy, x backend.Tensor, n backend.Norm, residual backend.Tensor) {
	backend.CheckLayerNormGrad(dx, dy, x, n, residual)
	s.ops = append(s.ops, op{
		code: opLayerNormGrad, y: newView(dx), dy: newView(dy), x: newView(x), res: newView(residual),
		weight: newView(n.Weight), eps: n.Eps, rms: n.RMS, heads: max(n.Heads, 1),
	})
}

// LinearGrad implements backend.Gradients. Without an activation it is the
// product with a layer of transposed weights.
func (s *stream) LinearGrad(dx, dy backend.Tensor, w backend.Linear, e backend.Epilogue) {
	l := s.own(w)
	backend.CheckLinearGrad(dx, dy, w, l.gated, e)
	o := op{code: opLinear, y: newView(dx), x: newView(dy), l: s.transposed(l), res: newView(e.Residual)}
	if e.Act != backend.Identity {
		o.code, o.act, o.pre = opLinearGrad, e.Act, newView(e.Pre)
	}
	s.ops = append(s.ops, o)
}

// AttentionGrad implements backend.Gradients.
func (s *stream) AttentionGrad(dq, dk, dv, do, q, k, v backend.Tensor, a backend.Attention) {
	backend.CheckAttentionGrad(dq, dk, dv, do, q, k, v, a)
	r := op{
		code: opAttentionGrad, y: newView(dq), dk: newView(dk), dv: newView(dv), dy: newView(do),
		x: newView(q), k: newView(k), v: newView(v), probs: newView(a.ProbsGrad), share: newView(a.Relevance),
	}
	r.scores(a)
	s.ops = append(s.ops, r)
}

// PoolGrad implements backend.Gradients.
func (s *stream) PoolGrad(dx, dy backend.Tensor, spans ...backend.Span) {
	backend.CheckPoolGrad(dx, dy, spans...)
	lo := len(s.ints)
	for _, span := range spans {
		s.ints = append(s.ints, span.Lo, span.Hi)
	}
	s.ops = append(s.ops, op{code: opPoolGrad, y: newView(dx), x: newView(dy), lo: lo, hi: len(s.ints)})
}

// transposed returns the layer of l's transposed weights, or nil and a
// failure that sticks.
func (s *stream) transposed(l *linear) *linear {
	t, err := l.transposed()
	if err != nil {
		s.fail(fmt.Errorf("cpu: weights (%d, %d) for gradients: %w", l.out, l.in, err))
	}
	return t
}
