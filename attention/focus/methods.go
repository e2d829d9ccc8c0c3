package focus

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Options choose a map. The zero value is the default of each method; an
// option that the method does not have is refused.
type Options struct {
	Layer   int     // 1-based layer of raw and gradcam; 0: the last
	Head    int     // 1-based head of raw; 0: all, fused
	Fusion  Fusion  // of the heads; "": mean
	Discard float64 // rollout: share of the lowest attention of each layer that is zeroed, 0 to <1
	Start   int     // 1-based first layer that is read; 0: the first of all, of legrad the last but one
	Query   []int   // row, column of the patch that asks; nil: the class token, or all patches where there is none
	Mass    float64 // keeps only the cells that hold this share of the map, 0 to 1; 0: all of them
	Compat  string  // "vit-explain": that author's normalisation axis; "": the papers'

	Window int     // occlusion: patches a side that are dropped together; 0: 1
	Masks  int     // rise: how many random parts are asked about; 0: DefaultMasks
	Keep   float64 // rise: share of the patches in a part, 0 to 1; 0: DefaultKeep
	Seed   uint64  // rise: of its random numbers
	Steps  int     // integrated: how many gradients are averaged; 0: DefaultSteps
}

// VitExplain is the Compat of Options and Style that reproduces the pictures
// of https://github.com/jacobgil/vit-explain.
const VitExplain = "vit-explain"

// Fusion is how the heads of a layer become one matrix.
type Fusion string

// Fusions.
const (
	Mean Fusion = "mean"
	Max  Fusion = "max"
	Min  Fusion = "min"
)

// Fusions returns the names of the fusions, the default first.
func Fusions() []string { return []string{string(Mean), string(Max), string(Min)} }

// Method is a way to a focus map: read out of a Record, found out by asking
// the model about parts of the image, or by deriving its answer.
type Method struct {
	Name  string
	Paper string // with the equation
	Full  bool   // needs every query row, not just the class token's

	// Map reads image b of the record. Its errors have ErrOption, ErrFlat,
	// ErrNotFinite or ErrRows in their chain; tensors of impossible shapes
	// panic. A method that asks or derives the model answers with ErrOption.
	Map func(r *Record, b int, o Options) (*Map, error)

	// Probe asks the model. It is nil for a method of another kind. Its
	// errors are those of Map, the classifier's, and the context's.
	Probe func(ctx context.Context, s Subject, o Options) (*Map, error)

	// Derive derives the model's answer for a batch. It is nil for a method of
	// another kind. Its errors are ErrOption, the model's, and the context's;
	// a map that cannot be painted has an error of its own.
	Derive func(ctx context.Context, x Images, o Options) (*Derived, error)

	options []string // what of Options it understands, beside Mass
	norms   bool     // reads Record.Gram
}

// What the methods understand beside Mass.
var (
	rawOptions       = []string{"layer", "head", "fusion", "query"}
	rolloutOptions   = []string{"fusion", "discard", "start", "query", "compat"}
	normOptions      = []string{"discard", "start", "query"}
	occlusionOptions = []string{"window"}
	riseOptions      = []string{"masks", "keep", "seed"}

	relevanceOptions   = []string{"start"}
	gradRolloutOptions = []string{"discard", "start", "compat"}
	gradcamOptions     = []string{"layer"}
	legradOptions      = []string{"start"}
	integratedOptions  = []string{"steps"}
)

// Methods that are taken where none is named: the second where a class is.
const (
	DefaultMethod      = "rollout"
	DefaultClassMethod = "relevance"
)

var methods = []Method{
	{
		Name: "raw",
		Paper: "Dosovitskiy et al., An Image is Worth 16x16 Words, https://arxiv.org/abs/2010.11929, equation 7 (SA): " +
			"the class token's row of softmax(QKᵀ/√D) in one layer; mass threshold: Caron et al., https://arxiv.org/abs/2104.14294, figure 3",
		Map:     raw,
		options: rawOptions,
	},
	{
		Name: "rollout",
		Paper: "Abnar and Zuidema, Quantifying Attention Flow in Transformers, https://arxiv.org/abs/2005.00928, " +
			"equation 1: Ã(l) = A(l) Ã(l-1), A = (W + I)/2 with its rows normalised",
		Full:    true,
		Map:     rollout,
		options: rolloutOptions,
	},
	{
		Name: "normrollout",
		Paper: "Kobayashi et al., Attention is Not Only a Weight, https://arxiv.org/abs/2004.10102, section 3: rollout of ‖Σ over heads of A f(x)‖, " +
			"f(x) = (x Wv + bv) Wo, its rows normalised, by Abnar and Zuidema, https://arxiv.org/abs/2005.00928, equation 1",
		Full:    true,
		norms:   true,
		Map:     normRollout,
		options: normOptions,
	},
	{
		Name: "occlusion",
		Paper: "Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, https://arxiv.org/abs/1311.2901, section 4.2: " +
			"p(all) - p(without the patch), its token dropped",
		Map:     asksTheModel("occlusion"),
		Probe:   occlusion,
		options: occlusionOptions,
	},
	{
		Name: "rise",
		Paper: "Petsiuk et al., RISE, https://arxiv.org/abs/1806.07421, equation 6: " +
			"the mean of p over random parts of the image that the patch is in, the others' tokens dropped",
		Map:     asksTheModel("rise"),
		Probe:   rise,
		options: riseOptions,
	},
	derives("relevance", "Chefer et al., Generic Attention-model Explainability, https://arxiv.org/abs/2103.15679, equations 5 and 6: "+
		"R ← R + mean over heads of max(0, A ∘ ∂y/∂A) R", relevanceOptions, gradient{weights: relevance}),
	derives("gradrollout", "Gildenblat, https://github.com/jacobgil/vit-explain, after Abnar and Zuidema, https://arxiv.org/abs/2005.00928, equation 1: "+
		"rollout of max(0, mean over heads of A ∘ ∂y/∂A)", gradRolloutOptions, gradient{
		traces:  func(Options, int) TraceWants { return TraceWants{Attn: true} },
		weights: gradRollout,
	}),
	derives("gradcam", "Selvaraju et al., Grad-CAM, https://arxiv.org/abs/1610.02391, equations 1 and 2: "+
		"max(0, Σ over channels of w X), w the patches' mean of ∂y/∂X, X the first norm of a layer", gradcamOptions, gradient{
		traces:  func(o Options, depth int) TraceWants { return TraceWants{Normed: []int{o.layer(depth)}} },
		weights: gradcam,
	}),
	derives("legrad", "Bousselham et al., LeGrad, https://arxiv.org/abs/2404.03214, equations 3 to 6: "+
		"Σ over layers of the heads' and rows' mean of max(0, ∂y(l)/∂A(l)), y(l) the class after that layer", legradOptions, gradient{weights: legrad}),
	derives("inputgradient", "Shrikumar et al., Not Just a Black Box, https://arxiv.org/abs/1605.01713, section 3.3: "+
		"Σ over a patch of x ∂y/∂x", nil, gradient{weights: inputGradient}),
	derives("integrated", "Sundararajan et al., Axiomatic Attribution for Deep Networks, https://arxiv.org/abs/1703.01365, equation 1: "+
		"Σ over a patch of x ∫ ∂y(αx)/∂(αx) dα, from black", integratedOptions, gradient{weights: integratedGradients}),
}

// derives is the entry of a method with gradients.
func derives(name, paper string, options []string, g gradient) Method {
	return Method{
		Name: name, Paper: paper, Map: asksTheModel(name), Derive: g.derive(name, options), options: options,
	}
}

// Methods is the table of focus maps, in the order shown to people.
func Methods() []Method { return slices.Clone(methods) }

// MethodNames returns the names of the methods that read a Record.
func MethodNames() []string {
	return names(func(m Method) bool { return m.Probe == nil && m.Derive == nil })
}

// ProbeNames returns the names of the methods that ask the model.
func ProbeNames() []string { return names(func(m Method) bool { return m.Probe != nil }) }

// GradientNames returns the names of the methods that derive the model's
// answer.
func GradientNames() []string { return names(func(m Method) bool { return m.Derive != nil }) }

// Names returns the names of all methods.
func Names() []string { return names(func(Method) bool { return true }) }

func names(of func(m Method) bool) []string {
	var names []string
	for _, m := range methods {
		if of(m) {
			names = append(names, m.Name)
		}
	}
	return names
}

// Find returns the method of that name, of any kind. The error names them all
// and has ErrOption in its chain.
func Find(name string) (Method, error) {
	for _, m := range methods {
		if m.Name == name {
			return m, nil
		}
	}
	return Method{}, badOption("method", name, Names()...)
}

// Bounds of how long a method takes.
const (
	maxMasks = 20000
	maxSteps = 1000
)

// Fuses reports whether m makes one matrix of the heads by Options.Fusion.
func (m Method) Fuses() bool { return slices.Contains(m.options, "fusion") }

// Needs are what a forward pass must record for a map.
type Needs struct {
	Rows []int // query rows of the attention
	Full bool  // all of them
	Gram bool  // see Record.Gram
}

// Equal reports whether n and m are the same.
func (n Needs) Equal(m Needs) bool {
	return slices.Equal(n.Rows, m.Rows) && n.Full == m.Full && n.Gram == m.Gram
}

// Needs returns what a forward pass must record for m and o. Of r it looks at
// Grid, Prefix and Pooled.
func (m Method) Needs(r *Record, o Options) Needs {
	switch {
	case m.Probe != nil, m.Derive != nil:
		return Needs{}
	case m.Full:
		return Needs{Full: true, Gram: m.norms}
	case len(o.Query) == 2:
		return Needs{Rows: []int{r.Prefix + o.Query[0]*r.Grid[1] + o.Query[1]}}
	case r.hasClass():
		return Needs{Rows: []int{0}}
	}
	return Needs{Full: true}
}

// Check says what of o is impossible for m on a model of that depth, heads
// and grid (rows, columns). A server calls it before the forward pass; Map
// calls it again. The error names what is allowed.
func (m Method) Check(o Options, grid [2]int, depth, heads int) error {
	return check(m.Name, m.options, o, grid, depth, heads)
}

func check(method string, understood []string, o Options, grid [2]int, depth, heads int) error {
	if err := o.onlyOf(method, understood); err != nil {
		return err
	}
	switch {
	case o.Layer < 0 || o.Layer > depth:
		return badOption("layer", o.Layer, fmt.Sprintf("1 to %d", depth), "0 for the last")
	case o.Head < 0 || o.Head > heads:
		return badOption("head", o.Head, fmt.Sprintf("1 to %d", heads), "0 for all")
	case o.Start < 0 || o.Start > depth:
		return badOption("start layer", o.Start, fmt.Sprintf("1 to %d", depth))
	case o.Fusion != "" && !slices.Contains(Fusions(), string(o.Fusion)):
		return badOption("fusion", o.Fusion, Fusions()...)
	case !(o.Discard >= 0 && o.Discard < 1):
		return badOption("discard ratio", o.Discard, "0 to below 1")
	case !(o.Mass >= 0 && o.Mass <= 1):
		return badOption("mass", o.Mass, "0 to 1")
	case o.Compat != "" && o.Compat != VitExplain:
		return badOption("compat", o.Compat, VitExplain)
	case o.Window < 0 || o.Window > 0 && o.Window >= min(grid[0], grid[1]):
		return badOption("window", o.Window, fmt.Sprintf("1 to %d patches a side", min(grid[0], grid[1])-1))
	case o.Masks < 0 || o.Masks > maxMasks:
		return badOption("masks", o.Masks, fmt.Sprintf("1 to %d", maxMasks))
	case o.Steps < 0 || o.Steps > maxSteps:
		return badOption("steps", o.Steps, fmt.Sprintf("1 to %d", maxSteps))
	case !(o.Keep >= 0 && o.Keep < 1):
		return badOption("share to keep", o.Keep, "0 to below 1")
	case len(o.Query) != 0 && (len(o.Query) != 2 || o.Query[0] < 0 || o.Query[0] >= grid[0] || o.Query[1] < 0 || o.Query[1] >= grid[1]):
		return badOption("query", o.Query, fmt.Sprintf("row,column of 0,0 to %d,%d", grid[0]-1, grid[1]-1))
	}
	return nil
}

// onlyOf refuses options that the method does not understand, which would
// otherwise be ignored in silence.
func (o Options) onlyOf(method string, understood []string) error {
	for _, given := range []struct {
		name string
		is   bool
	}{
		{"layer", o.Layer != 0}, {"head", o.Head != 0}, {"fusion", o.Fusion != ""}, {"discard", o.Discard != 0}, {"start", o.Start != 0},
		{"query", len(o.Query) > 0},
		{"compat", o.Compat != ""}, {"window", o.Window != 0}, {"masks", o.Masks != 0}, {"keep", o.Keep != 0}, {"seed", o.Seed != 0},
		{"steps", o.Steps != 0},
	} {
		if given.is && !slices.Contains(understood, given.name) {
			only := "no option but mass"
			switch {
			case method == AutoMethod:
				only = "none: it chooses them itself"
			case len(understood) > 0:
				only = "only " + strings.Join(understood, ", ")
			}
			return fmt.Errorf("attention: %w: method %s has no %s, want %s", ErrOption, method, given.name, only)
		}
	}
	return nil
}

// asksTheModel is the Map of a method that has a Probe or a Derive.
func asksTheModel(method string) func(*Record, int, Options) (*Map, error) {
	return func(*Record, int, Options) (*Map, error) {
		return nil, fmt.Errorf("attention: %w: method %s asks the model and reads no recorded attention", ErrOption, method)
	}
}

// badOption is the error of an option whose value is not among the allowed.
func badOption(what string, found any, allowed ...string) error {
	return fmt.Errorf("attention: %w: %s %v, want %s", ErrOption, what, found, strings.Join(allowed, ", "))
}
