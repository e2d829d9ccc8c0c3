package hf

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/vitserve/vitserve/api/op"
	v1 "github.com/vitserve/vitserve/api/v1"
)

// task is one of the API.
type task struct {
	name   string
	lacks  func(v1.Model) string // what a model has not that it needs; "": nothing
	answer func(c op.Call, r *http.Request, o op.Options, m v1.Model, b body) (any, error)
}

// table is all of them, by the names that clients and pipelines have.
var table = []task{
	{"image-classification", lacksClasses, classify},
	{"image-feature-extraction", lacksHidden, features},
	{"feature-extraction", without("embed", "features"), vector},
	{"zero-shot-image-classification", func(v1.Model) string { return "text tower to compare words with" }, nil},
}

func tasks() (names []string) {
	for _, t := range table {
		names = append(names, t.name)
	}
	return names
}

func known(name string) bool { return slices.Contains(tasks(), name) }

// of returns a task that a model can do.
func of(name string, m v1.Model) (t task, err error) {
	for _, t = range table {
		if t.name == name {
			break
		}
	}
	if lacks := t.lacks(m); lacks != "" {
		return t, fmt.Errorf("%w: task %s: model %s has no %s", op.ErrValue, name, m.ID, lacks)
	}
	return t, nil
}

// taskOf is what a model is made for.
func taskOf(m v1.Model) string {
	if slices.Contains(m.Operations, "classify") {
		return "image-classification"
	}
	if clip(m) {
		return "feature-extraction"
	}
	return "image-feature-extraction"
}

// clip reports whether a model is an image tower of CLIP or its kin in
// transformers. Their last hidden state is that before the last norm, which
// nothing here gives: modeling_clip.py.
func clip(m v1.Model) bool {
	return m.Layout == "huggingface" && strings.Contains(strings.ToLower(m.Architecture), "clip")
}

func lacksHidden(m v1.Model) string {
	if clip(m) {
		return "last hidden state here; feature-extraction gives its embedding"
	}
	return without("embed", "features")(m)
}

func lacksClasses(m v1.Model) string {
	what := "classification head"
	if m.Classless != "" { // of one that is loaded
		what += ": " + m.Classless
	}
	return without("classify", what)(m)
}

func without(operation, what string) func(v1.Model) string {
	return func(m v1.Model) string {
		if slices.Contains(m.Operations, operation) {
			return ""
		}
		return what
	}
}

// asked reads parameters by a table: those of the query, which is all that the
// JavaScript client can send beside a picture, then those of the body. What is
// null was not given.
func asked[A any](ask *A, table []op.Parameter[A], r *http.Request, members map[string]json.RawMessage) error {
	asking := op.Asking[A]{Ask: ask, Table: table}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return fmt.Errorf("%w: query: %v", op.ErrSyntax, err)
	}
	if err := asking.Query(query); err != nil {
		return err
	}
	for name, v := range members {
		if string(v) == "null" && asking.Takes(name) {
			continue
		}
		if err := asking.Member(name, v); err != nil {
			return err
		}
	}
	return nil
}

// alone refuses members of the body that stand where nothing is looked for.
func (b body) alone() error {
	for name := range b.root {
		return fmt.Errorf("%w: unknown member %s, want inputs, parameters or options", op.ErrSyntax, op.Clip(name))
	}
	return nil
}

// classification is what image-classification is asked: pipelines/
// image_classification.py of transformers.
var classification = []op.Parameter[op.Classify]{
	{Name: "top_k", Kind: op.Number, Set: func(a *op.Classify, v string) error { return op.Between(&a.TopK, v, 1, 1<<31-1) }},
	{Name: "function_to_apply", Kind: op.Text, Set: func(a *op.Classify, v string) error {
		switch v = strings.ToLower(v); v {
		case "softmax":
			a.Scoring = "softmax"
		case "sigmoid":
			a.Scoring = "sigmoid"
		case "none":
			a.Scoring = "raw"
		}
		return op.OneOf(v, "softmax", "sigmoid", "none")
	}},
}

// label is an element of an answer of image-classification.
type label struct {
	Label string  `json:"label"`
	Score float64 `json:"score"`
}

// classify answers labels, best first: a list, or of a list of pictures a list
// of them.
func classify(c op.Call, r *http.Request, o op.Options, _ v1.Model, b body) (any, error) {
	if err := b.alone(); err != nil {
		return nil, err
	}
	ask := op.Classify{Options: o, Labels: op.Labels{TopK: 5}}
	if err := asked(&ask, classification, r, b.given); err != nil {
		return nil, err
	}
	a, err := c.Classify(r.Context(), ask, b.pictures)
	if err != nil {
		return nil, err
	}
	return each(b, a, func(x *op.Classified) any {
		all := make([]label, len(x.Predictions))
		for i, p := range x.Predictions {
			all[i] = label{p.Label, p.Score}
		}
		return all
	})
}

// each is what is answered of one picture, or the list of what is answered of
// each of a list. One that is broken fails the answer, which has no place for
// it.
func each[R any](b body, a *op.Answer[R], of func(*R) any) (any, error) {
	var all []any
	for i := range a.Items {
		item := &a.Items[i]
		if item.Err != nil {
			return nil, fmt.Errorf("inputs[%d]: %w", i, item.Err)
		}
		all = append(all, of(&item.Value))
	}
	if b.list {
		return all, nil
	}
	return all[0], nil
}

// extraction is what image-feature-extraction is asked: pipelines/
// image_feature_extraction.py.
var extraction = []op.Parameter[askFeatures]{
	{Name: "pool", Kind: op.Flag, Set: func(a *askFeatures, v string) (err error) { a.pool, err = op.Boolean(v); return err }},
}

type askFeatures struct {
	op.Embed
	pool bool
}

// poolers are the architectures whose pooler gives the class token as it
// leaves the last norm: modeling_dinov2.py and its kin. The pooler of others
// is a layer of its own that their heads do not look at.
var poolers = []string{"Dinov2", "DINOv3ViT"}

// features answers the last hidden state, (1, tokens, C), or what the pooler
// makes of it, (1, C).
func features(c op.Call, r *http.Request, o op.Options, m v1.Model, b body) (any, error) {
	if err := b.alone(); err != nil {
		return nil, err
	}
	ask := askFeatures{Embed: op.Embed{Options: o, Text: true}}
	if err := asked(&ask, extraction, r, b.given); err != nil {
		return nil, err
	}
	ask.Embedding.Pool = "tokens"
	if ask.pool {
		if !slices.ContainsFunc(poolers, func(p string) bool { return strings.HasPrefix(m.Architecture, p) }) {
			return nil, fmt.Errorf("%w: pool: model %s, %s, has no pooler here; /v1/embed gives its vector", op.ErrValue, m.ID, m.Architecture)
		}
		ask.Embedding.Pool = "class"
	}
	a, err := c.Embed(r.Context(), ask.Embed, b.pictures)
	if err != nil {
		return nil, err
	}
	return each(b, a, func(x *op.Embedded) any {
		shape, values := x.Vectors.Shape(), x.Vectors.Float32s()
		if len(shape) == 1 {
			return [][]float32{values}
		}
		return [][][]float32{slices.Collect(slices.Chunk(values, shape[1]))}
	})
}

// extracted is what feature-extraction is asked, beside inputs. What is about
// texts alone changes nothing for a picture.
var extracted = []op.Parameter[askVector]{
	{Name: "normalize", Kind: op.Flag, Set: func(a *askVector, v string) (err error) { a.normalize, err = op.Boolean(v); return err }},
	{Name: "dimensions", Kind: op.Number, Set: func(a *askVector, v string) error { return op.Between(&a.dimensions, v, 1, 1<<31-1) }},
	{Name: "encoding_format", Kind: op.Text, Set: func(_ *askVector, v string) error { return op.OneOf(v, "float") }},
	{Name: "truncate", Kind: op.Flag, Set: func(_ *askVector, v string) error { _, err := op.Boolean(v); return err }},
	{Name: "truncation_direction", Kind: op.Text, Set: func(_ *askVector, v string) error { return op.OneOf(strings.ToLower(v), "left", "right") }},
}

type askVector struct {
	op.Embed
	dimensions int  // of the vector, from its front; 0: all
	normalize  bool // what is left to length 1
}

// vector answers (1, D), or (pictures, D) of a list, as servers of embeddings
// do: the vector that the model's head looks at.
func vector(c op.Call, r *http.Request, o op.Options, m v1.Model, b body) (any, error) {
	ask := askVector{Embed: op.Embed{Options: o, Text: true}}
	for name, v := range b.given {
		b.root[name] = v // clients put them into either place
	}
	if err := asked(&ask, extracted, r, b.root); err != nil {
		return nil, err
	}
	ask.Embedding.Pool = "model"
	a, err := c.Embed(r.Context(), ask.Embed, b.pictures)
	if err != nil {
		return nil, err
	}
	var all [][]float32
	for i := range a.Items {
		item := &a.Items[i]
		if item.Err != nil {
			return nil, fmt.Errorf("inputs[%d]: %w", i, item.Err)
		}
		v := item.Value.Vectors.Float32s()
		if ask.dimensions > len(v) {
			return nil, fmt.Errorf("%w: dimensions %d, model %s has %d", op.ErrValue, ask.dimensions, m.ID, len(v))
		}
		if ask.dimensions > 0 {
			v = v[:ask.dimensions]
		}
		if ask.normalize {
			unit(v)
		}
		all = append(all, v)
	}
	return all, nil
}

// unit scales v to length 1; one of zeros has no direction and stays.
func unit(v []float32) {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if sum == 0 {
		return
	}
	for i, x := range v {
		v[i] = float32(float64(x) / math.Sqrt(sum))
	}
}
