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
	Session *vit.Session
	Scoring vit.Scoring // how logits become probabilities
}

var _ focus.Model = View{}

// ShapeOf is what the focus maps know of a model.
func ShapeOf(c vit.Config) focus.Shape {
	rows, cols := c.Grid()
	return focus.Shape{
		Grid: [2]int{rows, cols}, Patch: c.Patch, Prefix: c.Prefix, Depth: c.Depth, Heads: c.Heads,
		Pooled: !slices.Contains(c.Pool, backend.Span{Lo: 0, Hi: 1}),
	}
}

// WantsOf returns what a forward pass has to keep for a question. One that
// Derives makes its own.
func WantsOf(q focus.Question, s focus.Shape) vit.Wants {
	rows := q.Rows(s)
	return vit.Wants{AttnRows: rows, AttnFull: rows == nil, Gram: q.Gram()}
}

// RecordOf is a forward pass as the focus maps read it.
func RecordOf(s focus.Shape, o *vit.Output) *focus.Record {
	return &focus.Record{Shape: s, Logits: o.Logits, Attn: o.Attn, Rows: o.Rows, Gram: o.Gram}
}

// Probabilities implements focus.Model.
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

// Kept implements focus.Model.
func (v View) Kept(ctx context.Context, pixels *tensor.Dense, keep [][]int) (*tensor.Dense, error) {
	return v.inBatches(ctx, len(keep), func(lo, hi int) (*tensor.Dense, error) {
		return v.Session.Kept(pixels, keep[lo:hi])
	})
}

// Tokens implements focus.Model. It takes at most the session's batch.
func (v View) Tokens(ctx context.Context, pixels *tensor.Dense) (*tensor.Dense, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	last := v.Session.Config().Depth - 1
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
			for _, score := range vit.Scores(row[:classes], v.Scoring) {
				all = append(all, float32(score))
			}
		}
	}
	return tensor.New(tensor.WithShape(n, classes), tensor.WithBacking(all)), nil
}

// Trace implements focus.Model. It takes at most the session's batch.
func (v View) Trace(ctx context.Context, pixels *tensor.Dense, attn bool, normed []int) (focus.Trace, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t, err := v.Session.Trace(pixels, vit.Wants{AttnFull: attn, Normed: normed})
	if err != nil {
		return nil, err
	}
	return trace{t, v.Session.Config().Depth - 1}, nil
}

// trace is a forward pass as the focus maps derive it.
type trace struct {
	*vit.Trace
	last int // block
}

func (t trace) Logits() *tensor.Dense          { return t.Output.Logits }
func (t trace) Attn() []*tensor.Dense          { return t.Output.Attn }
func (t trace) Normed(block int) *tensor.Dense { return t.Output.Normed[block] }

// PixelGrad implements focus.Trace.
func (t trace) PixelGrad(ctx context.Context, d *tensor.Dense) (*tensor.Dense, error) {
	g, err := t.grads(ctx, d, t.last, vit.GradWants{Pixels: true})
	return g.Pixels, err
}

// NormedGrad implements focus.Trace.
func (t trace) NormedGrad(ctx context.Context, d *tensor.Dense, block int) (*tensor.Dense, error) {
	g, err := t.grads(ctx, d, t.last, vit.GradWants{Normed: []int{block}})
	return g.Normed[block], err
}

// ProbsGrad implements focus.Trace.
func (t trace) ProbsGrad(ctx context.Context, d *tensor.Dense, last int, blocks []int) (map[int]*tensor.Dense, error) {
	g, err := t.grads(ctx, d, last, vit.GradWants{Probs: blocks})
	return g.Probs, err
}

// Relevance implements focus.Trace.
func (t trace) Relevance(ctx context.Context, d *tensor.Dense, blocks []int) (map[int]*tensor.Dense, error) {
	g, err := t.grads(ctx, d, t.last, vit.GradWants{Relevance: blocks})
	return g.Relevance, err
}

// grads derives the logits that the tokens after a block make.
func (t trace) grads(ctx context.Context, d *tensor.Dense, last int, w vit.GradWants) (vit.Grads, error) {
	if err := ctx.Err(); err != nil {
		return vit.Grads{}, err
	}
	g, err := t.Backward(vit.AtLogitsAfter(last, d), w)
	if err != nil {
		return vit.Grads{}, fmt.Errorf("gradient of logits after block %d: %w", last, err)
	}
	return *g, nil
}
