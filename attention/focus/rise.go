package focus

import (
	"context"
	"math/rand/v2"
	"slices"
)

// Defaults of RISE.
const (
	DefaultMasks = 400
	DefaultKeep  = 0.5
	riseCells    = 7 // cells a side of the coarse masks, section 4 of the paper
)

// rise asks the model about random parts of the image and credits a patch
// with the mean probability of the parts that it was in:
//
//	S(λ) = Σi f(I ⊙ Mi) Mi(λ) / Σi Mi(λ)
//
// Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of
// Black-box Models", https://arxiv.org/abs/1806.07421, equation 6, with the
// count of the masks in place of its expectation. As there, a mask is a
// coarse random grid, shifted at random and stretched bilinearly; here its
// highest patches, a fixed share, are kept and the tokens of the others
// dropped, so that masks are of one length and nothing is painted.
func rise(ctx context.Context, q asked, o Options) (*Map, error) {
	masks, share := o.parts()
	n := q.patches()
	count := min(max(1, int(share*float64(n)+0.5)), n-1)
	rng := rand.New(rand.NewPCG(o.Seed, 0))
	keep := make([][]int, masks)
	for i := range keep {
		keep[i] = riseMask(rng, q.Grid, count)
	}
	p, err := q.kept(ctx, keep)
	if err != nil {
		return nil, err
	}
	credit, seen := make([]float64, n), make([]float64, n)
	for i, k := range keep {
		for _, patch := range k {
			credit[patch] += p[i]
			seen[patch]++
		}
	}
	for i := range credit {
		credit[i] /= max(1, seen[i])
	}
	return q.newMap(credit, o)
}

// riseMask returns count patches that a coarse random field is highest at.
func riseMask(rng *rand.Rand, grid [2]int, count int) []int {
	rows, cols := grid[0], grid[1]
	// One cell more a side than is seen, for the shift.
	coarse := make([]float32, (riseCells+1)*(riseCells+1))
	for i := range coarse {
		coarse[i] = rng.Float32()
	}
	dy, dx := rng.Float64(), rng.Float64()
	f := newField(coarse, riseCells+1, riseCells+1, Bilinear, cols, func(x int) float64 {
		return dx + (float64(x)+0.5)/float64(cols)*riseCells
	}, 1)
	values := make([]float32, rows*cols)
	for r := range rows {
		f.row(values[r*cols:(r+1)*cols], dy+(float64(r)+0.5)/float64(rows)*riseCells)
	}
	keep := highestFirst(values)[:count]
	slices.Sort(keep)
	return keep
}

// parts returns how many there are, and the share of the patches in each.
func (o Options) parts() (masks int, share float64) {
	masks, share = o.Masks, o.Keep
	if masks == 0 {
		masks = DefaultMasks
	}
	if share == 0 {
		share = DefaultKeep
	}
	return masks, share
}

// risePasses: a pass over a share of the patches a mask, of one target.
func risePasses(o Options, _ Shape) (once, each float64) {
	masks, share := o.parts()
	return 1, float64(masks) * share
}
