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

	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/internal/batch"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
)

// ask is what a request asks for beside its pictures.
type ask struct {
	route route

	model      string
	topK       int
	minScore   float64
	logits     bool
	decode     patch.Options
	preprocess patch.Preprocess
	priority   batch.Priority
	timeout    time.Duration // 0: the server's

	question focus.Question // without its targets
	classes  []string       // labels or indices; none: the best
	versus   string         // likewise; "": none
	send     sending
	style    focus.Style

	embedding vit.Embedding
}

func newAsk(r route) *ask {
	return &ask{route: r, topK: 5, embedding: vit.Embedding{Pool: vit.Pools()[0]}}
}

// route is what a request is for. A parameter may be of several.
type route uint8

const (
	toClassify route = 1 << iota
	toExplain
	toEmbed
	toPreprocess

	toName = toClassify | toExplain // classes
	toRun  = toName | toEmbed       // the model
	toSend = toExplain | toEmbed | toPreprocess
	toAny  = toRun | toPreprocess
)

// operations are the routes that take pictures, as the contract names them.
var operations = map[string]route{"classify": toClassify, "explain": toExplain, "embed": toEmbed, "preprocess": toPreprocess}

// String returns the name in the contract.
func (r route) String() string {
	for name, o := range operations {
		if o == r {
			return name
		}
	}
	panic(fmt.Sprintf("api: route %b", uint8(r)))
}

// kind is what a parameter is in a JSON body.
type kind string

const (
	text   kind = "string"
	number kind = "number"
	flag   kind = "boolean"
)

// parameter is one name that a query, a form or a JSON body may hold.
type parameter struct {
	name string
	kind kind
	of   route
	set  func(a *ask, v string) error
	list func(a *ask, vs []string) error // in place of set: may be given several times, in JSON as an array
}

// ExplainParameters returns the names that a request to /v1/explain may hold.
func ExplainParameters() []string {
	var names []string
	for _, p := range parameters {
		if p.of&toExplain != 0 {
			names = append(names, p.name)
		}
	}
	return names
}

// parameters is the table of them all, in the order in which errors list them.
var parameters = slices.Concat(ofRequests, options("layer", "compat"), ofClasses, options("window", "steps"), ofAnswers)

var ofRequests = []parameter{
	{name: "model", kind: text, of: toAny, set: func(a *ask, v string) error { a.model = v; return nil }},
	{name: "top_k", kind: number, of: toName, set: func(a *ask, v string) error { return count(&a.topK, v) }},
	{name: "min_score", kind: number, of: toName, set: func(a *ask, v string) error { return share(&a.minScore, v) }},
	{name: "logits", kind: flag, of: toName, set: func(a *ask, v string) (err error) { a.logits, err = boolean(v); return err }},
	{name: "exif", kind: text, of: toAny, set: func(a *ask, v string) error {
		a.decode.IgnoreEXIF = v == "off"
		return oneOf(v, "on", "off")
	}},
	{name: "preprocess", kind: text, of: toAny, set: func(a *ask, v string) error {
		a.preprocess = patch.Preprocess(v)
		return oneOf(v, string(patch.PreprocessModel), string(patch.PreprocessCrop), string(patch.PreprocessNone))
	}},
	{name: "resize", kind: text, of: toAny, set: func(a *ask, v string) error {
		a.decode.Resize = patch.Resize(v)
		return oneOf(v, string(patch.ResizeExact), string(patch.ResizeFast))
	}},
	{name: "priority", kind: text, of: toRun, set: func(a *ask, v string) error {
		a.priority = batch.High
		if v == "low" {
			a.priority = batch.Low
		}
		return oneOf(v, "high", "low")
	}},
	{name: "timeout_ms", kind: number, of: toAny, set: func(a *ask, v string) error {
		var ms int
		err := between(&ms, v, 1, time.Hour.Milliseconds())
		a.timeout = time.Duration(ms) * time.Millisecond
		return err
	}},

	{name: "method", kind: text, of: toExplain, set: func(a *ask, v string) error { a.question.Method = v; return nil }},
}

var ofClasses = []parameter{
	{name: "class", kind: text, of: toExplain, list: func(a *ask, vs []string) error { a.classes = vs; return nil }},
	{name: "classes", kind: number, of: toExplain, set: func(a *ask, v string) error { return between(&a.question.Best, v, 1, focus.MaxMaps) }},
	{name: "versus", kind: text, of: toExplain, set: func(a *ask, v string) error { a.versus = v; return nil }},
	{name: "evidence", kind: flag, of: toExplain, set: func(a *ask, v string) (err error) { a.question.Evidence, err = boolean(v); return err }},
}

var ofAnswers = []parameter{
	{name: "picture", kind: text, of: toExplain, set: func(a *ask, v string) error {
		a.send.picture = focus.Picture(v)
		return oneOf(v, focus.Pictures()...)
	}},
	{name: "values", kind: text, of: toExplain, set: func(a *ask, v string) error {
		a.send.values = v
		return oneOf(v, focus.ValuesMap, focus.ValuesAttention)
	}},
	{name: "format", kind: text, of: toSend, set: func(a *ask, v string) error { a.send.format = v; return oneOf(v, a.route.formats()...) }},
	{name: "quality", kind: number, of: toExplain, set: func(a *ask, v string) error { return between(&a.send.quality, v, 1, 100) }},
	{name: "colors", kind: text, of: toExplain, set: func(a *ask, v string) error { a.style.Colors = v; return nil }},
	{name: "alpha", kind: number, of: toExplain, set: func(a *ask, v string) error { return share(&a.style.Alpha, v) }},
	{name: "upsample", kind: text, of: toExplain, set: func(a *ask, v string) error { a.style.Upsample = focus.Upsampling(v); return nil }},

	{name: "pool", kind: text, of: toEmbed, set: func(a *ask, v string) error { a.embedding.Pool = v; return oneOf(v, vit.Pools()...) }},
	{name: "l2", kind: flag, of: toEmbed, set: func(a *ask, v string) (err error) { a.embedding.L2, err = boolean(v); return err }},
}

// options are the parameters of rows of the table of options, from one to
// another.
func options(first, last string) (found []parameter) {
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
func optionOf(o focus.Option) parameter {
	p := parameter{name: o.Name, kind: number, of: toExplain}
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
		p.name, p.list = o.List, func(a *ask, vs []string) error {
			a.question.Queries = make([][]int, len(vs))
			for i, v := range vs {
				var err error
				if a.question.Queries[i], err = focus.ParseCell(v); err != nil {
					return fmt.Errorf("%w: %v", errSyntax, err)
				}
			}
			return nil
		}
		return p
	}
	p.set = func(a *ask, v string) error {
		if err := read(v); err != nil {
			return err
		}
		if err := o.Value(&a.question.Options).Set(v); err != nil {
			return fmt.Errorf("%w: %v", errValue, err)
		}
		return nil
	}
	return p
}

// find returns the parameter of that name; the error names the allowed ones.
func (a *ask) find(name string) (parameter, error) {
	var names []string
	for _, p := range parameters {
		if p.of&a.route == 0 {
			continue
		}
		if p.name == name {
			return p, nil
		}
		names = append(names, p.name)
	}
	return parameter{}, fmt.Errorf("%w: unknown parameter %s, want one of %s", errSyntax, clip(name), strings.Join(names, ", "))
}

// set takes a parameter, with all that has been given for it.
func (a *ask) set(name string, vs ...string) error {
	p, err := a.find(name)
	switch {
	case err != nil:
		return err
	case p.list != nil && len(vs) > focus.MaxMaps:
		err = fmt.Errorf("%w: given more than %d times", errValue, focus.MaxMaps)
	case p.list != nil:
		err = p.list(a, vs)
	case len(vs) != 1:
		return fmt.Errorf("%w: parameter %s is given %d times", errSyntax, clip(name), len(vs))
	default:
		err = p.set(a, vs[0])
	}
	if err != nil {
		return fmt.Errorf("parameter %s: %w", name, err)
	}
	return nil
}

// query takes the parameters of a query.
func (a *ask) query(values map[string][]string) error {
	for name, vs := range values {
		if err := a.set(name, vs...); err != nil {
			return err
		}
	}
	return nil
}

// member takes a parameter of a JSON body, which must be of its kind.
func (a *ask) member(name string, raw json.RawMessage) error {
	p, err := a.find(name)
	if err != nil {
		return err
	}
	if p.list == nil {
		v, err := p.read(raw)
		if err != nil {
			return err
		}
		return a.set(name, v)
	}
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil || items == nil {
		return fmt.Errorf("%w: %s is %s, want an array", errSyntax, name, clip(string(raw)))
	}
	vs := make([]string, len(items))
	for i, item := range items {
		if vs[i], err = p.read(item); err != nil {
			return err
		}
	}
	return a.set(name, vs...)
}

// read reads a JSON value of the parameter's kind.
func (p parameter) read(raw json.RawMessage) (string, error) {
	v := string(raw)
	var found kind
	switch {
	case v == "true" || v == "false":
		found = flag
	case strings.HasPrefix(v, `"`):
		found = text
		if err := json.Unmarshal(raw, &v); err != nil {
			return "", fmt.Errorf("%w: %s: %v", errSyntax, p.name, err)
		}
	case v != "" && (v[0] == '-' || v[0] >= '0' && v[0] <= '9'):
		found = number
	}
	if found != p.kind {
		return "", fmt.Errorf("%w: %s is %s, want a %s", errSyntax, p.name, clip(v), p.kind)
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

// boolean reads true or false.
func boolean(v string) (bool, error) {
	if v != "true" && v != "false" {
		return false, fmt.Errorf("%w: %s, want true or false", errSyntax, clip(v))
	}
	return v == "true", nil
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
