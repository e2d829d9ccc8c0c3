package vit

import (
	"fmt"

	"github.com/vitserve/vitserve/attention"
	"github.com/vitserve/vitserve/backend"
)

// Form is how a block's attention and MLP add to the tokens.
type Form uint8

// Forms of blocks.
const (
	FormPre      Form = iota // x += attn(norm1(x)); x += mlp(norm2(x))
	FormParallel             // x += attn(norm1(x)) + mlp(norm1(x)): https://arxiv.org/abs/2302.05442, section 2.1
	FormPost                 // x += norm1(attn(x)); x += norm2(mlp(x)): https://arxiv.org/abs/2111.09883, section 3.2
)

// forms is the table of them: what a pass through a block of each enqueues.
var forms = [...]func(p *pass){
	FormPre: func(p *pass) {
		p.attend(p.mid, p.norm(p.in, p.b.norm1), p.in)
		p.mlp(p.out, p.norm(p.mid, p.b.norm2), p.mid)
	},
	FormParallel: func(p *pass) { // attention writes over what both are given
		p.mlp(p.mid, p.norm(p.in, p.b.norm1), p.in)
		p.attend(p.out, p.y, p.mid)
	},
	FormPost: func(p *pass) {
		p.normed(p.mid, p.attend(p.branch1, p.in, backend.Tensor{}), p.b.norm1, p.in)
		p.normed(p.out, p.mlp(p.branch2, p.mid, backend.Tensor{}), p.b.norm2, p.mid)
	},
}

// String returns "pre", "parallel" or "post".
func (f Form) String() string {
	names := [...]string{"pre", "parallel", "post"}
	if int(f) < len(names) {
		return names[f]
	}
	return fmt.Sprintf("Form(%d)", f)
}

// block is one Transformer layer.
type block struct {
	form         Form
	norm1, norm2 backend.Norm
	attn         attention.MultiHead
	fc1, fc2     backend.Linear
	act          backend.Activation
	inner        *backend.Norm // of the hidden layer; nil: none
}

// pass is one way through a block, of the first R tokens, which look at all N.
type pass struct {
	b     *block
	s     backend.Stream
	rows  int            // R
	in    backend.Tensor // (B, N, C) the tokens
	mid   backend.Tensor // (B, R, C) what becomes of them between the branches; may be in's
	out   backend.Tensor // (B, R, C) and behind both; may be mid
	y     backend.Tensor // (B, N, C) for norms on their way
	attn  attention.Memory
	probs attention.Capture
	given func(y backend.Tensor) // told what the attention is given; nil: nobody

	branch1, branch2 backend.Tensor // (B, R, C) what norms behind the branches are given; zero: there are none
	hidden, pre      backend.Tensor // (B, R, M) a Temp; before the activation, zero: not kept
	before           backend.Tensor // (B, R, M) the hidden layer before its norm; zero: not kept
}

// run enqueues the pass. Keys and values are in p.attn.QKV afterwards if they
// are to be kept.
func (p *pass) run() {
	forms[p.b.form](p)
}

// norm enqueues y = norm(x).
func (p *pass) norm(x backend.Tensor, n backend.Norm) backend.Tensor {
	y := p.y.Rows(0, x.Shape[1])
	p.s.LayerNorm(y, x, n)
	return y
}

// normed enqueues y = norm(x) + residual.
func (p *pass) normed(y, x backend.Tensor, n backend.Norm, residual backend.Tensor) {
	n.Residual = residual.Rows(0, p.rows)
	p.s.LayerNorm(y, x, n)
}

// attend enqueues y = attn(x) + residual and returns y. The attention looks
// at all N tokens of x.
func (p *pass) attend(y, x, residual backend.Tensor) backend.Tensor {
	if p.given != nil {
		p.given(x)
	}
	if !residual.IsZero() {
		residual = residual.Rows(0, p.rows)
	}
	p.b.attn.Forward(p.s, y, x, residual, p.attn, p.probs)
	return y
}

// mlp enqueues y = mlp(x) + residual and returns y.
func (p *pass) mlp(y, x, residual backend.Tensor) backend.Tensor {
	if !residual.IsZero() {
		residual = residual.Rows(0, p.rows)
	}
	b, h := p.b, p.hidden
	if !p.before.IsZero() {
		h = p.before
	}
	p.s.Linear(h, x.Rows(0, p.rows), b.fc1, backend.Epilogue{Act: b.act, Pre: p.pre})
	if b.inner != nil {
		p.s.LayerNorm(p.hidden, h, *b.inner)
	}
	p.s.Linear(y, p.hidden, b.fc2, backend.Epilogue{Residual: residual})
	return y
}

// forward enqueues the block for the first rows tokens of x, which look at
// all of them. The others keep their values from the block before. Keys and
// values are in m.qkv afterwards if they are to be kept.
func (b *block) forward(s backend.Stream, m *memory, rows int, probs attention.Capture, keep bool, given func(backend.Tensor)) {
	x := m.x.Rows(0, rows)
	p := pass{
		b: b, s: s, rows: rows, in: m.x, mid: x, out: x, y: m.y, hidden: m.hidden.Rows(0, rows),
		attn:  attention.Memory{QKV: m.qkv, Out: m.y, Keep: keep, Places: m.places},
		probs: probs, given: given,
	}
	if b.form == FormPost { // queries are done with when the heads are projected
		p.branch1, p.branch2 = m.qkv.Cols(0, x.Shape[2]).Rows(0, rows), m.y.Rows(0, rows)
	}
	p.run()
}

// trace enqueues the block with everything kept.
func (b *block) trace(s backend.Stream, m *taps, i int, probs attention.Capture, given func(backend.Tensor)) {
	t := m.blocks[i]
	p := pass{
		b: b, s: s, rows: t.x.Shape[1], in: t.x, mid: t.mid, out: m.input(i + 1), y: m.y,
		attn:  attention.Memory{QKV: t.qkv, Out: m.y, Raw: t.raw, Heads: t.heads, Keep: true, Places: m.places},
		probs: probs, given: given,
		branch1: t.branch1, branch2: t.branch2,
		hidden: m.hidden, pre: t.pre, before: t.hidden,
	}
	p.run()
}
