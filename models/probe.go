package models

import (
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// unfoldedProbe is attention pooling as layouts store it: its query is a
// learned token and a projection of it.
type unfoldedProbe struct {
	vit.ProbeWeights               // Query is nil, unless it is not projected
	latent           *tensor.Dense // (1, C)
	q, qBias         *tensor.Dense // (C, C), (C)
	key, keyBias     *tensor.Dense // (C, C), (C) in place of KV, or nil
	value, valueBias *tensor.Dense // likewise
}

// fold projects the query, once for all images: q = Wq latent + bq.
func (p *unfoldedProbe) fold() vit.ProbeWeights {
	w := p.ProbeWeights
	if p.key != nil {
		w.KV, w.KVBias = stack(p.key, p.value), stackBias(p.keyBias, p.valueBias)
	}
	if p.latent == nil {
		return w
	}
	dim := p.q.Shape()[0]
	latent, weight, query := p.latent.Float32s(), p.q.Float32s(), make([]float32, dim)
	for i := range dim {
		var sum float64
		if p.qBias != nil {
			sum = float64(p.qBias.Float32s()[i])
		}
		for j, v := range latent {
			sum += float64(weight[i*dim+j]) * float64(v)
		}
		query[i] = float32(sum)
	}
	w.Query = dense(query, 1, dim)
	return w
}

// timmProbe reads timm's attention pooling over the tokens from lo on. It has
// the heads, norm and activation of the blocks.
//
// Names and order of operations: AttentionPoolLatent in
// timm/layers/attention_pool.py.
func (l *loader) timmProbe(lo int) {
	c, p := l.cfg.Dim, &l.raw.probe
	p.latent = l.Get("attn_pool.latent", 1, c)
	p.q, p.qBias = l.Get("attn_pool.q.weight", c, c), l.Maybe("attn_pool.q.bias", c)
	p.KV, p.KVBias = l.Get("attn_pool.kv.weight", 2*c, c), l.Maybe("attn_pool.kv.bias", 2*c)
	p.Proj, p.ProjBias = l.Get("attn_pool.proj.weight", c, c), l.Maybe("attn_pool.proj.bias", c)
	p.Norm = l.norm("attn_pool.norm")
	l.probeMLP("attn_pool.mlp.fc1", "attn_pool.mlp.fc2")
	l.probeOver(lo, "tensor attn_pool.latent")
}

// huggingFaceProbe reads that of transformers' SigLIP, whose queries, keys and
// values are packed.
//
// Names and order of operations: SiglipMultiheadAttentionPoolingHead in
// models/siglip/modeling_siglip.py of https://github.com/huggingface/transformers.
func (l *loader) huggingFaceProbe() {
	c, p := l.cfg.Dim, &l.raw.probe
	p.latent = l.Get("head.probe", 1, c)
	in, bias := l.Get("head.attention.in_proj_weight", 3*c, c), l.Get("head.attention.in_proj_bias", 3*c)
	if len(in.Shape()) == 2 && bias.Shape().TotalSize() == 3*c { // or it is reported
		v, b := in.Float32s(), bias.Float32s()
		p.q, p.qBias = dense(v[:c*c], c, c), dense(b[:c], c)
		p.KV, p.KVBias = dense(v[c*c:], 2*c, c), dense(b[c:], 2*c)
	}
	p.Proj, p.ProjBias = l.Get("head.attention.out_proj.weight", c, c), l.Maybe("head.attention.out_proj.bias", c)
	p.Norm = l.norm("head.layernorm")
	l.probeMLP("head.mlp.fc1", "head.mlp.fc2")
	l.probeOver(0, "tensor head.probe")
}

// probeMLP reads the MLP behind the attention.
func (l *loader) probeMLP(fc1, fc2 string) {
	p, hidden := &l.raw.probe, l.Dim(fc2+".weight", 1, 2)
	p.FC1, p.FC1Bias = l.Get(fc1+".weight", hidden, l.cfg.Dim), l.Maybe(fc1+".bias", hidden)
	p.FC2, p.FC2Bias = l.Get(fc2+".weight", l.cfg.Dim, hidden), l.Maybe(fc2+".bias", l.cfg.Dim)
	l.cfg.Probe.Hidden = hidden
}

// probeOver pools the tokens from lo on by the probe that was read.
func (l *loader) probeOver(lo int, by string) {
	l.cfg.Pool = []backend.Span{{Lo: lo, Hi: l.cfg.Tokens()}}
	l.decide("pool", "attention of a probe", "%s", by)
}

// probeFacts gives the probe the heads and the activation of the blocks, unless
// timm's architecture has heads of its own for it.
func (l *loader) probeFacts() {
	if l.raw.probe.latent == nil && l.raw.probe.Query == nil {
		return
	}
	l.cfg.Probe.Heads, l.cfg.Probe.Act = l.cfg.Heads, l.cfg.Act
	if l.config != nil {
		if a := timmArchs()[l.config.Architecture]; a.probeHeads > 0 && a.probeHeads != a.heads {
			l.cfg.Probe.Heads = a.probeHeads
			l.decide("heads of the probe", a.probeHeads, "architecture %s", l.config.Architecture)
		}
	}
	if l.cfg.Act == backend.SwiGLU {
		l.cfg.Probe.Act = backend.GELU // timm gates the blocks alone
	}
}
