package api

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vitserve/vitserve/attention"
	"github.com/vitserve/vitserve/internal/batch"
	"github.com/vitserve/vitserve/patch"
)

// ask is what a request asks for beside its pictures.
type ask struct {
	explains bool // the request is for a focus map

	model      string
	topK       int
	minScore   float64
	logits     bool
	decode     patch.Options
	preprocess patch.Preprocess
	priority   batch.Priority
	timeout    time.Duration // 0: the server's

	method   string // "": the default
	options  attention.Options
	class    string // label or index; "": the best
	versus   string // likewise; "": none
	evidence bool
	style    attention.Style
}

func newAsk(explains bool) *ask {
	return &ask{explains: explains, topK: 5}
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
	name    string
	kind    kind
	explain bool // of /v1/explain only
	set     func(a *ask, v string) error
}

var parameters = []parameter{
	{"model", text, false, func(a *ask, v string) error { a.model = v; return nil }},
	{"top_k", number, false, func(a *ask, v string) error { return count(&a.topK, v) }},
	{"min_score", number, false, func(a *ask, v string) error { return share(&a.minScore, v) }},
	{"logits", flag, false, func(a *ask, v string) (err error) { a.logits, err = boolean(v); return err }},
	{"exif", text, false, func(a *ask, v string) error {
		a.decode.IgnoreEXIF = v == "off"
		return oneOf(v, "on", "off")
	}},
	{"preprocess", text, false, func(a *ask, v string) error {
		a.preprocess = patch.Preprocess(v)
		return oneOf(v, string(patch.PreprocessModel), string(patch.PreprocessCrop), string(patch.PreprocessNone))
	}},
	{"resize", text, false, func(a *ask, v string) error {
		a.decode.Resize = patch.Resize(v)
		return oneOf(v, string(patch.ResizeExact), string(patch.ResizeFast))
	}},
	{"priority", text, false, func(a *ask, v string) error {
		a.priority = batch.High
		if v == "low" {
			a.priority = batch.Low
		}
		return oneOf(v, "high", "low")
	}},
	{"timeout_ms", number, false, func(a *ask, v string) error {
		var ms int
		if err := count(&ms, v); err != nil {
			return err
		}
		a.timeout = time.Duration(ms) * time.Millisecond
		if ms < 1 || a.timeout > time.Hour {
			return fmt.Errorf("%w: %d, want 1 to %d", errValue, ms, time.Hour.Milliseconds())
		}
		return nil
	}},

	{"method", text, true, func(a *ask, v string) error { a.method = v; return nil }},
	{"layer", number, true, func(a *ask, v string) error { return count(&a.options.Layer, v) }},
	{"head", number, true, func(a *ask, v string) error { return count(&a.options.Head, v) }},
	{"fusion", text, true, func(a *ask, v string) error { a.options.Fusion = attention.Fusion(v); return nil }},
	{"discard", number, true, func(a *ask, v string) error { return share(&a.options.Discard, v) }},
	{"start", number, true, func(a *ask, v string) error { return count(&a.options.Start, v) }},
	{"query", text, true, func(a *ask, v string) error {
		a.options.Query = make([]int, 2)
		row, col, both := strings.Cut(v, ",")
		if !both {
			return fmt.Errorf("%w: %q, want row,column", errSyntax, v)
		}
		if err := count(&a.options.Query[0], row); err != nil {
			return err
		}
		return count(&a.options.Query[1], col)
	}},
	{"mass", number, true, func(a *ask, v string) error { return share(&a.options.Mass, v) }},
	{"compat", text, true, func(a *ask, v string) error { a.options.Compat, a.style.Compat = v, v; return nil }},
	{"class", text, true, func(a *ask, v string) error { a.class = v; return nil }},
	{"versus", text, true, func(a *ask, v string) error { a.versus = v; return nil }},
	{"evidence", flag, true, func(a *ask, v string) (err error) { a.evidence, err = boolean(v); return err }},
	{"window", number, true, func(a *ask, v string) error { return count(&a.options.Window, v) }},
	{"masks", number, true, func(a *ask, v string) error { return count(&a.options.Masks, v) }},
	{"keep", number, true, func(a *ask, v string) error { return share(&a.options.Keep, v) }},
	{"seed", number, true, func(a *ask, v string) error {
		var n int
		err := count(&n, v)
		a.options.Seed = uint64(n)
		return err
	}},
	{"steps", number, true, func(a *ask, v string) error { return count(&a.options.Steps, v) }},
	{"colors", text, true, func(a *ask, v string) error { a.style.Colors = v; return nil }},
	{"alpha", number, true, func(a *ask, v string) error { return share(&a.style.Alpha, v) }},
	{"upsample", text, true, func(a *ask, v string) error { a.style.Upsample = attention.Upsampling(v); return nil }},
}

// find returns the parameter of that name; the error names the allowed ones.
func (a *ask) find(name string) (parameter, error) {
	var names []string
	for _, p := range parameters {
		if p.explain && !a.explains {
			continue
		}
		if p.name == name {
			return p, nil
		}
		names = append(names, p.name)
	}
	return parameter{}, fmt.Errorf("%w: unknown parameter %s, want one of %s", errSyntax, clip(name), strings.Join(names, ", "))
}

// set takes a parameter of a query or a form.
func (a *ask) set(name, v string) error {
	p, err := a.find(name)
	if err != nil {
		return err
	}
	if err := p.set(a, v); err != nil {
		return fmt.Errorf("parameter %s: %w", name, err)
	}
	return nil
}

// query takes the parameters of a query.
func (a *ask) query(values map[string][]string) error {
	for name, vs := range values {
		if len(vs) != 1 {
			return fmt.Errorf("%w: parameter %s is given %d times", errSyntax, clip(name), len(vs))
		}
		if err := a.set(name, vs[0]); err != nil {
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
	v := string(raw)
	var found kind
	switch {
	case v == "true" || v == "false":
		found = flag
	case strings.HasPrefix(v, `"`):
		found = text
		if err := json.Unmarshal(raw, &v); err != nil {
			return fmt.Errorf("%w: %s: %v", errSyntax, name, err)
		}
	case v != "" && (v[0] == '-' || v[0] >= '0' && v[0] <= '9'):
		found = number
	}
	if found != p.kind {
		return fmt.Errorf("%w: %s is %s, want a %s", errSyntax, name, clip(v), p.kind)
	}
	return a.set(name, v)
}

// count reads a whole number from 0.
func count(dst *int, v string) error {
	const most = 3_600_000 // an hour in milliseconds
	n, err := strconv.Atoi(v)
	if err != nil {
		return fmt.Errorf("%w: %s, want a whole number", errSyntax, clip(v))
	}
	if n < 0 || n > most {
		return fmt.Errorf("%w: %d, want 0 to %d", errValue, n, most)
	}
	*dst = n
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
