package models

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
)

// huggingFaceViT is transformers' ViT and DeiT, and the encoders of MAE
// (https://arxiv.org/abs/2111.06377), MSN (https://arxiv.org/abs/2204.07141) and
// I-JEPA (https://arxiv.org/abs/2301.08243), which are ViTs by the same names.
var huggingFaceViT = layout{
	name:      "huggingface",
	library:   "transformers",
	anchor:    "embeddings.patch_embeddings.projection.weight",
	types:     []string{"vit", "deit", "vit_mae", "vit_msn", "ijepa"},
	positions: patch.PosHuggingFace,
	read:      readHuggingFace,
}

// hfNames are the names of a block's parts, which transformers 5 changed in
// memory while it goes on saving the old ones.
type hfNames struct {
	blocks        string
	norm1, norm2  string
	q, k, v, proj string
	qkv           string // in place of q, k and v; "": they are apart
	fc1, fc2      string
	gate          string // of a gated MLP, whose value is fc1; "": none
	table, shared string // relative positions of a block, and of all; "": none
	scale         string // LayerScale's, with 1 or 2 for the branch in place of a star; "": none
}

var (
	hfOld = hfNames{
		blocks: "encoder.layer.",
		norm1:  "layernorm_before", norm2: "layernorm_after",
		q: "attention.attention.query", k: "attention.attention.key", v: "attention.attention.value", proj: "attention.output.dense",
		fc1: "intermediate.dense", fc2: "output.dense",
	}
	hfNew = hfNames{
		blocks: "layers.",
		norm1:  "layernorm_before", norm2: "layernorm_after",
		q: "attention.q_proj", k: "attention.k_proj", v: "attention.v_proj", proj: "attention.o_proj",
		fc1: "mlp.fc1", fc2: "mlp.fc2",
	}
)

// readHuggingFace reads the layout of transformers' ViT and DeiT, with one
// head, two, or none.
//
// Names and order of operations: models/vit/modeling_vit.py and
// models/deit/modeling_deit.py of https://github.com/huggingface/transformers.
func readHuggingFace(l *loader) error {
	if l.config == nil {
		return errors.New("there is no config.json beside the weights; it would decide the number of heads, the activation, eps and the input size")
	}
	l.patchProjection("embeddings.patch_embeddings.projection.weight", "embeddings.patch_embeddings.projection.bias")
	l.prefixToken("embeddings.cls_token")
	l.prefixToken("embeddings.distillation_token")
	if err := l.hfPositions("embeddings.position_embeddings"); err != nil {
		return err
	}

	c, n := l.cfg.Dim, hfOld
	if l.HasUnder(hfNew.blocks) {
		n = hfNew
	}
	l.hfBlocks(n)
	l.raw.norm, l.cfg.FinalNorm = l.norm("layernorm"), vit.NormTokens
	l.decide("last norm", "over the tokens", "tensor layernorm.weight")

	l.cfg.Pool = clsPool
	if l.cfg.Prefix == 0 { // I-JEPA
		l.cfg.Pool = []backend.Span{{Lo: 0, Hi: l.cfg.Tokens()}}
		l.head("classifier", c)
		l.decide("pool", "mean of the patches", "no tensor embeddings.cls_token")
	} else if l.Has("cls_classifier.weight") {
		l.head("cls_classifier", c)
		l.raw.distHead = l.Get("distillation_classifier.weight", l.cfg.Classes, c)
		l.raw.distHeadBias = l.Maybe("distillation_classifier.bias", l.cfg.Classes)
		l.cfg.Pool = []backend.Span{{Lo: 0, Hi: 1}, {Lo: 1, Hi: 2}}
		l.decide("pool", "class and distillation token", "tensor cls_classifier.weight")
	} else {
		l.head("classifier", c)
		l.decide("pool", "class token", "the layout")
	}
	// Classifiers do not use the pooler; of Google's in21k models it is the
	// layer before their head, of most others it is trained for no task. The
	// mask token is for pretraining.
	l.Skip(append(beside, "pooler.", "embeddings.mask_token")...)
	d := hfDefaults{act: "gelu", eps: 1e-12}
	if l.config.ModelType == "vit_msn" {
		d.eps = 1e-6
	}
	return errors.Join(l.hfFacts(d), l.hfCompare(l.config.saysWidth(l.config.Hidden, "intermediate_size")))
}

// hfImage returns the input size that the configuration says.
func (l *loader) hfImage() (image [2]int, by string, err error) {
	if l.config.ImageSize == nil {
		return [2]int{224, 224}, "transformers' default for image_size", nil
	}
	if image = l.config.ImageSize.square(); image == [2]int{} {
		return image, "", errors.New("config.json: image_size, want a number or a pair")
	}
	return image, "config.json: image_size", nil
}

// hfPositions reads the positions for the image size that is said.
func (l *loader) hfPositions(name string) error {
	image, by, err := l.hfImage()
	if err != nil {
		return err
	}
	// timm resamples positions as it loads them; transformers fails to.
	if s := l.Shape(name); len(s) >= 2 {
		patches := image[0] / l.cfg.Patch[0] * (image[1] / l.cfg.Patch[1])
		if rows := s[len(s)-2]; rows < patches || rows > patches+l.cfg.Prefix {
			return fmt.Errorf("%s says an input of %s, which is %d patches of %s; %s has %d rows, with %d prefix tokens or without", by, sizeText(image), patches, sizeText(l.cfg.Patch), name, rows, l.cfg.Prefix)
		}
	}
	return l.positions(name, image, by)
}

// hfBlocks reads the blocks.
func (l *loader) hfBlocks(n hfNames) {
	c := l.cfg.Dim
	l.cfg.Depth = l.Depth(n.blocks)
	l.decide("depth", l.cfg.Depth, "indices of %s", n.blocks)
	for i := range l.cfg.Depth {
		at := fmt.Sprintf("%s%d.", n.blocks, i)
		var b unfoldedBlock
		b.Norm1, b.Norm2 = l.norm(at+n.norm1), l.norm(at+n.norm2)
		if n.qkv != "" {
			b.QKV, b.QKVBias = l.Get(at+n.qkv+".weight", 3*c, c), l.Maybe(at+n.qkv+".bias", 3*c)
		} else {
			b.q, b.qBias = l.Get(at+n.q+".weight", c, c), l.Maybe(at+n.q+".bias", c)
			b.k, b.kBias = l.Get(at+n.k+".weight", c, c), l.Maybe(at+n.k+".bias", c)
			b.v, b.vBias = l.Get(at+n.v+".weight", c, c), l.Maybe(at+n.v+".bias", c)
		}
		b.Proj, b.ProjBias = l.Get(at+n.proj+".weight", c, c), l.Maybe(at+n.proj+".bias", c)
		if n.scale != "" {
			b.scale1 = l.Get(at+strings.Replace(n.scale, "*", "1", 1), c)
			b.scale2 = l.Get(at+strings.Replace(n.scale, "*", "2", 1), c)
		}
		if n.gate != "" {
			l.gatedMLP(&b, at+n.gate, at+n.fc1, at+n.fc2)
		} else {
			l.mlp(&b, at+n.fc1, at+n.fc2)
		}
		if n.table != "" {
			b.Table = sumTables(l.relative(at+n.table), l.shared)
		}
		l.raw.blocks = append(l.raw.blocks, b)
	}
}

// says returns a number of the configuration, or transformers' default for it.
func (c *config) says(n *int, otherwise int, key string) said {
	if n == nil {
		return said{otherwise, "transformers' default for " + key}
	}
	return said{*n, "config.json: " + key}
}

// saysWidth returns a width of the configuration. One that is not said is what
// the tensors are, as people leave it out of configurations of their own.
func (c *config) saysWidth(n *int, key string) said {
	if n == nil {
		return said{}
	}
	return said{*n, "config.json: " + key}
}

// hfCompare holds what the configuration says to what the tensors are. Of
// another depth transformers would compute fewer layers than there are, or
// layers of random numbers; the rest it would fail to load. hidden is the MLP
// width that is said.
func (l *loader) hfCompare(hidden said) error {
	c := l.config
	errs := []error{
		c.says(c.Layers, 12, "num_hidden_layers").differs("a depth of", l.cfg.Depth, "the file"),
		c.saysWidth(c.Dim, "hidden_size").differs("a dim of", l.cfg.Dim, "the file"),
		hidden.differs("an MLP width of", l.cfg.Hidden, "the file"),
		c.says(c.Channels, 3, "num_channels").differs("channels", 3, "the file"),
	}
	if c.PatchSize != nil {
		if p := c.PatchSize.square(); p != l.cfg.Patch {
			errs = append(errs, fmt.Errorf("config.json: patch_size says %s, the file has %s", sizeText(p), sizeText(l.cfg.Patch)))
		}
	}
	if n := len(c.ID2Label); n > 0 && l.cfg.Classes > 0 {
		errs = append(errs, said{n, "config.json: id2label"}.differs("classes", l.cfg.Classes, "the head"))
	}
	return errors.Join(errs...)
}

// hfDefaults are those of a class of configurations, which a saved one may
// leave out.
type hfDefaults struct {
	act   string
	eps   float64
	heads int // 0: 12
}

// hfFacts settles what no tensor tells.
func (l *loader) hfFacts(d hfDefaults) error {
	heads, by := 12, "transformers' default"
	if d.heads > 0 {
		heads = d.heads
	}
	if l.config.Heads != nil {
		heads, by = *l.config.Heads, "config.json: num_attention_heads"
	}
	if heads < 1 || l.cfg.Dim%heads != 0 {
		return fmt.Errorf("%s: %d heads do not divide a dim of %d", by, heads, l.cfg.Dim)
	}
	l.cfg.Heads = heads
	l.decide("heads", heads, "%s", by)

	act, by := d.act, "transformers' default"
	if l.config.HiddenAct != nil {
		act, by = *l.config.HiddenAct, "config.json: hidden_act"
	}
	if l.gated() {
		if l.config.GatedMLP != nil && act != "silu" && act != "swish" {
			return fmt.Errorf("%s: activation %q of a gated MLP is not supported, want silu", by, act)
		}
		l.decide("activation", l.cfg.Act, "shapes of the MLP, whose first layer is twice as wide")
	} else if err := l.activate(act, by); err != nil {
		return err
	}

	eps, by := d.eps, "transformers' default"
	if l.config.Eps != nil {
		eps, by = *l.config.Eps, "config.json: layer_norm_eps"
	}
	if !(eps > 0 && eps <= 1) || float32(eps) == 0 || math.IsNaN(eps) {
		return fmt.Errorf("%s: eps %g, want one above 0 and up to 1", by, eps)
	}
	l.cfg.Eps = float32(eps)
	l.decide("eps", l.cfg.Eps, "%s", by)
	return nil
}
