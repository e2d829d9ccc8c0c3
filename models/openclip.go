package models

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// openCLIP is CLIP as OpenAI and OpenCLIP store it, image tower and text tower
// in one file.
var openCLIP = layout{
	name:      "openclip",
	library:   "OpenCLIP",
	anchor:    "visual.conv1.weight",
	positions: patch.PosTimm,
	read:      readOpenCLIP,
}

// openCLIPConfig is an open_clip_config.json.
type openCLIPConfig struct {
	Model struct {
		Dim       *int  `json:"embed_dim"`
		QuickGELU *bool `json:"quick_gelu"`
		Vision    struct {
			ImageSize *dimension `json:"image_size"`
			PatchSize *dimension `json:"patch_size"`
			Layers    *int       `json:"layers"`
			Width     *int       `json:"width"`
			HeadWidth *int       `json:"head_width"`
			PoolType  *string    `json:"pool_type"`
			TokPool   *bool      `json:"global_average_pool"`
			FinalLN   *bool      `json:"final_ln_after_pool"`
			Attention *bool      `json:"attentional_pool"`
			ActKwargs any        `json:"act_kwargs"`
			NoPreNorm *bool      `json:"no_ln_pre"`
			TimmName  *string    `json:"timm_model_name"`
			TimmPool  *string    `json:"timm_pool"`
		} `json:"vision_cfg"`
	} `json:"model_cfg"`
	Preprocess struct {
		Mean          *triple `json:"mean"`
		Std           *triple `json:"std"`
		Interpolation *string `json:"interpolation"`
		ResizeMode    *string `json:"resize_mode"`
	} `json:"preprocess_cfg"`
}

// readOpenCLIP reads the layout of OpenAI's CLIP, which OpenCLIP kept: packed
// queries, keys and values, and a projection that stands transposed.
//
// Names and order of operations: VisionTransformer in clip/model.py of
// https://github.com/openai/CLIP and in src/open_clip/transformer.py of
// https://github.com/mlfoundations/open_clip.
func readOpenCLIP(l *loader) error {
	l.patchProjection("visual.conv1.weight", "visual.conv1.bias")
	l.prefixToken("visual.class_embedding")
	image, by := [2]int{}, ""
	if l.openCLIP != nil && l.openCLIP.Model.Vision.ImageSize != nil {
		image, by = l.openCLIP.Model.Vision.ImageSize.square(), openCLIPFile+": image_size"
	}
	if err := l.positions("visual.positional_embedding", image, by); err != nil {
		return err
	}
	if l.openCLIP != nil && or(l.openCLIP.Model.Vision.NoPreNorm, false) {
		l.decide("norm before the blocks", false, "%s: no_ln_pre", openCLIPFile)
	} else {
		l.cfg.PreNorm, l.raw.preNorm = true, l.norm("visual.ln_pre")
		l.decide("norm before the blocks", true, "tensor visual.ln_pre.weight")
	}

	c, blocks := l.cfg.Dim, "visual.transformer.resblocks."
	l.cfg.Depth = l.Depth(blocks)
	l.decide("depth", l.cfg.Depth, "indices of %s", blocks)
	for i := range l.cfg.Depth {
		at := fmt.Sprintf("%s%d.", blocks, i)
		var b unfoldedBlock
		b.Norm1, b.Norm2 = l.norm(at+"ln_1"), l.norm(at+"ln_2")
		b.QKV, b.QKVBias = l.Get(at+"attn.in_proj_weight", 3*c, c), l.Maybe(at+"attn.in_proj_bias", 3*c)
		b.Proj, b.ProjBias = l.Get(at+"attn.out_proj.weight", c, c), l.Maybe(at+"attn.out_proj.bias", c)
		b.scale1, b.scale2 = l.Maybe(at+"ls_1.gamma", c), l.Maybe(at+"ls_2.gamma", c)
		l.mlp(&b, at+"mlp.c_fc", at+"mlp.c_proj")
		l.raw.blocks = append(l.raw.blocks, b)
	}
	l.raw.norm, l.cfg.FinalNorm, l.cfg.Pool = l.norm("visual.ln_post"), vit.NormTokens, clsPool
	l.decide("last norm", "over the tokens", "tensor visual.ln_post.weight")
	l.decide("pool", "class token", "the layout")
	l.cfg.Projection = l.Dim("visual.proj", 1, 2)
	l.raw.head = transposed(l.Get("visual.proj", c, l.cfg.Projection))
	l.decide("projection", l.cfg.Projection, "shape of visual.proj")

	act, by, err := l.openCLIPAct()
	l.cfg.Act = act
	l.decide("activation", act, "%s", by)
	l.cfg.Eps = 1e-5
	l.decide("eps", l.cfg.Eps, "PyTorch's default, which CLIP has")
	if l.Has("token_embedding.weight") {
		l.note = "the text tower of the file is passed over: what is read of it is the image tower"
	}
	l.Skip(append([]string{
		"transformer.", "token_embedding.", "ln_final.", "positional_embedding", "text_projection", "text.", "attn_mask",
		"input_resolution", "context_length", "vocab_size", "logit_scale", "logit_bias",
	}, beside...)...)
	return errors.Join(err, l.openCLIPFacts())
}

// openCLIPAct settles the activation: OpenAI's weights want the quick GELU and
// OpenCLIP's mostly the exact one, which no tensor of the tower tells. OpenAI's
// own files hold the sizes of their input as tensors.
func (l *loader) openCLIPAct() (backend.Activation, string, error) {
	switch c := l.openCLIP; {
	case c != nil && c.Model.Vision.ActKwargs != nil:
		return backend.GELU, "", errors.New(openCLIPFile + ": act_kwargs is not supported")
	case c != nil && or(c.Model.QuickGELU, false):
		return backend.QuickGELU, openCLIPFile + ": quick_gelu", nil
	case c != nil:
		return backend.GELU, "OpenCLIP's default", nil
	case l.Has("input_resolution") || l.Has("context_length"):
		return backend.QuickGELU, "tensors of OpenAI's own files", nil
	}
	return backend.GELU, "", errors.New("the activation is not known, for OpenAI's weights want another GELU than OpenCLIP's; an " + openCLIPFile + " would decide it")
}

// openCLIPFacts settles the heads and holds the configuration to the tensors.
func (l *loader) openCLIPFacts() error {
	width, by := 64, "64 a head, as CLIP has it"
	c := l.openCLIP
	if c == nil {
		c = &openCLIPConfig{}
	}
	v := c.Model.Vision
	if v.HeadWidth != nil {
		width, by = *v.HeadWidth, openCLIPFile+": head_width"
	}
	if width < 1 || l.cfg.Dim%width != 0 {
		return fmt.Errorf("%s: heads of %d do not divide a dim of %d", by, width, l.cfg.Dim)
	}
	l.cfg.Heads = l.cfg.Dim / width
	l.decide("heads", l.cfg.Heads, "%s", by)
	if or(v.TokPool, false) || or(v.Attention, false) || or(v.FinalLN, false) || or(v.PoolType, "tok") != "tok" {
		return errors.New(openCLIPFile + ": only the class token as the feature (pool_type tok) is supported")
	}
	says := func(n *int, key string) said {
		if n == nil {
			return said{}
		}
		return said{*n, openCLIPFile + ": " + key}
	}
	errs := []error{
		says(v.Layers, "layers").differs("a depth of", l.cfg.Depth, "the file"),
		says(v.Width, "width").differs("a dim of", l.cfg.Dim, "the file"),
		says(c.Model.Dim, "embed_dim").differs("a projection to", l.cfg.Projection, "the file"),
	}
	if p := v.PatchSize; p != nil && p.square() != l.cfg.Patch {
		errs = append(errs, fmt.Errorf("%s: patch_size says %s, the file has %s", openCLIPFile, sizeText(p.square()), sizeText(l.cfg.Patch)))
	}
	return errors.Join(errs...)
}

// openCLIPFile is the configuration beside OpenCLIP's weights on the hub.
const openCLIPFile = "open_clip_config.json"

// openCLIPTransform is what OpenCLIP's image_transform does to evaluate, which
// is OpenAI's: src/open_clip/transform.py.
func (l *loader) openCLIPTransform() (patch.Transform, error) {
	t := patch.Transform{
		Size: l.cfg.Image, Resize: l.cfg.Image, Fit: patch.FitShort, Interpolation: patch.Bicubic,
		Rounding: patch.RoundTorchvision, Mean: clipMean, Std: clipStd,
	}
	if c := l.openCLIP; c != nil {
		p := c.Preprocess
		t.Mean, t.Std = or(p.Mean, clipMean), or(p.Std, clipStd)
		switch mode := or(p.ResizeMode, "shortest"); mode {
		case "shortest":
		case "squash":
			t.Fit = patch.FitSquash
		default:
			return t, fmt.Errorf("%s: resize_mode %q, want shortest or squash", openCLIPFile, mode)
		}
		if how := strings.ToLower(or(p.Interpolation, "bicubic")); how != "bicubic" {
			t.Interpolation = patch.Bilinear
			if how != "bilinear" {
				return t, fmt.Errorf("%s: interpolation %q, want bicubic or bilinear", openCLIPFile, how)
			}
		}
		l.decideTransform(t, openCLIPFile, "OpenCLIP", p.Interpolation != nil, p.Mean != nil, p.Std != nil)
		return t, nil
	}
	l.decideTransform(t, openCLIPFile, "CLIP", false, false, false)
	return t, nil
}

// transposed returns the transpose of a matrix.
func transposed(m *tensor.Dense) *tensor.Dense {
	s := m.Shape()
	if len(s) != 2 {
		return m // stands in for one that is reported
	}
	rows, cols, from := s[0], s[1], m.Float32s()
	to := make([]float32, len(from))
	for r := range rows {
		for c := range cols {
			to[c*rows+r] = from[r*cols+c]
		}
	}
	return dense(to, cols, rows)
}
