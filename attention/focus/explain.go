package focus

import (
	"context"
	"fmt"

	"gorgonia.org/tensor"
)

// Explainer is a model that answers any Question.
type Explainer interface {
	Classifier
	Deriver

	// Tokens returns the tokens (B, N, C) of pixels (B, 3, H, W) as the last
	// block leaves them, before the final norm.
	Tokens(ctx context.Context, pixels *tensor.Dense) (*tensor.Dense, error)
}

// Explanation is the answer to a Question about an image.
type Explanation struct {
	Logits   []float32 // (K)
	Maps     []Explained
	Outliers []Outlier // with evidence only
	Kept     *Record   // what was asked to be kept, of one image
}

// Explained is a map and what it is of, or why there is none.
type Explained struct {
	Method   Method    // that made the map: of auto, the one that it chose
	Options  Options   // likewise
	Target   *Target   // that the map or its evidence is about; nil: nothing is
	Map      *Map      // nil: see Err
	Err      error     // ErrFlat or ErrNotFinite
	Evidence *Evidence // nil: not asked for
	Trials   []Trial   // of auto
}

// Explain answers q about the image of s, which is image b of the record with
// these logits (K); the record's Attn and the logits are not looked at where
// Derives. Of the subject it takes neither Model nor Class. The question has
// been checked. Errors are those of the model and of the context; a map that
// must not be painted is an error of its own.
func (q Question) Explain(ctx context.Context, model Explainer, s Subject, r *Record, b int, logits []float32) (*Explanation, error) {
	m, err := q.method()
	if err != nil {
		return nil, err
	}
	s.Model = model
	x := &Explanation{Logits: logits}
	if m.Derive != nil {
		err = q.derive(ctx, model, s, r, m, x)
	} else {
		err = q.read(ctx, model, s, r, b, m, x)
	}
	if err == nil && q.Keep != nil {
		x.Kept, err = r.Cut(b, *q.Keep)
	}
	if err == nil && (q.Evidence || m.Name == AutoMethod) {
		err = q.judge(ctx, model, s, r, x)
	}
	if err != nil {
		return nil, err
	}
	return x, nil
}

// derive makes the maps of a method with gradients, all over one trace.
func (q Question) derive(ctx context.Context, model Explainer, s Subject, r *Record, m Method, x *Explanation) error {
	d, err := m.Derive(ctx, Images{
		Model: model, Pixels: s.Pixels, Patch: s.Patch, Batch: s.Batch, Targets: q.Targets, Best: q.Best,
		Record: Record{Grid: r.Grid, Prefix: r.Prefix, Pooled: r.Pooled},
	}, q.Options)
	if err != nil {
		return err
	}
	x.Logits = d.Logits.Float32s()
	for _, f := range d.Maps[0] {
		x.Maps = append(x.Maps, Explained{Method: m, Options: q.Options, Target: &f.Target, Map: f.Map, Err: f.Err})
	}
	return nil
}

// read makes the maps of a method that reads the record or asks the model.
func (q Question) read(ctx context.Context, model Explainer, s Subject, r *Record, b int, m Method, x *Explanation) error {
	targets := []*Target{nil}
	if q.asks(m) {
		if x.Logits == nil {
			return fmt.Errorf("attention: %s: the model has no head to be asked", m.Name)
		}
		targets = nil
		for _, t := range q.targets(x.Logits) {
			targets = append(targets, &t)
		}
	}
	for _, t := range targets {
		if t != nil {
			s.Class = t.Class
		}
		if m.Name == AutoMethod {
			e, err := best(ctx, model, s, r, b)
			if err != nil {
				return err
			}
			e.Target = t
			x.Maps = append(x.Maps, e)
			continue
		}
		for _, o := range q.options() {
			e := Explained{Method: m, Options: o, Target: t}
			if m.Probe != nil {
				e.Map, e.Err = m.Probe(ctx, s, o)
			} else {
				e.Map, e.Err = m.Map(r, b, o)
			}
			if e.Err != nil && !isUnpaintable(e.Err) {
				return e.Err
			}
			x.Maps = append(x.Maps, e)
		}
	}
	return nil
}

// targets returns those of q, or the best classes.
func (q Question) targets(logits []float32) []Target {
	if len(q.Targets) > 0 {
		return q.Targets
	}
	var all []Target
	for _, k := range highest(logits, max(1, q.Best)) {
		all = append(all, Target{Class: k})
	}
	return all
}

// best is the method auto.
func best(ctx context.Context, model Explainer, s Subject, r *Record, b int) (Explained, error) {
	at, trials, err := Auto(ctx, s, model, r, b)
	if isUnpaintable(err) {
		return Explained{Method: Method{Name: AutoMethod}, Err: err}, nil
	}
	if err != nil {
		return Explained{}, err
	}
	t := trials[at]
	m, err := Find(t.Method)
	return Explained{Method: m, Options: t.Options, Map: t.Map, Evidence: t.Evidence, Trials: trials}, err
}

// judge scores the maps that auto has not, and looks for outliers.
func (q Question) judge(ctx context.Context, model Explainer, s Subject, r *Record, x *Explanation) error {
	for i := range x.Maps {
		e := &x.Maps[i]
		if e.Map == nil || e.Evidence != nil {
			continue
		}
		s.Class = e.Target.Class
		var err error
		if e.Evidence, err = Evaluate(ctx, s, e.Map); err != nil {
			return err
		}
	}
	tokens, err := model.Tokens(ctx, s.Pixels)
	if err != nil {
		return err
	}
	x.Outliers = Outliers(tokens, 0, r.Prefix, r.Grid)
	return nil
}

// highest returns the indices of the n highest values, the lower index first
// where two are alike.
func highest(values []float32, n int) []int {
	return highestFirst(values)[:min(n, len(values))]
}
