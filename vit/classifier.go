package vit

import (
	"context"
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
			all = append(all, p.probabilities(row[:classes])...)
		}
	}
	return tensor.New(tensor.WithShape(n, classes), tensor.WithBacking(all)), nil
}

// probabilities returns softmax or sigmoid of one image's logits.
func (p Classifier) probabilities(logits []float32) []float32 {
	out := make([]float32, len(logits))
	if p.MultiLabel {
		for i, v := range logits {
			out[i] = float32(1 / (1 + math.Exp(-float64(v))))
		}
		return out
	}
	highest := math.Inf(-1)
	for _, v := range logits {
		highest = max(highest, float64(v))
	}
	var sum float64
	for _, v := range logits {
		sum += math.Exp(float64(v) - highest)
	}
	for i, v := range logits {
		out[i] = float32(math.Exp(float64(v)-highest) / sum)
	}
	return out
}
