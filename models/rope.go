package models

import (
	"fmt"
	"math"

	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// rope is how a family makes rotary positions of a grid of patches. Angles
// are computed in float32, operation by operation as PyTorch does: they are
// up to hundreds of radians, and their cosines have no more digits than they.
type rope struct {
	kind        ropeKind
	temperature float64
	offset      float64       // added to the places of an axial rope
	xy          bool          // columns before rows
	ref         [2]int        // the grid that places are scaled to; zero: their own
	inverse     bool          // places are multiplied by one over dinov3's periods, as transformers does
	halves      bool          // see vit.RopeHalves
	section     [3]int        // of mrope
	bands       []float32     // of the file, in place of the temperature's: periods of dinov3
	freqs       *tensor.Dense // of mixed (2, L, H, D/2)
}

// ropeKind names a formula.
type ropeKind string

// The kinds of timm.
const (
	ropeNone   ropeKind = ""
	ropeAxial  ropeKind = "axial"  // Su et al., https://arxiv.org/abs/2104.09864, along rows and columns: EVA-02, PE
	ropeDINOv3 ropeKind = "dinov3" // places from -1 to 1: https://arxiv.org/abs/2508.10104
	ropeMixed  ropeKind = "mixed"  // learned for each head: https://arxiv.org/abs/2403.13298
	ropeMulti  ropeKind = "mrope"  // Qwen2-VL's, https://arxiv.org/abs/2409.12191, of which a picture has two axes
)

// config says what the encoder has to know of it.
func (r rope) config(c *vit.Config) {
	switch {
	case r.kind == ropeNone:
	case r.halves:
		c.Rope = vit.RopeHalves
	default:
		c.Rope = vit.RopePairs
	}
	c.RopeLearned = r.kind == ropeMixed
}

// check says what is wrong with r for heads of so many values.
func (r rope) check(d int) error {
	switch {
	case r.kind == ropeNone:
	case d%4 != 0:
		return fmt.Errorf("rotary positions of heads of %d, want a multiple of 4", d)
	case !(r.temperature > 0 && r.temperature < 1e12):
		return fmt.Errorf("rotary positions of temperature %v, want one above 0 and below 1e12", r.temperature)
	case !(math.Abs(r.offset) < 1e6):
		return fmt.Errorf("rotary positions %v from where they are", r.offset)
	}
	return nil
}

// angles returns those of a grid (N, D/2), in radians.
func (r rope) angles(grid [2]int, d int) *tensor.Dense {
	rows, cols := grid[0], grid[1]
	angles := make([]float32, 0, rows*cols*d/2)
	bands := r.bandsOf(d)
	ys, xs := r.places(0, grid), r.places(1, grid)
	for _, y := range ys {
		for _, x := range xs {
			switch {
			case r.kind == ropeMulti:
				angles = append(angles, r.multi(bands, y, x)...)
			case r.xy:
				angles = append(append(angles, r.turn(bands, x)...), r.turn(bands, y)...)
			default:
				angles = append(append(angles, r.turn(bands, y)...), r.turn(bands, x)...)
			}
		}
	}
	return dense(angles, rows*cols, d/2)
}

// places returns where the rows (0) or columns (1) of a grid are.
func (r rope) places(axis int, grid [2]int) []float32 {
	n := grid[axis]
	at := make([]float32, n)
	for i := range at {
		switch v := float32(i); {
		case r.kind == ropeDINOv3:
			at[i] = 2*((v+0.5+float32(r.offset))/float32(n)) - 1
		case r.ref[axis] > 0:
			at[i] = float32(float32(v+float32(r.offset))/float32(n)) * float32(r.ref[axis])
		default:
			at[i] = v + float32(r.offset)
		}
	}
	return at
}

// bandsOf returns frequencies, of dinov3 periods.
func (r rope) bandsOf(d int) []float32 {
	if r.bands != nil {
		return r.bands
	}
	n := d / 4
	if r.kind == ropeMulti {
		n = d / 2
	}
	bands := make([]float32, n)
	for k := range bands {
		bands[k] = float32(math.Pow(r.temperature, float64(float32(k)/float32(n))))
		if r.multiplied() {
			bands[k] = 1 / bands[k]
		}
	}
	return bands
}

// multiplied reports whether bands are frequencies.
func (r rope) multiplied() bool { return r.kind != ropeDINOv3 || r.inverse }

// turn returns the angles of a place.
func (r rope) turn(bands []float32, at float32) []float32 {
	angles := make([]float32, len(bands))
	for k, b := range bands {
		switch turn := float32(2*math.Pi) * at; {
		case r.kind != ropeDINOv3:
			angles[k] = at * b
		case r.inverse:
			angles[k] = turn * b
		default:
			angles[k] = turn / b
		}
	}
	return angles
}

// multi returns the angles of a place, whose frequencies go to time, rows and
// columns by turns, as far as the sections reach. A picture has no time.
func (r rope) multi(bands []float32, y, x float32) []float32 {
	angles := make([]float32, len(bands))
	for k, b := range bands {
		switch {
		case k%3 == 1 && k < 3*r.section[1]:
			angles[k] = y * b
		case k%3 == 2 && k < 3*r.section[2]:
			angles[k] = x * b
		}
	}
	return angles
}

// mixed returns the angles of a block (N, H·D/2) by the frequencies that its
// heads learned.
func (r rope) mixed(grid [2]int, block int) *tensor.Dense {
	s := r.freqs.Shape()
	depth, n := s[1], s[2]*s[3]
	f := r.freqs.Float32s()
	first, second := f[block*n:(block+1)*n], f[(depth+block)*n:(depth+block+1)*n]
	if !r.xy {
		first, second = second, first // of columns, of rows
	}
	angles := make([]float32, 0, grid[0]*grid[1]*n)
	for _, y := range r.places(0, grid) {
		for _, x := range r.places(1, grid) {
			for k, fx := range first {
				a, b := x*fx, y*second[k]
				angles = append(angles, a+b)
			}
		}
	}
	return dense(angles, grid[0]*grid[1], n)
}

// turnPatches gives the weights the angles of the input's grid.
func (l *loader) turnPatches(w *vit.Weights) {
	rows, cols := l.cfg.Grid()
	grid := [2]int{rows, cols}
	switch l.rope.kind {
	case ropeNone:
	case ropeMixed:
		for i := range w.Blocks {
			w.Blocks[i].Angles = l.rope.mixed(grid, i)
		}
	default:
		w.Angles = l.rope.angles(grid, l.cfg.Dim/l.cfg.Heads)
	}
}
