package vit

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/vitserve/vitserve/attention"
	"gorgonia.org/tensor"
)

// Classifier answers attention's questions about a model from a session, in
// batches of at most the session's. Like the session it is for one goroutine
// at a time.
type Classifier struct {
	Session    *Session
	MultiLabel bool // probabilities are sigmoids of the logits, not their softmax
}

var _ attention.Explainer = Classifier{}

// Probabilities implements attention.Classifier.
func (p Classifier) Probabilities(ctx context.Context, pixels *tensor.Dense) (*tensor.Dense, error) {
	shape := pixels.Shape()
	image := shape.TotalSize() / shape[0]
	return p.inBatches(ctx, shape[0], func(lo, hi int) (*tensor.Dense, error) {
		part := tensor.New(tensor.WithShape(hi-lo, shape[1], shape[2], shape[3]), tensor.WithBacking(pixels.Float32s()[lo*image:hi*image]))
		out, err := p.Session.Forward(part, Wants{})
		if err != nil {
			return nil, err
		}
		return out.Logits, nil
	})
}

// Kept implements attention.Classifier.
func (p Classifier) Kept(ctx context.Context, pixels *tensor.Dense, keep [][]int) (*tensor.Dense, error) {
	return p.inBatches(ctx, len(keep), func(lo, hi int) (*tensor.Dense, error) {
		return p.Session.Kept(pixels, keep[lo:hi])
	})
}

// Tokens implements attention.Explainer. It takes at most the session's batch.
func (p Classifier) Tokens(ctx context.Context, pixels *tensor.Dense) (*tensor.Dense, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	last := p.Session.m.cfg.Depth - 1
	out, err := p.Session.Forward(pixels, Wants{Tokens: []int{last}})
	if err != nil {
		return nil, err
	}
	return out.Tokens[last], nil
}

// inBatches gathers the probabilities of n questions.
func (p Classifier) inBatches(ctx context.Context, n int, logits func(lo, hi int) (*tensor.Dense, error)) (*tensor.Dense, error) {
	classes := p.Session.m.cfg.Classes
	all := make([]float32, 0, n*classes)
	for lo := 0; lo < n; lo += p.Session.o.MaxBatch {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		l, err := logits(lo, min(lo+p.Session.o.MaxBatch, n))
		if err != nil {
			return nil, err
		}
		for row := l.Float32s(); len(row) > 0; row = row[classes:] {
			for _, score := range Scores(row[:classes], p.MultiLabel) {
				all = append(all, float32(score))
			}
		}
	}
	return tensor.New(tensor.WithShape(n, classes), tensor.WithBacking(all)), nil
}

// ErrNotFinite is the error of numbers that are none: the model is broken.
var ErrNotFinite = errors.New("NaN or Inf")

// CheckFinite refuses values that nobody can act on with ErrNotFinite; what
// they are begins its text.
func CheckFinite(what string, values []float32) error {
	for i, v := range values {
		if v-v != 0 {
			return fmt.Errorf("%s with %w: %v at %d", what, ErrNotFinite, v, i)
		}
	}
	return nil
}

// Scores turns the logits of one image into probabilities: their softmax, or
// for a multi-label model the sigmoid of each. What is not a number counts as
// impossible, so that scores are numbers whatever a model computes.
func Scores(logits []float32, multiLabel bool) []float64 {
	scores := make([]float64, len(logits))
	if multiLabel {
		for i, x := range logits {
			if x == x {
				scores[i] = 1 / (1 + math.Exp(-float64(x)))
			}
		}
		return scores
	}
	top := math.Inf(-1)
	for _, x := range logits {
		if x := float64(x); x > top {
			top = x
		}
	}
	var sum float64
	for i, x := range logits {
		switch x := float64(x); {
		case x == top && !math.IsInf(x, -1):
			scores[i] = 1 // and with an infinite top the others are nothing
		case x < top:
			scores[i] = math.Exp(x - top)
		}
		sum += scores[i]
	}
	for i := range scores {
		if sum > 0 {
			scores[i] /= sum
		}
	}
	return scores
}
