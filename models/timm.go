package models

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/vit"
)

// readTimm reads the layout of timm's VisionTransformer, which DeiT, DeiT
// III, DINO and many others share. Token order is class, distillation,
// registers, patches row by row.
//
// Names and order of operations: timm/models/vision_transformer.py and
// timm/models/deit.py of https://github.com/huggingface/pytorch-image-models.
func readTimm(l *loader) error {
	l.patchProjection("patch_embed.proj.weight", "patch_embed.proj.bias")
	l.prefixToken("cls_token")
	l.prefixToken("dist_token")
	l.prefixToken("reg_token")
	image, by, err := l.timmImage()
	if err != nil {
		return err
	}
	if err := l.positions("pos_embed", image, by); err != nil {
		return err
	}
	if l.Has("norm_pre.weight") {
		l.cfg.PreNorm, l.raw.preNorm = true, l.norm("norm_pre")
		l.decide("norm before the blocks", true, "tensor norm_pre.weight")
	}

	c := l.cfg.Dim
	l.cfg.Depth = l.Depth("blocks.")
	l.decide("depth", l.cfg.Depth, "indices of blocks")
	for i := range l.cfg.Depth {
		at := fmt.Sprintf("blocks.%d.", i)
		var b unfoldedBlock
		b.Norm1, b.Norm2 = l.norm(at+"norm1"), l.norm(at+"norm2")
		b.QKV, b.QKVBias = l.Get(at+"attn.qkv.weight", 3*c, c), l.Maybe(at+"attn.qkv.bias", 3*c)
		b.Proj, b.ProjBias = l.Get(at+"attn.proj.weight", c, c), l.Maybe(at+"attn.proj.bias", c)
		b.scale1, b.scale2 = l.Maybe(at+"ls1.gamma", c), l.Maybe(at+"ls2.gamma", c)
		l.mlp(&b, at+"mlp.fc1", at+"mlp.fc2")
		l.raw.blocks = append(l.raw.blocks, b)
	}

	if err := l.timmPool(); err != nil {
		return err
	}
	if !l.head("head", c) {
		// The layer that Google's in21k models had before their head.
		l.Skip("pre_logits.")
	}
	if l.Has("dist_token") && (l.cfg.Classes > 0 || l.Has("head_dist.weight")) {
		l.raw.distHead = l.Get("head_dist.weight", l.cfg.Classes, c)
		l.raw.distHeadBias = l.Maybe("head_dist.bias", l.cfg.Classes)
	}
	l.Skip("mask_token")
	return l.timmFacts()
}

// timmImage returns the input size that the configuration says.
func (l *loader) timmImage() ([2]int, string, error) {
	if l.config == nil || l.config.Pretrained == nil || len(l.config.Pretrained.InputSize) == 0 {
		return [2]int{}, "", nil
	}
	s := l.config.Pretrained.InputSize
	if len(s) != 3 || s[0] != 3 {
		return [2]int{}, "", fmt.Errorf("config.json: input_size %v, want 3 channels, a height and a width", s)
	}
	if err := inRange(s[1], s[2]); err != nil {
		return [2]int{}, "", fmt.Errorf("config.json: input_size %v: %w", s, err)
	}
	return [2]int{s[1], s[2]}, "config.json: pretrained_cfg.input_size", nil
}

// timmPool settles where the features come from and where the last norm
// stands.
func (l *loader) timmPool() error {
	pool, by := "", ""
	if l.config != nil {
		if _, err := l.config.arg("global_pool", &pool); err != nil {
			return err
		}
		by = "config.json: model_args.global_pool"
		if pool == "" && l.config.GlobalPool != nil {
			pool, by = *l.config.GlobalPool, "config.json: global_pool"
		}
	}
	if pool == "" {
		switch {
		case l.Has("fc_norm.weight"):
			pool, by = "avg", "tensor fc_norm.weight"
		case l.Has("cls_token"):
			pool, by = "token", "tensor cls_token"
		default:
			pool, by = "avg", "no tensor cls_token"
		}
	}
	switch {
	case pool == "token" && l.Has("dist_token"):
		l.cfg.Pool = []backend.Span{{Lo: 0, Hi: 1}, {Lo: 1, Hi: 2}}
		if !l.Has("head.weight") {
			l.cfg.Pool = []backend.Span{{Lo: 0, Hi: 2}} // timm's features are then the mean of both
		}
	case pool == "token" && l.cfg.Prefix > 0:
		l.cfg.Pool = clsPool
	case pool == "avg" && !l.Has("dist_token"):
		l.cfg.Pool = []backend.Span{{Lo: l.cfg.Prefix, Hi: l.cfg.Tokens()}}
	default:
		return fmt.Errorf("%s is %q, want token or avg (with one prefix token for token)", by, pool)
	}
	l.decide("pool", pool, "%s", by)

	switch {
	case l.Has("fc_norm.weight"):
		l.cfg.FinalNorm, l.raw.norm = vit.NormPooled, l.norm("fc_norm")
		l.decide("last norm", "over the pooled features", "tensor fc_norm.weight")
	case l.Has("norm.weight"):
		l.cfg.FinalNorm, l.raw.norm = vit.NormTokens, l.norm("norm")
		l.decide("last norm", "over the tokens", "tensor norm.weight")
	default:
		// A file whose last norm was lost is far likelier than a model
		// without one: timm has none that classifies.
		l.cfg.FinalNorm, l.raw.norm = vit.NormTokens, l.norm("norm")
	}
	return nil
}

// timmHeads are the models whose heads are not 64 wide: the one size that
// timm's files do not tell. A row holds for architectures whose name contains
// arch.
//
// Source: every VisionTransformer of timm 1.0.31; testdata/timm_archs.csv
// holds them, and a test compares.
var timmHeads = []struct {
	arch  string
	dim   int
	heads int
}{
	{"test_vit", 64, 2},
	{"test_vit", 96, 3},
	{"vit_base_patch16_gap_", 768, 16},
	{"", 1152, 16}, // so400m
	{"", 1280, 16}, // huge
	{"", 1408, 16}, // giant
	{"", 1664, 16}, // gigantic
	{"giantopt", 1536, 16},
	{"vit_giant_", 1536, 24},
}

// timmActs are the architectures whose MLP has another activation than the
// exact GELU.
var timmActs = []struct {
	arch string
	act  backend.Activation
}{
	{"quickgelu", backend.QuickGELU},
	{"vit_base_patch32_siglip_", backend.GELUTanh},
	{"giantopt", backend.GELUTanh},
	{"vit_large_patch16_siglip_512", backend.GELUTanh},
	{"vit_large_patch16_siglip_gap_512", backend.GELUTanh},
	{"vit_so400m_patch16_siglip", backend.GELUTanh},
}

// timmFacts settles what no tensor tells: heads, activation and eps.
func (l *loader) timmFacts() error {
	arch := ""
	if l.config != nil {
		arch = l.config.Architecture
		// What changes the arithmetic and leaves no trace in the tensors.
		for _, key := range []string{"norm_layer", "block_fn", "mlp_layer", "attn_layer", "pool_include_prefix", "scale_attn_norm", "scale_mlp_norm"} {
			if text, ok := l.config.ModelArgs[key]; ok && string(text) != "null" && string(text) != "false" {
				return fmt.Errorf("config.json: model_args.%s = %s is not supported", key, text)
			}
		}
		if strings.Contains(arch, "_rpn_") {
			return fmt.Errorf("config.json: architecture %s norms after its blocks, which is not supported", arch)
		}
	}
	return errors.Join(l.timmHeadCount(arch), l.timmAct(arch), l.timmEps(arch))
}

func (l *loader) timmHeadCount(arch string) error {
	heads, by := 0, ""
	if l.config != nil {
		found, err := l.config.arg("num_heads", &heads)
		if err != nil {
			return err
		}
		if found {
			by = "config.json: model_args.num_heads"
		}
	}
	for _, row := range timmHeads {
		if by == "" && row.dim == l.cfg.Dim && strings.Contains(arch, row.arch) {
			heads, by = row.heads, "dim "+fmt.Sprint(row.dim)
			if row.arch != "" {
				by = "architecture " + arch
			}
		}
	}
	if by == "" {
		if l.cfg.Dim%64 != 0 || l.cfg.Dim == 1536 {
			return fmt.Errorf("the number of heads is not known for a dim of %d and architecture %q; num_heads in config.json's model_args would decide it", l.cfg.Dim, arch)
		}
		heads, by = l.cfg.Dim/64, "64 a head, as timm has it unless it says otherwise"
	}
	if heads < 1 || l.cfg.Dim%heads != 0 {
		return fmt.Errorf("%s: %d heads do not divide a dim of %d", by, heads, l.cfg.Dim)
	}
	l.cfg.Heads = heads
	l.decide("heads", heads, "%s", by)
	return nil
}

func (l *loader) timmAct(arch string) error {
	if l.cfg.Act == backend.SwiGLU {
		l.decide("activation", l.cfg.Act, "shapes of the MLP, whose first layer is twice as wide")
		return nil
	}
	act, by := backend.GELU, "timm's default"
	for _, row := range timmActs {
		if strings.Contains(arch, row.arch) {
			act, by = row.act, "architecture "+arch
			break
		}
	}
	if l.config != nil {
		var said string
		found, err := l.config.arg("act_layer", &said)
		if err != nil {
			return err
		}
		if found {
			by = "config.json: model_args.act_layer"
			if act, found = activations[said]; !found {
				return fmt.Errorf("%s: activation %q is not supported", by, said)
			}
		}
	}
	l.cfg.Act = act
	l.decide("activation", act, "%s", by)
	return nil
}

// activations are the names of timm and of transformers. The two GELUs by
// tanh are one function; the exact one is another.
var activations = map[string]backend.Activation{
	"gelu": backend.GELU, "gelu_python": backend.GELU,
	"gelu_tanh": backend.GELUTanh, "gelu_new": backend.GELUTanh, "gelu_pytorch_tanh": backend.GELUTanh, "gelu_fast": backend.GELUTanh,
	"quick_gelu": backend.QuickGELU, "quickgelu": backend.QuickGELU,
}

// timmEps: the CLIP towers keep PyTorch's default, all others have 1e-6.
func (l *loader) timmEps(arch string) error {
	l.cfg.Eps = 1e-6
	by := "timm's value for a VisionTransformer"
	if strings.Contains(arch, "_clip_") {
		l.cfg.Eps, by = 1e-5, "architecture "+arch
	}
	l.decide("eps", l.cfg.Eps, "%s", by)
	return nil
}
