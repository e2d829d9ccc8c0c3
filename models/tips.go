package models

import (
	"errors"
	"fmt"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
)

// huggingFaceTIPS is the image tower of transformers' TIPSv2, alone or beside
// words: a DINOv2 whose register is a second class token.
var huggingFaceTIPS = layout{
	name:      "huggingface",
	library:   "transformers",
	anchor:    timmViT.anchor,
	types:     []string{"tipsv2", "tipsv2_vision_model"},
	positions: patch.PosBilinear,
	anySize:   true,
	read:      readTIPS,
}

// tipsNames are those of its blocks.
var tipsNames = hfNames{
	blocks: "blocks.",
	norm1:  "norm1", norm2: "norm2",
	qkv: "attn.qkv", proj: "attn.proj",
	fc1: "mlp.c_fc", fc2: "mlp.c_proj", scale: "ls*.gamma",
}

// readTIPS reads the layout of transformers' TIPSv2 as it is stored, by its
// authors' names. The feature is the class token.
//
// Names and order of operations: models/tipsv2/modeling_tipsv2.py of
// https://github.com/huggingface/transformers.
func readTIPS(l *loader) error {
	if l.config == nil {
		return errNoConfig
	}
	l.config = l.config.tower()
	if l.config.ImageSize == nil {
		l.config.ImageSize = side(448)
	}
	l.patchProjection("patch_embed.proj.weight", "patch_embed.proj.bias")
	l.prefixToken("cls_token")
	l.prefixToken("register_tokens")
	if err := l.hfPositions("pos_embed"); err != nil {
		return err
	}
	n := tipsNames
	switch {
	case l.Has("blocks.0.mlp.w12.weight"):
		n.fc1, n.fc2 = "mlp.w12", "mlp.w3"
	case l.Has("blocks.0.mlp.fc1.weight"):
		n.fc1, n.fc2 = "mlp.fc1", "mlp.fc2"
	}
	l.hfBlocks(n)
	l.raw.norm, l.cfg.FinalNorm, l.cfg.Pool = l.norm("norm"), vit.NormTokens, clsPool
	l.decide("last norm", "over the tokens", "tensor norm.weight")
	l.decide("pool", "class token", "the layout")
	l.passTextOver()
	l.Skip("mask_token", "temperature", "text_encoder.")
	return errors.Join(l.hfFacts(hfDefaults{act: "gelu", eps: 1e-6}), l.hfCompare(l.dinov2Hidden()))
}

// huggingFaceRADIO is transformers' RADIO: several class tokens and registers,
// positions of a large grid that are cut to the picture's, no last norm. Photos
// are normalised inside the model.
//
// Heinrich et al., "RADIOv2.5", https://arxiv.org/abs/2412.07679.
var huggingFaceRADIO = layout{
	name:      "huggingface",
	library:   "transformers",
	anchor:    "patch_generator.embedder.weight",
	types:     []string{"radio"},
	positions: patch.PosRADIO,
	anySize:   true,
	read:      readRADIO,
}

// radioNames are those of its blocks.
var radioNames = hfNames{
	blocks: "blocks.",
	norm1:  "norm1", norm2: "norm2",
	qkv: "attn.qkv", proj: "attn.proj",
	fc1: "mlp.fc1", fc2: "mlp.fc2", scale: "layer_scale*.lambda1",
}

// readRADIO reads the layout of transformers' RADIO as it is stored, by its
// authors' names. The features are class tokens side by side.
//
// Names and order of operations: models/radio/modeling_radio.py of
// https://github.com/huggingface/transformers.
func readRADIO(l *loader) error {
	if l.config == nil {
		return errNoConfig
	}
	size := l.config.PatchSize
	if size == nil {
		size = side(16)
	}
	const weight = "patch_generator.embedder.weight"
	l.cfg.Patch, l.cfg.Dim = size.square(), l.Dim(weight, 0, 2)
	area := l.cfg.Patch[0] * l.cfg.Patch[1]
	if proj := l.Get(weight, l.cfg.Dim, 3*area); proj.Shape().TotalSize() == l.cfg.Dim*3*area {
		l.raw.proj = dense(proj.Float32s(), l.cfg.Dim, 3, l.cfg.Patch[0], l.cfg.Patch[1])
	}
	l.decide("dim", l.cfg.Dim, "shape of %s", weight)
	l.decide("patch", sizeText(l.cfg.Patch), "config.json: patch_size")
	l.conditionInput()
	l.prefixToken("patch_generator.cls_token.token")
	if err := l.radioPositions("patch_generator.pos_embed"); err != nil {
		return err
	}
	n := radioNames
	if !l.Has("blocks.0.layer_scale1.lambda1") {
		n.scale = ""
	}
	l.hfBlocks(n)
	l.cfg.FinalNorm = vit.NormNone
	l.decide("last norm", "none", "the layout")
	summary := l.config.Summary
	if summary == nil {
		summary = []int{0, 1}
	}
	for _, i := range summary {
		l.cfg.Pool = append(l.cfg.Pool, backend.Span{Lo: i, Hi: i + 1})
	}
	l.decide("pool", summary, "config.json: summary_idxs, class tokens side by side")
	l.Skip(append(beside, "summary_idxs", "patch_generator.video_embedder.")...)
	return errors.Join(l.hfFacts(hfDefaults{act: "gelu", eps: 1e-6, heads: 16}), l.hfCompare(said{}))
}

// radioPositions reads positions of the largest square that a picture fits in.
func (l *loader) radioPositions(name string) error {
	image, by, err := l.hfImage()
	if err != nil {
		return err
	}
	rows := 0
	if s := l.Shape(name); len(s) >= 2 {
		rows = s[len(s)-2]
	}
	grid, ok := squareGrid(rows, 0, 0)
	if !ok {
		return fmt.Errorf("%s has %d rows, want those of a square", name, rows)
	}
	l.raw.pos = l.Get(name, rows, l.cfg.Dim)
	l.decide("positions", fmt.Sprintf("%s patches, no prefix tokens", sizeText(grid)), "shape of %s", name)
	return l.inputSize(image, grid, by)
}

// conditionInput folds the normalisation that the model has inside.
func (l *loader) conditionInput() {
	mean, std := l.Get("input_conditioner.norm_mean", 3, 1, 1), l.Get("input_conditioner.norm_std", 3, 1, 1)
	if l.raw.proj == nil || mean.Shape().TotalSize() != 3 || std.Shape().TotalSize() != 3 {
		return // which is reported
	}
	var m, s [3]float64
	for i := range 3 {
		m[i], s[i] = float64(mean.Float32s()[i]), float64(std.Float32s()[i])
	}
	shape := l.raw.proj.Shape().Clone()
	folded, bias := foldNormalisation(l.raw.proj, nil, m, s)
	l.raw.proj, l.raw.projBias = dense(folded.Float32s(), shape...), bias
	l.decide("normalisation inside the model", "folded", "tensors of input_conditioner")
}
