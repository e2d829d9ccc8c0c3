package models

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/vitserve/vitserve/patch"
)

// processor is how transformers prepares photos: preprocessor_config.json, or
// the member image_processor of processor_config.json. What is missing is left
// to the class.
type processor struct {
	Type         string         `json:"image_processor_type"`
	OldType      string         `json:"feature_extractor_type"`
	DoResize     flag           `json:"do_resize"`
	Size         *dimension     `json:"size"`
	Resample     *interpolation `json:"resample"`
	DoCenterCrop flag           `json:"do_center_crop"`
	CropSize     *dimension     `json:"crop_size"`
	CropPct      *float64       `json:"crop_pct"`
	DoRescale    flag           `json:"do_rescale"`
	Factor       *float64       `json:"rescale_factor"`
	Offset       flag           `json:"rescale_offset"`
	IncludeTop   flag           `json:"include_top"`
	DoNormalize  flag           `json:"do_normalize"`
	Mean         *triple        `json:"image_mean"`
	Std          *triple        `json:"image_std"`
	FlipChannels flag           `json:"do_flip_channel_order"`
	DoPad        flag           `json:"do_pad"`

	file string // where it stands, for people
}

// flag is a switch. One that is null is off, as None is to transformers.
type flag struct{ said, on bool }

// UnmarshalJSON reads true, false and null.
func (f *flag) UnmarshalJSON(text []byte) error {
	f.said = true
	return json.Unmarshal(text, &f.on)
}

// or returns what is said, or the class's own.
func (f flag) or(otherwise bool) bool {
	if f.said {
		return f.on
	}
	return otherwise
}

// readProcessor reads how photos are prepared. Of the two files the nested one
// goes first, which transformers 5 writes for models with a tokenizer:
// image_processing_base.py, get_image_processor_dict.
func readProcessor(dir fs.FS) (*processor, error) {
	var both struct {
		Image *processor `json:"image_processor"`
	}
	if _, err := readJSON(dir, "processor_config.json", &both); err != nil {
		return nil, err
	}
	if both.Image != nil {
		both.Image.file = "processor_config.json"
		return both.Image, nil
	}
	p := &processor{file: "preprocessor_config.json"}
	if found, err := readJSON(dir, p.file, p); err != nil || !found {
		return nil, err
	}
	return p, nil
}

// interpolation is a filter by Pillow's number or by its name.
type interpolation struct{ patch.Interpolation }

// pillowFilters are the interpolations by Pillow's number.
var pillowFilters = []patch.Interpolation{patch.Nearest, patch.Lanczos, patch.Bilinear, patch.Bicubic, patch.Box, patch.Hamming}

// UnmarshalJSON reads both forms.
func (i *interpolation) UnmarshalJSON(text []byte) error {
	var n int
	if json.Unmarshal(text, &n) == nil {
		if n < 0 || n >= len(pillowFilters) {
			return fmt.Errorf("resample %d, want 0 to 5: nearest, lanczos, bilinear, bicubic, box or hamming", n)
		}
		i.Interpolation = pillowFilters[n]
		return nil
	}
	var name string
	if err := json.Unmarshal(text, &name); err == nil {
		name = strings.ToLower(name[strings.LastIndexByte(name, '.')+1:]) // PILImageResampling.BICUBIC
		for _, f := range pillowFilters {
			if name == string(f) {
				i.Interpolation = f
				return nil
			}
		}
	}
	return fmt.Errorf("resample %.64s, want nearest, lanczos, bilinear, bicubic, box or hamming", text)
}

// processorClass is what a class of transformers does where its file is
// silent: models/*/image_processing_*.py of version 5.24.
type processorClass struct {
	size, crop *dimension // crop nil: none unless the file says so
	square     bool       // a single number is both sides, not the shorter one
	cropped    bool       // the middle is cropped by default
	how        patch.Interpolation
	mean, std  triple
	zoom       func(p *processor, size dimension) (dimension, error) // changes what is resized to; nil: nothing
	floats     bool                                                  // it resizes floats
	fast       bool                                                  // there is but one, and it is a fast one
	topNorm    bool                                                  // EfficientNet's second division by std
}

func side(n int) *dimension     { return &dimension{Square: n} }
func shortest(n int) *dimension { return &dimension{Shortest: n} }

// processorClasses are those that are known, by name without ImageProcessor.
var processorClasses = map[string]processorClass{
	"ViT":          {size: side(224), square: true, how: patch.Bilinear, mean: half, std: half},
	"DeiT":         {size: side(256), crop: side(224), cropped: true, square: true, how: patch.Bicubic, mean: half, std: half},
	"Bit":          {size: shortest(224), crop: side(224), cropped: true, how: patch.Bicubic, mean: clipMean, std: clipStd},
	"CLIP":         {size: shortest(224), crop: side(224), cropped: true, how: patch.Bicubic, mean: clipMean, std: clipStd},
	"ChineseCLIP":  {size: shortest(224), crop: side(224), cropped: true, how: patch.Bicubic, mean: clipMean, std: clipStd},
	"Siglip":       {size: side(224), how: patch.Bicubic, mean: half, std: half},
	"Beit":         {size: side(224), crop: side(224), square: true, how: patch.Bicubic, mean: half, std: half},
	"DINOv3ViT":    {size: side(224), square: true, how: patch.Bilinear, mean: imagenetMean, std: imagenetStd, floats: true},
	"Tipsv2":       {size: side(448), square: true, how: patch.Bilinear, std: triple{1, 1, 1}, fast: true},
	"Blip":         {size: side(384), square: true, how: patch.Bicubic, mean: clipMean, std: clipStd},
	"Flava":        {size: side(224), crop: side(224), cropped: true, square: true, how: patch.Bicubic, mean: clipMean, std: clipStd},
	"OwlViT":       {size: side(768), crop: side(768), square: true, how: patch.Bicubic, mean: clipMean, std: clipStd},
	"Pvt":          {size: side(224), square: true, how: patch.Bicubic, mean: imagenetMean, std: imagenetStd},
	"Segformer":    {size: side(512), square: true, how: patch.Bilinear, mean: imagenetMean, std: imagenetStd},
	"MobileNetV1":  {size: shortest(256), crop: side(224), cropped: true, how: patch.Bilinear, mean: half, std: half},
	"MobileNetV2":  {size: shortest(256), crop: side(224), cropped: true, how: patch.Bilinear, mean: half, std: half},
	"Levit":        {size: shortest(224), crop: side(224), cropped: true, how: patch.Bicubic, mean: imagenetMean, std: imagenetStd, zoom: levitZoom},
	"ConvNext":     {size: shortest(384), how: patch.Bicubic, mean: half, std: half, zoom: convNextZoom},
	"PoolFormer":   {size: shortest(224), crop: side(224), cropped: true, how: patch.Bicubic, mean: imagenetMean, std: imagenetStd, zoom: poolFormerZoom},
	"EfficientNet": {size: side(346), crop: side(289), square: true, how: patch.Bicubic, mean: half, std: half, topNorm: true},
}

var (
	clipMean = triple{0.48145466, 0.4578275, 0.40821073}
	clipStd  = triple{0.26862954, 0.26130258, 0.27577711}
)

// levitZoom is LevitImageProcessor.resize: room for a crop around the size.
func levitZoom(_ *processor, size dimension) (dimension, error) {
	if size.Shortest > 0 {
		size.Shortest = int(256.0 / 224 * float64(size.Shortest))
	}
	return size, nil
}

// convNextZoom is ConvNextImageProcessor.resize: below 384 pixels a crop of
// crop_pct, from there on the whole photo, squashed.
func convNextZoom(p *processor, size dimension) (dimension, error) {
	edge := max(size.Shortest, size.Square)
	if edge == 0 {
		return size, fmt.Errorf("%s: size, want shortest_edge as ConvNextImageProcessor has it", p.file)
	}
	if edge >= 384 {
		return dimension{Height: edge, Width: edge}, nil
	}
	pct, err := p.cropPct(224.0 / 256)
	p.CropSize, p.DoCenterCrop = &dimension{Square: edge}, flag{true, true}
	return dimension{Shortest: int(float64(edge) / pct)}, err
}

// poolFormerZoom is PoolFormerImageProcessor.resize.
func poolFormerZoom(p *processor, size dimension) (dimension, error) {
	pct, err := p.cropPct(0.9)
	edge := max(size.Shortest, size.Square)
	if size.Height > 0 {
		if size.Height != size.Width {
			return size, fmt.Errorf("%s: size of %d×%d with crop_pct, want a square", p.file, size.Height, size.Width)
		}
		edge = size.Height
	}
	return dimension{Shortest: int(float64(edge) / pct)}, err
}

func (p *processor) cropPct(otherwise float64) (float64, error) {
	pct := or(p.CropPct, otherwise)
	if !(pct > 0.01 && pct <= 1) {
		return 1, fmt.Errorf("%s: crop_pct %g, want one above 0.01 and up to 1", p.file, pct)
	}
	return pct, nil
}

// class returns what the processor's class does, and its name. Without one the
// model type decides, as in models/auto/image_processing_auto.py.
func (l *loader) processorClass(p *processor) (processorClass, string, error) {
	name := p.Type
	if name == "" {
		name = strings.Replace(p.OldType, "FeatureExtractor", "ImageProcessor", 1)
	}
	if name == "" && l.config != nil {
		name = processorOfType[l.config.ModelType]
	}
	short := name
	for _, suffix := range []string{"Pil", "Fast", "ImageProcessor"} {
		short = strings.TrimSuffix(short, suffix)
	}
	c, known := processorClasses[short]
	if !known {
		return c, "", fmt.Errorf("%s: image processor %q is not read, want one of %s", p.file, name, strings.Join(knownProcessors(), ", "))
	}
	return c, name, nil
}

// processorOfType are the classes by model type.
var processorOfType = map[string]string{
	"siglip": "SiglipImageProcessor", "siglip_vision_model": "SiglipImageProcessor",
	"vit": "ViTImageProcessor", "deit": "DeiTImageProcessor",
	"clip": "CLIPImageProcessor", "clip_vision_model": "CLIPImageProcessor", "metaclip_2": "CLIPImageProcessor",
	"chinese_clip": "ChineseCLIPImageProcessor",
	"vit_mae":      "ViTImageProcessor", "vit_msn": "ViTImageProcessor", "ijepa": "ViTImageProcessor", "pixio": "BitImageProcessor",
	"tipsv2": "Tipsv2ImageProcessor", "tipsv2_vision_model": "Tipsv2ImageProcessor",
	"altclip": "CLIPImageProcessor", "aimv2": "CLIPImageProcessor", "aimv2_vision_model": "CLIPImageProcessor", "blip": "BlipImageProcessor",
	"beit": "BeitImageProcessor", "data2vec-vision": "BeitImageProcessor", "dinov3_vit": "DINOv3ViTImageProcessor",
	"dinov2": "BitImageProcessor", "dinov2_with_registers": "BitImageProcessor",
}

func knownProcessors() []string {
	return slices.Sorted(maps.Keys(processorClasses))
}

// hfTransform is what an image processor of transformers does.
func (l *loader) hfTransform(said *processor) (patch.Transform, error) {
	copied := *said // zoom changes it
	p := &copied
	class, name, err := l.processorClass(p)
	if err != nil {
		return patch.Transform{}, err
	}
	if p.FlipChannels.or(false) {
		return patch.Transform{}, fmt.Errorf("%s: do_flip_channel_order is not supported", p.file)
	}
	t := patch.Transform{Rounding: patch.RoundFloor, Interpolation: class.how}
	if p.Resample != nil {
		t.Interpolation = p.Resample.Interpolation
	}
	switch {
	case class.floats:
		t.Resampler = patch.TorchvisionFloat
	case class.fast || strings.HasSuffix(name, "Fast"):
		t.Resampler = patch.Torchvision
	}
	if err := p.normalisation(&t, class); err != nil {
		return t, err
	}
	if err := l.hfSizes(&t, p, class); err != nil {
		return t, err
	}
	meant := p.Mean != nil || !p.DoNormalize.or(true)
	l.decideTransform(t, p.file, name, said.Size != nil && p.Resample != nil || !p.DoResize.or(true), meant, meant)
	if t.Rescale != 0 {
		l.decide("rescale", t.Rescale, "%s", p.file)
	}
	if t.Resampler != "" {
		l.decide("resize computed as", t.Resampler, "%s", name)
	}
	return t, nil
}

// normalisation settles rescaling, mean and std.
func (p *processor) normalisation(t *patch.Transform, class processorClass) error {
	t.Mean, t.Std = or(p.Mean, class.mean), or(p.Std, class.std)
	if !p.DoNormalize.or(true) {
		t.Mean, t.Std = [3]float32{}, [3]float32{1, 1, 1}
	}
	factor := or(p.Factor, 1.0/255)
	if !p.DoRescale.or(true) {
		factor = 1
	}
	if !(factor > 0 && factor <= 1) {
		return fmt.Errorf("%s: rescale_factor %g, want one above 0 and up to 1", p.file, factor)
	}
	if math.Abs(factor*255-1) > 1e-9 {
		t.Rescale = factor
	}
	if class.topNorm && p.DoNormalize.or(true) && p.IncludeTop.or(true) {
		// EfficientNetImageProcessor divides by std once more.
		for c := range t.Std {
			t.Std[c] *= t.Std[c]
		}
	}
	if class.topNorm && p.DoRescale.or(true) && p.Offset.or(false) {
		for c := range t.Mean {
			t.Mean[c]++ // v·f - 1
		}
	}
	return nil
}

// photoSize returns the size of the photos that a processor makes, zero where
// it leaves them as they are.
func (l *loader) photoSize(said *processor) ([2]int, error) {
	p := *said
	class, _, err := l.processorClass(&p)
	if err != nil {
		return [2]int{}, err
	}
	var t patch.Transform
	err = p.sizes(&t, class)
	return t.Size, err
}

// hfSizes settles what is resized to and what is cropped, for the input size.
func (l *loader) hfSizes(t *patch.Transform, p *processor, class processorClass) error {
	if err := p.sizes(t, class); err != nil {
		return err
	}
	if t.Fit == patch.FitNone {
		t.Size = l.saved
	}
	if t.Size != l.saved {
		return fmt.Errorf("%s makes photos of %s, the model's input is %s", p.file, sizeText(t.Size), sizeText(l.saved))
	}
	// At another input size the crop keeps its share of what is resized.
	for i := range 2 {
		t.Resize[i] = (2*t.Resize[i]*l.cfg.Image[i] + t.Size[i]) / (2 * t.Size[i])
	}
	t.Size = l.cfg.Image
	return nil
}

// sizes settles what is resized to and what is cropped. Photos that are left as
// they are have no size.
func (p *processor) sizes(t *patch.Transform, class processorClass) error {
	size, resize := or(p.Size, *class.size), p.DoResize.or(true)
	if size.Square > 0 && !class.square && p.Size != nil {
		size = dimension{Shortest: size.Square}
	}
	if class.zoom != nil && resize {
		var err error
		if size, err = class.zoom(p, size); err != nil {
			return err
		}
	}
	switch {
	case !resize:
	case size.MaxHeight > 0:
		return fmt.Errorf("%s: size of max_height and max_width leaves photos of many sizes, and the model has one", p.file)
	case size.Shortest > 0:
		t.Fit, t.Resize, t.Longest = patch.FitShort, [2]int{size.Shortest, size.Shortest}, size.Longest
	default:
		t.Fit, t.Resize = patch.FitSquash, size.square()
	}
	cropped := p.DoCenterCrop.or(class.cropped)
	switch crop := or(p.CropSize, or(class.crop, dimension{})).square(); {
	case cropped && crop != [2]int{}:
		t.Size = crop
		if !resize {
			t.Fit = patch.FitCrop
		}
	case cropped:
		return fmt.Errorf("%s: crop_size, want a height and a width", p.file)
	case t.Fit == patch.FitSquash:
		t.Size = t.Resize
	case !resize:
		t.Fit = patch.FitNone
	default:
		return fmt.Errorf("%s: photos are not cropped after their shortest edge is resized, so their size is not known", p.file)
	}
	return nil
}
