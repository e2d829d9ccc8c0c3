package models

import (
	"errors"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
)

// huggingFaceBEiT is transformers' BEiT and BEiTv2, and data2vec's image
// tower, which is one.
//
// Bao et al., "BEiT: BERT Pre-Training of Image Transformers",
// https://arxiv.org/abs/2106.08254; Peng et al., "BEiT v2",
// https://arxiv.org/abs/2208.06366; Baevski et al., "data2vec",
// https://arxiv.org/abs/2202.03555.
var huggingFaceBEiT = layout{
	name:      "huggingface",
	library:   "transformers",
	anchor:    huggingFaceViT.anchor,
	types:     []string{"beit", "data2vec-vision"},
	positions: patch.PosHuggingFace,
	read:      readBEiT,
}

var (
	beitOld = hfNames{
		blocks: hfOld.blocks,
		norm1:  hfOld.norm1, norm2: hfOld.norm2,
		q: hfOld.q, k: hfOld.k, v: hfOld.v, proj: hfOld.proj,
		fc1: hfOld.fc1, fc2: hfOld.fc2, scale: "lambda_*",
		table:  "attention.attention.relative_position_bias.relative_position_bias_table",
		shared: "encoder.relative_position_bias.relative_position_bias_table",
	}
	beitNew = hfNames{
		blocks: hfNew.blocks,
		norm1:  hfNew.norm1, norm2: hfNew.norm2,
		q: hfNew.q, k: hfNew.k, v: hfNew.v, proj: hfNew.proj,
		fc1: hfNew.fc1, fc2: hfNew.fc2, scale: "lambda_*",
		table:  "relative_position_bias.relative_position_bias_table",
		shared: "shared_position_bias.relative_position_bias_table",
	}
)

// readBEiT reads the layout of transformers' BEiT and data2vec, with a head or
// without. Keys have no bias. The feature is the norm of the mean of the
// patches, or else the class token.
//
// Names and order of operations: models/beit/modeling_beit.py and
// models/data2vec/modeling_data2vec_vision.py of
// https://github.com/huggingface/transformers.
func readBEiT(l *loader) error {
	if l.config == nil {
		return errors.New("there is no config.json beside the weights; it would decide the number of heads, the activation, eps and the input size")
	}
	l.patchProjection("embeddings.patch_embeddings.projection.weight", "embeddings.patch_embeddings.projection.bias")
	l.prefixToken("embeddings.cls_token")
	if err := l.hfPositions("embeddings.position_embeddings"); err != nil {
		return err
	}
	n := beitOld
	if l.HasUnder(beitNew.blocks) {
		n = beitNew
	}
	if !l.Has(n.blocks + "0.lambda_1") { // layer_scale_init_value of 0
		n.scale = ""
	}
	l.tableRule = bilinearTable
	l.shared = l.relative(n.shared)
	l.hfBlocks(n)
	if l.Has("pooler.layernorm.weight") {
		l.raw.norm, l.cfg.FinalNorm = l.norm("pooler.layernorm"), vit.NormPooled
		l.cfg.Pool = []backend.Span{{Lo: l.cfg.Prefix, Hi: l.cfg.Tokens()}}
		l.decide("last norm", "over the pooled features", "tensor pooler.layernorm.weight")
		l.decide("pool", "mean of the patches", "the layout")
		l.Skip("layernorm.")
	} else {
		l.raw.norm, l.cfg.FinalNorm = l.norm("layernorm"), vit.NormTokens
		l.cfg.Pool = clsPool
		l.decide("last norm", "over the tokens", "tensor layernorm.weight")
		l.decide("pool", "class token", "no tensor pooler.layernorm.weight")
	}
	l.head("classifier", l.cfg.Dim)
	l.Skip(append(beside, "embeddings.mask_token", "lm_head.")...)
	l.skipIndices()
	return errors.Join(l.hfFacts(hfDefaults{act: "gelu", eps: 1e-12}), l.hfCompare(l.config.saysWidth(l.config.Hidden, "intermediate_size")))
}
