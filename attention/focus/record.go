package focus

import (
	"errors"
	"fmt"
	"slices"

	"gorgonia.org/tensor"
)

// Errors of focus maps. Each is in the chain of what Map, Overlay and the
// other functions of this package return.
var (
	ErrOption    = errors.New("impossible option")     // HTTP 422; the message names what is allowed
	ErrFlat      = errors.New("flat map")              // the values are all alike: there is nothing to show
	ErrNotFinite = errors.New("map with NaN or Inf")   // the attention itself is broken
	ErrRows      = errors.New("missing attention row") // the record lacks what the map reads; see Question.Rows
)

// Record is what one forward pass of B images recorded, as the maps read it.
type Record struct {
	Shape
	Logits *tensor.Dense   // (B, K); nil without a head
	Attn   []*tensor.Dense // by block, (B, H, R, N): rows Rows of every head
	Rows   []int           // which query rows Attn holds; nil: all N
	Probe  *tensor.Dense   // (B, H, 1, N) what the probe looks at; nil without one

	// Gram is by block (B, N, H, H), for each token x the dot products of what
	// the heads would add where it alone is attended to:
	//
	//	fʰ(x) = (x Wᵥʰ + bᵥʰ) Wₒʰ (C)
	//
	// It is nil unless Question.Gram asks for it.
	Gram []*tensor.Dense
}

// Image returns the record of image b alone, over the same memory.
func (r *Record) Image(b int) *Record {
	if b == 0 && r.images() == 1 {
		return r // of one image already
	}
	one := *r
	if r.Logits != nil {
		one.Logits = sliced(r.Logits, b)
	}
	if r.Probe != nil {
		one.Probe = sliced(r.Probe, b)
	}
	one.Attn, one.Gram = nil, nil
	for _, a := range r.Attn {
		one.Attn = append(one.Attn, sliced(a, b))
	}
	for _, g := range r.Gram {
		one.Gram = append(one.Gram, sliced(g, b))
	}
	return &one
}

// images returns B, 0 of a record of nothing.
func (r *Record) images() int {
	switch {
	case len(r.Attn) > 0:
		return r.Attn[0].Shape()[0]
	case r.Probe != nil:
		return r.Probe.Shape()[0]
	}
	return 0
}

// sliced returns image b of a batch as a batch of one.
func sliced(d *tensor.Dense, b int) *tensor.Dense {
	shape := d.Shape().Clone()
	shape[0] = 1
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(imageOf(d, b)))
}

// sized returns the shape of the model with the layers and heads that are
// recorded, where any are.
func (r *Record) sized() Shape {
	s := r.Shape
	if len(r.Attn) > 0 {
		s.Depth, s.Heads = len(r.Attn), r.Attn[0].Shape()[1]
	}
	return s
}

// shape returns what every layer of the record has in common, and panics
// when a layer differs: a record is made by the program, not by its user.
func (r *Record) shape() (batch, heads, rows, tokens int) {
	tokens = r.tokens()
	if len(r.Attn) == 0 {
		panic("attention: record without layers")
	}
	s := r.Attn[0].Shape()
	rows = tokens
	if r.Rows != nil {
		rows = len(r.Rows)
	}
	for l, a := range r.Attn {
		if t := a.Shape(); len(t) != 4 || !t.Eq(s) || t[2] != rows || t[3] != tokens {
			panic(fmt.Sprintf("attention: record of layer %d is %v, want (B, H, %d, %d) as in every layer", layerOf(l), t, rows, tokens))
		}
	}
	return s[0], s[1], rows, tokens
}

// layer is one image's attention in one layer.
type layer struct {
	probs  []float32 // (H, R, N)
	at     []int     // by query row, where it is among the R; nil: at its own place
	rows   int       // R
	tokens int       // N
	lo, hi int       // the heads that are read
	fusion Fusion
}

// layer returns image b in a block.
func (r *Record) layer(block, b int, o Options) layer {
	batch, heads, rows, tokens := r.shape()
	if b < 0 || b >= batch {
		panic(fmt.Sprintf("attention: image %d of a batch of %d", b, batch))
	}
	size := heads * rows * tokens
	v := layer{
		probs: r.Attn[block].Float32s()[b*size : (b+1)*size],
		at:    r.Rows, rows: rows, tokens: tokens,
		lo: 0, hi: heads, fusion: o.Fusion,
	}
	if o.Head > 0 {
		v.lo, v.hi = o.Head-1, o.Head
	}
	return v
}

// row writes query row q with its heads fused to dst (N).
func (v layer) row(dst []float32, q int) error {
	at := q
	if v.at != nil {
		if at = slices.Index(v.at, q); at < 0 {
			return fmt.Errorf("attention: %w: query row %d, found only rows %v", ErrRows, q, v.at)
		}
	}
	for h := v.lo; h < v.hi; h++ {
		o := (h*v.rows + at) * v.tokens
		src := v.probs[o : o+v.tokens]
		switch {
		case h == v.lo:
			copy(dst, src)
		case v.fusion == Max:
			for i, p := range src {
				dst[i] = max(dst[i], p)
			}
		case v.fusion == Min:
			for i, p := range src {
				dst[i] = min(dst[i], p)
			}
		default:
			for i, p := range src {
				dst[i] += p
			}
		}
	}
	if n := v.hi - v.lo; n > 1 && v.fusion != Max && v.fusion != Min {
		for i := range dst {
			dst[i] /= float32(n)
		}
	}
	return nil
}

// asking returns the query tokens that a map starts from, each with the same
// weight: the patch of o.Query, the class token, or every patch of a model
// without class token, whose features are their mean.
func (s Shape) asking(o Options) []int {
	switch {
	case len(o.Query) == 2:
		return []int{s.Prefix + o.Query[0]*s.Grid[1] + o.Query[1]}
	case s.hasClass():
		return []int{0}
	}
	var all []int
	for i := s.Prefix; i < s.tokens(); i++ {
		all = append(all, i)
	}
	return all
}
