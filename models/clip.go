package models

import (
	"errors"
	"slices"
	"strings"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
)

// huggingFaceCLIP is the image tower of transformers' CLIP, by itself or
// beside its text tower, which is passed over.
//
// Radford et al., "Learning Transferable Visual Models From Natural Language
// Supervision", https://arxiv.org/abs/2103.00020.
var huggingFaceCLIP = layout{
	name:      "huggingface",
	library:   "transformers",
	anchor:    "embeddings.class_embedding",
	types:     clipTypes,
	positions: patch.PosHuggingFace,
	read:      readCLIP,
}

// clipTypes are the model types with CLIP's image tower, alone or beside a text
// tower of any kind.
var clipTypes = []string{
	"clip", "clip_vision_model", "metaclip_2", "metaclip_2_vision_model",
	"chinese_clip", "chinese_clip_vision_model", "altclip", "altclip_vision_model",
}

// towerNames are those of the blocks of transformers' CLIP and SigLIP.
var towerNames = hfNames{
	blocks: "encoder.layers.",
	norm1:  "layer_norm1", norm2: "layer_norm2",
	q: "self_attn.q_proj", k: "self_attn.k_proj", v: "self_attn.v_proj", proj: "self_attn.out_proj",
	fc1: "mlp.fc1", fc2: "mlp.fc2",
}

// besideTower are tensors of models for pictures and words that no picture
// needs.
var besideTower = []string{"text_model.", "text_projection.", "logit_scale", "logit_bias"}

// tower returns the configuration of a model for pictures and words as that of
// its image tower. What stands in neither has the defaults of the tower.
func (c *config) tower() *config {
	if strings.HasSuffix(c.ModelType, "_vision_model") {
		return c // it is the tower's own
	}
	t := *c
	v := c.Vision
	if v == nil {
		v = &config{}
	}
	t.Heads, t.Layers, t.Dim, t.Hidden = v.Heads, v.Layers, v.Dim, v.Hidden
	t.PatchSize, t.Channels, t.ImageSize = v.PatchSize, v.Channels, v.ImageSize
	t.HiddenAct, t.Eps = v.HiddenAct, v.Eps
	t.RMSEps, t.Native, t.SwiGLU, t.MLPRatio = v.RMSEps, v.Native, v.SwiGLU, v.MLPRatio
	return &t
}

// passTextOver counts the text tower as used, and says so.
func (l *loader) passTextOver() {
	l.Skip(append(slices.Clone(beside), besideTower...)...)
	if l.HasUnder("text_model.") {
		l.note = "the text tower of the file is passed over: what is read of it is the image tower"
	}
}

// readCLIP reads the layout of transformers' CLIP: a bare tower, one with the
// projection to the space of pictures and words, or one with a head over the
// mean of the patches, which no last norm stands before.
//
// Names and order of operations: models/clip/modeling_clip.py of
// https://github.com/huggingface/transformers.
func readCLIP(l *loader) error {
	if l.config == nil {
		return errors.New("there is no config.json beside the weights; it would decide the number of heads, the activation, eps and the input size")
	}
	l.config = l.config.tower()
	l.patchProjection("embeddings.patch_embedding.weight", "embeddings.patch_embedding.bias")
	l.prefixToken("embeddings.class_embedding")
	if err := l.hfPositions("embeddings.position_embedding.weight"); err != nil {
		return err
	}
	l.cfg.PreNorm, l.raw.preNorm = true, l.norm("pre_layrnorm")
	l.decide("norm before the blocks", true, "tensor pre_layrnorm.weight")
	n := towerNames
	if l.HasUnder("encoder.layer.") { // AltCLIP's
		n.blocks = "encoder.layer."
	}
	l.hfBlocks(n)
	if l.head("classifier", l.cfg.Dim) {
		l.cfg.Pool = []backend.Span{{Lo: l.cfg.Prefix, Hi: l.cfg.Tokens()}}
		l.cfg.FinalNorm = vit.NormNone
		l.decide("pool", "mean of the patches", "the layout's head")
		l.decide("last norm", "none", "the layout's head")
		l.Skip("post_layernorm.", "visual_projection.")
	} else {
		l.cfg.Pool = clsPool
		l.decide("pool", "class token", "the layout")
		l.raw.norm, l.cfg.FinalNorm = l.norm("post_layernorm"), vit.NormTokens
		l.decide("last norm", "over the tokens", "tensor post_layernorm.weight")
		l.project("visual_projection.weight")
	}
	l.passTextOver()
	d := hfDefaults{act: "quick_gelu", eps: 1e-5}
	return errors.Join(l.hfFacts(d), l.hfCompare(l.config.says(l.config.Hidden, 3072, "intermediate_size")))
}

// project reads the projection to the space of pictures and words, where there
// is one.
func (l *loader) project(name string) {
	if !l.Has(name) {
		l.decide("projection", "none", "no tensor %s", name)
		return
	}
	l.cfg.Projection = l.Dim(name, 0, 2)
	l.raw.head = l.Get(name, l.cfg.Projection, l.cfg.Dim)
	l.decide("projection", l.cfg.Projection, "shape of %s", name)
}
