package focus

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gorgonia.org/tensor"
)

// Deriver is a model whose answer can be derived. Layers count from 1.
type Deriver interface {
	// Depth returns L, the number of layers.
	Depth() int

	// Trace classifies pixels (B, 3, H, W) in [0, 1] and keeps what its
	// backward passes need, until the next Trace.
	Trace(ctx context.Context, pixels *tensor.Dense, w TraceWants) (*Trace, error)
}

// TraceWants are what a Trace holds beside the logits.
type TraceWants struct {
	Attn   bool  // every probability of every layer
	Normed []int // what the attention of these layers is given
}

// Trace is a forward pass.
type Trace struct {
	Logits *tensor.Dense         // (B, K)
	Attn   []*tensor.Dense       // by layer, (B, H, N, N)
	Normed map[int]*tensor.Dense // by layer, (B, N, C)

	// Backward derives Σ d ∘ logits, d (B, K), where logits are those that
	// the final norm, the pooling and the head make of the tokens after a
	// layer; after the last layer they are Logits. It may be called again.
	Backward func(ctx context.Context, d *tensor.Dense, after int, w GradWants) (*Grads, error)
}

// GradWants are what Backward returns. None may lie above the layer that it
// starts after.
type GradWants struct {
	Pixels    bool
	Normed    []int // what the attention of these layers is given
	Probs     []int // attention probabilities of these layers
	Relevance []int // the heads' mean of max(0, A ∘ ∂/∂A) of these layers
}

// Grads are gradients.
type Grads struct {
	Pixels    *tensor.Dense         // (B, 3, H, W)
	Normed    map[int]*tensor.Dense // (B, N, C)
	Probs     map[int]*tensor.Dense // (B, H, N, N)
	Relevance map[int]*tensor.Dense // (B, N, N)
}

// Target is what a map explains: the logit of a class, or how far it is above
// that of another class.
type Target struct {
	Class  int
	Versus []int // the mean of these classes' logits is subtracted; none: nothing is
}

// Images are a batch to be explained by a model.
type Images struct {
	Model  Deriver
	Pixels *tensor.Dense // (B, 3, H, W) in [0, 1]
	Record Record        // Grid, Prefix and Pooled of the model
	Patch  [2]int        // height, width of a patch
	Batch  int           // images that the model takes at once, for integrated gradients; 0: B

	// Targets are one map each for every image. None asks for each image's
	// best classes, of which there are Best; 0 is one.
	Targets []Target
	Best    int
}

// Derived is what a method with gradients found out about Images.
type Derived struct {
	Logits *tensor.Dense // (B, K)
	Maps   [][]Focus     // by image, by target
}

// Focus is a map of a target, or why there is none.
type Focus struct {
	Target Target
	Map    *Map
	Err    error // ErrFlat or ErrNotFinite
}

// derivation is a method with gradients at work.
type derivation struct {
	ctx   context.Context
	x     *Images
	o     Options
	trace *Trace
	depth int
}

// gradient is a method that derives the model's answer.
type gradient struct {
	traces func(o Options, depth int) TraceWants // what the forward pass has to keep; nil: nothing

	// weights returns for each seed (B, K) and image what each token weighs
	// (N), prefix tokens included, and the layer that is read, if it is one.
	weights func(d *derivation, seeds []*tensor.Dense) (rows [][][]float64, layer int, err error)
}

// derive is the Derive of a method.
func (g gradient) derive(name string, understood []string) func(context.Context, Images, Options) (*Derived, error) {
	return func(ctx context.Context, x Images, o Options) (*Derived, error) {
		x.mustFit()
		d := &derivation{ctx: ctx, x: &x, o: o, depth: x.Model.Depth()}
		if err := check(name, understood, o, x.Record.Grid, d.depth, 0); err != nil {
			return nil, err
		}
		var wants TraceWants
		if g.traces != nil {
			wants = g.traces(o, d.depth)
		}
		var err error
		if d.trace, err = x.Model.Trace(ctx, x.Pixels, wants); err != nil {
			return nil, fmt.Errorf("attention: %s: %w", name, err)
		}
		targets, seeds, err := x.seeds(d.trace.Logits)
		if err != nil {
			return nil, err
		}
		rows, layer, err := g.weights(d, seeds)
		if err != nil {
			return nil, fmt.Errorf("attention: %s: %w", name, err)
		}
		out := &Derived{Logits: d.trace.Logits, Maps: make([][]Focus, x.images())}
		for t := range seeds {
			for b := range out.Maps {
				f := Focus{Target: targets[t][b]}
				f.Map, f.Err = x.Record.newMap(rows[t][b], o, layer)
				if f.Err != nil && !isUnpaintable(f.Err) {
					return nil, f.Err
				}
				out.Maps[b] = append(out.Maps[b], f)
			}
		}
		return out, nil
	}
}

// DeriveOne returns the map of one image's one target. The error of a map
// that cannot be painted is in what it returns.
func (m Method) DeriveOne(ctx context.Context, x Images, o Options) (*Map, error) {
	d, err := m.Derive(ctx, x, o)
	if err != nil {
		return nil, err
	}
	if len(d.Maps) != 1 || len(d.Maps[0]) != 1 {
		panic(fmt.Sprintf("attention: %d images, want one image and one target", len(d.Maps)))
	}
	return d.Maps[0][0].Map, d.Maps[0][0].Err
}

func (x *Images) images() int { return x.Pixels.Shape()[0] }

// mustFit panics on images that no program should make.
func (x *Images) mustFit() {
	s, grid := x.Pixels.Shape(), x.Record.Grid
	if len(s) != 4 || s[1] != 3 || min(grid[0], grid[1], x.Patch[0], x.Patch[1]) < 1 || x.Batch < 0 || x.Record.Prefix < 0 ||
		grid[0]*x.Patch[0] > s[2] || grid[1]*x.Patch[1] > s[3] {
		panic(fmt.Sprintf("attention: images %v, want (B, 3, H, W) of a grid %v of patches %v, in batches of %d", s, grid, x.Patch, x.Batch))
	}
}

// seeds returns what is derived, by target (B, K), and the target of each
// image.
func (x *Images) seeds(logits *tensor.Dense) (targets [][]Target, seeds []*tensor.Dense, err error) {
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

// from returns the layers from lo to hi.
func from(lo, hi int) []int {
	var layers []int
	for l := lo; l <= hi; l++ {
		layers = append(layers, l)
	}
	return layers
}

// imageOf returns image b of a batch.
func imageOf(d *tensor.Dense, b int) []float32 {
	size := d.Shape().TotalSize() / d.Shape()[0]
	return d.Float32s()[b*size : (b+1)*size]
}
