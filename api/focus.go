package api

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/attention"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// auto is the method that shows the map of the best evidence.
const auto = "auto"

// probeBatch is how many parts of a picture the model is asked about at once.
const probeBatch = 8

// methodNames names what /v1/explain takes.
func methodNames() []string {
	return append(attention.Names(), auto)
}

// plan is how pictures are explained. It is the same for all of a request.
type plan struct {
	method   attention.Method // with auto only its name
	options  attention.Options
	class    int  // that the map or its evidence is about; -1: the best of each picture
	versus   int  // that class is compared with; -1: none
	asks     bool // the map or its evidence is about a class
	evidence bool
}

// focusIn is a picture to be explained.
type focusIn struct {
	ctx    context.Context // asking the model takes long: it ends when nobody waits
	pixels *tensor.Dense   // (3, H, W)
	plan   plan
}

// focusOut is a picture explained.
type focusOut struct {
	logits   []float32 // (K)
	focus    *attention.Map
	method   attention.Method  // that made the map
	options  attention.Options // likewise
	class    int               // that the map or its evidence is about; -1: none
	evidence *attention.Evidence
	maps     time.Duration // what all maps of the batch took
	err      error         // of the map
}

// record is what the focus maps know of the model before a forward pass.
func (r *resident) record() attention.Record {
	rows, cols := r.config.Grid()
	return attention.Record{Grid: [2]int{rows, cols}, Prefix: r.config.Prefix, Pooled: r.pooled}
}

// check says what of a is impossible for this model.
func (r *resident) check(a *ask) (plan, patch.Transform, error) {
	t, err := r.transform.With(a.preprocess)
	if err != nil || !a.explains {
		return plan{}, t, err
	}
	p := plan{options: a.options, class: -1, versus: -1, evidence: a.evidence, method: attention.Method{Name: auto}}
	name := a.method
	switch {
	case name == "" && a.class != "":
		name = attention.DefaultClassMethod
	case name == "":
		name = attention.DefaultMethod
	}
	if name != auto {
		if p.method, err = attention.Find(name); err != nil {
			return p, t, fmt.Errorf("%w: method %s, want one of %s", errValue, clip(name), strings.Join(methodNames(), ", "))
		}
		if err := p.method.Check(a.options, r.record().Grid, r.config.Depth, r.config.Heads); err != nil {
			return p, t, err
		}
	}
	p.asks = p.method.Name == auto || p.method.Probe != nil || p.method.Derive != nil || p.evidence
	switch {
	case p.method.Name == auto && !equalOptions(a.options, attention.Options{}):
		return p, t, fmt.Errorf("%w: method auto chooses options itself, want none", errValue)
	case a.class != "" && !p.asks:
		return p, t, fmt.Errorf("%w: class: %s reads attention, which knows no class; want it with %s, %s or evidence",
			errValue, p.method.Name, strings.Join(append(attention.ProbeNames(), attention.GradientNames()...), ", "), auto)
	case a.versus != "" && p.method.Derive == nil:
		return p, t, fmt.Errorf("%w: versus: want it with %s", errValue, strings.Join(attention.GradientNames(), ", "))
	case a.versus != "" && a.class == "":
		return p, t, fmt.Errorf("%w: versus: want a class that is compared with it", errValue)
	}
	for _, c := range []struct {
		named string
		index *int
	}{{a.class, &p.class}, {a.versus, &p.versus}} {
		if c.named == "" {
			continue
		}
		if *c.index, err = r.class(c.named); err != nil {
			return p, t, err
		}
	}
	return p, t, a.style.Check()
}

func equalOptions(a, b attention.Options) bool {
	query := slices.Equal(a.Query, b.Query)
	a.Query, b.Query = nil, nil
	return query && fmt.Sprint(a) == fmt.Sprint(b)
}

// class finds a class by index or label: the whole label, or one of its
// names, in letters of any case.
func (r *resident) class(v string) (int, error) {
	labels := r.card.Labels
	if i, err := strconv.Atoi(v); err == nil {
		if i < 0 || i >= len(labels) {
			return 0, fmt.Errorf("%w: class %d, want 0 to %d or a label", errValue, i, len(labels)-1)
		}
		return i, nil
	}
	var found []int
	for i, l := range labels {
		named := slices.ContainsFunc(strings.Split(l, ","), func(name string) bool { return strings.EqualFold(strings.TrimSpace(name), v) })
		if named || strings.EqualFold(l, v) {
			found = append(found, i)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return 0, fmt.Errorf("%w: class %s, want 0 to %d or a label of /v1/models/%s", errValue, clip(v), len(labels)-1, r.id)
	}
	return 0, fmt.Errorf("%w: class %s is the label of %d classes, want an index, such as %d or %d", errValue, clip(v), len(found), found[0], found[1])
}

// rows returns what a forward pass must record for p.
func (p plan) rows(rec *attention.Record) (rows []int, full bool) {
	if p.method.Name == auto {
		return nil, true
	}
	return p.method.Rows(rec, p.options)
}

// focus explains a batch. Pictures that need other rows of the attention are
// computed apart, so that none depends on its company.
func (r *resident) focus(in []focusIn) ([]focusOut, error) {
	ok := false
	defer func() {
		if !ok {
			r.lanes[1].reset()
		}
	}()
	out := make([]focusOut, len(in))
	done := make([]bool, len(in))
	var maps time.Duration
	for i := range in {
		if done[i] {
			continue
		}
		rec := r.record()
		if in[i].plan.method.Derive != nil {
			start := time.Now()
			out[i], done[i] = r.derive(in[i], rec), true
			maps += time.Since(start)
			continue
		}
		rows, full := in[i].plan.rows(&rec)
		var group []int
		var pixels []*tensor.Dense
		for j := i; j < len(in); j++ {
			if rj, fj := in[j].plan.rows(&rec); !done[j] && in[j].plan.method.Derive == nil && fj == full && slices.Equal(rj, rows) {
				group, pixels, done[j] = append(group, j), append(pixels, in[j].pixels), true
			}
		}
		f, err := r.lanes[1].forward(pixels, vit.Wants{AttnRows: rows, AttnFull: full})
		if err != nil {
			return nil, err
		}
		rec.Attn, rec.Rows = f.Attn, rows
		logits := split(f.Logits)
		start := time.Now()
		for b, j := range group {
			out[j] = r.look(in[j], &rec, b, logits[b])
		}
		maps += time.Since(start)
	}
	for i := range out {
		out[i].maps = maps
	}
	ok = true
	return out, nil
}

// look makes the map of one picture, image b of the record.
func (r *resident) look(in focusIn, rec *attention.Record, b int, logits []float32) focusOut {
	p := in.plan
	o := focusOut{logits: logits, method: p.method, options: p.options, class: -1}
	if !p.asks {
		o.focus, o.err = p.method.Map(rec, b, p.options)
		return o
	}
	if o.class = p.class; o.class < 0 {
		o.class = r.top(logits, 1, 0)[0].Index
	}
	s := r.subject(in, o.class)
	switch {
	case p.method.Name == auto:
		best, trials, err := attention.Auto(in.ctx, s, s.Model.(vit.Classifier), rec, b)
		if err != nil {
			o.err = err
			return o
		}
		t := trials[best]
		o.focus, o.evidence, o.options = t.Map, t.Evidence, t.Options
		o.method, o.err = attention.Find(t.Method)
		return o
	case p.method.Probe != nil:
		o.focus, o.err = p.method.Probe(in.ctx, s, p.options)
	default:
		o.focus, o.err = p.method.Map(rec, b, p.options)
	}
	if o.err == nil && p.evidence {
		o.evidence, o.err = attention.Evaluate(in.ctx, s, o.focus)
	}
	return o
}

// subject is a picture that the model is asked about again and again.
func (r *resident) subject(in focusIn, class int) attention.Subject {
	rows, cols := r.config.Grid()
	return attention.Subject{
		Model:  vit.Classifier{Session: r.lanes[1].session, MultiLabel: r.card.MultiLabel},
		Pixels: tensor.New(tensor.WithShape(1, 3, r.config.Image[0], r.config.Image[1]), tensor.WithBacking(in.pixels.Float32s())),
		Grid:   [2]int{rows, cols}, Patch: r.config.Patch, Class: class, Batch: probeBatch,
	}
}

// derive makes the map of one picture by deriving the model's answer.
func (r *resident) derive(in focusIn, rec attention.Record) focusOut {
	p := in.plan
	o := focusOut{method: p.method, options: p.options, class: -1}
	if o.err = r.lanes[1].ready(); o.err != nil {
		return o
	}
	s := r.subject(in, p.class)
	x := attention.Images{
		Model: vit.Classifier{Session: r.lanes[1].session, MultiLabel: r.card.MultiLabel}, Pixels: s.Pixels, Record: rec, Patch: s.Patch, Batch: probeBatch,
	}
	if p.class >= 0 {
		target := attention.Target{Class: p.class}
		if p.versus >= 0 {
			target.Versus = []int{p.versus}
		}
		x.Targets = []attention.Target{target}
	}
	d, err := p.method.Derive(in.ctx, x, p.options)
	if err != nil {
		o.err = err
		return o
	}
	f := d.Maps[0][0]
	o.logits, o.class, o.focus, o.err = split(d.Logits)[0], f.Target.Class, f.Map, f.Err
	if o.err == nil && p.evidence {
		s.Class = o.class
		o.evidence, o.err = attention.Evaluate(in.ctx, s, o.focus)
	}
	return o
}

// focusOf is the map of o for the sender.
func focusOf(o *focusOut) v1.Focus {
	rows, cols := o.focus.Grid()
	low, high := o.focus.Range()
	f := v1.Focus{
		Method: o.method.Name, Paper: o.method.Paper, Layer: o.focus.Layer, Head: o.focus.Head, OnPrefix: o.focus.OnPrefix,
		Discard: o.options.Discard, Rows: rows, Cols: cols, Min: float64(low), Max: float64(high), Values: make([][]float32, rows),
	}
	if o.method.Probe == nil && o.method.Derive == nil && o.focus.Head == 0 {
		f.Fusion = string(o.options.Fusion)
		if f.Fusion == "" {
			f.Fusion = string(attention.Mean)
		}
	}
	var sum float64
	for _, v := range o.focus.Values.Float32s() {
		sum += float64(v)
	}
	f.Mean = sum / float64(rows*cols)
	for i := range f.Values {
		f.Values[i] = o.focus.Values.Float32s()[i*cols : (i+1)*cols]
	}
	return f
}

func evidenceOf(e *attention.Evidence) v1.Evidence {
	if e == nil {
		return v1.Evidence{}
	}
	return v1.Evidence{
		Deletion: e.Deletion, Insertion: e.Insertion, Positive: e.Positive, Negative: e.Negative,
		DeletionCurve: e.DeletionCurve, InsertionCurve: e.InsertionCurve,
	}
}
