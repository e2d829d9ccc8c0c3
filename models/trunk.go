package models

// trunkConfig is the configuration of OpenCLIP's whose image tower is timm's
// (visual.trunk.*), as timm would have written it; nil of another.
//
// TimmModel in src/open_clip/timm_model.py and image_transform in
// src/open_clip/transform.py of https://github.com/mlfoundations/open_clip.
func (o *openCLIPConfig) trunkConfig() *config {
	v := o.Model.Vision
	if v.TimmName == nil {
		return nil
	}
	whole, fit := 1.0, "center"
	c := &config{
		Architecture: *v.TimmName,
		Pretrained: &pretrained{
			CropPct: &whole, CropMode: &fit, Interpolation: o.Preprocess.Interpolation,
			Mean: o.Preprocess.Mean, Std: o.Preprocess.Std,
		},
	}
	if v.TimmPool != nil && *v.TimmPool != "" {
		c.GlobalPool = v.TimmPool
	}
	switch or(o.Preprocess.ResizeMode, "shortest") {
	case "squash":
		fit = "squash"
	case "longest":
		fit = "border"
	}
	if c.Pretrained.Mean == nil {
		c.Pretrained.Mean = &clipMean
	}
	if c.Pretrained.Std == nil {
		c.Pretrained.Std = &clipStd
	}
	if s := v.ImageSize; s != nil {
		c.Pretrained.InputSize = []int{3, s.square()[0], s.square()[1]}
	}
	return c
}

// trunkHead reads what OpenCLIP puts behind a tower of timm's, and passes over
// the words beside it.
func (l *loader) trunkHead() {
	const name = "visual.head.proj.weight"
	if l.Has(name) && l.cfg.Classes == 0 {
		l.project(name)
	}
	if l.openCLIP != nil && l.HasUnder("text.") {
		l.note = "the text tower of the file is passed over: what is read of it is the image tower"
		l.Skip("text.", "logit_scale", "logit_bias")
	}
}
