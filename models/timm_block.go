package models

import (
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// timmBlock reads block at of the names of timm's VisionTransformer, Eva and
// Beit, which differ in what a block has and agree in what it is called, and
// of the names that the authors of DINOv2, DINOv3, BEiT and EVA gave.
//
// Names and order of operations: timm/models/vision_transformer.py, eva.py and
// beit.py of https://github.com/huggingface/pytorch-image-models; for those of
// the authors the functions checkpoint_filter_fn there.
func (l *loader) timmBlock(at string) (b unfoldedBlock) {
	if l.cfg.Form == vit.FormParallel {
		return l.timmParallelBlock(at)
	}
	c := l.cfg.Dim
	b.Norm1, b.Norm2 = l.norm(at+"norm1"), l.norm(at+"norm2")
	l.queryKeyNorms(&b, at+"attn.q_norm", at+"attn.k_norm")
	l.timmQKV(&b, at+"attn.")
	b.Proj, b.ProjBias = l.Get(at+"attn.proj.weight", c, c), l.Maybe(at+"attn.proj.bias", c)
	b.scale1 = l.Maybe(l.either(at+"ls1.gamma", at+"gamma_1"), c)
	b.scale2 = l.Maybe(l.either(at+"ls2.gamma", at+"gamma_2"), c)
	if name := l.either(at+"attn.norm", at+"attn.inner_attn_ln"); l.Has(name + ".weight") {
		l.switchOn(&l.cfg.InnerNorm, "norm inside attention", name)
		b.Inner = l.norm(name)
	}
	l.timmMLP(&b, at+"mlp.")
	l.timmRelative(&b, at+"attn.")
	return b
}

// timmRelative reads the relative positions of a block: a table or an MLP, its
// own or of all blocks, or both tables.
func (l *loader) timmRelative(b *unfoldedBlock, at string) {
	if l.shared == nil && l.sharedMLP == nil {
		l.shared = l.relative(l.either(sharedTable, "shared_rel_pos.relative_position_bias_table"))
		l.sharedMLP = l.relativeMLP("shared_rel_pos.mlp.")
	}
	b.Table = sumTables(l.relative(l.either(at+"relative_position_bias_table", at+"rel_pos.relative_position_bias_table")), l.shared)
	if b.relativeMLP = l.relativeMLP(at + "rel_pos.mlp."); b.relativeMLP == nil {
		b.relativeMLP = l.sharedMLP
	}
}

// sharedTable is BEiT's of all blocks.
const sharedTable = "rel_pos_bias.relative_position_bias_table"

// timmQKV reads queries, keys and values, in one layer or in three; their
// biases stand with them or apart, and keys may have none.
func (l *loader) timmQKV(b *unfoldedBlock, at string) {
	c := l.cfg.Dim
	b.qBias, b.vBias = l.Maybe(at+"q_bias", c), l.Maybe(at+"v_bias", c)
	if !l.Has(at+"qkv.weight") && l.Has(at+"q_proj.weight") {
		few := l.Dim(at+"k_proj.weight", 0, 2) // fewer than c where heads share keys and values
		for _, p := range []struct {
			weight, bias **tensor.Dense
			name         string
			rows         int
		}{{&b.q, &b.qBias, "q_proj", c}, {&b.k, &b.kBias, "k_proj", few}, {&b.v, &b.vBias, "v_proj", few}} {
			*p.weight = l.Get(at+p.name+".weight", p.rows, c)
			if bias := at + p.name + ".bias"; l.Has(bias) {
				*p.bias = l.Get(bias, p.rows)
			}
		}
		return
	}
	b.QKV, b.QKVBias = l.Get(at+"qkv.weight", 3*c, c), l.Maybe(at+"qkv.bias", 3*c)
	if l.Has(at + "qkv.bias_mask") { // DINOv3's own: what it multiplies has none for the keys
		l.Skip(at + "qkv.bias_mask")
		if b.QKVBias != nil && b.QKVBias.Shape().TotalSize() == 3*c {
			b.qBias, b.vBias = rowsOf(b.QKVBias, 0, c), rowsOf(b.QKVBias, 2*c, 3*c)
			b.QKVBias = nil
		}
	}
}

// timmMLP reads the MLP. A gated one has its first layer in one matrix, gate
// first, or in two.
func (l *loader) timmMLP(b *unfoldedBlock, at string) {
	fc1, gate, value, fc2 := at+"fc1", at+"fc1_g", at+"fc1_x", at+"fc2"
	switch {
	case l.Has(at + "w12.weight"): // DINOv2's own names
		fc1, fc2 = at+"w12", at+"w3"
	case l.Has(at + "w1.weight"): // DINOv3's and EVA-02's
		gate, value, fc2 = at+"w1", at+"w2", at+"w3"
	}
	if l.Has(gate + ".weight") {
		l.gatedMLP(b, gate, value, fc2)
	} else {
		l.mlp(b, fc1, fc2)
	}
	if name := l.either(at+"norm", at+"ffn_ln"); l.Has(name + ".weight") {
		l.switchOn(&l.cfg.HiddenNorm, "norm inside the MLP", name)
		b.HiddenNorm = l.normOf(name, l.cfg.Hidden)
	}
}

// gatedMLP reads an MLP whose gate and value are layers of their own.
func (l *loader) gatedMLP(b *unfoldedBlock, gate, value, fc2 string) {
	c, hidden := l.cfg.Dim, l.Dim(fc2+".weight", 1, 2)
	b.gate, b.value = l.Get(gate+".weight", hidden, c), l.Get(value+".weight", hidden, c)
	b.gateBias, b.valueBias = l.Maybe(gate+".bias", hidden), l.Maybe(value+".bias", hidden)
	b.FC2, b.FC2Bias = l.Get(fc2+".weight", c, hidden), l.Maybe(fc2+".bias", c)
	l.hidden(hidden, fc2, true)
}

// switchOn says once that the model has something, by its first tensor.
func (l *loader) switchOn(has *bool, what, name string) {
	if !*has {
		*has = true
		l.decide(what, true, "tensor %s.weight", name)
	}
}

// either returns the name that there is a tensor of, or of a weight: the
// second only where the first is not there.
func (l *loader) either(first, second string) string {
	if !l.Has(first) && !l.Has(first+".weight") && (l.Has(second) || l.Has(second+".weight")) {
		return second
	}
	return first
}
