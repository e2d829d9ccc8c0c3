package focus

import (
	"context"
	"errors"
	"fmt"
)

// candidate is a method that auto tries.
type candidate struct {
	method  string
	options Options
}

// candidates are every method that is cheap, so that what auto costs is its
// evidence: they read one record, or derive the class once or twice.
func candidates() []candidate {
	return []candidate{
		{"raw", Options{}},
		{"raw", Options{Fusion: Max}},
		{"rollout", Options{}},
		{"rollout", Options{Fusion: Max, Discard: 0.9}},
		{"normrollout", Options{}},
		{"relevance", Options{}},
		{"gradrollout", Options{}},
		{"gradcam", Options{}},
		{"legrad", Options{}},
		{"inputgradient", Options{}},
	}
}

// auto makes the maps of several methods for the one image of x, whose record
// must hold every query row, scores each, see Evaluate, and shows the one
// whose insertion exceeds its deletion by most, for each target. Those with
// gradients take no part of a model that gives none. Its Trials are all, in
// the order of the candidates; one whose map is flat or not finite is marked.
// When no other is left the error is that of the first.
func auto(ctx context.Context, x Subject, _ Options) (*Answer, error) {
	targets, err := x.targets()
	if err != nil {
		return nil, err
	}
	chosen := []Focus{}
	for _, t := range targets {
		trials, err := x.tried(ctx, t)
		if err != nil {
			return nil, err
		}
		best := -1
		for i, f := range trials {
			if f.Err == nil && (best < 0 || f.Evidence.Score() > trials[best].Evidence.Score()) {
				best = i
			}
		}
		if best < 0 {
			chosen = append(chosen, Focus{Target: &t, Err: errors.Join(errors.New("attention: auto: no method has a map"), trials[0].Err)})
			continue
		}
		f := trials[best]
		f.Target, f.Trials = &t, trials
		chosen = append(chosen, f)
	}
	return &Answer{Logits: x.Logits, Maps: [][]Focus{chosen}}, nil
}

// tried returns what the candidates make of a target, each with its evidence.
func (x Subject) tried(ctx context.Context, t Target) (trials []Focus, err error) {
	for _, c := range candidates() {
		m, err := Find(c.method)
		if err != nil {
			return nil, err
		}
		if m.Gram && x.Gram == nil {
			continue // a record of another program need not have it
		}
		x.Targets = []Target{{Class: t.Class}}
		f := Focus{Method: m, Options: c.options}
		f.Map, f.Err = m.Map(ctx, x, c.options)
		if errors.Is(f.Err, ErrGradients) {
			continue
		}
		if f.Err != nil && !isUnpaintable(f.Err) {
			return nil, f.Err
		}
		if f.Err == nil {
			if f.Evidence, err = Evaluate(ctx, x, t.Class, f.Map); err != nil {
				return nil, fmt.Errorf("attention: auto: score of %s: %w", c.method, err)
			}
		}
		trials = append(trials, f)
	}
	return trials, nil
}

// autoPasses: every candidate, and its evidence.
func autoPasses(_ Options, s Shape) (once, each float64) {
	for _, c := range candidates() {
		m, err := Find(c.method)
		if err != nil {
			panic(err)
		}
		o, e := m.passes(c.options, s)
		if m.OfClass() {
			each += o + e // a forward pass of its own for every target
		} else {
			once = max(once, o)
		}
		each += evidencePasses
	}
	return once, each
}
