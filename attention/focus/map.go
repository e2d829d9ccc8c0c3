package focus

import (
	"errors"
	"fmt"
	"math"
	"sort"

	"github.com/vitserve/vitserve/patch"
	"gorgonia.org/tensor"
)

// Map is a focus map over the patches.
type Map struct {
	Values   *tensor.Dense // (rows, cols), as the method gives them
	Layer    int           // 1-based; 0 where several layers are read
	Head     int           // 1-based; 0: fused
	OnPrefix float64       // share of the attention that went to prefix tokens, 0 to 1, and is not in Values
}

// flat is the range of a map's values, as a share of the largest, that is
// rounding and no picture.
const flat = 1e-5

// newMap cuts the prefix tokens off the row (N) of token weights, keeps the
// mass that o asks for, and refuses what must not be drawn.
func (s Shape) newMap(row []float64, o Options, layer int) (*Map, error) {
	m := &Map{Layer: layer, Head: o.Head}
	var prefix, all float64
	for i, v := range row {
		all += v
		if i < s.Prefix {
			prefix += v
		}
	}
	if all > 0 {
		m.OnPrefix = prefix / all
	}
	values := make([]float32, len(row)-s.Prefix)
	for i, v := range row[s.Prefix:] {
		values[i] = float32(v)
	}
	m.Values = tensor.New(tensor.WithShape(s.Grid[0], s.Grid[1]), tensor.WithBacking(values))
	if err := m.Check(); err != nil {
		return nil, err
	}
	if o.Mass > 0 {
		keepMass(values, o.Mass)
	}
	return m, nil
}

// Check refuses a map that must not be drawn: ErrNotFinite for NaN or
// infinity, ErrFlat for values that are alike to within rounding.
func (m *Map) Check() error {
	low, high := math.Inf(1), math.Inf(-1)
	for i, v := range m.Values.Float32s() {
		v := float64(v)
		if math.IsNaN(v) || math.IsInf(v, 0) {
			cols := m.Values.Shape()[1]
			return fmt.Errorf("attention: %w: %v at row %d, column %d", ErrNotFinite, v, i/cols, i%cols)
		}
		low, high = min(low, v), max(high, v)
	}
	if high-low <= flat*max(math.Abs(low), math.Abs(high)) {
		return fmt.Errorf("attention: %w: every value is in %g to %g", ErrFlat, low, high)
	}
	return nil
}

// Grid returns the rows and columns of the map.
func (m *Map) Grid() (rows, cols int) { s := m.Values.Shape(); return s[0], s[1] }

// Range returns the lowest and the highest value.
func (m *Map) Range() (low, high float32) {
	v := m.Values.Float32s()
	low, high = v[0], v[0]
	for _, v := range v {
		low, high = min(low, v), max(high, v)
	}
	return low, high
}

// keepMass zeroes all but the highest values that together hold the share
// mass of the sum of positive ones, as DINO's visualisation does: a value is kept when the sum
// of the values up to it, in ascending order, exceeds 1 - mass of the whole
// (Caron et al. 2021, https://arxiv.org/abs/2104.14294, figure 3).
func keepMass(values []float32, mass float64) {
	order := make([]int, len(values))
	var all float64
	for i, v := range values {
		order[i] = i
		all += max(0, float64(v))
	}
	sort.SliceStable(order, func(a, b int) bool { return values[order[a]] < values[order[b]] })
	var sum float64
	for _, i := range order {
		if sum += max(0, float64(values[i])); sum <= (1-mass)*all {
			values[i] = 0
		}
	}
}

// isUnpaintable reports whether err says that a map is flat or not finite.
func isUnpaintable(err error) bool {
	return errors.Is(err, ErrFlat) || errors.Is(err, ErrNotFinite)
}

// OnPatches returns g cut down to the pixels that a grid (rows, columns) of
// patches of that height and width looks at. Where the input is no multiple
// of the patch, as in SigLIP's 384 pixels of patches of 14, the model leaves
// out the last pixels, and a map must not be stretched over them.
func OnPatches(g patch.Geometry, grid, size [2]int) patch.Geometry {
	width, height := grid[1]*size[1], grid[0]*size[0]
	if g.Input == [2]int{width, height} {
		return g
	}
	g.Seen.W *= float64(width) / float64(g.Input[0])
	g.Seen.H *= float64(height) / float64(g.Input[1])
	g.Input = [2]int{width, height}
	w, h := float64(g.Photo[0]), float64(g.Photo[1])
	inside := max(0, min(g.Seen.X+g.Seen.W, w)-max(g.Seen.X, 0)) * max(0, min(g.Seen.Y+g.Seen.H, h)-max(g.Seen.Y, 0))
	g.Coverage = inside / (w * h)
	return g
}
