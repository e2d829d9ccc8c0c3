package models

import (
	"errors"
	"fmt"
	"math"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// huggingFaceBLIP is the image tower of transformers' BLIP. What is beside it,
// words and what tells them, is passed over.
//
// Li et al., "BLIP", https://arxiv.org/abs/2201.12086.
var huggingFaceBLIP = layout{
	name:      "huggingface",
	library:   "transformers",
	anchor:    huggingFaceCLIP.anchor,
	types:     []string{"blip", "blip_vision_model"},
	positions: patch.PosHuggingFace,
	read:      readBLIP,
}

// blipNames are those of its blocks.
var blipNames = hfNames{
	blocks: "encoder.layers.",
	norm1:  "layer_norm1", norm2: "layer_norm2",
	qkv: "self_attn.qkv", proj: "self_attn.projection",
	fc1: "mlp.fc1", fc2: "mlp.fc2",
}

// readBLIP reads the layout of transformers' BLIP. The class token is normed
// twice.
//
// Names and order of operations: models/blip/modeling_blip.py of
// https://github.com/huggingface/transformers.
func readBLIP(l *loader) error {
	if l.config == nil {
		return errNoConfig
	}
	l.config = l.config.tower()
	l.patchProjection("embeddings.patch_embedding.weight", "embeddings.patch_embedding.bias")
	l.prefixToken("embeddings.class_embedding")
	if err := l.hfPositions("embeddings.position_embedding"); err != nil {
		return err
	}
	l.hfBlocks(blipNames)
	l.cfg.Pool = clsPool
	l.decide("pool", "class token", "the layout")
	l.raw.norm, l.cfg.FinalNorm = l.norm("post_layernorm"), vit.NormTwice
	l.decide("last norm", "over the tokens and over the pooled features", "the layout")
	l.passTextOver()
	l.Skip("text_decoder.", "text_encoder.", "vision_proj.", "text_proj.", "itm_head.", "visual_projection.")
	return errors.Join(l.hfFacts(hfDefaults{act: "gelu", eps: 1e-5}), l.hfCompare(l.config.says(l.config.Hidden, 3072, "intermediate_size")))
}

// errNoConfig is of a file of transformers without a configuration.
var errNoConfig = errors.New("there is no config.json beside the weights; it would decide the number of heads, the activation, eps and the input size")

// huggingFaceAIMv2 is transformers' AIMv2, alone or beside a text tower.
//
// Fini et al., "Multimodal Autoregressive Pre-training of Large Vision
// Encoders", https://arxiv.org/abs/2411.14402.
var huggingFaceAIMv2 = layout{
	name:      "huggingface",
	library:   "transformers",
	anchor:    "embeddings.patch_embed.weight",
	types:     []string{"aimv2", "aimv2_vision_model"},
	positions: patch.PosHuggingFace,
	read:      readAIMv2,
}

// aimv2Names are those of its blocks.
var aimv2Names = hfNames{
	blocks: "encoder.layers.",
	norm1:  "rms_norm1", norm2: "rms_norm2",
	q: "attention.q_proj", k: "attention.k_proj", v: "attention.v_proj", proj: "attention.out_proj",
	gate: "ffn.gate_proj", fc1: "ffn.up_proj", fc2: "ffn.down_proj",
}

// readAIMv2 reads the layout of transformers' AIMv2: root mean squares, one of
// them of the projected patches, and pooling by attention without an MLP, or
// the mean of the patches. Of any resolution it has sines for positions.
//
// Names and order of operations: models/aimv2/modeling_aimv2.py of
// https://github.com/huggingface/transformers.
func readAIMv2(l *loader) error {
	if l.config == nil {
		return errNoConfig
	}
	l.config = l.config.tower()
	c := l.config
	if c.Eps = c.RMSEps; c.Heads == nil {
		heads := 8
		c.Heads = &heads
	}
	if c.Layers == nil {
		layers := 24
		c.Layers = &layers
	}
	l.cfg.RMS = true
	l.decide("norms", "root mean squares", "the layout")
	l.patchProjection("embeddings.patch_embed.weight", "embeddings.patch_embed.bias")
	l.embedNorm("embeddings.rms_norm")
	if err := l.hfPositions("embeddings.position_embedding.weight"); err != nil {
		return err
	}
	if or(c.Native, false) {
		rows, cols := l.cfg.Grid()
		l.posGrid = [2]int{rows, cols}
		l.raw.pos, l.raw.posPrefix = sines(l.posGrid, l.cfg.Dim), 0
		l.decide("positions", "sines", "config.json: is_native")
	}
	l.hfBlocks(aimv2Names)
	l.raw.norm, l.cfg.FinalNorm = l.norm("rms_norm"), vit.NormTokens
	l.decide("last norm", "over the tokens", "tensor rms_norm.weight")
	if dim, p := l.cfg.Dim, &l.raw.probe; l.HasUnder("head.") {
		p.Query = l.Get("head.cls_token", 1, dim)
		p.key, p.keyBias = l.Get("head.k_proj.weight", dim, dim), l.Maybe("head.k_proj.bias", dim)
		p.value, p.valueBias = l.Get("head.v_proj.weight", dim, dim), l.Maybe("head.v_proj.bias", dim)
		p.Proj, p.ProjBias = l.Get("head.output_proj.weight", dim, dim), l.Maybe("head.output_proj.bias", dim)
		l.probeOver(0, "tensor head.cls_token")
	} else {
		l.cfg.Pool = []backend.Span{{Lo: 0, Hi: l.cfg.Tokens()}}
		l.decide("pool", "mean of the patches", "no tensor head.cls_token")
	}
	l.project("visual_projection.weight")
	l.passTextOver()
	err := l.hfFacts(hfDefaults{act: "silu", eps: 1e-5})
	if act := or(c.HiddenAct, "silu"); act != "silu" && act != "swish" {
		err = fmt.Errorf("config.json: activation %q of a gated MLP is not supported, want silu", act)
	}
	l.probeFacts()
	return errors.Join(err, l.hfCompare(c.says(c.Hidden, 2816, "intermediate_size")))
}

// sines are the positions of a grid (rows·columns, C) by the sines and cosines
// of columns, then of rows, at C/4 wavelengths up to 10000.
//
// build_2d_sinusoidal_position_embedding in models/aimv2/modeling_aimv2.py of
// https://github.com/huggingface/transformers.
func sines(grid [2]int, dim int) *tensor.Dense {
	quarter := dim / 4
	pos := make([]float32, 0, grid[0]*grid[1]*dim)
	for y := range grid[0] {
		for x := range grid[1] {
			for _, at := range []int{x, y} {
				for _, f := range []func(float64) float64{math.Sin, math.Cos} {
					for i := range quarter {
						pos = append(pos, float32(f(float64(at)/math.Pow(10000, float64(i)/float64(quarter)))))
					}
				}
			}
			pos = append(pos, make([]float32, dim-4*quarter)...)
		}
	}
	return dense(pos, grid[0]*grid[1], dim)
}

// huggingFacePixio is transformers' Pixio: several class tokens, whose mean is
// the feature.
var huggingFacePixio = layout{
	name:      "huggingface",
	library:   "transformers",
	anchor:    huggingFaceViT.anchor,
	types:     []string{"pixio"},
	positions: patch.PosHuggingFace,
	read:      readPixio,
}

// readPixio reads the layout of transformers' Pixio.
//
// Names and order of operations: models/pixio/modeling_pixio.py of
// https://github.com/huggingface/transformers.
func readPixio(l *loader) error {
	if l.config == nil {
		return errNoConfig
	}
	l.patchProjection("embeddings.patch_embeddings.projection.weight", "embeddings.patch_embeddings.projection.bias")
	l.prefixToken("embeddings.cls_token")
	if err := l.hfPositions("embeddings.position_embeddings"); err != nil {
		return err
	}
	n := hfOld
	if l.HasUnder(hfNew.blocks) {
		n = hfNew
	}
	n.norm1, n.norm2 = "norm1", "norm2"
	l.hfBlocks(n)
	l.raw.norm, l.cfg.FinalNorm = l.norm("layernorm"), vit.NormTokens
	l.decide("last norm", "over the tokens", "tensor layernorm.weight")
	l.cfg.Pool = []backend.Span{{Lo: 0, Hi: max(l.cfg.Prefix, 1)}}
	l.decide("pool", "mean of the class tokens", "the layout")
	l.Skip(append(beside, "embeddings.mask_token")...)
	return errors.Join(l.hfFacts(hfDefaults{act: "gelu", eps: 1e-6}), l.hfCompare(l.dinov2Hidden()))
}
