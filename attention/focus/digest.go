package focus

import (
	"math"
	"slices"

	"github.com/vitserve/vitserve/patch"
)

// Digest is what a map says in a row of a table.
type Digest struct {
	Row, Col int     // the highest patch, from 0; of several the first
	X, Y     float64 // the centre of mass of the positive values, in the upright photo's pixels
	Entropy  float64 // of the positive values, 0: all in one patch, 1: even over all
	TopFifth float64 // share of the positive sum that the highest fifth of the patches holds, 0 to 1
}

// Digest reads m over the photo of g. A map without positive values has its
// centre in the middle of what the model saw.
func (m *Map) Digest(g patch.Geometry) Digest {
	rows, cols := m.Grid()
	values := m.Values.Float32s()
	share := make([]float64, len(values))
	peak, positive := 0, 0.0
	for i, v := range values {
		share[i] = float64(max(v, 0))
		positive += share[i]
		if v > values[peak] {
			peak = i
		}
	}
	d := Digest{Row: peak / cols, Col: peak % cols}
	if positive == 0 {
		all := inPhoto(g, 0, 0, rows, cols, rows, cols)
		d.X, d.Y = all.X+all.W/2, all.Y+all.H/2
		return d
	}
	for i := range share {
		share[i] /= positive
		if p := share[i]; p > 0 {
			cell := inPhoto(g, i/cols, i%cols, i/cols+1, i%cols+1, rows, cols)
			d.X += p * (cell.X + cell.W/2)
			d.Y += p * (cell.Y + cell.H/2)
			d.Entropy -= p * math.Log(p) / math.Log(float64(max(2, len(share))))
		}
	}
	slices.Sort(share)
	for _, p := range share[len(share)-max(1, len(share)/5):] {
		d.TopFifth += p
	}
	return d
}
