package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vitserve/vitserve/api/op"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/internal/batch"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
)

// kind is what a parameter is in a JSON body.
type kind string

const (
	text   kind = "string"
	number kind = "number"
	flag   kind = "boolean"
)

// parameter is one name that a query, a form or a JSON body may hold, of an
// operation that is asked by an A.
type parameter[A any] struct {
	name string
	kind kind
	set  func(a *A, v string) error
	list func(a *A, vs []string) error // in place of set: may be given several times, in JSON as an array
}

// asked is where an A keeps what several operations are asked. An operation
// without labels has none, and one that no model computes no priority.
type asked struct {
	*op.Options
	labels   *op.Labels
	logits   *bool
	priority *batch.Priority
}

// common are the parameters that several operations understand; of finds what
// they change.
func common[A any](of func(*A) asked) []parameter[A] {
	has := of(new(A))
	all := []parameter[A]{
		{name: "model", kind: text, set: func(a *A, v string) error { of(a).Model = v; return nil }},
	}
	if has.labels != nil {
		all = append(all,
			parameter[A]{name: "top_k", kind: number, set: func(a *A, v string) error { return count(&of(a).labels.TopK, v) }},
			parameter[A]{name: "min_score", kind: number, set: func(a *A, v string) error { return share(&of(a).labels.MinScore, v) }},
			parameter[A]{name: "logits", kind: flag, set: func(a *A, v string) (err error) { *of(a).logits, err = boolean(v); return err }},
		)
	}
	all = append(all,
		parameter[A]{name: "exif", kind: text, set: func(a *A, v string) error {
			of(a).Decode.IgnoreEXIF = v == "off"
			return oneOf(v, "on", "off")
		}},
		parameter[A]{name: "preprocess", kind: text, set: func(a *A, v string) error {
			of(a).Preprocess = patch.Preprocess(v)
			return oneOf(v, string(patch.PreprocessModel), string(patch.PreprocessCrop), string(patch.PreprocessNone))
		}},
		parameter[A]{name: "resize", kind: text, set: func(a *A, v string) error {
			of(a).Decode.Resize = patch.Resize(v)
			return oneOf(v, string(patch.ResizeExact), string(patch.ResizeFast))
		}},
	)
	if has.priority != nil {
		all = append(all, parameter[A]{name: "priority", kind: text, set: func(a *A, v string) error {
			*of(a).priority = batch.High
			if v == "low" {
				*of(a).priority = batch.Low
			}
			return oneOf(v, "high", "low")
		}})
	}
	return append(all, parameter[A]{name: "timeout_ms", kind: number, set: func(a *A, v string) error {
		var ms int
		err := between(&ms, v, 1, time.Hour.Milliseconds())
		of(a).Timeout = time.Duration(ms) * time.Millisecond
		return err
	}})
}

// sent is the parameter format of an operation that sends numbers.
func sent[A any](of func(*A) *sending) parameter[A] {
	return parameter[A]{name: "format", kind: text, set: func(a *A, v string) error {
		of(a).format = v
		return oneOf(v, numberFormats...)
	}}
}

// askClassify is what a request to /v1/classify asks for.
type askClassify struct {
	op.Classify
	logits bool
}

var classifyParameters = common(func(a *askClassify) asked {
	return asked{&a.Options, &a.Labels, &a.logits, &a.Priority}
})

// askEmbed is what a request to /v1/embed asks for.
type askEmbed struct {
	op.Embed
	send sending
}

var embedParameters = append(common(func(a *askEmbed) asked { return asked{Options: &a.Options, priority: &a.Priority} }),
	sent(func(a *askEmbed) *sending { return &a.send }),
	parameter[askEmbed]{name: "pool", kind: text, set: func(a *askEmbed, v string) error { a.Embedding.Pool = v; return oneOf(v, vit.Pools()...) }},
	parameter[askEmbed]{name: "l2", kind: flag, set: func(a *askEmbed, v string) (err error) { a.Embedding.L2, err = boolean(v); return err }},
)

// askPreprocess is what a request to /v1/preprocess asks for.
type askPreprocess struct {
	op.Preprocess
	send sending
}

var preprocessParameters = append(common(func(a *askPreprocess) asked { return asked{Options: &a.Options} }),
	sent(func(a *askPreprocess) *sending { return &a.send }))

// askExplain is what a request to /v1/explain asks for.
type askExplain struct {
	op.Explain
	logits bool
	send   sending
}

// explainParameters are in the order in which errors list them. Those of the
// map are the rows of focus's table of options.
var explainParameters = slices.Concat(
	common(func(a *askExplain) asked { return asked{&a.Options, &a.Labels, &a.logits, &a.Priority} }),
	[]parameter[askExplain]{
		{name: "method", kind: text, set: func(a *askExplain, v string) error { a.Question.Method = v; return nil }},
	},
	options("layer", "compat"),
	[]parameter[askExplain]{
		{name: "class", kind: text, list: func(a *askExplain, vs []string) error { a.Classes = vs; return nil }},
		{name: "classes", kind: number, set: func(a *askExplain, v string) error { return between(&a.Question.Best, v, 1, focus.MaxMaps) }},
		{name: "versus", kind: text, set: func(a *askExplain, v string) error { a.Versus = v; return nil }},
		{name: "evidence", kind: flag, set: func(a *askExplain, v string) (err error) { a.Question.Evidence, err = boolean(v); return err }},
	},
	options("window", "steps"),
	[]parameter[askExplain]{
		{name: "picture", kind: text, set: func(a *askExplain, v string) error {
			a.Picture = focus.Picture(v)
			return oneOf(v, focus.Pictures()...)
		}},
		{name: "values", kind: text, set: func(a *askExplain, v string) error {
			a.Values = v
			return oneOf(v, focus.ValuesMap, focus.ValuesAttention)
		}},
		{name: "format", kind: text, set: func(a *askExplain, v string) error { a.send.format = v; return oneOf(v, pictureFormats...) }},
		{name: "quality", kind: number, set: func(a *askExplain, v string) error { return between(&a.send.quality, v, 1, 100) }},
		{name: "colors", kind: text, set: func(a *askExplain, v string) error { a.Style.Colors = v; return nil }},
		{name: "alpha", kind: number, set: func(a *askExplain, v string) error { return share(&a.Style.Alpha, v) }},
		{name: "upsample", kind: text, set: func(a *askExplain, v string) error { a.Style.Upsample = focus.Upsampling(v); return nil }},
	},
)

// options are the parameters of rows of the table of options, from one to
// another.
func options(first, last string) (found []parameter[askExplain]) {
	for _, o := range focus.OptionTable() {
		if o.Name == first || len(found) > 0 {
			found = append(found, optionOf(o))
		}
		if o.Name == last {
			break
		}
	}
	return found
}

// optionOf is a row of the table of options as a parameter: what it may be
// beside what its kind may be is for the question to check.
func optionOf(o focus.Option) parameter[askExplain] {
	p := parameter[askExplain]{name: o.Name, kind: number}
	read := func(v string) error { return nil }
	switch o.Kind {
	case focus.Whole:
		read = func(v string) error { return count(new(int), v) }
	case focus.Share:
		read = func(v string) error { return share(new(float64), v) }
	case focus.Seed: // JSON carries whole numbers up to 2⁵³−1 everywhere: RFC 8259, 6.
		read = func(v string) error { return between(new(uint64), v, 0, 1<<53-1) }
	case focus.Word, focus.Cell:
		p.kind = text
	}
	if o.List != "" {
		p.name, p.list = o.List, func(a *askExplain, vs []string) error {
			a.Question.Queries = make([][]int, len(vs))
			for i, v := range vs {
				var err error
				if a.Question.Queries[i], err = focus.ParseCell(v); err != nil {
					return fmt.Errorf("%w: %v", errSyntax, err)
				}
			}
			return nil
		}
		return p
	}
	p.set = func(a *askExplain, v string) error {
		if err := read(v); err != nil {
			return err
		}
		if err := o.Value(&a.Question.Options).Set(v); err != nil {
			return fmt.Errorf("%w: %v", errValue, err)
		}
		return nil
	}
	return p
}

// ExplainParameters returns the names that a request to /v1/explain may hold.
func ExplainParameters() []string { return names(explainParameters) }

func names[A any](table []parameter[A]) (all []string) {
	for _, p := range table {
		all = append(all, p.name)
	}
	return all
}

// asking is a request that is being read: what it asks for, by its table.
type asking[A any] struct {
	ask   *A
	table []parameter[A]
}

// find returns the parameter of that name; the error names the allowed ones.
func (r asking[A]) find(name string) (parameter[A], error) {
	for _, p := range r.table {
		if p.name == name {
			return p, nil
		}
	}
	return parameter[A]{}, fmt.Errorf("%w: unknown parameter %s, want one of %s", errSyntax, clip(name), strings.Join(names(r.table), ", "))
}

// takes reports whether a parameter has that name.
func (r asking[A]) takes(name string) bool {
	_, err := r.find(name)
	return err == nil
}

// set takes a parameter, with all that has been given for it.
func (r asking[A]) set(name string, vs ...string) error {
	p, err := r.find(name)
	switch {
	case err != nil:
		return err
	case p.list != nil && len(vs) > focus.MaxMaps:
		err = fmt.Errorf("%w: given more than %d times", errValue, focus.MaxMaps)
	case p.list != nil:
		err = p.list(r.ask, vs)
	case len(vs) != 1:
		return fmt.Errorf("%w: parameter %s is given %d times", errSyntax, clip(name), len(vs))
	default:
		err = p.set(r.ask, vs[0])
	}
	if err != nil {
		return fmt.Errorf("parameter %s: %w", name, err)
	}
	return nil
}

// query takes the parameters of a query.
func (r asking[A]) query(values map[string][]string) error {
	for name, vs := range values {
		if err := r.set(name, vs...); err != nil {
			return err
		}
	}
	return nil
}

// member takes a parameter of a JSON body, which must be of its kind.
func (r asking[A]) member(name string, raw json.RawMessage) error {
	p, err := r.find(name)
	if err != nil {
		return err
	}
	if p.list == nil {
		v, err := scalar(p.name, p.kind, raw)
		if err != nil {
			return err
		}
		return r.set(name, v)
	}
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil || items == nil {
		return fmt.Errorf("%w: %s is %s, want an array", errSyntax, name, clip(string(raw)))
	}
	vs := make([]string, len(items))
	for i, item := range items {
		if vs[i], err = scalar(p.name, p.kind, item); err != nil {
			return err
		}
	}
	return r.set(name, vs...)
}

// scalar reads a JSON value of a kind.
func scalar(name string, want kind, raw json.RawMessage) (string, error) {
	v := string(raw)
	var found kind
	switch {
	case v == "true" || v == "false":
		found = flag
	case strings.HasPrefix(v, `"`):
		found = text
		if err := json.Unmarshal(raw, &v); err != nil {
			return "", fmt.Errorf("%w: %s: %v", errSyntax, name, err)
		}
	case v != "" && (v[0] == '-' || v[0] >= '0' && v[0] <= '9'):
		found = number
	}
	if found != want && (want != flag || found == "") { // for boolean to read
		return "", fmt.Errorf("%w: %s is %s, want a %s", errSyntax, name, clip(v), want)
	}
	return v, nil
}

// count reads a whole number from 0. How large it may be is for those to say
// who know what it means; here, that it is an int of every client.
func count(dst *int, v string) error {
	return between(dst, v, 0, math.MaxInt32)
}

// between reads a whole number from least to most.
func between[N int | uint64](dst *N, v string, least, most int64) error {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%w: %s, want a whole number", errSyntax, clip(v))
	}
	if err != nil || n < least || n > most {
		return fmt.Errorf("%w: %s, want %d to %d", errValue, clip(v), least, most)
	}
	*dst = N(n)
	return nil
}

// share reads a number from 0 to 1.
func share(dst *float64, v string) error {
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || math.IsNaN(f) {
		return fmt.Errorf("%w: %s, want a number", errSyntax, clip(v))
	}
	if f < 0 || f > 1 {
		return fmt.Errorf("%w: %g, want 0 to 1", errValue, f)
	}
	*dst = f
	return nil
}

// boolean reads true or false, as Python writes them, too, and 1 and 0.
func boolean(v string) (bool, error) {
	switch v {
	case "true", "True", "TRUE", "1":
		return true, nil
	case "false", "False", "FALSE", "0":
		return false, nil
	}
	return false, fmt.Errorf("%w: %s, want true or false", errSyntax, clip(v))
}

func oneOf(v string, allowed ...string) error {
	if !slices.Contains(allowed, v) {
		return fmt.Errorf("%w: %s, want %s", errValue, clip(v), strings.Join(allowed, " or "))
	}
	return nil
}

// clip quotes what a sender wrote, for an error.
func clip(v string) string {
	const most = 64
	if len(v) > most {
		return fmt.Sprintf("%.*q…", most, v)
	}
	return strconv.Quote(v)
}
