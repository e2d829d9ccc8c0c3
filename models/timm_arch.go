package models

import (
	_ "embed"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/vitserve/vitserve/backend"
)

// timmArch is one of timm's VisionTransformers, as create_model makes it by its
// name.
type timmArch struct {
	dim, heads, depth, hidden, patch int
	eps                              float32
	act                              backend.Activation // 0: SwiGLU, which shapes tell
	last                             string             // where the last norm stands: tokens, pooled or none
	rms                              bool               // norms are root mean squares
	block                            string             // timm's class of its blocks
	prefixPooled                     bool               // pooling takes prefix tokens in
	probeHeads                       int                // of attention pooling; 0: there is none
	image                            int                // side of the input
	positions                        string             // of NaFlexVit: how they are brought to another grid
}

// timmArchTable is written by testdata/make_archs.py.
//
//go:embed timm_archs.csv
var timmArchTable string

// timmArchs are those of timm 1.0.31 by name.
var timmArchs = sync.OnceValue(func() map[string]timmArch {
	rows, err := csv.NewReader(strings.NewReader(timmArchTable)).ReadAll()
	if err != nil {
		panic(fmt.Sprintf("models: timm_archs.csv: %v", err))
	}
	all := map[string]timmArch{}
	for _, row := range rows[1:] {
		var a timmArch
		for i, n := range []*int{&a.dim, &a.heads, &a.depth, &a.hidden, &a.patch, &a.image} {
			if *n, err = strconv.Atoi(row[1+i]); err != nil {
				panic(fmt.Sprintf("models: timm_archs.csv: %v", err))
			}
		}
		eps, err := strconv.ParseFloat(row[7], 32)
		if err != nil {
			panic(fmt.Sprintf("models: timm_archs.csv: %v", err))
		}
		a.eps, a.act = float32(eps), activations[row[8]]
		a.last, a.rms, a.block, a.prefixPooled = row[10], row[11] == "rmsnorm", row[12], row[13] == "True"
		a.positions = row[15]
		if a.probeHeads, err = strconv.Atoi(row[14]); err != nil {
			panic(fmt.Sprintf("models: timm_archs.csv: %v", err))
		}
		all[row[0]] = a
	}
	return all
})

// said is a number of a configuration.
type said struct {
	n  int
	by string // "": nothing says it
}

// differs is the error of a number that the tensors contradict, and nil where
// nothing says it.
func (s said) differs(what string, found int, in string) error {
	if s.by == "" || s.n == found {
		return nil
	}
	return fmt.Errorf("%s says %s %d, %s has %d", s.by, what, s.n, in, found)
}

// timmSays returns a number that model_args gives, or else the architecture.
func (l *loader) timmSays(arg string, of func(timmArch) int) (said, error) {
	if l.config == nil {
		return said{}, nil
	}
	var text json.RawMessage
	found, err := l.config.arg(arg, &text)
	if err != nil {
		return said{}, err
	}
	if found {
		var n int
		if json.Unmarshal(text, &n) != nil {
			var pair []int // patch_size may be two numbers
			if json.Unmarshal(text, &pair) != nil || len(pair) == 0 {
				return said{}, fmt.Errorf("config.json: model_args.%s is %.64s, want a whole number", arg, text)
			}
			n = pair[0]
		}
		return said{n, "config.json: model_args." + arg}, nil
	}
	if a, known := timmArchs()[l.config.Architecture]; known {
		return said{of(a), "config.json: architecture " + l.config.Architecture}, nil
	}
	return said{}, nil
}

// timmCompare holds what the configuration says to what the tensors are: timm
// would make the model of the former and fail to load the latter, or, of
// another depth, leave tensors out.
func (l *loader) timmCompare() error {
	var errs []error
	for _, c := range []struct {
		what, arg string
		of        func(timmArch) int
		found     int
		in        string
	}{
		{"a dim of", "embed_dim", func(a timmArch) int { return a.dim }, l.cfg.Dim, "patch_embed.proj.weight"},
		{"a depth of", "depth", func(a timmArch) int { return a.depth }, l.cfg.Depth, "the file"},
		{"a patch size of", "patch_size", func(a timmArch) int { return a.patch }, l.cfg.Patch[0], "patch_embed.proj.weight"},
	} {
		s, err := l.timmSays(c.arg, c.of)
		errs = append(errs, err, s.differs(c.what, c.found, c.in))
	}
	return errors.Join(append(errs, l.timmClasses(), l.timmPadding())...)
}

// timmClasses compares the number of classes.
func (l *loader) timmClasses() error {
	if l.config == nil || l.config.ModelType != "" && l.config.Architecture == "" {
		return nil
	}
	classes := said{}
	if n := l.config.NumClasses; n != nil {
		classes = said{*n, "config.json: num_classes"}
	}
	var n int
	found, err := l.config.arg("num_classes", &n)
	if err != nil {
		return err
	}
	if found {
		classes = said{n, "config.json: model_args.num_classes"}
	}
	return classes.differs("classes", l.cfg.Classes, "head.weight")
}

// timmPadding refuses dynamic_img_pad where it would add patches.
func (l *loader) timmPadding() error {
	if l.config == nil {
		return nil
	}
	var pad bool
	if _, err := l.config.arg("dynamic_img_pad", &pad); err != nil {
		return err
	}
	for i, side := range l.cfg.Image {
		if pad && side%l.cfg.Patch[i] != 0 {
			return fmt.Errorf("config.json: model_args.dynamic_img_pad pads an input of %s to whole patches of %s, which is not supported", sizeText(l.cfg.Image), sizeText(l.cfg.Patch))
		}
	}
	return nil
}

// projections are the widths of CLIP's embeddings that timm's towers have.
var projections = []int{512, 640, 768, 1024, 1280}

// timmProjection tells CLIP's image towers, whose head is a projection and
// which timm gives as many classes as that is wide, from models that were made
// of them by training a head: those have names of classes, another number of
// them, or say so in their tag.
func (l *loader) timmProjection() {
	c := l.config
	if c == nil || !strings.Contains(c.Architecture, "_clip_") || !slices.Contains(projections, l.cfg.Classes) {
		return
	}
	tuned := c.Pretrained != nil && c.Pretrained.Tag != nil && strings.Contains("_"+*c.Pretrained.Tag, "_ft_")
	if tuned || l.options.Labels != "" || len(c.LabelNames) > 0 || c.saysLabels() {
		return
	}
	l.cfg.Projection, l.cfg.Classes = l.cfg.Classes, 0
	l.decide("projection", l.cfg.Projection, "config.json: architecture %s, whose head is CLIP's projection where nothing names classes", c.Architecture)
	l.note = fmt.Sprintf("an image tower of CLIP: it knows no classes, and its embedding is the projection of %d values that CLIP compares with texts", l.cfg.Projection)
}

// otherFamily names the architecture of timm's that tensors do not fit, where
// it is none of the VisionTransformers that are read.
func (l *loader) otherFamily() error {
	if l.config == nil || l.config.Architecture == "" {
		return nil
	}
	if _, known := timmArchs()[l.config.Architecture]; known {
		return nil
	}
	return fmt.Errorf("config.json: architecture %q is not supported: it is none of timm's plain VisionTransformers, whose layout is read; a checkpoint of one of those would be read, or an architecture in config.json that is one, if this one only has another name", l.config.Architecture)
}
