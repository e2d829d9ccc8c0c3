package backendtest

import (
	"math"

	"github.com/vitserve/vitserve/backend"
)

// family is what encoders of the field have beside the plain one, written
// against the seam alone.
type family struct {
	act                           backend.Activation
	rms, qkNorm, inner, mlpInner  bool // inner: a norm of attention before its projection
	rope, relative, causal, probe bool
	last                          bool // the feature is a token of each image's own
	behind                        bool // norms are behind the branches
}

var families = map[string]family{
	"rotary, gated, inner norms":                {act: backend.SwiGLU, rope: true, inner: true, mlpInner: true}, // EVA-02
	"relative positions":                        {act: backend.GELU, relative: true},                            // BEiT
	"inner norms":                               {act: backend.GELU, inner: true, mlpInner: true},               // BEiT-3
	"root mean squares, query-key norms":        {act: backend.SwiGLU, rms: true, qkNorm: true, rope: true},     // AIMv2, Qwen3's and Gemma's towers
	"query-key layer norms":                     {act: backend.GELU, qkNorm: true},                              // timm's qk_norm
	"norms behind branches, relative positions": {act: backend.GELU, behind: true, relative: true},              // timm's relpos with norms behind
	"attention pooling":                         {act: backend.GELUTanh, probe: true},                           // SigLIP
	"causal, last token of each":                {act: backend.QuickGELU, causal: true, last: true},             // CLIP's text tower
	"causal, gated, last token, key norm":       {act: backend.SwiGLU, causal: true, last: true, rope: true, qkNorm: true, rms: true},
}

// mix is an attention with its projections, and hidden an MLP, each with what
// a family puts in between.
type (
	mix struct {
		q, kv, proj backend.Linear
		qn, kn, on  backend.Norm
		table       *backend.Relative
	}
	hidden struct {
		norm, inner backend.Norm
		fc1, fc2    backend.Linear
	}
	layer struct {
		norm backend.Norm
		mix
		hidden
	}
)

// familyModel is a family with weights; (h, w) patches behind a class token.
type familyModel struct {
	family
	r                     *rig
	dim, heads, width     int
	eps                   float32
	grid                  [2]int
	layers                []layer
	norm                  backend.Norm
	angles                *backend.Rope
	query                 backend.Tensor // (1, 1, C) of the probe
	pool                  mix
	poolMLP               hidden
	keep                  bool // taps are kept for gradients; else they are Temps
	bias                  backend.Tensor
	rows                  []int // with last: the token of each image
	taps                  []taps
	pooled, poolKV, poolO backend.Tensor
	poolTaps              taps
}

// taps are what gradients look at, layer by layer.
type taps struct {
	x, q, kv, qn, kn, o, on, mid, h, hn, pre backend.Tensor
	attended, mixed                          backend.Tensor // what norms behind branches are of
	rows                                     int
}

func newFamily(r *rig, f family, dim, width int, eps float32, grid [2]int) *familyModel {
	const depth, heads = 2, 2
	m := &familyModel{family: f, r: r, dim: dim, heads: heads, width: width, eps: eps, grid: grid}
	for range depth {
		m.layers = append(m.layers, layer{m.aNorm(), m.aMix(), m.aHidden()})
	}
	m.norm = m.aNorm()
	if f.rope {
		m.angles = r.rope(m.tokens(), 1, dim/heads, true)
	}
	if f.probe {
		m.query = r.upload(r.normal(1, 1, 1, dim))
		m.pool, m.poolMLP = m.aMix(), m.aHidden()
	}
	return m
}

func (m *familyModel) tokens() int { return 1 + m.grid[0]*m.grid[1] }

func (m *familyModel) aNorm() backend.Norm { return m.headNorm(0, m.dim) }

func (m *familyModel) headNorm(heads, d int) backend.Norm {
	n := m.r.headNorm(heads, d, m.rms)
	n.Eps = m.eps
	return n
}

func (m *familyModel) aMix() mix {
	a := mix{
		q: m.r.linear(m.dim, m.dim, true, backend.LinearOptions{}), kv: m.r.linear(2*m.dim, m.dim, true, backend.LinearOptions{}),
		proj: m.r.linear(m.dim, m.dim, true, backend.LinearOptions{}), on: m.aNorm(),
		qn: m.headNorm(m.heads, m.dim/m.heads), kn: m.headNorm(m.heads, m.dim/m.heads),
	}
	if m.relative {
		a.table = m.r.relative(m.grid[0], m.grid[1], 1, m.heads)
	}
	return a
}

func (m *familyModel) aHidden() hidden {
	gated, width := m.act == backend.SwiGLU, m.width
	if gated {
		width *= 2
	}
	return hidden{
		norm: m.aNorm(), inner: m.headNorm(0, m.width),
		fc1: m.r.linear(width, m.dim, true, backend.LinearOptions{Gated: gated}), fc2: m.r.linear(m.dim, m.width, true, backend.LinearOptions{}),
	}
}

// tap is memory that gradients look at, or a Temp.
func (m *familyModel) tap(shape ...int) backend.Tensor {
	if m.keep {
		return m.r.Alloc(shape...)
	}
	return m.r.Temp(shape...)
}

// attention are its parameters in a layer.
func (m *familyModel) attention(a *mix, rows int) backend.Attention {
	p := backend.Attention{Heads: m.heads, Scale: float32(1 / math.Sqrt(float64(m.dim/m.heads))), Rope: m.angles, Causal: m.causal}
	if a.table != nil {
		p.Bias = m.bias.Rows(0, rows)
	}
	return p
}

// forward enqueues y = the feature of tokens x (B, N, C), and its map over
// the tokens, of the probe if there is one, else of the last layer's class
// token. x is overwritten unless taps are kept.
func (m *familyModel) forward(y, maps, x backend.Tensor) {
	batch, n := x.Shape[0], m.tokens()
	if m.relative && m.bias.IsZero() {
		m.bias = m.r.Alloc(m.heads, n, n)
	}
	m.taps = nil
	for i := range m.layers {
		rows := n
		if i == len(m.layers)-1 && !m.last && !m.probe {
			rows = 1 // of the class token alone
		}
		out := x
		if m.keep {
			out = m.r.Alloc(batch, n, m.dim)
		}
		t := taps{x: x, rows: rows}
		capture := backend.Tensor{}
		if i == len(m.layers)-1 && !m.probe {
			capture = maps
		}
		m.block(&m.layers[i], &t, out.Rows(0, rows), capture)
		m.taps = append(m.taps, t)
		x = out
	}
	if m.probe {
		m.attend(y, maps, x)
		return
	}
	rows := []int{0}
	if m.last {
		rows = m.rows
	}
	m.pooled = m.r.Alloc(batch, 1, m.dim)
	m.r.Gather(m.pooled, x, rows)
	m.r.LayerNorm(y, m.pooled, m.norm)
}

// block enqueues a layer for the first tokens.
func (m *familyModel) block(l *layer, t *taps, out, maps backend.Tensor) {
	r, batch, n := m.r, t.x.Shape[0], m.tokens()
	y := t.x
	t.q, t.kv = m.tap(batch, t.rows, m.dim), m.tap(batch, n, 2*m.dim)
	if !m.behind {
		y = r.Temp(batch, n, m.dim)
		r.LayerNorm(y, t.x, l.norm)
	}
	r.Linear(t.q, y.Rows(0, t.rows), l.q, backend.Epilogue{})
	r.Linear(t.kv, y, l.kv, backend.Epilogue{})
	t.qn, t.kn = t.q, t.kv.Cols(0, m.dim)
	if m.qkNorm {
		t.qn, t.kn = m.tap(batch, t.rows, m.dim), m.tap(batch, n, m.dim)
		r.LayerNorm(t.qn, t.q, l.qn)
		r.LayerNorm(t.kn, t.kv.Cols(0, m.dim), l.kn)
	}
	if m.relative {
		r.RelativeBias(m.bias.Rows(0, t.rows), l.table, nil)
	}
	a := m.attention(&l.mix, t.rows)
	if !maps.IsZero() {
		a.Rows, a.Probs = []int{0}, maps
	}
	t.o = m.tap(batch, t.rows, m.dim)
	r.Attention(t.o, t.qn, t.kn, t.kv.Cols(m.dim, 2*m.dim), a)
	t.on = t.o
	if m.inner {
		t.on = m.tap(batch, t.rows, m.dim)
		r.LayerNorm(t.on, t.o, l.on)
	}
	t.mid = out
	if m.keep {
		t.mid = r.Alloc(batch, t.rows, m.dim)
	}
	t.attended = m.branch(t.mid, t.on, l.proj, l.norm, t.x.Rows(0, t.rows))
	m.mlp(&l.hidden, t, out)
}

// mlp enqueues out = t.mid + MLP(norm(t.mid)).
func (m *familyModel) mlp(l *hidden, t *taps, out backend.Tensor) {
	r, batch := m.r, t.mid.Shape[0]
	z := t.mid
	if !m.behind {
		z = r.Temp(batch, t.rows, m.dim)
		r.LayerNorm(z, t.mid, l.norm)
	}
	var e backend.Epilogue
	if e.Act = m.act; m.keep {
		e.Pre = r.Alloc(batch, t.rows, l.fc1.Out())
	}
	t.pre, t.h = e.Pre, m.tap(batch, t.rows, m.width)
	r.Linear(t.h, z, l.fc1, e)
	t.hn = t.h
	if m.mlpInner {
		t.hn = m.tap(batch, t.rows, m.width)
		r.LayerNorm(t.hn, t.h, l.inner)
	}
	t.mixed = m.branch(out, t.hn, l.fc2, l.norm, t.mid)
}

// branch enqueues the end of a branch, y = w(x) + residual, or with the norm
// in between; then it returns what the norm is of.
func (m *familyModel) branch(y, x backend.Tensor, w backend.Linear, n backend.Norm, residual backend.Tensor) (inner backend.Tensor) {
	if !m.behind {
		m.r.Linear(y, x, w, backend.Epilogue{Residual: residual})
		return inner
	}
	inner = m.tap(y.Shape...)
	m.r.Linear(inner, x, w, backend.Epilogue{})
	n.Residual = residual
	m.r.LayerNorm(y, inner, n)
	return inner
}

// attend pools x by the probe, whose query all images share, and its MLP.
//
// Zhai et al., "Scaling Vision Transformers",
// https://arxiv.org/abs/2106.04560, section 3.2 (MAP head).
func (m *familyModel) attend(y, maps, x backend.Tensor) {
	r, batch, n := m.r, x.Shape[0], m.tokens()
	m.pooled = x
	normed := r.Temp(batch, n, m.dim)
	m.poolKV, m.poolO = m.tap(batch, n, 2*m.dim), m.tap(batch, 1, m.dim)
	r.LayerNorm(normed, x, m.norm)
	r.Linear(m.poolKV, normed, m.pool.kv, backend.Epilogue{})
	a := m.probeAttention()
	a.Probs = maps
	r.Attention(m.poolO, m.queryOf(batch), m.poolKV.Cols(0, m.dim), m.poolKV.Cols(m.dim, 2*m.dim), a)
	m.poolTaps = taps{mid: r.Alloc(batch, 1, m.dim), rows: 1}
	r.Linear(m.poolTaps.mid, m.poolO, m.pool.proj, backend.Epilogue{})
	m.mlp(&m.poolMLP, &m.poolTaps, y)
}

func (m *familyModel) probeAttention() backend.Attention {
	return backend.Attention{Heads: m.heads, Scale: float32(1 / math.Sqrt(float64(m.dim/m.heads)))}
}

// queryOf is the probe as every image has it.
func (m *familyModel) queryOf(batch int) backend.Tensor {
	q := m.query
	q.Shape, q.Batch = []int{batch, 1, m.dim}, 0
	return q
}
