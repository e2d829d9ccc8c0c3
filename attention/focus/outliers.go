package focus

import (
	"fmt"
	"math"
	"slices"

	"gorgonia.org/tensor"
)

// Outlier is a patch whose token is far larger than its neighbours': the
// model has likely given up the patch's own content to keep something of the
// whole image there, and attention to it says nothing of that place.
//
// Darcet et al., "Vision Transformers Need Registers",
// https://arxiv.org/abs/2309.16588, section 2.
type Outlier struct {
	Row   int     `json:"row"`
	Col   int     `json:"col"`
	Norm  float64 `json:"norm"`
	Ratio float64 `json:"ratio"` // of the norm to the patches' median
}

// Rule of Outliers. The paper cuts at a fixed norm, which holds for one
// model; medians hold for any.
const (
	outlierRatio = 2 // times the median norm, at least
	outlierMADs  = 6 // median absolute deviations over the median, at least
)

// Outliers finds the patches of image b whose tokens (B, N, C), as the last
// block leaves them before the final norm, are at least 2 times as long as the
// patches' median and at least 6 median absolute deviations longer. The
// largest come first.
func Outliers(tokens *tensor.Dense, b, prefix int, grid [2]int) []Outlier {
	s := tokens.Shape()
	if n := prefix + grid[0]*grid[1]; len(s) != 3 || b < 0 || b >= s[0] || s[1] != n {
		panic(fmt.Sprintf("attention: outliers of image %d of tokens %v, want (B, %d, C)", b, s, n))
	}
	norms := make([]float64, 0, s[1]-prefix)
	for i := prefix; i < s[1]; i++ {
		var sum float64
		for _, v := range tokens.Float32s()[(b*s[1]+i)*s[2] : (b*s[1]+i+1)*s[2]] {
			sum += float64(v) * float64(v)
		}
		norms = append(norms, math.Sqrt(sum))
	}
	middle := median(norms)
	off := make([]float64, len(norms))
	for i, v := range norms {
		off[i] = math.Abs(v - middle)
	}
	limit := max(outlierRatio*middle, middle+outlierMADs*median(off))
	found := []Outlier{}
	for i, v := range norms {
		if v >= limit && v > 0 {
			found = append(found, Outlier{Row: i / grid[1], Col: i % grid[1], Norm: v, Ratio: v / middle})
		}
	}
	slices.SortStableFunc(found, func(a, b Outlier) int {
		switch {
		case a.Norm > b.Norm:
			return -1
		case a.Norm < b.Norm:
			return 1
		}
		return 0
	})
	return found
}

// median returns the middle value, the mean of two where there are two.
func median(x []float64) float64 {
	s := slices.Clone(x)
	slices.Sort(s)
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
