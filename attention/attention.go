// Package attention holds the multi-head attention of the encoder and every
// way of reading it as a focus map: what the model looked at, laid back over
// the photo in the photo's own pixels.
//
// Letters in shapes: B batch, N tokens (prefix tokens included), P prefix
// tokens, C dim, H heads, R recorded query rows.
package attention

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"gorgonia.org/tensor"
)

// Errors of focus maps. Each is in the chain of what Map, Overlay and the
// other functions of this package return.
var (
	ErrOption    = errors.New("impossible option")     // HTTP 422; the message names what is allowed
	ErrFlat      = errors.New("flat map")              // the values are all alike: there is nothing to show
	ErrNotFinite = errors.New("map with NaN or Inf")   // the attention itself is broken
	ErrRows      = errors.New("missing attention row") // the record lacks a query row the map reads; see Method.Rows
)

// Record is the attention of one forward pass, as the focus maps read it.
type Record struct {
	Grid   [2]int          // rows, columns of patches
	Prefix int             // P, tokens in front of the patches
	Pooled bool            // no prefix token is a class token: the model pools its patches
	Attn   []*tensor.Dense // by layer, (B, H, R, N): rows Rows of every head
	Rows   []int           // which query rows Attn holds; nil: all N
}

// Options choose a map. The zero value is the default of each method; an
// option that the method does not have is refused.
type Options struct {
	Layer   int     // 1-based layer of raw; 0: the last
	Head    int     // 1-based head of raw; 0: all, fused
	Fusion  Fusion  // of the heads; "": mean
	Discard float64 // rollout: share of the lowest attention of each layer that is zeroed, 0 to <1
	Start   int     // rollout: 1-based first layer that is multiplied; 0: the first of all
	Query   []int   // row, column of the patch that asks; nil: the class token, or all patches where there is none
	Mass    float64 // keeps only the cells that hold this share of the map, 0 to 1; 0: all of them
	Compat  string  // "vit-explain": that author's normalisation axis; "": the papers'
}

// VitExplain is the Compat of Options and Style that reproduces the pictures
// of https://github.com/jacobgil/vit-explain.
const VitExplain = "vit-explain"

// Fusion is how the heads of a layer become one matrix.
type Fusion string

// Fusions.
const (
	Mean Fusion = "mean"
	Max  Fusion = "max"
	Min  Fusion = "min"
)

// Fusions returns the names of the fusions, the default first.
func Fusions() []string { return []string{string(Mean), string(Max), string(Min)} }

// Method is a way to read a focus map out of a Record.
type Method struct {
	Name  string
	Paper string // with the equation
	Full  bool   // needs every query row, not just the class token's

	// Map reads image b of the record. Its errors have ErrOption, ErrFlat,
	// ErrNotFinite or ErrRows in their chain; tensors of impossible shapes
	// panic.
	Map func(r *Record, b int, o Options) (*Map, error)

	options []string // what of Options it understands, beside Fusion, Query and Mass
}

// What the methods understand beside Fusion, Query and Mass.
var (
	rawOptions     = []string{"layer", "head"}
	rolloutOptions = []string{"discard", "start", "compat"}
)

var methods = []Method{
	{
		Name: "raw",
		Paper: "Dosovitskiy et al., An Image is Worth 16x16 Words, https://arxiv.org/abs/2010.11929, equation 7 (SA): " +
			"the class token's row of softmax(QKᵀ/√D) in one layer; mass threshold: Caron et al., https://arxiv.org/abs/2104.14294, figure 3",
		Map:     raw,
		options: rawOptions,
	},
	{
		Name: "rollout",
		Paper: "Abnar and Zuidema, Quantifying Attention Flow in Transformers, https://arxiv.org/abs/2005.00928, " +
			"equation 1: Ã(l) = A(l) Ã(l-1), A = (W + I)/2 with its rows normalised",
		Full:    true,
		Map:     rollout,
		options: rolloutOptions,
	},
}

// Methods is the table of focus maps, in the order shown to people.
func Methods() []Method { return slices.Clone(methods) }

// MethodNames returns the names of Methods.
func MethodNames() []string {
	var names []string
	for _, m := range methods {
		names = append(names, m.Name)
	}
	return names
}

// Find returns the method of that name; the error names the allowed ones and
// has ErrOption in its chain.
func Find(name string) (Method, error) {
	for _, m := range methods {
		if m.Name == name {
			return m, nil
		}
	}
	return Method{}, badOption("method", name, MethodNames()...)
}

// Rows returns what a forward pass must record for m and o: the query rows,
// or full for all of them. Of r it looks at Grid, Prefix and Pooled.
func (m Method) Rows(r *Record, o Options) (rows []int, full bool) {
	switch {
	case m.Full:
		return nil, true
	case len(o.Query) == 2:
		return []int{r.Prefix + o.Query[0]*r.Grid[1] + o.Query[1]}, false
	case r.hasClass():
		return []int{0}, false
	}
	return nil, true
}

// Check says what of o is impossible for m on a model of that depth, heads
// and grid (rows, columns). A server calls it before the forward pass; Map
// calls it again. The error names what is allowed.
func (m Method) Check(o Options, grid [2]int, depth, heads int) error {
	return check(m.Name, m.options, o, grid, depth, heads)
}

func check(method string, understood []string, o Options, grid [2]int, depth, heads int) error {
	given := map[string]bool{
		"layer": o.Layer != 0, "head": o.Head != 0, "discard": o.Discard != 0,
		"start": o.Start != 0, "compat": o.Compat != "",
	}
	for _, name := range []string{"layer", "head", "discard", "start", "compat"} {
		if given[name] && !slices.Contains(understood, name) {
			return fmt.Errorf("attention: %w: method %s has no %s, want only %s",
				ErrOption, method, name, strings.Join(understood, ", "))
		}
	}
	switch {
	case o.Layer < 0 || o.Layer > depth:
		return badOption("layer", o.Layer, fmt.Sprintf("1 to %d", depth), "0 for the last")
	case o.Head < 0 || o.Head > heads:
		return badOption("head", o.Head, fmt.Sprintf("1 to %d", heads), "0 for all")
	case o.Start < 0 || o.Start > depth:
		return badOption("start layer", o.Start, fmt.Sprintf("1 to %d", depth))
	case o.Fusion != "" && !slices.Contains(Fusions(), string(o.Fusion)):
		return badOption("fusion", o.Fusion, Fusions()...)
	case o.Head != 0 && o.Fusion != "":
		return fmt.Errorf("attention: %w: fusion %s of the single head %d, want one of the two", ErrOption, o.Fusion, o.Head)
	case !(o.Discard >= 0 && o.Discard < 1):
		return badOption("discard ratio", o.Discard, "0 to below 1")
	case !(o.Mass >= 0 && o.Mass <= 1):
		return badOption("mass", o.Mass, "0 to 1")
	case o.Compat != "" && o.Compat != VitExplain:
		return badOption("compat", o.Compat, VitExplain)
	case len(o.Query) != 0 && (len(o.Query) != 2 || o.Query[0] < 0 || o.Query[0] >= grid[0] || o.Query[1] < 0 || o.Query[1] >= grid[1]):
		return badOption("query", o.Query, fmt.Sprintf("row,column of 0,0 to %d,%d", grid[0]-1, grid[1]-1))
	}
	return nil
}

// badOption is the error of an option whose value is not among the allowed.
func badOption(what string, found any, allowed ...string) error {
	return fmt.Errorf("attention: %w: %s %v, want %s", ErrOption, what, found, strings.Join(allowed, ", "))
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
