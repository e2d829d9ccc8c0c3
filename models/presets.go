package models

import (
	"fmt"
	"math"
	"strings"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
)

// Preset is a published architecture under timm's name, without weights: what
// benchmarks fill with random ones.
type Preset struct {
	Name      string
	Source    string // where its sizes are published
	Config    vit.Config
	Transform patch.Transform // as the model of that name with timm's default weights has it
}

// Where the sizes stand.
const (
	vitPaper  = "Dosovitskiy et al., https://arxiv.org/abs/2010.11929, table 1"
	deitPaper = "Touvron et al., https://arxiv.org/abs/2012.12877, table 1"
	howPaper  = "Steiner et al., https://arxiv.org/abs/2106.10270, table 2"
	dinoPaper = "Caron et al., https://arxiv.org/abs/2104.14294, table 1"
)

// presets are in the order shown to people: by size.
var presets = []Preset{
	imagenet("deit_tiny_patch16_224", deitPaper, 224, 16, 192, 12, 3, timm),
	imagenet("deit_small_patch16_224", deitPaper, 224, 16, 384, 12, 6, timm),
	imagenet("deit_base_patch16_224", deitPaper, 224, 16, 768, 12, 12, timm),
	imagenet("vit_tiny_patch16_224", howPaper, 224, 16, 192, 12, 3, google),
	imagenet("vit_small_patch32_224", howPaper, 224, 32, 384, 12, 6, google),
	imagenet("vit_small_patch16_224", howPaper, 224, 16, 384, 12, 6, google),
	imagenet("vit_base_patch32_224", vitPaper, 224, 32, 768, 12, 12, google),
	imagenet("vit_base_patch16_224", vitPaper, 224, 16, 768, 12, 12, google),
	imagenet("vit_base_patch16_384", vitPaper, 384, 16, 768, 12, 12, uncropped),
	imagenet("vit_base_patch8_224", dinoPaper, 224, 8, 768, 12, 12, google),
	imagenet("vit_large_patch16_224", vitPaper, 224, 16, 1024, 24, 16, google),
	imagenet("vit_large_patch16_384", vitPaper, 384, 16, 1024, 24, 16, uncropped),
	imagenet("vit_huge_patch14_224", vitPaper, 224, 14, 1280, 32, 16, google),
}

// preparation is how the weights of a preset were evaluated: share of the
// middle that is looked at, mean and standard deviation.
type preparation struct {
	crop      float64
	mean, std triple
}

// Preparations of timm's default weights.
var (
	timm      = preparation{0.9, imagenetMean, imagenetStd}
	google    = preparation{0.9, half, half}
	uncropped = preparation{1, half, half}
)

// imagenet is a class-token ViT of the original kind: MLP four times as wide,
// exact GELU, 1000 classes.
func imagenet(name, source string, image, patchSize, dim, depth, heads int, p preparation) Preset {
	size, resize := [2]int{image, image}, int(math.Floor(float64(image)/p.crop))
	return Preset{
		Name:   name,
		Source: source,
		Config: vit.Config{
			Image: size, Patch: [2]int{patchSize, patchSize}, Prefix: 1,
			Dim: dim, Depth: depth, Heads: heads, Hidden: 4 * dim,
			Act: backend.GELU, Eps: 1e-6,
			Pool: []backend.Span{{Lo: 0, Hi: 1}}, Classes: 1000,
		},
		Transform: patch.Transform{
			Size: size, Fit: patch.FitShort, Resize: [2]int{resize, resize},
			Interpolation: patch.Bicubic, Rounding: patch.RoundTorchvision, Mean: p.mean, Std: p.std,
		},
	}
}

// Presets is the table of architectures, in the order shown to people.
func Presets() []Preset {
	return append([]Preset(nil), presets...)
}

// FindPreset returns the preset of that name; the error names all of them and
// has ErrNotFound in its chain.
func FindPreset(name string) (Preset, error) {
	var names []string
	for _, p := range presets {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Preset{}, fmt.Errorf("models: preset %s: %w: want one of %s", name, ErrNotFound, strings.Join(names, ", "))
}
