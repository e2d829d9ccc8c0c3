package vit

import (
	"github.com/vitserve/vitserve/attention"
	"github.com/vitserve/vitserve/backend"
)

// block is one pre-norm Transformer layer:
//
//	x = x + attn(norm1(x))
//	x = x + mlp(norm2(x))
type block struct {
	norm1, norm2 backend.Norm
	attn         attention.MultiHead
	fc1, fc2     backend.Linear
	act          backend.Activation
	inner        *backend.Norm // of the hidden layer; nil: none
}

// forward enqueues the block for the first rows tokens of x, which look at
// all of them. The others keep their values from the block before. Keys and
// values are in m.qkv afterwards if they are to be kept.
func (b *block) forward(s backend.Stream, m *memory, rows int, probs attention.Capture, keep bool) {
	x, y, h := m.x.Rows(0, rows), m.y.Rows(0, rows), m.hidden.Rows(0, rows)

	s.LayerNorm(m.y, m.x, b.norm1)
	b.attn.Forward(s, x, m.y, x, attention.Memory{QKV: m.qkv, Out: m.y, Keep: keep, Places: m.places}, probs)

	s.LayerNorm(y, x, b.norm2)
	s.Linear(h, y, b.fc1, backend.Epilogue{Act: b.act})
	if b.inner != nil {
		s.LayerNorm(h, h, *b.inner)
	}
	s.Linear(x, h, b.fc2, backend.Epilogue{Residual: x})
}
