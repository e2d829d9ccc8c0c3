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
	ErrRows      = errors.New("missing attention row") // the record lacks what the map reads; see Method.Needs
)

// Record is the attention of one forward pass, as the focus maps read it.
type Record struct {
	Grid   [2]int          // rows, columns of patches
	Prefix int             // P, tokens in front of the patches
	Pooled bool            // no prefix token is a class token: the model pools its patches
	Attn   []*tensor.Dense // by layer, (B, H, R, N): rows Rows of every head
	Rows   []int           // which query rows Attn holds; nil: all N

	// Gram is by layer (B, N, H, H), for each token x the dot products of what
	// the heads would add where it alone is attended to:
	//
	//	fʰ(x) = (x Wᵥʰ + bᵥʰ) Wₒʰ (C)
	//
	// It is nil unless Needs asks for it.
	Gram []*tensor.Dense
}

// hasClass reports whether token 0 is a class token.
func (r *Record) hasClass() bool { return r.Prefix > 0 && !r.Pooled }

// shape returns what every layer of the record has in common, and panics
// when a layer differs: a record is made by the program, not by its user.
func (r *Record) shape() (batch, heads, rows, tokens int) {
	tokens = r.Prefix + r.Grid[0]*r.Grid[1]
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
			panic(fmt.Sprintf("attention: record of layer %d is %v, want (B, H, %d, %d) as in every layer", l+1, t, rows, tokens))
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

// layer returns image b of 1-based layer l.
func (r *Record) layer(l, b int, o Options) layer {
	batch, heads, rows, tokens := r.shape()
	if b < 0 || b >= batch {
		panic(fmt.Sprintf("attention: image %d of a batch of %d", b, batch))
	}
	size := heads * rows * tokens
	v := layer{
		probs: r.Attn[l-1].Float32s()[b*size : (b+1)*size],
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
func (r *Record) asking(o Options) []int {
	switch {
	case len(o.Query) == 2:
		return []int{r.Prefix + o.Query[0]*r.Grid[1] + o.Query[1]}
	case r.hasClass():
		return []int{0}
	}
	var all []int
	for i := range r.Grid[0] * r.Grid[1] {
		all = append(all, r.Prefix+i)
	}
	return all
}
