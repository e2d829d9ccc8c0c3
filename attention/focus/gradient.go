package focus

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gorgonia.org/tensor"
)

// derivation is a method with gradients at work.
type derivation struct {
	ctx   context.Context
	x     Subject
	o     Options
	trace Trace
}

// gradient is a method that derives the model's answer.
type gradient struct {
	attn   bool                           // the forward pass keeps every probability
	normed func(o Options, s Shape) []int // and what the attention of these blocks is given; nil: of none

	// weights returns for each seed (B, K) and image what each token weighs
	// (N), prefix tokens included, and the layer that is read, if it is one.
	weights func(d *derivation, seeds []*tensor.Dense) (rows [][][]float64, layer int, err error)
}

// deriving makes maps over one forward pass of g's own.
func deriving(g gradient) maps {
	return func(ctx context.Context, x Subject, o Options) (*Answer, error) {
		x.mustFit(0)
		d := &derivation{ctx: ctx, x: x, o: o}
		var normed []int
		if g.normed != nil {
			normed = g.normed(o, x.Shape)
		}
		var err error
		if d.trace, err = x.Model.Trace(ctx, x.Pixels, g.attn, normed); err != nil {
			return nil, fmt.Errorf("attention: forward pass for gradients: %w", err)
		}
		targets, seeds, err := x.seeds(d.trace.Logits())
		if err != nil {
			return nil, err
		}
		rows, layer, err := g.weights(d, seeds)
		if err != nil {
			return nil, fmt.Errorf("attention: gradients: %w", err)
		}
		all := make([][]Focus, x.images())
		for t := range seeds {
			for b := range all {
				f := Focus{Target: &targets[t][b]}
				f.Map, f.Err = x.newMap(rows[t][b], o, layer)
				if f.Err != nil && !isUnpaintable(f.Err) {
					return nil, f.Err
				}
				all[b] = append(all[b], f)
			}
		}
		return &Answer{Logits: d.trace.Logits(), Maps: all}, nil
	}
}

// seeds returns what is derived, by target (B, K), and the target of each
// image.
func (x Subject) seeds(logits *tensor.Dense) (targets [][]Target, seeds []*tensor.Dense, err error) {
	if logits == nil {
		return nil, nil, errors.New("attention: the model has no head, so there is no class to derive")
	}
	n, classes := logits.Shape()[0], logits.Shape()[1]
	for _, t := range x.Targets {
		for _, k := range append([]int{t.Class}, t.Versus...) {
			if k < 0 || k >= classes {
				return nil, nil, badOption("class", k, fmt.Sprintf("0 to %d", classes-1))
			}
		}
		targets = append(targets, slices.Repeat([]Target{t}, n))
	}
	if len(x.Targets) == 0 {
		targets = make([][]Target, min(max(1, x.Best), classes))
		for b := range n {
			for t, k := range highest(logits.Float32s()[b*classes:(b+1)*classes], len(targets)) {
				targets[t] = append(targets[t], Target{Class: k})
			}
		}
	}
	for _, of := range targets {
		seed := tensor.New(tensor.WithShape(n, classes), tensor.Of(tensor.Float32))
		for b, t := range of {
			row := seed.Float32s()[b*classes : (b+1)*classes]
			row[t.Class]++
			for _, k := range t.Versus {
				row[k] -= 1 / float32(len(t.Versus))
			}
		}
		seeds = append(seeds, seed)
	}
	return targets, seeds, nil
}

// from returns the blocks from lo to the last of so many.
func from(lo, depth int) []int {
	var blocks []int
	for b := lo; b < depth; b++ {
		blocks = append(blocks, b)
	}
	return blocks
}

// imageOf returns image b of a batch.
func imageOf(d *tensor.Dense, b int) []float32 {
	size := d.Shape().TotalSize() / d.Shape()[0]
	return d.Float32s()[b*size : (b+1)*size]
}
