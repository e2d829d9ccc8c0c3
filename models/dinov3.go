package models

import (
	"errors"
	"fmt"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
)

// huggingFaceDINOv3 is transformers' DINOv3, whose patches have rotary
// positions alone, so that it takes photos of any size.
//
// Siméoni et al., "DINOv3", https://arxiv.org/abs/2508.10104.
var huggingFaceDINOv3 = layout{
	name:      "huggingface",
	library:   "transformers",
	anchor:    "embeddings.patch_embeddings.weight",
	types:     []string{"dinov3_vit"},
	positions: patch.PosHuggingFace,
	anySize:   true,
	read:      readDINOv3,
}

var dinov3Names = hfNames{
	blocks: "layer.",
	norm1:  "norm1", norm2: "norm2",
	q: hfNew.q, k: hfNew.k, v: hfNew.v, proj: hfNew.proj,
	fc1: "mlp.up_proj", fc2: "mlp.down_proj", scale: "layer_scale*.lambda1",
}

// readDINOv3 reads the layout of transformers' DINOv3, with a head over the
// class token, as Meta's own is not, or none. Keys have no bias.
//
// Names and order of operations: models/dinov3_vit/modeling_dinov3_vit.py of
// https://github.com/huggingface/transformers.
func readDINOv3(l *loader) error {
	if l.config == nil {
		return errors.New("there is no config.json beside the weights; it would decide the number of heads and the input size")
	}
	l.patchProjection("embeddings.patch_embeddings.weight", "embeddings.patch_embeddings.bias")
	l.prefixToken("embeddings.cls_token")
	l.prefixToken("embeddings.register_tokens")
	if err := l.hfPositions("embeddings.position_embeddings"); err != nil {
		return err
	}
	n := dinov3Names
	if or(l.config.GatedMLP, false) {
		n.gate = "mlp.gate_proj"
	}
	l.hfBlocks(n)
	l.raw.norm, l.cfg.FinalNorm = l.norm("norm"), vit.NormTokens
	l.decide("last norm", "over the tokens", "tensor norm.weight")
	l.cfg.Pool = clsPool
	l.decide("pool", "class token", "the layout")
	l.head("classifier", l.cfg.Dim)
	l.Skip(append(beside, "embeddings.mask_token")...)
	err := errors.Join(
		l.hfFacts(hfDefaults{act: "gelu", eps: 1e-5, heads: 6}),
		l.hfCompare(l.config.says(l.config.Hidden, 1536, "intermediate_size")),
	)
	if err != nil {
		return err
	}
	l.rope = rope{kind: ropeDINOv3, temperature: or(l.config.RopeTheta, 100), halves: true, inverse: true}
	l.rope.config(&l.cfg)
	l.decide("rotary positions", fmt.Sprintf("%s, %s", l.rope.kind, l.cfg.Rope), "the layout")
	return l.rope.check(l.cfg.Dim / l.cfg.Heads)
}

// dinov3Periods is what Meta's own files have and nobody else's.
const dinov3Periods = "rope_embed.periods"

// dinov3Photos is the size of the photos that Meta evaluates DINOv3 with.
var dinov3Photos = [2]int{256, 256}

// metaDINOv3 reports whether the file is Meta's own, with nothing beside it: its
// tensors have DINOv2's names, the registers and the gated MLP others.
func (l *loader) metaDINOv3() bool {
	return l.config == nil && l.processor == nil && l.Has(dinov3Periods)
}

// dinov3Transform is make_transform in the README of
// https://github.com/facebookresearch/dinov3, of the weights that were trained
// on pictures of the web; those of satellites have another mean and std, which
// no tensor tells.
func (l *loader) dinov3Transform() patch.Transform {
	t := patch.Transform{
		Size: l.cfg.Image, Fit: patch.FitSquash, Resize: l.cfg.Image, Interpolation: patch.Bilinear, Resampler: patch.Torchvision,
		Rounding: patch.RoundTorchvision, Mean: imagenetMean, Std: imagenetStd,
	}
	l.decideTransform(t, "a configuration", "DINOv3", false, false, false)
	l.note = "Meta's own DINOv3, with no configuration beside it: photos are prepared as its authors evaluate the weights of LVD-1689M"
	return t
}

// metaHead reads the head that Meta puts on DINOv2 and DINOv3: over the class
// token and the mean of the patches, of the last block. It reports false where
// there is none.
//
// Names: dinov2/hub/classifiers.py and dinov3/hub/classifiers.py of
// https://github.com/facebookresearch.
func (l *loader) metaHead() bool {
	const name = "linear_head"
	if !l.Has(name + ".weight") {
		return false
	}
	l.cfg.Pool = []backend.Span{{Lo: 0, Hi: 1}, {Lo: l.cfg.Prefix, Hi: l.cfg.Tokens()}}
	l.decide("pool", "class token and mean of the patches", "tensor %s.weight", name)
	return l.head(name, 2*l.cfg.Dim)
}
