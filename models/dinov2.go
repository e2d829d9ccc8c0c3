package models

import (
	"errors"
	"fmt"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
)

// huggingFaceDINOv2 is transformers' DINOv2. It was trained at 518 pixels and
// is given photos of 224.
//
// Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision",
// https://arxiv.org/abs/2304.07193.
var huggingFaceDINOv2 = layout{
	name:      "huggingface",
	library:   "transformers",
	anchor:    huggingFaceViT.anchor,
	types:     []string{"dinov2"},
	positions: patch.PosHuggingFace,
	anySize:   true,
	read:      readDINOv2,
}

// huggingFaceDINOv2Registers is the one with registers, whose positions are
// resampled with antialiasing, as timm's are.
//
// Darcet et al., "Vision Transformers Need Registers",
// https://arxiv.org/abs/2309.16588.
var huggingFaceDINOv2Registers = layout{
	name:      "huggingface",
	library:   "transformers",
	anchor:    huggingFaceViT.anchor,
	types:     []string{"dinov2_with_registers"},
	positions: patch.PosTimm,
	anySize:   true,
	read:      readDINOv2,
}

var (
	dinov2Old = hfNames{
		blocks: "encoder.layer.",
		norm1:  "norm1", norm2: "norm2",
		q: hfOld.q, k: hfOld.k, v: hfOld.v, proj: hfOld.proj,
		fc1: "mlp.fc1", fc2: "mlp.fc2", scale: "layer_scale*.lambda1",
	}
	dinov2New = hfNames{
		blocks: "encoder.layer.",
		norm1:  "norm1", norm2: "norm2",
		q: hfNew.q, k: hfNew.k, v: hfNew.v, proj: hfNew.proj,
		fc1: "mlp.fc1", fc2: "mlp.fc2", scale: "layer_scale*.lambda1",
	}
)

// readDINOv2 reads the layout of transformers' DINOv2, with registers or
// without, with a head over the class token and the mean of the patches, or
// none. The class token owns a position, registers do not.
//
// Names and order of operations: models/dinov2/modeling_dinov2.py and
// models/dinov2_with_registers/modeling_dinov2_with_registers.py of
// https://github.com/huggingface/transformers.
func readDINOv2(l *loader) error {
	if l.config == nil {
		return errors.New("there is no config.json beside the weights; it would decide the number of heads, the activation and the input size")
	}
	l.patchProjection("embeddings.patch_embeddings.projection.weight", "embeddings.patch_embeddings.projection.bias")
	l.prefixToken("embeddings.cls_token")
	l.prefixToken("embeddings.register_tokens")
	if err := l.hfPositions("embeddings.position_embeddings"); err != nil {
		return err
	}
	n := dinov2Old
	if l.Has("encoder.layer.0." + hfNew.q + ".weight") {
		n = dinov2New
	}
	// The giant's MLP is gated (https://arxiv.org/abs/2002.05202), gate first.
	if gated := or(l.config.SwiGLU, false); gated {
		n.fc1, n.fc2 = "mlp.weights_in", "mlp.weights_out"
	}
	l.hfBlocks(n)
	l.raw.norm, l.cfg.FinalNorm = l.norm("layernorm"), vit.NormTokens
	l.decide("last norm", "over the tokens", "tensor layernorm.weight")

	if l.head("classifier", 2*l.cfg.Dim) {
		l.cfg.Pool = []backend.Span{{Lo: 0, Hi: 1}, {Lo: l.cfg.Prefix, Hi: l.cfg.Tokens()}}
		l.decide("pool", "class token and mean of the patches", "the layout's head")
	} else {
		l.cfg.Pool = clsPool
		l.decide("pool", "class token", "the layout")
	}
	l.Skip(append(beside, "embeddings.mask_token")...)
	return errors.Join(l.hfFacts(hfDefaults{act: "gelu", eps: 1e-6}), l.hfCompare(l.dinov2Hidden()))
}

// dinov2Hidden returns the MLP width that the configuration says. A gated one
// is two thirds of it, in eights.
func (l *loader) dinov2Hidden() said {
	ratio, by := 4.0, "transformers' default for mlp_ratio"
	if r := l.config.MLPRatio; r != nil {
		ratio, by = *r, fmt.Sprintf("config.json: mlp_ratio %g", *r)
	}
	hidden := int(float64(l.cfg.Dim) * ratio)
	if l.cfg.Act == backend.SwiGLU {
		hidden = (int(float64(hidden)*2/3) + 7) / 8 * 8
	}
	return said{hidden, by}
}

// dinov2Photos is the size of the photos that Meta evaluates DINOv2 with.
var dinov2Photos = [2]int{224, 224}

// metaDINOv2 reports whether the file is Meta's own, with nothing beside it: its
// tensors have timm's names, but for the token of masked patches, which timm
// leaves out, registers and the gated MLP.
func (l *loader) metaDINOv2() bool {
	return l.config == nil && l.processor == nil && l.Has("mask_token") && l.Has("blocks.0.ls1.gamma") && !l.Has(dinov3Periods)
}

// dinov2Transform is make_classification_eval_transform in
// dinov2/data/transforms.py of https://github.com/facebookresearch/dinov2.
func (l *loader) dinov2Transform() patch.Transform {
	t := patch.Transform{
		Size: l.cfg.Image, Fit: patch.FitShort, Interpolation: patch.Bicubic, Rounding: patch.RoundTorchvision,
		Mean: imagenetMean, Std: imagenetStd,
	}
	for i, side := range l.cfg.Image {
		t.Resize[i] = side * 256 / dinov2Photos[i]
	}
	l.decideTransform(t, "a configuration", "DINOv2", false, false, false)
	l.note = "Meta's own DINOv2, with no configuration beside it: photos are prepared as its authors evaluate it"
	return t
}
