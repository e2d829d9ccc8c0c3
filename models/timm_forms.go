package models

import (
	"fmt"
	"strings"

	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// timmForms are the forms of timm's classes of blocks. A class that is not here
// is not read.
//
// timm/models/vision_transformer.py, eva.py and beit.py.
var timmForms = map[string]vit.Form{
	"Block":                vit.FormPre,
	"EvaBlock":             vit.FormPre,
	"RelPosBlock":          vit.FormPre,
	"ParallelScalingBlock": vit.FormParallel,
	"ResPostBlock":         vit.FormPost,
	"EvaBlockPostNorm":     vit.FormPost,
	"ResPostRelPosBlock":   vit.FormPost,
}

// timmForm settles the form of the blocks and their kind of norms, which are
// those of the architecture; of one that is not known tensors tell all but a
// norm that stands behind its branch.
func (l *loader) timmForm() error {
	arch := ""
	if l.config != nil {
		arch = l.config.Architecture
	}
	a, known := timmArchs()[arch]
	by := "architecture " + arch
	if !known {
		a, by = timmArch{block: "Block"}, "names of the tensors"
		if l.Has("blocks.0.in_norm.weight") {
			a.block = "ParallelScalingBlock"
		}
		if strings.Contains(arch, "_rpn_") {
			a.block, by = "ResPostBlock", by+" (rpn)"
		}
		for _, name := range []string{"blocks.0.norm1", "blocks.0.in_norm"} {
			a.rms = a.rms || l.Has(name+".weight") && !l.Has(name+".bias")
		}
	}
	form, read := timmForms[a.block]
	if !read {
		return fmt.Errorf("config.json: architecture %s has blocks of %s, which are not supported", arch, a.block)
	}
	var norm string
	if l.config != nil {
		said, err := l.config.arg("norm_layer", &norm)
		if err != nil {
			return err
		}
		if said {
			by = "config.json: model_args.norm_layer"
			switch strings.TrimSuffix(strings.ToLower(strings.ReplaceAll(norm, "_", "")), "fp32") {
			case "layernorm":
				a.rms = false
			case "rmsnorm":
				a.rms = true
			default:
				return fmt.Errorf("%s = %q is not supported, want layernorm or rmsnorm", by, norm)
			}
		}
	}
	if l.cfg.Form = form; form != vit.FormPre {
		l.decide("blocks", form, "architecture %s", arch)
	}
	if l.cfg.RMS = a.rms; a.rms {
		l.decide("norms", "root mean squares", "%s", by)
	}
	return nil
}

// queryKeyNorms reads the norms of queries and keys, where there are any. Their
// width is that of a head.
func (l *loader) queryKeyNorms(b *unfoldedBlock, q, k string) {
	if !l.Has(q + ".weight") {
		return
	}
	l.switchOn(&l.cfg.QKNorm, "norms of queries and keys", q)
	b.QueryNorm, b.KeyNorm = l.normOf(q, l.Dim(q+".weight", 0, 1)), l.normOf(k, l.Dim(q+".weight", 0, 1))
}

// timmParallelBlock reads a block whose attention and MLP share their first
// layer, and sometimes their last.
//
// Dehghani et al., "Scaling Vision Transformers to 22 Billion Parameters",
// https://arxiv.org/abs/2302.05442, section 2.1; names and order of operations:
// ParallelScalingBlock of timm/models/vision_transformer.py.
func (l *loader) timmParallelBlock(at string) (b unfoldedBlock) {
	c := l.cfg.Dim
	hidden := l.Dim(at+"in_proj.weight", 0, 2) - 3*c
	if hidden < 1 {
		hidden = 1 // the shape is reported
	}
	l.hidden(hidden, at+"in_proj", false)
	b.Norm1 = l.norm(at + "in_norm")
	in, bias := l.Get(at+"in_proj.weight", hidden+3*c, c), l.Maybe(at+"in_proj.bias", hidden+3*c)
	b.FC1, b.QKV = part(in, 0, hidden), part(in, hidden, hidden+3*c)
	b.FC1Bias, b.QKVBias = l.Maybe(at+"mlp_bias", hidden), nil
	if bias != nil {
		b.FC1Bias, b.QKVBias = part(bias, 0, hidden), part(bias, hidden, hidden+3*c)
	}
	l.queryKeyNorms(&b, at+"q_norm", at+"k_norm")
	if out := at + "out_proj"; l.Has(out + ".weight") {
		b.Proj, b.FC2 = columns(l.Get(out+".weight", c, c+hidden), c)
		b.ProjBias = l.Maybe(out+".bias", c)
	} else {
		b.Proj, b.ProjBias = l.Get(at+"attn_out_proj.weight", c, c), l.Maybe(at+"attn_out_proj.bias", c)
		b.FC2, b.FC2Bias = l.Get(at+"mlp_out_proj.weight", c, hidden), l.Maybe(at+"mlp_out_proj.bias", c)
	}
	b.scale1 = l.Maybe(at+"ls.gamma", c)
	b.scale2 = b.scale1
	return b
}

// part returns rows lo to hi of a matrix or values of a vector; of what stands
// in for one that is reported, itself.
func part(t *tensor.Dense, lo, hi int) *tensor.Dense {
	s := t.Shape().Clone()
	if hi > s[0] || lo >= hi {
		return t
	}
	size := s.TotalSize() / s[0]
	s[0] = hi - lo
	return dense(t.Float32s()[lo*size:hi*size], s...)
}

// columns returns the first columns of a matrix and the others.
func columns(t *tensor.Dense, first int) (left, right *tensor.Dense) {
	s := t.Shape()
	if len(s) != 2 || s[1] <= first {
		return t, t // it stands in for what is reported
	}
	var l, r []float32
	for row := t.Float32s(); len(row) > 0; row = row[s[1]:] {
		l, r = append(l, row[:first]...), append(r, row[first:s[1]]...)
	}
	return dense(l, s[0], first), dense(r, s[0], s[1]-first)
}
