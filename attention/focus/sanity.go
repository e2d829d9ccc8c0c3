package focus

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Sanity is how much of a map is left when the model forgets what it learnt:
// its weights are shuffled, each tensor in itself, from the head down.
//
// Adebayo et al., "Sanity Checks for Saliency Maps",
// https://arxiv.org/abs/1810.03292, section 3 (cascading randomisation).
type Sanity struct {
	Stages  []SanityStage `json:"stages"`
	Verdict string        `json:"verdict"`
}

// SanityStage is the likeness of the map to those of models that are shuffled
// so far, the mean over draws.
type SanityStage struct {
	Shuffled string `json:"shuffled"` // what is: all that was before, too
	From     int    `json:"from"`     // the first block that is, from 0; L: only the head; -1: all
	Likeness
	Without int `json:"without,omitempty"` // draws whose map was flat or not finite: nothing of the map was left

	Map *Map `json:"-"` // of the first draw that has one; nil: none has
}

// Likeness is how alike two maps of one grid are: 1 is equal, 0 unlike.
type Likeness struct {
	Spearman float64 `json:"spearman"`     // rank correlation, -1 to 1
	Absolute float64 `json:"spearman_abs"` // rank correlation of absolute values
	SSIM     float64 `json:"ssim"`         // structural similarity, at most 1
}

// SanityDraws is how often each stage is shuffled anew: a rank correlation of
// two unrelated smooth maps is often 0.3.
const SanityDraws = 3

// Rank correlations from which a map is said to be alike, or alike in part.
const (
	alike   = 0.5
	related = 0.2
)

// sanityStages returns the stages of a model of L layers.
func sanityStages(depth int) []SanityStage {
	all := []SanityStage{
		{Shuffled: "the head", From: depth},
		{Shuffled: "the last block", From: depth - 1},
		{Shuffled: fmt.Sprintf("%d of %d blocks", (depth+1)/2, depth), From: depth / 2},
		{Shuffled: "all blocks", From: 0},
		{Shuffled: "all and the embedding", From: -1},
	}
	return slices.CompactFunc(all, func(a, b SanityStage) bool { return a.From == b.From })
}

// CheckSanity compares m with the maps that shuffled gives: made as m was, for
// the class that m is of, by a model whose weights are shuffled from a block
// on (see vit.Weights.Shuffled) by that seed. Its errors are those of
// shuffled, but for maps that are flat or not finite.
func CheckSanity(m *Map, depth int, seed uint64, shuffled func(from int, seed uint64) (*Map, error)) (*Sanity, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	s := &Sanity{Stages: sanityStages(depth)}
	for i := range s.Stages {
		stage := &s.Stages[i]
		for draw := range SanityDraws {
			other, err := shuffled(stage.From, seed+uint64(draw))
			if isUnpaintable(err) {
				stage.Without++
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("attention: sanity, %s shuffled: %w", stage.Shuffled, err)
			}
			if stage.Map == nil {
				stage.Map = other
			}
			l := Compare(m, other)
			stage.Spearman += l.Spearman / SanityDraws
			stage.Absolute += l.Absolute / SanityDraws
			stage.SSIM += l.SSIM / SanityDraws
		}
	}
	s.Verdict = verdict(s.Stages)
	return s, nil
}

// verdict says in words what the stages mean.
func verdict(stages []SanityStage) string {
	var say []string
	last := stages[len(stages)-1]
	left := max(last.Spearman, last.Absolute)
	switch {
	case last.Without == SanityDraws:
		say = append(say, "with random weights there is no map at all: it depends on what the model learnt")
	case left >= alike:
		say = append(say, fmt.Sprintf("with random weights the map stays alike (%.2f): it does not show what the model knows", left))
	case left >= related:
		say = append(say, fmt.Sprintf("with random weights some of the map is left (%.2f): that much is the picture or its frame, not what the model knows", left))
	default:
		say = append(say, fmt.Sprintf("with random weights nothing of the map is left (%.2f): it depends on what the model learnt", left))
	}
	if head := stages[0]; head.Without == 0 && head.Spearman > 1-1e-9 {
		say = append(say, "it does not depend on the head, so it is of no class")
	}
	return strings.Join(say, "; ")
}

// Compare says how alike two maps are. Maps of different grids panic.
func Compare(a, b *Map) Likeness {
	if !a.Values.Shape().Eq(b.Values.Shape()) {
		panic(fmt.Sprintf("attention: compare maps of %v and %v", a.Values.Shape(), b.Values.Shape()))
	}
	x, y := a.Values.Float32s(), b.Values.Float32s()
	absolute := func(v []float32) []float32 {
		v = slices.Clone(v)
		for i := range v {
			v[i] = max(v[i], -v[i])
		}
		return v
	}
	return Likeness{Spearman: spearman(x, y), Absolute: spearman(absolute(x), absolute(y)), SSIM: ssim(a, b)}
}

// spearman is Pearson's correlation of ranks, equal values sharing the mean of
// theirs. Where all values of one are equal it is 0.
func spearman(x, y []float32) float64 {
	p, q := ranks(x), ranks(y)
	mean := float64(len(x)-1) / 2
	var pq, pp, qq float64
	for i := range p {
		a, b := p[i]-mean, q[i]-mean
		pq, pp, qq = pq+a*b, pp+a*a, qq+b*b
	}
	if pp == 0 || qq == 0 {
		return 0
	}
	return pq / math.Sqrt(pp*qq)
}

// ranks counts from 0.
func ranks(x []float32) []float64 {
	order := highestFirst(x)
	slices.Reverse(order)
	out := make([]float64, len(x))
	for lo := 0; lo < len(order); {
		hi := lo
		for hi < len(order) && x[order[hi]] == x[order[lo]] {
			hi++
		}
		for _, i := range order[lo:hi] {
			out[i] = float64(lo+hi-1) / 2
		}
		lo = hi
	}
	return out
}

// Constants of ssim: the window of scikit-image, and the paper's K1 and K2.
const (
	ssimWindow = 7
	ssimK1     = 0.01
	ssimK2     = 0.03
)

// ssim is the mean structural similarity of two maps, each stretched to 0 to
// 1, over square windows with even weights, smaller where the grid is.
//
// Wang et al., "Image Quality Assessment: From Error Visibility to Structural
// Similarity", IEEE Transactions on Image Processing 2004, equation 13.
func ssim(a, b *Map) float64 {
	rows, cols := a.Grid()
	x, y := a.scaled(1), b.scaled(1)
	side := min(ssimWindow, rows, cols)
	const c1, c2 = ssimK1 * ssimK1, ssimK2 * ssimK2
	var sum float64
	for top := range rows - side + 1 {
		for left := range cols - side + 1 {
			var mx, my, xx, yy, xy float64
			for r := top; r < top+side; r++ {
				for c := left; c < left+side; c++ {
					p, q := float64(x[r*cols+c]), float64(y[r*cols+c])
					mx, my, xx, yy, xy = mx+p, my+q, xx+p*p, yy+q*q, xy+p*q
				}
			}
			n := float64(side * side)
			mx, my = mx/n, my/n
			vx, vy, v := xx/n-mx*mx, yy/n-my*my, xy/n-mx*my
			sum += (2*mx*my + c1) * (2*v + c2) / ((mx*mx + my*my + c1) * (vx + vy + c2))
		}
	}
	return sum / float64((rows-side+1)*(cols-side+1))
}
