package attention

import (
	"math"

	"github.com/vitserve/vitserve/backend"
)

// MultiHead is multi-head self-attention with its projections:
//
//	MultiHead(x) = softmax(Q Kᵀ / √D) V Wᵒ, Q = x Wq, K = x Wk, V = x Wv, for each of H heads of D = C/H
//
// with what families have beside it: positions of queries and keys, norms of
// them, and a norm of the heads.
//
// Vaswani et al., "Attention Is All You Need", https://arxiv.org/abs/1706.03762, section 3.2.
type MultiHead struct {
	Heads int
	QKV   backend.Linear // (3C, C): queries, then keys, then values
	Proj  backend.Linear // (C, C)

	// Instead of QKV, where fewer queries than keys are going to be asked
	// for: the others are then not projected.
	Query, KeyValue backend.Linear // (C, C), (2C, C)

	Rope     *backend.Rope     // rotary positions of queries and keys; nil: none
	Relative *backend.Relative // relative positions of tokens; nil: none
	Norm     *backend.Norm     // of the heads, side by side, before Proj; nil: none

	QueryNorm, KeyNorm *backend.Norm // of each head of queries and keys; both or nil: none
}

// Memory is what MultiHead writes on its way.
type Memory struct {
	QKV  backend.Tensor // (B, N, 3C)
	Out  backend.Tensor // (B, N, C) the heads side by side; may be the input
	Keep bool           // Forward leaves keys and values in QKV; else they are undefined after it

	Raw    backend.Tensor // (B, N, 3C) keeps queries and keys before their norms, and values; zero: they are not kept
	Heads  backend.Tensor // (B, N, C) keeps the heads before their norm; zero: they are not kept
	Places Places
}

// Places are where tokens are, for layers with relative or rotary positions.
// The zero value is good for a layer without.
type Places struct {
	// Bias is memory for relative positions, one for all layers: (H, N, N), or
	// with Tokens (B, H, N, N).
	Bias backend.Tensor
	// Tokens are those that each image keeps, B lists of N, one behind the
	// other; nil: all.
	Tokens []int
	// Rope has their rotary positions in place of the layer's; nil: it does
	// not.
	Rope *backend.Rope
}

// bias enqueues the biases of a layer for the first rows tokens, and returns
// them.
func (p Places) bias(s backend.Stream, r *backend.Relative, rows int) backend.Tensor {
	if r == nil {
		return backend.Tensor{}
	}
	b := p.Bias
	if d := len(b.Shape) - 2; d == 1 {
		b = b.Rows(0, rows)
	} else if b.Shape[d] != rows { // rows lie densely
		b.Shape = b.Shape.Clone()
		b.Shape[d] = rows
		b.Batch = b.Shape[1] * rows * b.Row
	}
	s.RelativeBias(b, r, p.Tokens)
	return b
}

// Forward enqueues y = MultiHead(x) + residual for the first R tokens, which
// look at all N: x is (B, N, C), y and the residual are (B, R, C), and may be
// the same tensor.
func (m *MultiHead) Forward(s backend.Stream, y, x, residual backend.Tensor, mem Memory, c Capture) {
	rows, dim := y.Shape[1], x.Shape[2]
	raw := mem.raw()
	if m.QKV != nil {
		s.Linear(raw, x, m.QKV, backend.Epilogue{})
	} else {
		s.Linear(raw.Cols(0, dim).Rows(0, rows), x.Rows(0, rows), m.Query, backend.Epilogue{})
		s.Linear(raw.Cols(dim, 3*dim), x, m.KeyValue, backend.Epilogue{})
	}
	q, k := mem.QKV.Cols(0, dim).Rows(0, rows), mem.QKV.Cols(dim, 2*dim)
	if m.QueryNorm != nil {
		s.LayerNorm(q, raw.Cols(0, dim).Rows(0, rows), *m.QueryNorm)
		s.LayerNorm(k, raw.Cols(dim, 2*dim), *m.KeyNorm)
	}
	o := mem.Out.Rows(0, rows)
	a := m.attention(s, mem.Places, dim, rows)
	a.Rows, a.Probs, a.Spend = c.Rows, c.Probs, !mem.Keep
	heads := o
	if !mem.Heads.IsZero() {
		heads = mem.Heads.Rows(0, rows)
	}
	s.Attention(heads, q, k, raw.Cols(2*dim, 3*dim), a)
	if m.Norm != nil {
		s.LayerNorm(o, heads, *m.Norm)
	}
	s.Linear(y, o, m.Proj, backend.Epilogue{Residual: residual})
}

// raw returns where queries, keys and values are projected to.
func (m Memory) raw() backend.Tensor {
	if m.Raw.IsZero() {
		return m.QKV
	}
	return m.Raw
}

// attention returns the parameters for the first rows tokens of a width, and
// enqueues what they need.
func (m *MultiHead) attention(s backend.Stream, p Places, dim, rows int) backend.Attention {
	rope := m.Rope
	if p.Rope != nil {
		rope = p.Rope
	}
	return backend.Attention{
		Heads: m.Heads, Scale: float32(1 / math.Sqrt(float64(dim/m.Heads))),
		Rope: rope, Bias: p.bias(s, m.Relative, rows),
	}
}
