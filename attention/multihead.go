package attention

import (
	"math"

	"github.com/vitserve/vitserve/backend"
)

// MultiHead is multi-head self-attention with its projections:
//
//	MultiHead(x) = softmax(Q Kᵀ / √D) V Wᵒ, Q = x Wq, K = x Wk, V = x Wv, for each of H heads of D = C/H
//
// Vaswani et al., "Attention Is All You Need", https://arxiv.org/abs/1706.03762, section 3.2.
type MultiHead struct {
	Heads int
	QKV   backend.Linear // (3C, C): queries, then keys, then values
	Proj  backend.Linear // (C, C)

	// Instead of QKV, where fewer queries than keys are going to be asked
	// for: the others are then not projected.
	Query, KeyValue backend.Linear // (C, C), (2C, C)
}

// Memory is what MultiHead writes on its way.
type Memory struct {
	QKV  backend.Tensor // (B, N, 3C)
	Out  backend.Tensor // (B, N, C) the heads side by side; may be the input
	Keep bool           // Forward leaves keys and values in QKV; else they are undefined after it
}

// Forward enqueues y = MultiHead(x) + residual for the first R tokens, which
// look at all N: x is (B, N, C), y and the residual are (B, R, C), and may be
// the same tensor.
func (m *MultiHead) Forward(s backend.Stream, y, x, residual backend.Tensor, mem Memory, c Capture) {
	rows, dim := y.Shape[1], x.Shape[2]
	q := mem.QKV.Cols(0, dim).Rows(0, rows)
	if m.QKV != nil {
		s.Linear(mem.QKV, x, m.QKV, backend.Epilogue{})
	} else {
		s.Linear(q, x.Rows(0, rows), m.Query, backend.Epilogue{})
		s.Linear(mem.QKV.Cols(dim, 3*dim), x, m.KeyValue, backend.Epilogue{})
	}
	o := mem.Out.Rows(0, rows)
	a := m.attention(dim)
	a.Rows, a.Probs, a.Spend = c.Rows, c.Probs, !mem.Keep
	s.Attention(o, q, mem.QKV.Cols(dim, 2*dim), mem.QKV.Cols(2*dim, 3*dim), a)
	s.Linear(y, o, m.Proj, backend.Epilogue{Residual: residual})
}

// attention returns the parameters for tokens of a width.
func (m *MultiHead) attention(dim int) backend.Attention {
	return backend.Attention{Heads: m.Heads, Scale: float32(1 / math.Sqrt(float64(dim/m.Heads)))}
}
