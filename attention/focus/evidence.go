package focus

import (
	"context"
	"fmt"
	"slices"

	"gorgonia.org/tensor"
)

// Steps of the evidence.
const (
	EvidenceSteps     = 28 // of deletion and insertion
	PerturbationSteps = 9  // 10 % to 90 % of the pixels

	evidencePasses = 2*EvidenceSteps + 2*PerturbationSteps // images that Evaluate asks about
)

// Evidence says how far a map can be trusted: what happens to the class when
// the image is taken away, or given, in the map's order.
type Evidence struct {
	// Deletion and Insertion are the areas under the class's probability
	// while the patches of highest value first are replaced by the image's
	// mean colour, or put in their places on a plane of it: lower, and
	// higher, is better. Petsiuk et al., "RISE",
	// https://arxiv.org/abs/1806.07421, section 4.1.
	Deletion  float64 `json:"deletion"`
	Insertion float64 `json:"insertion"`

	// Positive and Negative are the areas, from 10 % to 90 %, under the share
	// of images that keep the class as their best while their highest, or
	// lowest, pixels are set to zero in [0, 1]: lower, and higher, is better.
	// Of one image they count steps. A model with one output keeps its class
	// where it keeps half of the output. The map is stretched bilinearly to
	// pixels. Chefer et al., "Transformer Interpretability Beyond Attention
	// Visualization", https://arxiv.org/abs/2012.09838, section 4.
	Positive float64 `json:"positive"`
	Negative float64 `json:"negative"`

	DeletionCurve  []float64 `json:"deletion_curve"`  // (EvidenceSteps + 1), from the whole image to none of it
	InsertionCurve []float64 `json:"insertion_curve"` // (EvidenceSteps + 1), from none of it to the whole image
	PositiveCurve  []bool    `json:"positive_curve"`  // (PerturbationSteps) whether the class is still the best
	NegativeCurve  []bool    `json:"negative_curve"`
}

// Score is the one number that maps of an image are compared by: higher is
// better, at most 1.
func (e *Evidence) Score() float64 { return e.Insertion - e.Deletion }

// Evaluate asks the model about the one image of x, for a class, with parts
// of it taken away in the order of m: 2·EvidenceSteps + 2·PerturbationSteps images, in batches.
func Evaluate(ctx context.Context, x Subject, class int, m *Map) (*Evidence, error) {
	x.mustFit(1)
	s := asked{x, class}
	if rows, cols := m.Grid(); s.Grid != [2]int{rows, cols} {
		return nil, fmt.Errorf("attention: evaluate: want a map of %v, found %v", s.Grid, m.Values.Shape())
	}
	if err := m.Check(); err != nil {
		return nil, err
	}
	a := asker{ctx: ctx, s: s}
	image := s.Pixels.Float32s()
	blank := meanColour(image)
	order := highestFirst(m.Values.Float32s())

	// Step 0 of deletion is the whole image, its last step is nothing of it.
	for step := range EvidenceSteps + 1 {
		a.ask(s.mixed(image, blank, order[:len(order)*step/EvidenceSteps]))
	}
	for step := 1; step < EvidenceSteps; step++ {
		a.ask(s.mixed(blank, image, order[:len(order)*step/EvidenceSteps]))
	}
	pixels := s.pixelOrder(m)
	for range 2 {
		for step := 1; step <= PerturbationSteps; step++ {
			a.ask(darkened(image, pixels[:len(pixels)*step/(PerturbationSteps+1)]))
		}
		slices.Reverse(pixels)
	}
	if a.flush(); a.err != nil {
		return nil, a.err
	}

	const n = EvidenceSteps
	e := &Evidence{DeletionCurve: slices.Clone(a.p[:n+1])}
	e.InsertionCurve = append([]float64{a.p[n]}, a.p[n+1:2*n]...)
	e.InsertionCurve = append(e.InsertionCurve, a.p[0])
	e.PositiveCurve = slices.Clone(a.best[2*n : 2*n+PerturbationSteps])
	e.NegativeCurve = slices.Clone(a.best[2*n+PerturbationSteps:])
	e.Deletion, e.Insertion = area(e.DeletionCurve), area(e.InsertionCurve)
	e.Positive, e.Negative = area(shares(e.PositiveCurve)), area(shares(e.NegativeCurve))
	return e, nil
}

// asker gathers images into batches and keeps what the model says of each.
type asker struct {
	ctx     context.Context
	s       asked
	waiting []float32 // (n, 3, H, W)
	n       int
	p       []float64 // the class's probability
	best    []bool    // whether it is the best class
	err     error     // the first; nothing is asked after it
}

func (a *asker) ask(image []float32) {
	if a.err != nil {
		return
	}
	a.waiting = append(a.waiting, image...)
	if a.n++; a.n == a.s.batch() {
		a.flush()
	}
}

func (a *asker) flush() {
	if a.n == 0 || a.err != nil {
		return
	}
	if a.err = a.ctx.Err(); a.err != nil {
		return
	}
	shape := a.s.Pixels.Shape()
	p, err := a.s.Model.Probabilities(a.ctx, tensor.New(tensor.WithShape(a.n, 3, shape[2], shape[3]), tensor.WithBacking(a.waiting)))
	if err != nil {
		a.err = err
		return
	}
	column, err := a.s.column(p, a.n)
	if err != nil {
		a.err = err
		return
	}
	a.p = append(a.p, column...)
	classes := p.Shape()[1]
	for i, v := range column {
		a.best = append(a.best, a.keeps(v, p.Float32s()[i*classes:(i+1)*classes]))
	}
	a.waiting, a.n = nil, 0
}

// keeps reports whether the class is still the best of an image. An only class
// always is, so it has to keep half of what it has for the whole image, which
// was asked about first; that means as much for a regression's output.
func (a *asker) keeps(p float64, all []float32) bool {
	if len(all) > 1 {
		return float32(p) >= slices.Max(all)
	}
	whole := a.p[0]
	return whole != 0 && p/whole >= 0.5
}

// mixed returns base (3, H, W) with these patches of top.
func (s asked) mixed(base, top []float32, patches []int) []float32 {
	out := slices.Clone(base)
	height, width := s.Pixels.Shape()[2], s.Pixels.Shape()[3]
	ph, pw := s.Patch[0], s.Patch[1]
	for _, p := range patches {
		y0, x0 := p/s.Grid[1]*ph, p%s.Grid[1]*pw
		for c := range 3 {
			for y := y0; y < y0+ph; y++ {
				o := (c*height+y)*width + x0
				copy(out[o:o+pw], top[o:o+pw])
			}
		}
	}
	return out
}

// pixelOrder returns the pixels of a plane (H, W), those of highest value
// first.
func (s asked) pixelOrder(m *Map) []int {
	height, width := s.Pixels.Shape()[2], s.Pixels.Shape()[3]
	rows, cols := m.Grid()
	f := newField(m.scaled(1), rows, cols, Bilinear, width, func(x int) float64 {
		return (float64(x) + 0.5) / float64(s.Patch[1])
	}, 1)
	values := make([]float32, height*width)
	for y := range height {
		f.row(values[y*width:(y+1)*width], (float64(y)+0.5)/float64(s.Patch[0]))
	}
	return highestFirst(values)
}

// highestFirst returns the indices of values in descending order, equal ones
// in the order of their index.
func highestFirst(values []float32) []int {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case values[a] > values[b]:
			return -1
		case values[a] < values[b]:
			return 1
		}
		return a - b
	})
	return order
}

// darkened returns image (3, H, W) with these pixels of its planes at zero.
func darkened(image []float32, pixels []int) []float32 {
	out := slices.Clone(image)
	area := len(image) / 3
	for _, p := range pixels {
		out[p], out[area+p], out[2*area+p] = 0, 0, 0
	}
	return out
}

// meanColour returns a plane (3, H, W) of the image's mean colour.
func meanColour(image []float32) []float32 {
	out := make([]float32, len(image))
	area := len(image) / 3
	for c := range 3 {
		var sum float64
		for _, v := range image[c*area : (c+1)*area] {
			sum += float64(v)
		}
		plane := out[c*area : (c+1)*area]
		for i := range plane {
			plane[i] = float32(sum / float64(area))
		}
	}
	return out
}

// area is the area under a curve over 0 to 1, by trapezoids.
func area(curve []float64) float64 {
	var sum float64
	for i := 1; i < len(curve); i++ {
		sum += (curve[i-1] + curve[i]) / 2
	}
	return sum / float64(len(curve)-1)
}

func shares(kept []bool) []float64 {
	out := make([]float64, len(kept))
	for i, k := range kept {
		if k {
			out[i] = 1
		}
	}
	return out
}
