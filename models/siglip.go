package models

import (
	"errors"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
)

// huggingFaceSigLIP is transformers' SigLIP: its image tower, which pools by
// attention, alone or beside a text tower, or a classifier with a head over
// the mean of the tokens. The pooling by attention is then not used, and is
// passed over.
//
// Zhai et al., "Sigmoid Loss for Language Image Pre-Training",
// https://arxiv.org/abs/2303.15343.
var huggingFaceSigLIP = layout{
	name:      "huggingface",
	library:   "transformers",
	anchor:    "embeddings.patch_embedding.weight",
	types:     []string{"siglip", "siglip_vision_model"},
	positions: patch.PosHuggingFace,
	read:      readSigLIP,
}

// readSigLIP reads the layout of transformers' SigLIP. SigLIP 2 of a fixed
// size has the same; that of any size is another model type.
//
// Names and order of operations: models/siglip/modeling_siglip.py of
// https://github.com/huggingface/transformers.
func readSigLIP(l *loader) error {
	if l.config == nil {
		return errors.New("there is no config.json beside the weights; it would decide the number of heads, the activation, eps and the input size")
	}
	l.config = l.config.tower()
	l.patchProjection("embeddings.patch_embedding.weight", "embeddings.patch_embedding.bias")
	if err := l.hfPositions("embeddings.position_embedding.weight"); err != nil {
		return err
	}
	l.hfBlocks(towerNames)
	l.raw.norm, l.cfg.FinalNorm = l.norm("post_layernorm"), vit.NormTokens
	l.decide("last norm", "over the tokens", "tensor post_layernorm.weight")
	if l.head("classifier", l.cfg.Dim) || !l.HasUnder("head.") {
		l.cfg.Pool = []backend.Span{{Lo: 0, Hi: l.cfg.Tokens()}}
		l.decide("pool", "mean of the patches", "the layout")
		l.Skip("head.")
	} else {
		l.huggingFaceProbe()
	}
	l.passTextOver()
	d := hfDefaults{act: "gelu_pytorch_tanh", eps: 1e-6}
	err := errors.Join(l.hfFacts(d), l.hfCompare(l.config.says(l.config.Hidden, 3072, "intermediate_size")))
	l.probeFacts()
	return err
}
