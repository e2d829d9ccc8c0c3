package attention

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

// autoCandidates read one record, so that what Auto costs is its evidence.
var autoCandidates = []Trial{
	{Method: "raw"},
	{Method: "raw", Options: Options{Fusion: Max}},
	{Method: "rollout"},
	{Method: "rollout", Options: Options{Fusion: Max, Discard: 0.9}},
}

// Auto reads the maps of several methods out of image b of the record, which
// must hold every query row, and scores each: see Evaluate. It returns all of
// them and the index of the one whose insertion exceeds its deletion by most.
// A candidate whose map is flat or not finite takes no part; when none is
// left the error is that of the first.
func Auto(ctx context.Context, s Subject, r *Record, b int) (best int, trials []Trial, err error) {
	best = -1
	for i, t := range autoCandidates {
		m, err := Find(t.Method)
		if err != nil {
			return 0, nil, err
		}
		t.Map, t.Err = m.Map(r, b, t.Options)
		if t.Err != nil && !isUnpaintable(t.Err) {
			return 0, nil, t.Err
		}
		if t.Err == nil {
			if t.Evidence, err = Evaluate(ctx, s, t.Map); err != nil {
				return 0, nil, fmt.Errorf("attention: auto: score of %s: %w", t.Method, err)
			}
			if best < 0 || t.Evidence.Score() > trials[best].Evidence.Score() {
				best = i
			}
		}
		trials = append(trials, t)
	}
	if best < 0 {
		return 0, nil, errors.Join(errors.New("attention: auto: no method has a map"), trials[0].Err)
	}
	return best, trials, nil
}
