package op

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/internal/batch"
	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/patch"
)

// ParameterKind is what a parameter is in a JSON body.
type ParameterKind string

// Kinds of parameters.
const (
	Text   ParameterKind = "string"
	Number ParameterKind = "number"
	Flag   ParameterKind = "boolean"
)

// Parameter is one name that a query, a form or a JSON body may hold, of an
// operation that is asked by an A.
type Parameter[A any] struct {
	Name string
	Kind ParameterKind
	Set  func(a *A, v string) error
	List func(a *A, vs []string) error // in place of Set: may be given several times, in JSON as an array
}

// Asked is where an A keeps what several operations are asked. An operation
// without labels has none, and one that no model computes no priority.
type Asked struct {
	*Options
	Labels   *Labels
	Logits   *bool
	Priority *batch.Priority
}

// Common are the parameters that several operations understand; of finds what
// they change.
func Common[A any](of func(*A) Asked) []Parameter[A] {
	has := of(new(A))
	all := []Parameter[A]{
		{Name: "model", Kind: Text, Set: func(a *A, v string) error { of(a).Model = v; return nil }},
	}
	if has.Labels != nil {
		all = append(all,
			Parameter[A]{Name: "top_k", Kind: Number, Set: func(a *A, v string) error { return count(&of(a).Labels.TopK, v) }},
			Parameter[A]{Name: "min_score", Kind: Number, Set: func(a *A, v string) error { return Share(&of(a).Labels.MinScore, v) }},
			Parameter[A]{Name: "logits", Kind: Flag, Set: func(a *A, v string) (err error) { *of(a).Logits, err = Boolean(v); return err }},
		)
	}
	all = append(all,
		Parameter[A]{Name: "exif", Kind: Text, Set: func(a *A, v string) error {
			of(a).Decode.IgnoreEXIF = v == "off"
			return OneOf(v, "on", "off")
		}},
		Parameter[A]{Name: "preprocess", Kind: Text, Set: func(a *A, v string) error {
			of(a).Preprocess = patch.Preprocess(v)
			return OneOf(v, string(patch.PreprocessModel), string(patch.PreprocessCrop), string(patch.PreprocessNone))
		}},
		Parameter[A]{Name: "resize", Kind: Text, Set: func(a *A, v string) error {
			of(a).Decode.Resize = patch.Resize(v)
			return OneOf(v, string(patch.ResizeExact), string(patch.ResizeFast))
		}},
	)
	if has.Priority != nil {
		all = append(all, Parameter[A]{Name: "priority", Kind: Text, Set: func(a *A, v string) error {
			*of(a).Priority = batch.High
			if v == "low" {
				*of(a).Priority = batch.Low
			}
			return OneOf(v, "high", "low")
		}})
	}
	return append(all, Parameter[A]{Name: "timeout_ms", Kind: Number, Set: func(a *A, v string) error {
		var ms int
		err := Between(&ms, v, 1, time.Hour.Milliseconds())
		of(a).Timeout = time.Duration(ms) * time.Millisecond
		return err
	}})
}

// Abstaining are the parameters of an operation that may answer no label.
func Abstaining[A any](of func(*A) *Abstain) []Parameter[A] {
	return []Parameter[A]{
		{Name: "min_confidence", Kind: Number, Set: func(a *A, v string) error { return Share(&of(a).MinConfidence, v) }},
		{Name: "min_energy", Kind: Number, Set: func(a *A, v string) error {
			of(a).MinEnergy = new(float64)
			return Within(of(a).MinEnergy, v, -1e6, 1e6)
		}},
	}
}

// OptionParameters are the parameters of rows of focus's table of options, from
// one to another; of finds the question that they change.
func OptionParameters[A any](of func(*A) *focus.Question, first, last string) (found []Parameter[A]) {
	for _, o := range focus.OptionTable() {
		if o.Name == first || len(found) > 0 {
			found = append(found, optionOf(o, of))
		}
		if o.Name == last {
			break
		}
	}
	return found
}

// optionOf is a row of the table of options as a parameter: what it may be
// beside what its kind may be is for the question to check.
func optionOf[A any](o focus.Option, of func(*A) *focus.Question) Parameter[A] {
	p := Parameter[A]{Name: o.Name, Kind: Number}
	read := func(v string) error { return nil }
	switch o.Kind {
	case focus.Whole:
		read = func(v string) error { return count(new(int), v) }
	case focus.Share:
		read = func(v string) error { return Share(new(float64), v) }
	case focus.Seed: // JSON carries whole numbers up to 2⁵³−1 everywhere: RFC 8259, 6.
		read = func(v string) error { return Between(new(uint64), v, 0, 1<<53-1) }
	case focus.Word, focus.Cell:
		p.Kind = Text
	}
	if o.List != "" {
		p.Name, p.List = o.List, func(a *A, vs []string) error {
			q := of(a)
			q.Queries = make([][]int, len(vs))
			for i, v := range vs {
				var err error
				if q.Queries[i], err = focus.ParseCell(v); err != nil {
					return fmt.Errorf("%w: %v", ErrSyntax, err)
				}
			}
			return nil
		}
		return p
	}
	p.Set = func(a *A, v string) error {
		if err := read(v); err != nil {
			return err
		}
		if err := o.Value(&of(a).Options).Set(v); err != nil {
			return fmt.Errorf("%w: %v", ErrValue, err)
		}
		return nil
	}
	return p
}

// Names returns those of a table.
func Names[A any](table []Parameter[A]) (all []string) {
	for _, p := range table {
		all = append(all, p.Name)
	}
	return all
}

// Asking is a request that is being read: what it asks for, by its table.
type Asking[A any] struct {
	Ask   *A
	Table []Parameter[A]
}

// find returns the parameter of that name; the error names the allowed ones.
func (r Asking[A]) find(name string) (Parameter[A], error) {
	for _, p := range r.Table {
		if p.Name == name {
			return p, nil
		}
	}
	return Parameter[A]{}, fmt.Errorf("%w: unknown parameter %s, %s", ErrSyntax, Clip(name), words.Among(name, Names(r.Table)...))
}

// Takes reports whether a parameter has that name.
func (r Asking[A]) Takes(name string) bool {
	_, err := r.find(name)
	return err == nil
}

// Set takes a parameter, with all that has been given for it.
func (r Asking[A]) Set(name string, vs ...string) error {
	p, err := r.find(name)
	switch {
	case err != nil:
		return err
	case p.List != nil && len(vs) > focus.MaxMaps:
		err = fmt.Errorf("%w: given more than %d times", ErrValue, focus.MaxMaps)
	case p.List != nil:
		err = p.List(r.Ask, vs)
	case len(vs) != 1:
		return fmt.Errorf("%w: parameter %s is given %d times", ErrSyntax, Clip(name), len(vs))
	default:
		err = p.Set(r.Ask, vs[0])
	}
	if err != nil {
		return fmt.Errorf("parameter %s: %w", name, err)
	}
	return nil
}

// Query takes the parameters of a query.
func (r Asking[A]) Query(values map[string][]string) error {
	for name, vs := range values {
		if err := r.Set(name, vs...); err != nil {
			return err
		}
	}
	return nil
}

// Member takes a parameter of a JSON body, which must be of its kind.
func (r Asking[A]) Member(name string, raw json.RawMessage) error {
	p, err := r.find(name)
	if err != nil {
		return err
	}
	if p.List == nil {
		v, err := scalar(p.Name, p.Kind, raw)
		if err != nil {
			return err
		}
		return r.Set(name, v)
	}
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil || items == nil {
		return fmt.Errorf("%w: %s is %s, want an array", ErrSyntax, name, Clip(string(raw)))
	}
	vs := make([]string, len(items))
	for i, item := range items {
		if vs[i], err = scalar(p.Name, p.Kind, item); err != nil {
			return err
		}
	}
	return r.Set(name, vs...)
}

// scalar reads a JSON value of a kind.
func scalar(name string, want ParameterKind, raw json.RawMessage) (string, error) {
	v := string(raw)
	var found ParameterKind
	switch {
	case v == "true" || v == "false":
		found = Flag
	case strings.HasPrefix(v, `"`):
		found = Text
		if err := json.Unmarshal(raw, &v); err != nil {
			return "", fmt.Errorf("%w: %s: %v", ErrSyntax, name, err)
		}
	case v != "" && (v[0] == '-' || v[0] >= '0' && v[0] <= '9'):
		found = Number
	}
	if found != want && (want != Flag || found == "") { // for boolean to read
		return "", fmt.Errorf("%w: %s is %s, want a %s", ErrSyntax, name, Clip(v), want)
	}
	return v, nil
}

// count reads a whole number from 0. How large it may be is for those to say
// who know what it means; here, that it is an int of every client.
func count(dst *int, v string) error {
	return Between(dst, v, 0, math.MaxInt32)
}

// Between reads a whole number from least to most.
func Between[N int | uint64](dst *N, v string, least, most int64) error {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%w: %s, want a whole number", ErrSyntax, Clip(v))
	}
	if err != nil || n < least || n > most {
		return fmt.Errorf("%w: %s, want %d to %d", ErrValue, Clip(v), least, most)
	}
	*dst = N(n)
	return nil
}

// Share reads a number from 0 to 1.
func Share(dst *float64, v string) error { return Within(dst, v, 0, 1) }

// Within reads a number from least to most.
func Within(dst *float64, v string, least, most float64) error {
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || math.IsNaN(f) {
		return fmt.Errorf("%w: %s, want a number", ErrSyntax, Clip(v))
	}
	if f < least || f > most {
		return fmt.Errorf("%w: %g, want %g to %g", ErrValue, f, least, most)
	}
	*dst = f
	return nil
}

// Boolean reads true or false, as Python writes them, too, and 1 and 0.
func Boolean(v string) (bool, error) {
	switch v {
	case "true", "True", "TRUE", "1":
		return true, nil
	case "false", "False", "FALSE", "0":
		return false, nil
	}
	return false, fmt.Errorf("%w: %s, want true or false", ErrSyntax, Clip(v))
}

// OneOf refuses what is not allowed.
func OneOf(v string, allowed ...string) error {
	if !slices.Contains(allowed, v) {
		near := words.Nearest(v, allowed...)
		if near != "" {
			near = "; did you mean " + near + "?"
		}
		return fmt.Errorf("%w: %s, want %s%s", ErrValue, Clip(v), strings.Join(allowed, " or "), near)
	}
	return nil
}

// Clip quotes what a sender wrote, for an error.
func Clip(v string) string {
	const most = 64
	if len(v) > most {
		return fmt.Sprintf("%.*q…", most, v)
	}
	return strconv.Quote(v)
}
