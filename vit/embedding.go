package vit

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gorgonia.org/tensor"
)

// Values of Embedding.Pool.
const (
	PoolModel = "model" // what the model's own head looks at, or would; what it projects that to, of CLIP's image towers
	PoolClass = "class" // the class token
	PoolMean  = "mean"  // the mean of the patches
	PoolGrid  = "grid"  // every patch

	// PoolTokens is every token, those before the patches first: transformers'
	// last_hidden_state. It is none of Pools, for nobody compares it.
	PoolTokens = "tokens"
)

// Embedding is which vectors of an image are wanted, of those that the model
// makes before its head.
type Embedding struct {
	Pool string // one of Pools
	L2   bool   // each vector is scaled to length 1; one of zeros has no direction and stays
}

// Pools returns the values of Embedding.Pool, the default first.
func Pools() []string { return []string{PoolModel, PoolClass, PoolMean, PoolGrid} }

// Pools returns the values of Embedding.Pool for a model: one without a class
// token in front has no pool of it.
func (c Config) Pools() []string {
	return slices.DeleteFunc(Pools(), func(p string) bool { return p == PoolClass && c.Prefix == 0 })
}

// Check says that there is no such embedding of a model, and which there are.
func (e Embedding) Check(c Config) error {
	if all := c.Pools(); e.Pool != PoolTokens && !slices.Contains(all, e.Pool) {
		return fmt.Errorf("pool %q, want %s", e.Pool, strings.Join(all, " or "))
	}
	return nil
}

// Wants returns what Forward has to compute for e.
func (e Embedding) Wants() Wants {
	return Wants{Features: e.Pool == PoolModel, Final: e.Pool != PoolModel}
}

// Shape returns that of Of: (D), or (rows, columns, C) of a grid, or (N, C) of
// every token.
func (e Embedding) Shape(c Config) tensor.Shape {
	switch e.Pool {
	case PoolModel:
		return tensor.Shape{c.Features()}
	case PoolGrid:
		rows, cols := c.Grid()
		return tensor.Shape{rows, cols, c.Dim}
	case PoolTokens:
		return tensor.Shape{c.Tokens(), c.Dim}
	}
	return tensor.Shape{c.Dim}
}

// Of takes e of image b out of an Output with what it wants. The tensor, of
// Shape, is the caller's.
func (e Embedding) Of(out *Output, b int, c Config) *tensor.Dense {
	var x []float32
	if e.Pool == PoolModel {
		n := e.Shape(c)[0]
		x = slices.Clone(out.Features.Float32s()[b*n : (b+1)*n])
	} else {
		n := c.Tokens() * c.Dim
		tokens := out.Final.Float32s()[b*n : (b+1)*n]
		patches := tokens[c.Prefix*c.Dim:]
		switch e.Pool {
		case PoolClass:
			x = slices.Clone(tokens[:c.Dim])
		case PoolMean:
			x = mean(patches, c.Dim)
		case PoolGrid:
			x = slices.Clone(patches)
		case PoolTokens:
			x = slices.Clone(tokens)
		}
	}
	shape := e.Shape(c)
	if e.L2 {
		for v := range slices.Chunk(x, shape[len(shape)-1]) {
			unit(v)
		}
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(x))
}

// mean is the mean of vectors that lie behind each other.
func mean(x []float32, dim int) []float32 {
	sums := make([]float64, dim)
	for i, v := range x {
		sums[i%dim] += float64(v)
	}
	m := make([]float32, dim)
	for i, s := range sums {
		m[i] = float32(s / float64(len(x)/dim))
	}
	return m
}

// unit scales x to length 1.
func unit(x []float32) {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	if sum == 0 {
		return
	}
	for i, v := range x {
		x[i] = float32(float64(v) / math.Sqrt(sum))
	}
}
