package api

import (
	"slices"

	"github.com/vitserve/vitserve/api/op"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/vit"
)

// sent is the parameter format of an operation that sends numbers.
func sent[A any](of func(*A) *sending) op.Parameter[A] {
	return op.Parameter[A]{Name: "format", Kind: op.Text, Set: func(a *A, v string) error {
		of(a).format = v
		return op.OneOf(v, numberFormats...)
	}}
}

// askClassify is what a request to /v1/classify asks for.
type askClassify struct {
	op.Classify
	logits bool
}

var classifyParameters = append(op.Common(func(a *askClassify) op.Asked {
	return op.Asked{Options: &a.Options, Labels: &a.Labels, Logits: &a.logits, Priority: &a.Priority}
}), op.Abstaining(func(a *askClassify) *op.Abstain { return a.Abstain })...)

// askEmbed is what a request to /v1/embed asks for.
type askEmbed struct {
	op.Embed
	send sending
}

var embedParameters = append(op.Common(func(a *askEmbed) op.Asked { return op.Asked{Options: &a.Options, Priority: &a.Priority} }),
	sent(func(a *askEmbed) *sending { return &a.send }),
	op.Parameter[askEmbed]{Name: "pool", Kind: op.Text, Set: func(a *askEmbed, v string) error { a.Embedding.Pool = v; return op.OneOf(v, vit.Pools()...) }},
	op.Parameter[askEmbed]{Name: "l2", Kind: op.Flag, Set: func(a *askEmbed, v string) (err error) { a.Embedding.L2, err = op.Boolean(v); return err }},
)

// askPreprocess is what a request to /v1/preprocess asks for.
type askPreprocess struct {
	op.Preprocess
	send sending
}

var preprocessParameters = append(op.Common(func(a *askPreprocess) op.Asked { return op.Asked{Options: &a.Options} }),
	sent(func(a *askPreprocess) *sending { return &a.send }))

// askExplain is what a request to /v1/explain asks for.
type askExplain struct {
	op.Explain
	logits bool
	send   sending
}

func questionOf(a *askExplain) *focus.Question { return &a.Question }

// explainParameters are in the order in which errors list them. Those of the
// map are the rows of focus's table of options.
var explainParameters = slices.Concat(
	op.Common(func(a *askExplain) op.Asked {
		return op.Asked{Options: &a.Options, Labels: &a.Labels, Logits: &a.logits, Priority: &a.Priority}
	}),
	[]op.Parameter[askExplain]{
		{Name: "method", Kind: op.Text, Set: func(a *askExplain, v string) error { a.Question.Method = v; return nil }},
	},
	op.OptionParameters(questionOf, "layer", "compat"),
	[]op.Parameter[askExplain]{
		{Name: "class", Kind: op.Text, List: func(a *askExplain, vs []string) error { a.Classes = vs; return nil }},
		{Name: "classes", Kind: op.Number, Set: func(a *askExplain, v string) error { return op.Between(&a.Question.Best, v, 1, focus.MaxMaps) }},
		{Name: "versus", Kind: op.Text, Set: func(a *askExplain, v string) error { a.Versus = v; return nil }},
		{Name: "layers", Kind: op.Flag, Set: func(a *askExplain, v string) (err error) { a.Question.Layers, err = op.Boolean(v); return err }},
		{Name: "evidence", Kind: op.Flag, Set: func(a *askExplain, v string) (err error) { a.Question.Evidence, err = op.Boolean(v); return err }},
	},
	op.OptionParameters(questionOf, "window", "steps"),
	[]op.Parameter[askExplain]{
		{Name: "picture", Kind: op.Text, Set: func(a *askExplain, v string) error {
			a.Picture = focus.Picture(v)
			return op.OneOf(v, focus.Pictures()...)
		}},
		{Name: "values", Kind: op.Text, Set: func(a *askExplain, v string) error {
			a.Values = v
			return op.OneOf(v, focus.ValuesMap, focus.ValuesAttention)
		}},
		{Name: "format", Kind: op.Text, Set: func(a *askExplain, v string) error { a.send.format = v; return op.OneOf(v, pictureFormats...) }},
		{Name: "quality", Kind: op.Number, Set: func(a *askExplain, v string) error { return op.Between(&a.send.quality, v, 1, 100) }},
		{Name: "colors", Kind: op.Text, Set: func(a *askExplain, v string) error { a.Style.Colors = v; return nil }},
		{Name: "alpha", Kind: op.Number, Set: func(a *askExplain, v string) error { return op.Share(&a.Style.Alpha, v) }},
		{Name: "clip", Kind: op.Number, Set: func(a *askExplain, v string) error {
			return op.Within(&a.Style.Clip, v, 0, 100)
		}},
		{Name: "hatch", Kind: op.Flag, Set: func(a *askExplain, v string) error {
			on, err := op.Boolean(v)
			a.Style.Plain = !on
			return err
		}},
		{Name: "upsample", Kind: op.Text, Set: func(a *askExplain, v string) error { a.Style.Upsample = focus.Upsampling(v); return nil }},
	},
)

// ExplainParameters returns the names that a request to /v1/explain may hold.
func ExplainParameters() []string { return op.Names(explainParameters) }
