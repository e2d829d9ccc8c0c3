package vitserve

import (
	"context"
	"fmt"
	"slices"

	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// View is a session's model as the focus maps see it. It asks in batches of
// at most the session's, and like the session it is for one goroutine at a
// time.
type View struct {
	Session    *vit.Session
	MultiLabel bool // probabilities are sigmoids of the logits, not their softmax
}

var _ focus.Explainer = View{}

// RecordOf is what the focus maps know of a model before a forward pass.
func RecordOf(c vit.Config) focus.Record {
	rows, cols := c.Grid()
	return focus.Record{
		Grid: [2]int{rows, cols}, Prefix: c.Prefix,
		Pooled: !slices.Contains(c.Pool, backend.Span{Lo: 0, Hi: 1}),
	}
}

// WantsOf returns what a focus map needs of a forward pass.
func WantsOf(n focus.Needs) vit.Wants {
	return vit.Wants{AttnRows: n.Rows, AttnFull: n.Full, Gram: n.Gram}
}

// Fill gives r what a forward pass recorded for n.
func Fill(r *focus.Record, o *vit.Output, n focus.Needs) {
	r.Attn, r.Rows, r.Gram = o.Attn, n.Rows, o.Gram
}

// Probabilities implements focus.Classifier.
func (v View) Probabilities(ctx context.Context, pixels *tensor.Dense) (*tensor.Dense, error) {
	shape := pixels.Shape()
	image := shape.TotalSize() / shape[0]
	return v.inBatches(ctx, shape[0], func(lo, hi int) (*tensor.Dense, error) {
		part := tensor.New(tensor.WithShape(hi-lo, shape[1], shape[2], shape[3]), tensor.WithBacking(pixels.Float32s()[lo*image:hi*image]))
		out, err := v.Session.Forward(part, vit.Wants{})
		if err != nil {
			return nil, err
		}
		return out.Logits, nil
	})
}

// Kept implements focus.Classifier.
func (v View) Kept(ctx context.Context, pixels *tensor.Dense, keep [][]int) (*tensor.Dense, error) {
	return v.inBatches(ctx, len(keep), func(lo, hi int) (*tensor.Dense, error) {
		return v.Session.Kept(pixels, keep[lo:hi])
	})
}

// Tokens implements focus.Explainer. It takes at most the session's batch.
func (v View) Tokens(ctx context.Context, pixels *tensor.Dense) (*tensor.Dense, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	last := v.Depth() - 1
	out, err := v.Session.Forward(pixels, vit.Wants{Tokens: []int{last}})
	if err != nil {
		return nil, err
	}
	return out.Tokens[last], nil
}

// inBatches gathers the probabilities of n questions.
func (v View) inBatches(ctx context.Context, n int, logits func(lo, hi int) (*tensor.Dense, error)) (*tensor.Dense, error) {
	classes, most := v.Session.Config().Classes, v.Session.MaxBatch()
	all := make([]float32, 0, n*classes)
	for lo := 0; lo < n; lo += most {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		l, err := logits(lo, min(lo+most, n))
		if err != nil {
			return nil, err
		}
		for row := l.Float32s(); len(row) > 0; row = row[classes:] {
			for _, score := range vit.Scores(row[:classes], v.MultiLabel) {
				all = append(all, float32(score))
			}
		}
	}
	return tensor.New(tensor.WithShape(n, classes), tensor.WithBacking(all)), nil
}

// Depth implements focus.Deriver.
func (v View) Depth() int { return v.Session.Config().Depth }

// Trace implements focus.Deriver. It takes at most the session's batch.
func (v View) Trace(ctx context.Context, pixels *tensor.Dense, w focus.TraceWants) (*focus.Trace, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t, err := v.Session.Trace(pixels, vit.Wants{AttnFull: w.Attn, Normed: blocks(w.Normed)})
	if err != nil {
		return nil, err
	}
	return &focus.Trace{
		Logits: t.Output.Logits,
		Attn:   t.Output.Attn,
		Normed: layers(t.Output.Normed),
		Backward: func(ctx context.Context, d *tensor.Dense, after int, w focus.GradWants) (*focus.Grads, error) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			seed := vit.AtLogits(d)
			if after < v.Depth() {
				seed = vit.AtLogitsAfter(after-1, d)
			}
			g, err := t.Backward(seed, vit.GradWants{
				Pixels: w.Pixels, Normed: blocks(w.Normed), Probs: blocks(w.Probs), Relevance: blocks(w.Relevance),
			})
			if err != nil {
				return nil, fmt.Errorf("gradient of logits after layer %d: %w", after, err)
			}
			return &focus.Grads{
				Pixels: g.Pixels, Normed: layers(g.Normed), Probs: layers(g.Probs), Relevance: layers(g.Relevance),
			}, nil
		},
	}, nil
}

// blocks returns the blocks, counted from 0, of layers, which package focus
// counts from 1.
func blocks(layers []int) []int {
	var blocks []int
	for _, l := range layers {
		blocks = append(blocks, l-1)
	}
	return blocks
}

// layers is the way back, of what was found for each.
func layers(byBlock map[int]*tensor.Dense) map[int]*tensor.Dense {
	found := make(map[int]*tensor.Dense, len(byBlock))
	for b, t := range byBlock {
		found[b+1] = t
	}
	return found
}
