package vit

import (
	"math"

	"github.com/vitserve/vitserve/attention"
	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// Probe is pooling by attention: one learned query, the same for every image,
// looks at the tokens, and an MLP with a residual follows:
//
//	p = softmax(q Kᵀ / √D) V Wᵒ, K = y Wk, V = y Wv, for each of the Probe's heads
//	f = p + mlp(norm(p))
//
// Zhai et al., "Scaling Vision Transformers",
// https://arxiv.org/abs/2106.04560, section 3.2 (multihead attention pooling),
// after Lee et al., "Set Transformer", https://arxiv.org/abs/1810.00825,
// section 3.2.
type Probe struct {
	Heads  int                // 0: the pooled tokens are averaged
	Hidden int                // the MLP's inner width; 0: no MLP, f = p
	Act    backend.Activation // of the MLP
}

// ProbeWeights are those of a Probe. Any bias may be nil.
type ProbeWeights struct {
	Query          *tensor.Dense // (1, C) projected
	KV, KVBias     *tensor.Dense // (2C, C), rows k then v; (2C)
	Proj, ProjBias *tensor.Dense // (C, C), (C)
	Norm           NormWeights   // without an MLP nil, as what follows
	FC1, FC1Bias   *tensor.Dense // (M, C), (M)
	FC2, FC2Bias   *tensor.Dense // (C, M), (C)
}

// probe is a Probe on a backend.
type probe struct {
	heads    int
	query    backend.Tensor // (1, C)
	hide     backend.Tensor // (1, N) -Inf for the tokens in front that are not pooled; zero: all are
	kv, proj backend.Linear
	norm     backend.Norm
	fc1, fc2 backend.Linear // nil: no MLP
	act      backend.Activation
}

func (u *uploader) probe(c Config, w ProbeWeights) *probe {
	if c.Probe.Heads == 0 {
		return nil
	}
	var o backend.LinearOptions
	p := &probe{
		heads: c.Probe.Heads, act: c.Probe.Act,
		query: u.tensor(w.Query), norm: u.norm(w.Norm),
		kv: u.linear(w.KV, w.KVBias, o), proj: u.linear(w.Proj, w.ProjBias, o),
		fc1: u.linear(w.FC1, w.FC1Bias, o), fc2: u.linear(w.FC2, w.FC2Bias, o),
	}
	if lo := c.Pool[0].Lo; lo > 0 {
		hide := make([]float32, c.Tokens())
		for i := range hide[:lo] {
			hide[i] = float32(math.Inf(-1))
		}
		p.hide = u.tensor(tensor.New(tensor.WithShape(1, len(hide)), tensor.WithBacking(hide)))
	}
	return p
}

// probed is memory of a Probe for a batch. The zero value is that of none.
type probed struct {
	heads  backend.Tensor // (B, 1, C) side by side, then the norm
	out    backend.Tensor // (B, 1, C) p
	hidden backend.Tensor // (B, 1, M) a Temp
	pre    backend.Tensor // (B, 1, M) the MLP before its activation; zero: not kept
}

// newProbed allocates for n images. What gradients need is kept if keep.
func newProbed(s backend.Stream, c Config, n int, keep bool) (m probed) {
	if c.Probe.Heads == 0 {
		return m
	}
	m.heads, m.out = s.Alloc(n, 1, c.Dim), s.Alloc(n, 1, c.Dim)
	if c.Probe.Hidden > 0 {
		m.hidden = s.Temp(n, 1, c.Probe.Hidden)
		if keep {
			m.pre = s.Alloc(n, 1, c.Probe.Hidden)
		}
	}
	return m
}

// tensors lists those of m.
func (m *probed) tensors() []*backend.Tensor {
	return []*backend.Tensor{&m.heads, &m.out, &m.hidden, &m.pre}
}

// attention returns the parameters for a number of tokens.
func (p *probe) attention(dim, tokens int) backend.Attention {
	a := backend.Attention{Heads: p.heads, Scale: float32(1 / math.Sqrt(float64(dim/p.heads)))}
	if !p.hide.IsZero() {
		a.Bias = p.hide
		a.Bias.Shape, a.Bias.Batch, a.Bias.Row = tensor.Shape{p.heads, 1, tokens}, 0, 0
	}
	return a
}

// queries returns the query of n images.
func (p *probe) queries(n int) backend.Tensor {
	q := p.query
	q.Shape, q.Batch = tensor.Shape{n, 1, q.Shape[1]}, 0
	return q
}

// forward enqueues pooled (B, 1, C) from tokens y (B, N, C). Keys and values
// (B, N, 2C) are left in kv.
func (p *probe) forward(s backend.Stream, pooled, y, kv backend.Tensor, m probed, c attention.Capture) {
	dim := y.Shape[2]
	s.Linear(kv, y, p.kv, backend.Epilogue{})
	a := p.attention(dim, y.Shape[1])
	a.Probs = c.Probs
	s.Attention(m.heads, p.queries(y.Shape[0]), kv.Cols(0, dim), kv.Cols(dim, 2*dim), a)
	if p.fc1 == nil {
		s.Linear(pooled, m.heads, p.proj, backend.Epilogue{})
		return
	}
	s.Linear(m.out, m.heads, p.proj, backend.Epilogue{})
	s.LayerNorm(m.heads, m.out, p.norm)
	s.Linear(m.hidden, m.heads, p.fc1, backend.Epilogue{Act: p.act, Pre: m.pre})
	s.Linear(pooled, m.hidden, p.fc2, backend.Epilogue{Residual: m.out})
}

// backward enqueues dy (B, N, C) from d (B, 1, C), the gradient at what
// forward made of kv and m, which it left as they were but for m.hidden. d is
// overwritten, dkv (B, N, 2C) too.
func (p *probe) backward(s backend.Stream, dy, d, kv, dkv backend.Tensor, m probed, keep attention.GradCapture) {
	dim := dy.Shape[2]
	if p.fc1 != nil {
		s.LinearGrad(m.hidden, d, p.fc2, backend.Epilogue{})
		s.LinearGrad(m.heads, m.hidden, p.fc1, backend.Epilogue{Act: p.act, Pre: m.pre})
		s.LayerNormGrad(d, m.heads, m.out, p.norm, d)
	}
	s.LinearGrad(m.heads, d, p.proj, backend.Epilogue{})
	a := p.attention(dim, dy.Shape[1])
	a.ProbsGrad = keep.Probs
	s.AttentionGrad(backend.Tensor{}, dkv.Cols(0, dim), dkv.Cols(dim, 2*dim), m.heads, p.queries(dy.Shape[0]), kv.Cols(0, dim), kv.Cols(dim, 2*dim), a)
	s.LinearGrad(dy, dkv, p.kv, backend.Epilogue{})
}
