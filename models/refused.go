package models

import (
	"fmt"
	"strings"
)

// Why families are not read: what the encoder does not have, or what they are
// for.
const (
	windowed     = "its attention is in windows"
	hierarchical = "it is hierarchical: its blocks have grids of several sizes"
	hybrid       = "its patches come from a convolutional network"
	anyShape     = "it takes pictures of any shape, of which each has a number of patches of its own; a checkpoint of the same model for one size is read"
	detector     = "it finds objects and has no vector or classes of a picture"
)

// refusedTypes are the reasons by model type of transformers.
var refusedTypes = map[string]string{
	"swin": windowed + ", and " + hierarchical, "swinv2": windowed + ", and " + hierarchical, "donut-swin": windowed + ", and " + hierarchical,
	"maxvit": windowed + ", and " + hierarchical, "hiera": hierarchical, "pvt": hierarchical, "pvt_v2": hierarchical, "segformer": hierarchical,
	"cvt": hierarchical, "levit": hierarchical, "mobilevit": hierarchical, "mobilevitv2": hierarchical, "efficientformer": hierarchical,
	"poolformer": hierarchical, "focalnet": hierarchical, "dinat": hierarchical, "nat": hierarchical, "swiftformer": hierarchical,
	"glpn": hierarchical, "convnext": hierarchical, "convnextv2": hierarchical, "resnet": hierarchical, "van": hierarchical,
	"vit_hybrid": hybrid, "vitdet": windowed, "sam": windowed, "sam_vision_model": windowed, "sam2": windowed + ", and " + hierarchical, "sam_hq": windowed,
	"yolos": detector, "detr": detector, "rt_detr": detector, "owlvit": detector, "owlv2": detector, "vitpose": "it finds the joints of people", "vitpose_backbone": "it finds the joints of people",
	"dpt": "it estimates depth", "depth_anything": "it estimates depth", "siglip2": anyShape, "siglip2_vision_model": anyShape,
	"mlcd_vision_model": "the place of its class token is learned", "mlcd": "the place of its class token is learned",
}

// refusedArchs are the reasons by the beginning of timm's names; the first that
// fits counts.
var refusedArchs = []struct{ prefix, why string }{
	{"swin", windowed + ", and " + hierarchical}, {"maxvit", windowed + ", and " + hierarchical}, {"maxxvit", windowed + ", and " + hierarchical}, {"coatnet", hierarchical},
	{"samvit", windowed}, {"sam2", windowed + ", and " + hierarchical}, {"hiera", hierarchical}, {"mvitv2", hierarchical}, {"pvt", hierarchical}, {"pit_", hierarchical},
	{"levit", hierarchical}, {"nest_", hierarchical}, {"davit", hierarchical}, {"gcvit", windowed + ", and " + hierarchical}, {"twins", windowed + ", and " + hierarchical},
	{"convnext", hierarchical}, {"resnet", hierarchical}, {"efficientnet", hierarchical}, {"efficientvit", hierarchical}, {"mobilevit", hierarchical}, {"tiny_vit", windowed + ", and " + hierarchical},
	{"vitamin", hybrid}, {"cait", "its class token comes in behind most blocks"}, {"xcit", "its attention is between channels"}, {"volo", "its attention is of outlooks"},
	{"qwen3_vit", anyShape}, {"gemma4_vit", anyShape},
}

// whyRefused returns the reason why a model type of transformers, or an
// architecture of timm's, is not read; "" where none is known.
func whyRefused(modelType, arch string) string {
	if why := refusedTypes[modelType]; why != "" {
		return why
	}
	for _, f := range refusedArchs {
		if strings.HasPrefix(arch, f.prefix) {
			return f.why
		}
	}
	for _, part := range []string{"_r26_", "_r50_", "_resnet", "_mci_", "_r_s16_"} {
		if strings.HasPrefix(arch, "vit_") && strings.Contains(arch, part) {
			return hybrid
		}
	}
	return ""
}

// refused is the error of a family that is known and not read; nil of others.
func (l *loader) refused() error {
	c := l.config
	if c == nil {
		return nil
	}
	if _, read := timmArchs()[c.Architecture]; read {
		return nil
	}
	what := fmt.Sprintf("model_type %q", c.ModelType)
	if c.Architecture != "" {
		what = fmt.Sprintf("architecture %q", c.Architecture)
	}
	if why := whyRefused(c.ModelType, c.Architecture); why != "" {
		return fmt.Errorf("config.json: %s is not supported: %s", what, why)
	}
	return nil
}
