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
	case l.config != nil && l.config.Pretrained != nil:
		t, err = l.timmTransform(l.config.Pretrained)
	case l.processor != nil:
		t, err = l.hfTransform(l.processor)
	case l.config != nil && l.config.ModelType == "vit":
		// What ViTImageProcessor does by default is what nearly every ViT on
		// the hub was trained with. DeiT's default is not what DeiT itself
		// used, so a DeiT has to say.
		t, err = l.hfTransform(&processor{Type: "ViTImageProcessor", Size: &dimension{Height: l.saved[0], Width: l.saved[1]}})
		l.note = "there is no preprocessor_config.json: photos are prepared as ViTImageProcessor does by default"
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
	case "nearest", "bilinear", "bicubic", "lanczos":
		t.Interpolation = patch.Interpolation(name)
	default:
		return t, fmt.Errorf("config.json: interpolation %q, want nearest, bilinear, bicubic or lanczos", name)
	}
	l.decideTransform(t, "config.json: pretrained_cfg", "timm", p.CropPct != nil && p.Interpolation != nil, p.Mean != nil, p.Std != nil)
	return t, nil
}

// processorDefaults are what the classes of transformers do where their file
// is silent: models/vit/image_processing_vit.py, models/deit/….
type processorDefaults struct {
	size, crop *dimension // crop nil: none
	square     bool       // a single number is both sides, not the shorter one
	resample   int
	mean, std  triple
}

func defaultsOf(class string) (processorDefaults, bool) {
	switch class {
	case "ViTImageProcessor", "ViTImageProcessorFast", "ViTImageProcessorPil", "ViTFeatureExtractor":
		return processorDefaults{size: &dimension{Square: 224}, square: true, resample: 2, mean: half, std: half}, true
	case "DeiTImageProcessor", "DeiTImageProcessorFast", "DeiTImageProcessorPil", "DeiTFeatureExtractor":
		return processorDefaults{size: &dimension{Square: 256}, crop: &dimension{Square: 224}, square: true, resample: 3, mean: half, std: half}, true
	case "BitImageProcessor", "BitImageProcessorFast", "CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPFeatureExtractor":
		return processorDefaults{size: &dimension{Shortest: 224}, crop: &dimension{Square: 224}, resample: 3, mean: clipMean, std: clipStd}, true
	}
	return processorDefaults{}, false
}

var (
	clipMean = triple{0.48145466, 0.4578275, 0.40821073}
	clipStd  = triple{0.26862954, 0.26130258, 0.27577711}
)

// hfTransform is what an image processor of transformers does.
func (l *loader) hfTransform(p *processor) (patch.Transform, error) {
	const file = "preprocessor_config.json"
	class := p.Type
	if class == "" {
		class = p.OldType
	}
	d, known := defaultsOf(class)
	if !known {
		return patch.Transform{}, fmt.Errorf("%s: image processor %q, want ViT's, DeiT's, Bit's or CLIP's", file, class)
	}
	if or(p.FlipChannels, false) {
		return patch.Transform{}, fmt.Errorf("%s: do_flip_channel_order is not supported", file)
	}
	if !or(p.DoRescale, true) || math.Abs(or(p.Factor, 1.0/255)*255-1) > 1e-4 {
		return patch.Transform{}, fmt.Errorf("%s: pixels are not rescaled to [0, 1], which is not supported", file)
	}
	t := patch.Transform{Rounding: patch.RoundFloor, Mean: or(p.Mean, d.mean), Std: or(p.Std, d.std)}
	if !or(p.DoNormalize, true) {
		t.Mean, t.Std = [3]float32{}, [3]float32{1, 1, 1}
	}
	names := []patch.Interpolation{patch.Nearest, patch.Lanczos, patch.Bilinear, patch.Bicubic}
	how := or(p.Resample, d.resample)
	if how < 0 || how >= len(names) {
		return t, fmt.Errorf("%s: resample %d, want 0 to 3: nearest, lanczos, bilinear or bicubic", file, how)
	}
	t.Interpolation = names[how]

	size := or(p.Size, *d.size)
	resize := or(p.DoResize, true)
	switch {
	case !resize:
	case size.Shortest > 0, size.Square > 0 && !d.square:
		edge := max(size.Shortest, size.Square)
		t.Fit, t.Resize = patch.FitShort, [2]int{edge, edge}
	default:
		t.Fit, t.Resize = patch.FitSquash, size.square()
	}
	switch crop := or(p.CropSize, or(d.crop, dimension{})).square(); {
	case or(p.DoCenterCrop, d.crop != nil) && crop != [2]int{}:
		t.Size = crop
		if !resize {
			t.Fit = patch.FitCrop
		}
	case or(p.DoCenterCrop, d.crop != nil):
		return t, fmt.Errorf("%s: crop_size, want a height and a width", file)
	case t.Fit == patch.FitSquash:
		t.Size = t.Resize
	case !resize:
		t.Fit, t.Size = patch.FitNone, l.saved
	default:
		return t, fmt.Errorf("%s: photos are not cropped after their shortest edge is resized, so their size is not known", file)
	}
	if t.Size != l.saved {
		return t, fmt.Errorf("%s makes photos of %s, the model's input is %s", file, sizeText(t.Size), sizeText(l.saved))
	}
	// At another input size the crop keeps its share of what is resized.
	for i := range 2 {
		t.Resize[i] = (2*t.Resize[i]*l.cfg.Image[i] + t.Size[i]) / (2 * t.Size[i])
	}
	t.Size = l.cfg.Image
	said := p.Mean != nil || p.DoNormalize != nil && !*p.DoNormalize
	l.decideTransform(t, file, class, p.Size != nil && p.Resample != nil || !resize, said, said)
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
