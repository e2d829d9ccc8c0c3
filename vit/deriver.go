package vit

import (
	"context"
	"fmt"

	"github.com/vitserve/vitserve/attention"
	"gorgonia.org/tensor"
)

// Depth implements attention.Deriver.
func (p Classifier) Depth() int { return p.Session.m.cfg.Depth }

// Trace implements attention.Deriver. It takes at most the session's batch.
func (p Classifier) Trace(ctx context.Context, pixels *tensor.Dense, w attention.TraceWants) (*attention.Trace, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t, err := p.Session.Trace(pixels, Wants{AttnFull: w.Attn, Normed: blocks(w.Normed)})
	if err != nil {
		return nil, err
	}
	return &attention.Trace{
		Logits: t.Output.Logits,
		Attn:   t.Output.Attn,
		Normed: layers(t.Output.Normed),
		Backward: func(ctx context.Context, d *tensor.Dense, after int, w attention.GradWants) (*attention.Grads, error) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			seed := AtLogits(d)
			if after < p.Depth() {
				seed = AtLogitsAfter(after-1, d)
			}
			g, err := t.Backward(seed, GradWants{
				Pixels: w.Pixels, Normed: blocks(w.Normed), Probs: blocks(w.Probs), Relevance: blocks(w.Relevance),
			})
			if err != nil {
				return nil, fmt.Errorf("gradient of logits after layer %d: %w", after, err)
			}
			return &attention.Grads{
				Pixels: g.Pixels, Normed: layers(g.Normed), Probs: layers(g.Probs), Relevance: layers(g.Relevance),
			}, nil
		},
	}, nil
}

// blocks returns the blocks, counted from 0, of layers, which package
// attention counts from 1.
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
