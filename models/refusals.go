package models

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// refusal is a kind of model that is not read, by its names.
type refusal struct {
	what  string // in the field's words
	timm  *regexp.Regexp
	types []string // model_type of transformers
	why   string
}

// refusals go before the reading of tensors, whose names say less. Of several
// the first counts.
var refusals = []refusal{
	{
		what: "a hybrid", timm: regexp.MustCompile(`^vit_\w+_(r\d*_s\d+|resnet\d+d?|mci)(_|$)`), types: []string{"vit_hybrid"},
		why: "a convolutional network stands before its blocks",
	},
	{
		what: "SAM's or VitDet's encoder", timm: regexp.MustCompile(`^samvit_`), types: []string{"sam", "sam_vision_model", "sam_hq", "vitdet"},
		why: "most of its blocks attend within windows",
	},
	{
		what: "a hierarchical model",
		timm: regexp.MustCompile(`^(swin|maxvit|maxxvit|maxxvitv2|coatnet|coatnext|hiera|sam2_hiera|mvitv2|pvt|twins|nest|davit|focalnet|gcvit|tiny_vit|levit|coat_|crossvit|cvt|nextvit|shvit|efficientvit|efficientformer|edgenext|mobilevit|fastvit|poolformer|caformer|convformer|metaformer|vitamin|volo|pit_)`),
		types: []string{"swin", "swinv2", "swin2sr", "donut-swin", "hiera", "pvt", "pvt_v2", "cvt", "levit", "segformer", "mobilevit", "mobilevitv2",
			"poolformer", "focalnet", "dinat", "efficientformer", "swiftformer", "glpn", "sam2", "maxvit", "nat", "van"},
		why: "its grid of patches shrinks from stage to stage, and most of it attends within windows or not at all",
	},
	{
		what:  "a convolutional network",
		timm:  regexp.MustCompile(`^(resnet|resnext|resnetv2|wide_resnet|seresn|convnext|convnextv2|efficientnet|tf_efficientnet|mobilenet|regnet|densenet|vgg|inception|xception|rexnet|nfnet|dm_nfnet|hrnet|dla|dpn|repvgg|ghostnet|mnasnet|csp)`),
		types: []string{"resnet", "regnet", "convnext", "convnextv2", "dinov3_convnext", "efficientnet", "mobilenet_v1", "mobilenet_v2", "mobilenetv1", "mobilenetv2", "bit", "hgnet_v2"},
		why:   "there is no attention in it",
	},
	{
		what: "a detector", types: []string{"yolos", "detr", "rt_detr", "deformable_detr", "conditional_detr", "owlvit", "owlv2", "grounding-dino", "vitpose", "vitpose_backbone", "rf_detr"},
		why: "it tells where things are in a photo, and has neither classes nor a vector for the whole",
	},
	{
		what: "an estimator of depth", types: []string{"dpt", "depth_anything"},
		why: "it has neither classes nor a vector for the whole",
	},
	{
		what: "a tower for photos of any shape", types: []string{"siglip2", "siglip2_vision_model"},
		why: "each photo has a number of patches of its own; a checkpoint of the same model for one size is read",
	},
	{
		what: "MLCD's tower", types: []string{"mlcd", "mlcd_vision_model"},
		why: "the place of its class token is learned",
	},
	{
		what: "a CaiT", timm: regexp.MustCompile(`^cait_`),
		why: "its class token comes in behind most blocks",
	},
	{
		what: "an XCiT", timm: regexp.MustCompile(`^xcit_`),
		why: "its attention is between channels, not between patches",
	},
	{
		what: "the image tower of a language model", timm: regexp.MustCompile(`^(gemma4|qwen3|deepseek)_vit`), types: []string{"gemma3", "gemma4", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "llava", "paligemma", "internvl", "mllama", "idefics3"},
		why: "it packs and merges patches for the words beside them",
	},
	{
		what: "a model of words or sound", types: []string{"bert", "roberta", "gpt2", "llama", "t5", "whisper", "wav2vec2", "hubert", "distilbert", "mistral", "qwen2", "qwen3"},
		why: "it looks at no photos",
	},
}

// refused returns why the model of a configuration is not read, by its name.
func (c *config) refused() error {
	if c == nil {
		return nil
	}
	for _, r := range refusals {
		if r.timm != nil && r.timm.MatchString(c.Architecture) {
			return fmt.Errorf("config.json: architecture %q is not supported, want a plain Vision Transformer of timm's, such as vit, deit, dinov2, dinov3, clip, siglip, beit or eva02: it is %s, and %s", c.Architecture, r.what, r.why)
		}
		if slices.Contains(r.types, c.ModelType) {
			return fmt.Errorf("config.json: model_type %q is not supported, want one of %s: it is %s, and %s", c.ModelType, strings.Join(knownTypes(), ", "), r.what, r.why)
		}
	}
	return nil
}

// knownTypes are the model_types that are read, by layout.
func knownTypes() (types []string) {
	for _, y := range layouts {
		for _, t := range y.types {
			if !slices.Contains(types, t) {
				types = append(types, t)
			}
		}
	}
	return types
}
