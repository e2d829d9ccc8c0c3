package focus

import "context"

// Explanation is the answer to a Question about an image.
type Explanation struct {
	Logits   []float32 // (K)
	Maps     []Focus
	Outliers []Outlier // with evidence only
	Kept     *Record   // what was asked to be kept, of one image

	// Layers are by layer the logits (K) that the model would have answered
	// had it ended there; nil: not asked for.
	Layers [][]float32
}

// Explain answers q about the one image of x; of the record its Attn and
// Logits are not looked at where Derives. Of the subject it takes no targets:
// they are those of q. The question has been checked. Errors are those of the
// model and of the context; a map that must not be painted has an error of
// its own.
func (q Question) Explain(ctx context.Context, x Subject) (*Explanation, error) {
	m, err := q.method()
	if err != nil {
		return nil, err
	}
	x.Targets, x.Best = q.Targets, q.Best
	if q.asks(m) && m.From != FromGradients {
		if x.Targets, err = x.targets(); err != nil {
			return nil, err
		}
	}
	a, err := q.maps(ctx, m, x)
	if err != nil {
		return nil, err
	}
	if q.Keep != nil {
		if a.Kept, err = x.Cut(0, *q.Keep); err != nil {
			return nil, err
		}
	}
	if q.Evidence || m.From == FromMaps {
		err = q.judge(ctx, x, a)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// maps makes the maps of every target, and for each of every query.
func (q Question) maps(ctx context.Context, m Method, x Subject) (*Explanation, error) {
	a := &Explanation{}
	var by [][]Focus // query, of its targets
	for _, o := range q.options() {
		made, err := m.Maps(ctx, x, o)
		if err != nil {
			return nil, err
		}
		if by = append(by, made.Maps[0]); made.Logits != nil {
			a.Logits = made.Logits.Float32s()
		}
	}
	if m.OfClass() {
		for t := range by[0] {
			for _, made := range by {
				a.Maps = append(a.Maps, made[t])
			}
		}
		return a, nil
	}
	// A map from attention is of no class, though its evidence may be.
	targets := []*Target{nil}
	if q.asks(m) {
		targets = nil
		for _, t := range x.Targets {
			targets = append(targets, &t)
		}
	}
	for _, t := range targets {
		for _, made := range by {
			f := made[0]
			f.Target = t
			a.Maps = append(a.Maps, f)
		}
	}
	return a, nil
}

// judge scores the maps that have no evidence, and looks for outliers.
func (q Question) judge(ctx context.Context, x Subject, a *Explanation) error {
	for i := range a.Maps {
		f := &a.Maps[i]
		if f.Map == nil || f.Evidence != nil {
			continue
		}
		var err error
		if f.Evidence, err = Evaluate(ctx, x, f.Target.Class, f.Map); err != nil {
			return err
		}
	}
	tokens, err := x.Model.Tokens(ctx, x.Pixels)
	if err != nil {
		return err
	}
	a.Outliers = Outliers(tokens, 0, x.Prefix, x.Grid)
	return nil
}

// highest returns the indices of the n highest values, the lower index first
// where two are alike.
func highest(values []float32, n int) []int {
	return highestFirst(values)[:min(n, len(values))]
}
