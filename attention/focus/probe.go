package focus

import (
	"context"
	"fmt"

	"gorgonia.org/tensor"
)

// Classifier is a model as occlusion and the scores of a map need it: in this
// process or behind a network.
type Classifier interface {
	// Probabilities returns the classes' probabilities (B, K) of images
	// (B, 3, H, W) in [0, 1].
	Probabilities(ctx context.Context, pixels *tensor.Dense) (*tensor.Dense, error)

	// Kept returns the classes' probabilities (len(keep), K) of the one image
	// (1, 3, H, W) when the model is given only the patches keep[i] of it,
	// counted row by row, and its prefix tokens. The lists are ascending and
	// of one length; none is empty.
	Kept(ctx context.Context, pixels *tensor.Dense, keep [][]int) (*tensor.Dense, error)
}

// Subject is one image that a model is asked about again and again.
type Subject struct {
	Model  Classifier
	Pixels *tensor.Dense // (1, 3, H, W) in [0, 1]
	Grid   [2]int        // rows, columns of patches
	Patch  [2]int        // height, width of a patch; pixels behind the last whole patch are not looked at
	Class  int           // whose probability is asked for
	Batch  int           // images in one question; 0: 8
}

// defaultBatch is Subject.Batch when none is given: 8 images of 518 pixels
// are 26 MB.
const defaultBatch = 8

func (s Subject) patches() int { return s.Grid[0] * s.Grid[1] }

func (s Subject) batch() int {
	if s.Batch == 0 {
		return defaultBatch
	}
	return s.Batch
}

// mustFit panics on a subject that no program should make.
func (s Subject) mustFit() {
	if shape := s.Pixels.Shape(); len(shape) != 4 || shape[0] != 1 || shape[1] != 3 || s.patches() < 1 || s.Batch < 0 ||
		min(s.Patch[0], s.Patch[1]) < 1 || s.Patch[0]*s.Grid[0] > shape[2] || s.Patch[1]*s.Grid[1] > shape[3] {
		panic(fmt.Sprintf("attention: subject of pixels %v, want (1, 3, H, W) of a grid %v of patches %v, in batches of %d",
			shape, s.Grid, s.Patch, s.Batch))
	}
}

// kept returns the class's probability for each list of patches, which are of
// one length.
func (s Subject) kept(ctx context.Context, keep [][]int) ([]float64, error) {
	var out []float64
	for lo := 0; lo < len(keep); lo += s.batch() {
		part := keep[lo:min(lo+s.batch(), len(keep))]
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p, err := s.Model.Kept(ctx, s.Pixels, part)
		if err != nil {
			return nil, err
		}
		got, err := s.column(p, len(part))
		if err != nil {
			return nil, err
		}
		out = append(out, got...)
	}
	return out, nil
}

// column returns the class's probability of each row of p (n, K).
func (s Subject) column(p *tensor.Dense, n int) ([]float64, error) {
	shape := p.Shape()
	if len(shape) != 2 || shape[0] != n {
		panic(fmt.Sprintf("attention: classifier returned %v, want (%d, K)", shape, n))
	}
	if s.Class < 0 || s.Class >= shape[1] {
		return nil, badOption("class", s.Class, fmt.Sprintf("0 to %d", shape[1]-1))
	}
	out := make([]float64, n)
	for i := range out {
		out[i] = float64(p.Float32s()[i*shape[1]+s.Class])
	}
	return out, nil
}

// all returns the patches of the grid.
func (s Subject) all() []int {
	all := make([]int, s.patches())
	for i := range all {
		all[i] = i
	}
	return all
}

// newMap makes the map of values by patch.
func (s Subject) newMap(values []float64, o Options) (*Map, error) {
	r := &Record{Grid: s.Grid}
	return r.newMap(values, o, 0)
}
