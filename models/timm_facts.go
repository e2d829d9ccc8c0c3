package models

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vitserve/vitserve/backend"
)

// timmFact is what timm's source says of some of its models and no tensor of
// theirs does. It holds for architectures whose name contains arch, or for
// configurations with an argument.
type timmFact struct {
	arch string // "": any
	arg  string // of model_args; "": it is of an architecture

	dim, heads int                // heads at this dim where they are not 64 wide; 0: they are
	act        backend.Activation // 0: the exact GELU
	eps        float32            // 0: 1e-6
	refused    string             // what is not read, and why; "": it is

	source string // in timm/ of https://github.com/huggingface/pytorch-image-models
}

// Where the facts stand.
const (
	timmEntries       = "models/vision_transformer.py: entrypoint of the name"
	timmClip          = "models/vision_transformer.py: vit_*_clip_*, nn.LayerNorm in place of timm's"
	timmNaFlexEntries = "models/naflexvit.py: entrypoint of the name"
	timmEva           = "models/eva.py: entrypoint of the name"
	timmInit          = "models/vision_transformer.py: VisionTransformer.__init__"
)

// timmFacts are all of them. For each fact the first row counts that says it.
//
// Where the architecture is one of timm_archs.csv, that decides before them:
// these are for names of other versions. A test holds them to that table.
var timmFacts = []timmFact{
	{arch: "test_vit", dim: 64, heads: 2, source: timmEntries},
	{arch: "test_vit", dim: 96, heads: 3, source: timmEntries},
	{arch: "naflexvit_base_", dim: 768, heads: 12, source: timmNaFlexEntries},
	{arch: "vit_base_patch16_gap_", dim: 768, heads: 16, source: timmEntries},
	{arch: "_dinov3", dim: 1280, heads: 20, source: timmEva},
	{arch: "_dinov3", dim: 4096, heads: 32, source: timmEva},
	{arch: "_pe_", dim: 1536, heads: 16, source: timmEva},
	{arch: "", dim: 1152, heads: 16, source: timmEntries}, // so400m
	{arch: "", dim: 1280, heads: 16, source: timmEntries}, // huge
	{arch: "", dim: 1408, heads: 16, source: timmEntries}, // giant
	{arch: "", dim: 1664, heads: 16, source: timmEntries}, // gigantic
	{arch: "_sapiens2", dim: 2432, heads: 32, source: timmEva},
	{arch: "eva02_", dim: 1792, heads: 16, source: timmEva},
	{arch: "aimv2_", dim: 1024, heads: 8, eps: 1e-5, source: timmEntries},
	{arch: "aimv2_", dim: 1536, heads: 12, source: timmEntries},
	{arch: "aimv2_", dim: 2048, heads: 16, source: timmEntries},
	{arch: "aimv2_", dim: 3072, heads: 24, source: timmEntries},
	{arch: "giantopt", dim: 1536, heads: 16, act: backend.GELUTanh, source: timmEntries},
	{arch: "vit_giant_", dim: 1536, heads: 24, source: timmEntries},

	{arch: "quickgelu", act: backend.QuickGELU, source: timmEntries},
	{arch: "naflexvit_base_patch16_siglip", act: backend.GELUTanh, source: timmNaFlexEntries},
	{arch: "vit_base_patch32_siglip_", act: backend.GELUTanh, source: timmEntries},
	{arch: "vit_large_patch16_siglip_512", act: backend.GELUTanh, source: timmEntries},
	{arch: "vit_large_patch16_siglip_gap_512", act: backend.GELUTanh, source: timmEntries},
	{arch: "vit_so400m_patch16_siglip", act: backend.GELUTanh, source: timmEntries},

	{arch: "eva", eps: 1e-6, source: timmEva},
	{arch: "_clip_", eps: 1e-5, source: timmClip}, // PyTorch's default
	{arch: "beit3_", eps: 1e-5, source: timmEntries},
	{arch: "_dinov3", eps: 1e-5, source: timmEva},
	{arch: "_lingbot", eps: 1e-5, source: timmEva},
	{arch: "_pe_", eps: 1e-5, source: timmEva},

	// What changes the arithmetic and leaves no trace in the tensors.
	{arg: "block_fn", refused: "another block", source: timmInit},
	{arg: "mlp_layer", refused: "another MLP", source: timmInit},
	{arg: "attn_layer", refused: "another attention", source: timmInit},
}

// findTimmFact returns the first fact of an architecture that says what is asked.
func findTimmFact(arch string, says func(timmFact) bool) (timmFact, bool) {
	for _, f := range timmFacts {
		if f.arg == "" && strings.Contains(arch, f.arch) && says(f) {
			return f, true
		}
	}
	return timmFact{}, false
}

// timmFacts settles what no tensor tells: heads, activation and eps.
func (l *loader) timmFacts() error {
	arch := ""
	if l.config != nil {
		arch = l.config.Architecture
		for _, f := range timmFacts {
			text, given := l.config.ModelArgs[f.arg]
			if given && f.arg != "" && string(text) != "null" && string(text) != "false" {
				return fmt.Errorf("config.json: model_args.%s = %s is not supported", f.arg, text)
			}
		}
		if f, found := findTimmFact(arch, func(f timmFact) bool { return f.refused != "" }); found {
			return fmt.Errorf("config.json: architecture %s %s, which is not supported", arch, f.refused)
		}
	}
	return errors.Join(l.timmHeads(arch), l.timmAct(arch), l.timmEps(arch))
}

func (l *loader) timmHeads(arch string) error {
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
	if a, known := timmArchs()[arch]; known && by == "" {
		// The architecture's own number, also where model_args gives another dim.
		heads, by = a.heads, "architecture "+arch
	}
	if n, name := l.headsByShape(); n > 0 && by == "" {
		heads, by = n, "shape of "+name
	}
	if by == "" && l.config != nil && l.config.ModelArgs["embed_dim"] != nil && arch != "" {
		return fmt.Errorf("the number of heads is not known: model_args.embed_dim changes the dim of architecture %s and not its heads; num_heads in config.json's model_args would decide it", arch)
	}
	if f, found := findTimmFact(arch, func(f timmFact) bool { return f.heads > 0 && f.dim == l.cfg.Dim }); found && by == "" {
		heads, by = f.heads, "dim "+fmt.Sprint(f.dim)
		if f.arch != "" {
			by = "architecture " + arch
		}
	}
	if by == "" {
		if l.cfg.Dim%64 != 0 || l.cfg.Dim == 1536 && !l.metaDINOv2() {
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

// headsByShape returns the number of heads where positions of each, or the
// periods of one, are among the tensors.
func (l *loader) headsByShape() (int, string) {
	for _, t := range []struct {
		name string
		dim  int
		rank int
	}{
		{"blocks.0.attn.relative_position_bias_table", 1, 2}, {sharedTable, 1, 2}, {"rope.freqs", 2, 4},
		{"blocks.0.attn.rel_pos.relative_position_bias_table", 1, 2}, {"shared_rel_pos.relative_position_bias_table", 1, 2},
		{"blocks.0.attn.rel_pos.mlp.fc2.weight", 0, 2}, {"shared_rel_pos.mlp.fc2.weight", 0, 2},
	} {
		if l.Has(t.name) {
			return l.Dim(t.name, t.dim, t.rank), t.name
		}
	}
	if l.Has(dinov3Periods) {
		return l.cfg.Dim / (4 * l.Dim(dinov3Periods, 0, 1)), dinov3Periods
	}
	if l.cfg.QKNorm { // each head's, so that all of them are as wide as one
		name := l.either("blocks.0.attn.q_norm.weight", "blocks.0.q_norm.weight")
		return l.cfg.Dim / l.Dim(name, 0, 1), name
	}
	return 0, ""
}

func (l *loader) timmAct(arch string) error {
	if l.cfg.Act == backend.SwiGLU {
		l.decide("activation", l.cfg.Act, "shapes of the MLP, whose first layer is twice as wide")
		return nil
	}
	act, by := backend.GELU, "timm's default"
	if a, known := timmArchs()[arch]; known && a.act != 0 {
		act, by = a.act, "architecture "+arch
	} else if f, found := findTimmFact(arch, func(f timmFact) bool { return f.act != 0 }); found {
		act, by = f.act, "architecture "+arch
	}
	if l.config != nil {
		var said string
		found, err := l.config.arg("act_layer", &said)
		if err != nil {
			return err
		}
		if found {
			return l.activate(said, "config.json: model_args.act_layer")
		}
	}
	l.cfg.Act = act
	l.decide("activation", act, "%s", by)
	return nil
}

func (l *loader) timmEps(arch string) error {
	l.cfg.Eps = 1e-6
	by := "timm's value for a VisionTransformer"
	if l.Reader != nil && l.metaDINOv3() {
		l.cfg.Eps, by = 1e-5, "DINOv3's own"
	}
	if a, known := timmArchs()[arch]; known {
		l.cfg.Eps, by = a.eps, "architecture "+arch
	} else if f, found := findTimmFact(arch, func(f timmFact) bool { return f.eps > 0 }); found {
		l.cfg.Eps, by = f.eps, "architecture "+arch
	}
	if l.config != nil && l.config.ModelArgs["norm_layer"] != nil {
		l.cfg.Eps, by = 1e-6, "timm's value for a norm that is named"
	}
	l.decide("eps", l.cfg.Eps, "%s", by)
	return nil
}
