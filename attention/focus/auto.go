package focus

import (
	"context"
	"errors"
	"fmt"
)

// Trial is one candidate of Auto.
type Trial struct {
	Method   string
	Options  Options
	Map      *Map      // nil where the candidate has none for this image
	Evidence *Evidence // nil likewise
	Err      error     // why not: ErrFlat or ErrNotFinite
}

// autoCandidates are cheap, so that what Auto costs is its evidence: they read
// one record, or derive the class once or twice.
var autoCandidates = []Trial{
	{Method: "raw"},
	{Method: "raw", Options: Options{Fusion: Max}},
	{Method: "rollout"},
	{Method: "rollout", Options: Options{Fusion: Max, Discard: 0.9}},
	{Method: "relevance"},
	{Method: "gradcam"},
	{Method: "legrad"},
	{Method: "inputgradient"},
}

// Auto makes the maps of several methods for image b of the record, which
// must hold every query row, and scores each: see Evaluate. Those with
// gradients are of d and the subject's class; without d, which is nil, they
// take no part. It returns all trials and the index of the one whose
// insertion exceeds its deletion by most. A candidate whose map is flat or not
// finite is marked; when no other is left the error is that of the first.
func Auto(ctx context.Context, s Subject, d Deriver, r *Record, b int) (best int, trials []Trial, err error) {
	best = -1
	for _, t := range autoCandidates {
		m, err := Find(t.Method)
		if err != nil {
			return 0, nil, err
		}
		switch {
		case m.Derive == nil:
			t.Map, t.Err = m.Map(r, b, t.Options)
		case d == nil:
			continue
		default:
			x := Images{
				Model: d, Pixels: s.Pixels, Patch: s.Patch, Targets: []Target{{Class: s.Class}},
				Record: Record{Grid: r.Grid, Prefix: r.Prefix, Pooled: r.Pooled},
			}
			t.Map, t.Err = m.DeriveOne(ctx, x, t.Options)
		}
		if t.Err != nil && !isUnpaintable(t.Err) {
			return 0, nil, t.Err
		}
		if t.Err == nil {
			if t.Evidence, err = Evaluate(ctx, s, t.Map); err != nil {
				return 0, nil, fmt.Errorf("attention: auto: score of %s: %w", t.Method, err)
			}
			if best < 0 || t.Evidence.Score() > trials[best].Evidence.Score() {
				best = len(trials)
			}
		}
		trials = append(trials, t)
	}
	if best < 0 {
		return 0, nil, errors.Join(errors.New("attention: auto: no method has a map"), trials[0].Err)
	}
	return best, trials, nil
}
