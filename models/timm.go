package models

import (
	"errors"
	"fmt"

	"github.com/vitserve/vitserve/patch"
)

// timmViT is timm's VisionTransformer.
var timmViT = layout{
	name:      "timm",
	library:   "timm",
	anchor:    "patch_embed.proj.weight",
	positions: patch.PosTimm,
	read:      readTimm,
}

// readTimm reads the layout of timm's VisionTransformer, which DeiT, DeiT
// III, DINO and many others share. Token order is class, distillation,
// registers, patches row by row.
//
// Names and order of operations: timm/models/vision_transformer.py and
// timm/models/deit.py of https://github.com/huggingface/pytorch-image-models.
func readTimm(l *loader) error {
	l.grayProjection("patch_embed.proj.weight", "patch_embed.proj.bias")
	l.prefixToken("cls_token")
	l.prefixToken("dist_token")
	l.prefixToken("reg_token")
	l.prefixToken("register_tokens") // DINOv2's own name
	l.prefixToken("storage_tokens")  // DINOv3's
	image, by, err := l.timmImage()
	if err != nil {
		return err
	}
	if l.metaDINOv2() {
		l.photos = dinov2Photos
		if l.rule = patch.PosDINOv2; l.registers > 0 {
			l.rule = patch.PosTimm
		}
	}
	if err := l.positions("pos_embed", image, by); err != nil {
		return err
	}
	return l.timmBody()
}

// timmBody reads what comes behind the embedding.
func (l *loader) timmBody() error {
	if err := l.timmForm(); err != nil {
		return err
	}
	l.embedNorm("patch_embed.norm")
	if l.Has("norm_pre.weight") {
		l.cfg.PreNorm, l.raw.preNorm = true, l.norm("norm_pre")
		l.decide("norm before the blocks", true, "tensor norm_pre.weight")
	}

	c := l.cfg.Dim
	l.cfg.Depth = l.Depth("blocks.")
	l.decide("depth", l.cfg.Depth, "indices of blocks")
	for i := range l.cfg.Depth {
		at := fmt.Sprintf("blocks.%d.", i)
		l.raw.blocks = append(l.raw.blocks, l.timmBlock(at))
	}

	if err := l.timmPool(); err != nil {
		return err
	}
	if !l.metaHead() && !l.head("head", c) {
		// The layer that Google's in21k models had before their head.
		l.Skip("pre_logits.")
	}
	if l.Has("dist_token") && (l.cfg.Classes > 0 || l.Has("head_dist.weight")) {
		l.raw.distHead = l.Get("head_dist.weight", l.cfg.Classes, c)
		l.raw.distHeadBias = l.Maybe("head_dist.bias", l.cfg.Classes)
	}
	l.Skip(append(beside, "mask_token", "local_cls_norm.", "projectors.", "rope.freqs_cos", "rope.freqs_sin")...)
	l.skipIndices()
	err := errors.Join(l.timmFacts(), l.timmCompare())
	if err == nil {
		err = l.timmRope()
	}
	l.probeFacts()
	l.timmProjection()
	l.trunkHead()
	return err
}

// timmImage returns the input size that the configuration says.
func (l *loader) timmImage() ([2]int, string, error) {
	if l.metaDINOv3() {
		return dinov3Photos, "what the family's authors evaluate it at", nil
	}
	if l.config == nil || l.config.Pretrained == nil || len(l.config.Pretrained.InputSize) == 0 {
		return [2]int{}, "", nil
	}
	s := l.config.Pretrained.InputSize
	channels := 3
	if l.gray {
		channels = 1
	}
	if len(s) != 3 || s[0] != channels {
		return [2]int{}, "", fmt.Errorf("config.json: input_size %v, want %d as the channels of patch_embed.proj.weight, a height and a width", s, channels)
	}
	if err := inRange(s[1], s[2]); err != nil {
		return [2]int{}, "", fmt.Errorf("config.json: input_size %v: %w", s, err)
	}
	return [2]int{s[1], s[2]}, "config.json: pretrained_cfg.input_size", nil
}
