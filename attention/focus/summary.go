package focus

import (
	"math"
	"slices"

	"github.com/vitserve/vitserve/patch"
)

// BoxMass is the share of a map's sum that the boxes of a Summary hold.
const BoxMass = 0.5

// Summary is what a map says in few numbers. Places are in the upright
// photo's pixels.
type Summary struct {
	Min      float32 `json:"min"`
	Max      float32 `json:"max"`
	Sum      float64 `json:"sum"`
	Entropy  float64 `json:"entropy"`   // of the positive values, 0: all in one cell, 1: even over all
	OnPrefix float64 `json:"on_prefix"` // share of the attention that went to prefix tokens
	Peak     Box     `json:"peak"`      // the highest cell
	Boxes    []Box   `json:"boxes"`     // around the connected cells that hold BoxMass of the sum, most mass first
}

// Box is a rectangle of the photo and the share of the map's positive sum
// that its cells hold.
type Box struct {
	patch.Rect
	Share float64 `json:"share"`
}

// Summary reads m over the photo of g.
func (m *Map) Summary(g patch.Geometry) Summary {
	rows, cols := m.Grid()
	s := Summary{OnPrefix: m.OnPrefix, Boxes: []Box{}}
	s.Min, s.Max = m.Range()
	share, peak := make([]float32, rows*cols), 0
	var positive float64
	for i, v := range m.Values.Float32s() {
		s.Sum += float64(v)
		share[i] = max(v, 0)
		positive += float64(share[i])
		if v > m.Values.Float32s()[peak] {
			peak = i
		}
	}
	if positive > 0 {
		for i, v := range share {
			p := float64(v) / positive
			if share[i] = float32(p); p > 0 {
				s.Entropy -= p * math.Log(p) / math.Log(float64(max(2, len(share))))
			}
		}
	}
	s.Peak = Box{inPhoto(g, peak/cols, peak%cols, peak/cols+1, peak%cols+1, rows, cols), float64(share[peak])}
	for _, c := range components(share, cols) {
		s.Boxes = append(s.Boxes, Box{inPhoto(g, c.r0, c.c0, c.r1, c.c1, rows, cols), c.share})
	}
	return s
}

// component is a connected set of cells: its half-open bounds and its share.
type component struct {
	r0, c0, r1, c1 int
	share          float64
}

// components returns the sets of cells that touch by an edge, among the
// highest that hold BoxMass, most mass first.
func components(share []float32, cols int) []component {
	left := slices.Clone(share)
	keepMass(left, BoxMass)
	var found []component
	for i := range left {
		if left[i] == 0 {
			continue
		}
		c := component{r0: i / cols, c0: i % cols, r1: i/cols + 1, c1: i%cols + 1}
		for todo := []int{i}; len(todo) > 0; {
			j := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if left[j] == 0 {
				continue
			}
			left[j] = 0
			row, col := j/cols, j%cols
			c.share += float64(share[j])
			c.r0, c.c0 = min(c.r0, row), min(c.c0, col)
			c.r1, c.c1 = max(c.r1, row+1), max(c.c1, col+1)
			if row > 0 {
				todo = append(todo, j-cols)
			}
			if j+cols < len(left) {
				todo = append(todo, j+cols)
			}
			if col > 0 {
				todo = append(todo, j-1)
			}
			if col+1 < cols {
				todo = append(todo, j+1)
			}
		}
		found = append(found, c)
	}
	slices.SortStableFunc(found, func(a, b component) int {
		switch {
		case a.share > b.share:
			return -1
		case a.share < b.share:
			return 1
		}
		return 0
	})
	return found
}

// inPhoto returns the rectangle of cells r0 to r1, c0 to c1, cut off at the
// photo's edges.
func inPhoto(g patch.Geometry, r0, c0, r1, c1, rows, cols int) patch.Rect {
	a, b := g.Cell(r0, c0, rows, cols), g.Cell(r1-1, c1-1, rows, cols)
	x0, y0 := max(a.X, 0), max(a.Y, 0)
	x1, y1 := min(b.X+b.W, float64(g.Photo[0])), min(b.Y+b.H, float64(g.Photo[1]))
	return patch.Rect{X: x0, Y: y0, W: max(x1-x0, 0), H: max(y1-y0, 0)}
}
