package attention

import "github.com/vitserve/vitserve/backend"

// GradRows returns of how many tokens, from the first, Backward must be given
// the gradient, zeros included, where only the first rows of n have one:
// queries, keys and values that are one layer are derived as one, unless
// nothing below the attention is wanted.
func (m *MultiHead) GradRows(rows, n int, below bool) int {
	if below && m.QKV != nil {
		return n
	}
	return rows
}

// Backward enqueues dx = ∂L/∂x (B, N, C) + residual, which may be dx itself or
// zero for none, from dy (B, R, C), the gradient at what Forward computed for R
// tokens with mem.QKV, mem.Raw and mem.Heads, which it left as they were. The
// forward residual's gradient is dy itself. mem.Out is overwritten and may be
// dx; qkv (B, N, 3C) is overwritten too. R is what GradRows says;
// where dx is zero only the captures are computed.
func (m *MultiHead) Backward(s backend.Stream, dx, dy, residual backend.Tensor, mem Memory, qkv backend.Tensor, c GradCapture) {
	rows, dim := dy.Shape[1], dy.Shape[2]
	a := m.attention(s, mem.Places, dim, rows)
	a.ProbsGrad, a.Relevance = c.Probs, c.Relevance
	var dq, dk, dv backend.Tensor
	if !dx.IsZero() {
		dq, dk, dv = qkv.Cols(0, dim).Rows(0, rows), qkv.Cols(dim, 2*dim), qkv.Cols(2*dim, 3*dim)
	}
	do := mem.Out.Rows(0, rows)
	s.LinearGrad(do, dy, m.Proj, backend.Epilogue{})
	if m.Norm != nil {
		s.LayerNormGrad(do, do, mem.Heads.Rows(0, rows), *m.Norm, backend.Tensor{})
	}
	raw := mem.raw()
	s.AttentionGrad(dq, dk, dv, do, mem.QKV.Cols(0, dim).Rows(0, rows), mem.QKV.Cols(dim, 2*dim), raw.Cols(2*dim, 3*dim), a)
	if m.QueryNorm != nil && !dx.IsZero() {
		s.LayerNormGrad(dq, dq, raw.Cols(0, dim).Rows(0, rows), *m.QueryNorm, backend.Tensor{})
		s.LayerNormGrad(dk, dk, raw.Cols(dim, 2*dim), *m.KeyNorm, backend.Tensor{})
	}
	switch {
	case dx.IsZero():
	case m.QKV != nil:
		s.LinearGrad(dx, qkv, m.QKV, backend.Epilogue{Residual: residual})
	default:
		s.LinearGrad(dx, qkv.Cols(dim, 3*dim), m.KeyValue, backend.Epilogue{Residual: residual})
		queries := dx.Rows(0, rows)
		s.LinearGrad(queries, dq, m.Query, backend.Epilogue{Residual: queries})
	}
}
