package kserve

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/vitserve/vitserve/api/op"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/attention/focus"
)

// askPredict is what :predict is asked, in the words of /v1/classify.
type askPredict struct {
	op.Classify
	logits bool
}

var predictParameters = withoutModel(op.Common(func(a *askPredict) op.Asked {
	return op.Asked{Options: &a.Options, Labels: &a.Labels, Logits: &a.logits, Priority: &a.Priority}
}))

// askExplain is what :explain is asked, in the words of /v1/explain.
type askExplain struct {
	op.Explain
	logits bool
}

func question(a *askExplain) *focus.Question { return &a.Question }

var explainParameters = slices.Concat(
	withoutModel(op.Common(func(a *askExplain) op.Asked {
		return op.Asked{Options: &a.Options, Labels: &a.Labels, Logits: &a.logits, Priority: &a.Priority}
	})),
	[]op.Parameter[askExplain]{
		{Name: "method", Kind: op.Text, Set: func(a *askExplain, v string) error { a.Question.Method = v; return nil }},
		{Name: "class", Kind: op.Text, List: func(a *askExplain, vs []string) error { a.Classes = vs; return nil }},
		{Name: "classes", Kind: op.Number, Set: func(a *askExplain, v string) error { return op.Between(&a.Question.Best, v, 1, focus.MaxMaps) }},
		{Name: "versus", Kind: op.Text, Set: func(a *askExplain, v string) error { a.Versus = v; return nil }},
		{Name: "evidence", Kind: op.Flag, Set: func(a *askExplain, v string) (err error) { a.Question.Evidence, err = op.Boolean(v); return err }},
	},
	op.OptionParameters(question, "layer", "compat"),
	op.OptionParameters(question, "window", "steps"),
)

// withoutModel leaves out the model, which stands in the path.
func withoutModel[A any](table []op.Parameter[A]) []op.Parameter[A] {
	return slices.DeleteFunc(table, func(p op.Parameter[A]) bool { return p.Name == "model" })
}

// asked reads parameters: those of the query, then those of the body.
func asked[A any](ask *A, table []op.Parameter[A], r *http.Request, given map[string]json.RawMessage) error {
	asking := op.Asking[A]{Ask: ask, Table: table}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return fmt.Errorf("%w: query: %v", op.ErrSyntax, err)
	}
	if err := asking.Query(query); err != nil {
		return err
	}
	for name, v := range given {
		if err := asking.Member(name, v); err != nil {
			return err
		}
	}
	return nil
}

type predictions struct {
	Predictions []any `json:"predictions"`
}

// predict answers what is in each picture: its labels, best first, or of a
// model without classes its vector.
func predict(c op.Call, r *http.Request, id string, b body) (any, error) {
	ask := askPredict{Classify: op.Classify{Labels: op.Labels{TopK: 5}}}
	if err := asked(&ask, predictParameters, r, b.parameters); err != nil {
		return nil, err
	}
	ask.Model, ask.Wait = id, true
	m, err := c.Resident(r.Context(), ask.Options)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(m.Operations, "classify") {
		embed := op.Embed{Options: ask.Options, Text: true}
		embed.Embedding.Pool = "model"
		a, err := c.Embed(r.Context(), embed, b.pictures)
		if err != nil {
			return nil, err
		}
		all, err := each(a, func(x *op.Embedded) any { return x.Vectors.Float32s() })
		return predictions{all}, err
	}
	a, err := c.Classify(r.Context(), ask.Classify, b.pictures)
	if err != nil {
		return nil, err
	}
	all, err := each(a, func(x *op.Classified) any {
		labels := make([]v1.Prediction, len(x.Predictions))
		for i, p := range x.Predictions {
			labels[i] = v1.Prediction{Index: p.Index, Label: p.Label, Score: p.Score}
		}
		return labels
	})
	return predictions{all}, err
}

type explanations struct {
	Explanations []v1.ExplainResult `json:"explanations"`
}

// explain answers where the model looked, each picture as a result of
// /v1/explain.
func explain(c op.Call, r *http.Request, id string, b body) (any, error) {
	ask := askExplain{Explain: op.Explain{Labels: op.Labels{TopK: 5}}}
	if err := asked(&ask, explainParameters, r, b.parameters); err != nil {
		return nil, err
	}
	ask.Model, ask.Wait = id, true
	found := make([]v1.ExplainResult, len(b.pictures))
	ask.Each = func(_ context.Context, i int, x *op.Explained) (err error) {
		found[i], err = c.Result(x)
		return err
	}
	a, err := c.Explain(r.Context(), ask.Explain, b.pictures)
	if err != nil {
		return nil, err
	}
	for i := range a.Items {
		if err := a.Items[i].Err; err != nil {
			return nil, fmt.Errorf("instances[%d]: %w", i, err)
		}
		if ask.logits {
			found[i].Logits = a.Items[i].Value.Logits
		}
	}
	return explanations{found}, nil
}

// each is what is answered of each picture. One that is broken fails the
// answer, which has no place for it.
func each[R any](a *op.Answer[R], of func(*R) any) (all []any, err error) {
	for i := range a.Items {
		item := &a.Items[i]
		if item.Err != nil {
			return nil, fmt.Errorf("instances[%d]: %w", i, item.Err)
		}
		all = append(all, of(&item.Value))
	}
	return all, nil
}
