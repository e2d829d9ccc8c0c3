package focus

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gorgonia.org/tensor"
)

// Method is a way to a focus map, a row of the table Methods.
type Method struct {
	Name  string
	Paper string // with the equation
	From  Source
	Full  bool // reads every query row, not just the class token's
	Gram  bool // reads Record.Gram

	maps maps // see Maps

	// passes is what it costs in forward passes of an image: once, whatever
	// is asked for, and for each target.
	passes func(o Options, s Shape) (once, each float64)
}

// Answer is what a method found out about images.
type Answer struct {
	Logits *tensor.Dense // (B, K); nil without a head
	Maps   [][]Focus     // by image, by target; from attention one of each image, without a target
}

// maps makes the maps of the images of x.
type maps func(ctx context.Context, x Subject, o Options) (*Answer, error)

// Source is what a method makes a map from.
type Source uint8

// Sources. A map from attention is of no class, the others are.
const (
	FromAttention Source = iota // as a forward pass recorded it
	FromParts                   // the model is asked about parts of the image
	FromGradients               // the class is derived, over a forward pass of its own
	FromMaps                    // of other methods
)

// DefaultMethod is taken where no method is named. It has the best evidence of
// those that cost little more than a forward pass: see docs/focus-maps.md.
const DefaultMethod = "legrad"

// AttentionMethod is taken in its place where the model knows no classes, or
// where no class is named and an option is given that only AttentionMethod
// understands.
const AttentionMethod = "rollout"

// AutoMethod is the name of the method that shows the map of the best
// evidence: see auto.
const AutoMethod = "auto"

// Methods is the table of focus maps, in the order shown to people.
func Methods() []Method { return slices.Clone(methodTable) }

// The tables are filled by init: their rows call functions that read them,
// which would be a cycle of initialisation.
var (
	methodTable []Method
	optionTable []Option
)

func init() {
	methodTable = makeMethods()
	optionTable = makeOptions()
}

func makeMethods() []Method {
	return []Method{
		{
			Name: "raw", From: FromAttention, maps: reading(raw), passes: steady(1, 0),
			Paper: "Dosovitskiy et al., An Image is Worth 16x16 Words, https://arxiv.org/abs/2010.11929, equation 7 (SA): " +
				"the class token's row of softmax(QKᵀ/√D) in one layer; mass threshold: Caron et al., https://arxiv.org/abs/2104.14294, figure 3",
		},
		{
			Name: "rollout", From: FromAttention, Full: true, maps: reading(rollout), passes: steady(1.2, 0),
			Paper: "Abnar and Zuidema, Quantifying Attention Flow in Transformers, https://arxiv.org/abs/2005.00928, " +
				"equation 1: Ã(l) = A(l) Ã(l-1), A = (W + I)/2 with its rows normalised",
		},
		{
			Name: "normrollout", From: FromAttention, Full: true, Gram: true, maps: reading(normRollout), passes: steady(1.7, 0),
			Paper: "Kobayashi et al., Attention is Not Only a Weight, https://arxiv.org/abs/2004.10102, section 3: rollout of ‖Σ over heads of A f(x)‖, " +
				"f(x) = (x Wv + bv) Wo, its rows normalised, by Abnar and Zuidema, https://arxiv.org/abs/2005.00928, equation 1",
		},
		{
			Name: "occlusion", From: FromParts, maps: asking(occlusion), passes: occlusionPasses,
			Paper: "Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, https://arxiv.org/abs/1311.2901, section 4.2: " +
				"p(all) - p(without the patch), its token dropped",
		},
		{
			Name: "rise", From: FromParts, maps: asking(rise), passes: risePasses,
			Paper: "Petsiuk et al., RISE, https://arxiv.org/abs/1806.07421, equation 6: " +
				"the mean of p over random parts of the image that the patch is in, the others' tokens dropped",
		},
		{
			Name: "relevance", From: FromGradients, maps: deriving(gradient{weights: relevance}), passes: steady(1, 1.4),
			Paper: "Chefer et al., Generic Attention-model Explainability, https://arxiv.org/abs/2103.15679, equations 5 and 6: " +
				"R ← R + mean over heads of max(0, A ∘ ∂y/∂A) R",
		},
		{
			Name: "gradrollout", From: FromGradients, maps: deriving(gradient{attn: true, weights: gradRollout}), passes: steady(1, 1.4),
			Paper: "Gildenblat, https://github.com/jacobgil/vit-explain, after Abnar and Zuidema, https://arxiv.org/abs/2005.00928, equation 1: " +
				"rollout of max(0, mean over heads of A ∘ ∂y/∂A)",
		},
		{
			Name: "gradcam", From: FromGradients, maps: deriving(gradient{normed: camBlock, weights: gradcam}), passes: steady(1, 0.2),
			Paper: "Selvaraju et al., Grad-CAM, https://arxiv.org/abs/1610.02391, equations 1 and 2: " +
				"max(0, Σ over channels of w X), w the patches' mean of ∂y/∂X, X the first norm of a layer",
		},
		{
			Name: "legrad", From: FromGradients, maps: deriving(gradient{weights: legrad}), passes: steady(1, 0.2),
			Paper: "Bousselham et al., LeGrad, https://arxiv.org/abs/2404.03214, equations 3 to 6: " +
				"Σ over layers of the heads' and rows' mean of max(0, ∂y(l)/∂A(l)), y(l) the class after that layer",
		},
		{
			Name: "inputgradient", From: FromGradients, maps: deriving(gradient{weights: inputGradient}), passes: steady(1, 1.4),
			Paper: "Shrikumar et al., Not Just a Black Box, https://arxiv.org/abs/1605.01713, section 3.3: " +
				"Σ over a patch of x ∂y/∂x",
		},
		{
			Name: "integrated", From: FromGradients, maps: deriving(gradient{weights: integratedGradients}), passes: integratedPasses,
			Paper: "Sundararajan et al., Axiomatic Attribution for Deep Networks, https://arxiv.org/abs/1703.01365, equation 1: " +
				"Σ over a patch of x ∫ ∂y(αx)/∂(αx) dα, from black",
		},
		{
			Name: AutoMethod, From: FromMaps, Full: true, Gram: true, maps: auto, passes: autoPasses,
			Paper: "the map of the best insertion - deletion (Petsiuk et al., RISE, https://arxiv.org/abs/1806.07421, section 4.1) of several methods",
		},
	}
}

// steady is a cost that no option changes: a multiple of the forward pass of
// ViT-B, see docs/focus-maps.md.
func steady(once, each float64) func(Options, Shape) (float64, float64) {
	return func(Options, Shape) (float64, float64) { return once, each }
}

// Names returns the names of the methods from these sources, of all without
// one.
func Names(from ...Source) []string {
	var names []string
	for _, m := range methodTable {
		if len(from) == 0 || slices.Contains(from, m.From) {
			names = append(names, m.Name)
		}
	}
	return names
}

// Find returns the method of that name. The error names them all and has
// ErrOption in its chain.
func Find(name string) (Method, error) {
	for _, m := range methodTable {
		if m.Name == name {
			return m, nil
		}
	}
	return Method{}, badOption("method", fmt.Sprintf("%.64q", name), Names()...)
}

// OfClass reports whether the maps of m are of a class.
func (m Method) OfClass() bool { return m.From != FromAttention }

// Options returns the options that m understands.
func (m Method) Options() (all []Option) {
	for _, p := range optionTable {
		if slices.Contains(p.Methods, m.Name) {
			all = append(all, p)
		}
	}
	return all
}

// understands reports whether m has an option of that name.
func (m Method) understands(option string) bool {
	return slices.ContainsFunc(m.Options(), func(p Option) bool { return p.Name == option })
}

// Fuses reports whether m makes one matrix of the heads by Options.Fusion.
func (m Method) Fuses() bool { return m.understands("fusion") }

// Check says what of o is impossible for m on a model of that shape. A server
// calls it before the forward pass; Maps calls it again. The error names what
// is allowed and has ErrOption in its chain.
func (m Method) Check(o Options, s Shape) error {
	for _, name := range o.given() {
		if m.understands(name) {
			continue
		}
		var understood []string
		for _, p := range m.Options() {
			if p.Name != "mass" {
				understood = append(understood, p.Name)
			}
		}
		only := "no option but mass"
		switch {
		case m.From == FromMaps:
			only = "none: it chooses them itself"
		case len(understood) > 0:
			only = "only " + strings.Join(understood, ", ")
		}
		return fmt.Errorf("attention: %w: method %s has no %s, want %s", ErrOption, m.Name, name, only)
	}
	return o.check(s)
}

// rows returns the query rows that m reads; nil: every one.
func (m Method) rows(o Options, s Shape) []int {
	switch {
	case m.From == FromParts || m.From == FromGradients || !m.Full && s.looksByProbe(o):
		return []int{}
	case m.Full || len(o.Query) != 2 && !s.hasClass():
		return nil
	}
	return s.asking(o)
}

// Maps makes maps of the images of x. Errors have ErrOption or ErrRows in
// their chain, or are the model's and the context's; a map that must not be
// painted has an error of its own. Tensors of impossible shapes panic.
func (m Method) Maps(ctx context.Context, x Subject, o Options) (*Answer, error) {
	if err := m.Check(o, x.sized()); err != nil {
		return nil, err
	}
	if m.OfClass() && x.Model == nil {
		return nil, fmt.Errorf("attention: %w: method %s asks the model and reads no recorded attention", ErrOption, m.Name)
	}
	a, err := m.maps(ctx, x, o)
	if err != nil {
		return nil, err
	}
	for _, image := range a.Maps {
		for i := range image {
			if f := &image[i]; f.Method.Name == "" { // auto says which it chose
				f.Method, f.Options = m, o
			}
		}
	}
	return a, nil
}

// Map makes the one map of one image and at most one target. Its error may be
// that of a map that must not be painted: ErrFlat, ErrNotFinite.
func (m Method) Map(ctx context.Context, x Subject, o Options) (*Map, error) {
	a, err := m.Maps(ctx, x, o)
	if err != nil {
		return nil, err
	}
	if len(a.Maps) != 1 || len(a.Maps[0]) != 1 {
		panic(fmt.Sprintf("attention: maps of %d images, want one image and one target", len(a.Maps)))
	}
	return a.Maps[0][0].Map, a.Maps[0][0].Err
}

// reading makes maps of a function that reads image b of the record.
func reading(f func(r *Record, b int, o Options) (*Map, error)) maps {
	return func(_ context.Context, x Subject, o Options) (*Answer, error) {
		var all [][]Focus
		for b := range x.Record.images() {
			m, err := f(x.Record, b, o)
			if err != nil && !isUnpaintable(err) {
				return nil, err
			}
			all = append(all, []Focus{{Map: m, Err: err}})
		}
		return &Answer{Logits: x.Logits, Maps: all}, nil
	}
}

// asking makes maps of a function that asks about one image and class.
func asking(f func(ctx context.Context, q asked, o Options) (*Map, error)) maps {
	return func(ctx context.Context, x Subject, o Options) (*Answer, error) {
		x.mustFit(1)
		targets, err := x.targets()
		if err != nil {
			return nil, err
		}
		one := []Focus{}
		for _, t := range targets {
			m, err := f(ctx, asked{x, t.Class}, o)
			if err != nil && !isUnpaintable(err) {
				return nil, err
			}
			one = append(one, Focus{Target: &t, Map: m, Err: err})
		}
		return &Answer{Logits: x.Logits, Maps: [][]Focus{one}}, nil
	}
}
