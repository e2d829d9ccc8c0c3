package models

import (
	"errors"
	"fmt"
	"math"

	"github.com/vitserve/vitserve/patch"
)

// Normalisation constants that libraries fall back to.
var (
	imagenetMean = triple{0.485, 0.456, 0.406}
	imagenetStd  = triple{0.229, 0.224, 0.225}
	half         = triple{0.5, 0.5, 0.5}
)

// transform settles the preprocessing, from the file that says it.
func (l *loader) transform() (patch.Transform, error) {
	var t patch.Transform
	var err error
	switch {
	case l.metaDINOv2():
		t = l.dinov2Transform()
	case l.metaDINOv3():
		t = l.dinov3Transform()
	case l.Has(openCLIP.anchor):
		t, err = l.openCLIPTransform()
	case l.config != nil && l.config.Pretrained != nil:
		t, err = l.timmTransform(l.config.Pretrained)
	case l.processor != nil:
		t, err = l.hfTransform(l.processor)
	case l.config != nil && l.config.ModelType == "vit":
		// What ViTImageProcessor does by default is what nearly every ViT on
		// the hub was trained with. DeiT's default is not what DeiT itself
		// used, so a DeiT has to say.
		t, err = l.hfTransform(&processor{Type: "ViTImageProcessor", Size: &dimension{Height: l.saved[0], Width: l.saved[1]}, file: "preprocessor_config.json"})
		l.note = "there is no preprocessor_config.json: photos are prepared as ViTImageProcessor does by default"
	case l.config != nil && l.config.Architecture != "":
		return t, fmt.Errorf("config.json of architecture %s has no pretrained_cfg, nor its keys (input_size, mean, std, crop_pct, interpolation) at the top, so nothing says how photos are resized and normalised: weights of one architecture were trained in several ways", l.config.Architecture)
	default:
		return t, errors.New("nothing says how photos are resized and normalised; a config.json with pretrained_cfg (timm) or a preprocessor_config.json (transformers) would decide it")
	}
	if err != nil {
		return t, err
	}
	if err := t.Validate(); err != nil {
		return t, err
	}
	return t, nil
}

// or returns what is said, or the library's own default.
func or[T any](said *T, otherwise T) T {
	if said == nil {
		return otherwise
	}
	return *said
}

// timmTransform is what timm's evaluation transform does with a
// pretrained_cfg: timm/data/transforms_factory.py and timm/data/config.py.
func (l *loader) timmTransform(p *pretrained) (patch.Transform, error) {
	t := patch.Transform{
		Size:     l.cfg.Image,
		Rounding: patch.RoundTorchvision,
		Mean:     or(p.Mean, imagenetMean),
		Std:      or(p.Std, imagenetStd),
	}
	if _, known := timmArchs()[l.config.Architecture]; known && (p.Mean == nil || p.Std == nil) {
		// timm takes ImageNet's of such a file, and those of the
		// architecture's own default where there is none, mostly 0.5.
		return t, fmt.Errorf("config.json: pretrained_cfg of architecture %s does not say both mean and std, so nothing says how photos are normalised: weights of one architecture were trained in several ways", l.config.Architecture)
	}
	crop := or(p.CropPct, 0.875)
	if !(crop > 0.01 && crop <= 100) {
		return t, fmt.Errorf("config.json: crop_pct %g, want one above 0.01 and up to 100", crop)
	}
	for i, side := range t.Size {
		t.Resize[i] = int(math.Floor(float64(side) / crop))
	}
	switch mode := or(p.CropMode, "center"); mode {
	case "center":
		t.Fit = patch.FitShort
	case "squash":
		t.Fit = patch.FitSquash
	case "border":
		t.Fit = patch.FitLong
	default:
		return t, fmt.Errorf("config.json: crop_mode %q, want center, squash or border", mode)
	}
	switch name := or(p.Interpolation, "bicubic"); name {
	case "nearest", "bilinear", "bicubic", "lanczos", "box", "hamming":
		t.Interpolation = patch.Interpolation(name)
	default:
		return t, fmt.Errorf("config.json: interpolation %q, want nearest, bilinear, bicubic, lanczos, box or hamming", name)
	}
	l.decideTransform(t, "config.json: pretrained_cfg", "timm", p.CropPct != nil && p.Interpolation != nil, p.Mean != nil, p.Std != nil)
	return t, nil
}

// decideTransform says where each part of t is from: a key of a file, or its
// reader's default where the file lacks the key.
func (l *loader) decideTransform(t patch.Transform, file, library string, resize, mean, std bool) {
	by := func(said bool) string {
		if said {
			return file
		}
		return library + "'s default, for " + file + " does not say"
	}
	what := fmt.Sprintf("%s to %s, %s", t.Fit, sizeText(t.Resize), t.Interpolation)
	if t.Fit == patch.FitNone || t.Fit == patch.FitCrop {
		what = string(t.Fit)
	}
	l.decide("resize", what, "%s", by(resize))
	l.decide("mean", t.Mean, "%s", by(mean))
	l.decide("std", t.Std, "%s", by(std))
}
