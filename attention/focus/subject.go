package focus

import (
	"context"
	"errors"
	"fmt"

	"gorgonia.org/tensor"
)

// Subject is images that are explained, and the model that explains them.
// Only maps from gradients are of more than one image at a time, or of those
// of a whole record.
type Subject struct {
	*Record               // what is known of the model; what a pass recorded, where the method reads it
	Model   Model         // nil: only maps from attention
	Pixels  *tensor.Dense // (B, 3, H, W) in [0, 1]
	Targets []Target      // a map each of every image; none: its Best classes
	Best    int           // how many of an image's best classes; 0: one
	Batch   int           // images in one question; 0: 8, of integrated gradients B
}

// Target is what a map explains: the logit of a class, or how far it is above
// that of another class.
type Target struct {
	Class  int
	Versus []int // the mean of these classes' logits is subtracted; none: nothing is
}

// Focus is a map and what it is of, or why there is none.
type Focus struct {
	Method   Method    // that made the map: of auto, the one that it chose
	Options  Options   // likewise
	Target   *Target   // that the map or its evidence is about; nil: nothing is
	Map      *Map      // nil: see Err
	Err      error     // ErrFlat or ErrNotFinite
	Evidence *Evidence // nil: not asked for
	Trials   []Focus   // of auto: the maps that it chose from
}

// defaultBatch is Subject.Batch when none is given: 8 images of 518 pixels
// are 26 MB.
const defaultBatch = 8

func (x Subject) patches() int { return x.Grid[0] * x.Grid[1] }

// images returns B.
func (x Subject) images() int { return x.Pixels.Shape()[0] }

func (x Subject) batch() int {
	if x.Batch == 0 {
		return defaultBatch
	}
	return x.Batch
}

// mustFit panics on a subject that no program should make: of another number
// of images, unless that is 0, or of another shape.
func (x Subject) mustFit(images int) {
	s, grid, patch := x.Pixels.Shape(), x.Grid, x.Patch
	if len(s) != 4 || images > 0 && s[0] != images || s[1] != 3 || min(grid[0], grid[1], patch[0], patch[1]) < 1 || x.Batch < 0 || x.Prefix < 0 ||
		patch[0]*grid[0] > s[2] || patch[1]*grid[1] > s[3] {
		want := "B"
		if images > 0 {
			want = fmt.Sprint(images)
		}
		panic(fmt.Sprintf("attention: subject of pixels %v, want (%s, 3, H, W) of a grid %v of patches %v, in batches of %d", s, want, grid, patch, x.Batch))
	}
}

// targets returns those of x, or the best classes of its one image.
func (x Subject) targets() ([]Target, error) {
	if len(x.Targets) > 0 {
		return x.Targets, nil
	}
	if x.Logits == nil {
		return nil, errors.New("attention: the model has no head to be asked")
	}
	var all []Target
	for _, k := range highest(x.Logits.Float32s(), max(1, x.Best)) {
		all = append(all, Target{Class: k})
	}
	return all, nil
}

// asked is one image and the class whose probability the model is asked for
// again and again.
type asked struct {
	Subject
	class int
}

// kept returns the class's probability for each list of patches, which are of
// one length.
func (q asked) kept(ctx context.Context, keep [][]int) ([]float64, error) {
	var out []float64
	for lo := 0; lo < len(keep); lo += q.batch() {
		part := keep[lo:min(lo+q.batch(), len(keep))]
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p, err := q.Model.Kept(ctx, q.Pixels, part)
		if err != nil {
			return nil, err
		}
		got, err := q.column(p, len(part))
		if err != nil {
			return nil, err
		}
		out = append(out, got...)
	}
	return out, nil
}

// column returns the class's probability of each row of p (n, K).
func (q asked) column(p *tensor.Dense, n int) ([]float64, error) {
	shape := p.Shape()
	if len(shape) != 2 || shape[0] != n {
		panic(fmt.Sprintf("attention: classifier returned %v, want (%d, K)", shape, n))
	}
	if q.class < 0 || q.class >= shape[1] {
		return nil, badOption("class", q.class, fmt.Sprintf("0 to %d", shape[1]-1))
	}
	out := make([]float64, n)
	for i := range out {
		out[i] = float64(p.Float32s()[i*shape[1]+q.class])
	}
	return out, nil
}

// all returns the patches of the grid.
func (q asked) all() []int {
	all := make([]int, q.patches())
	for i := range all {
		all[i] = i
	}
	return all
}

// newMap makes the map of values by patch.
func (q asked) newMap(values []float64, o Options) (*Map, error) {
	return Shape{Grid: q.Grid}.newMap(values, o, 0)
}
