package measure

import (
	"math"
	"slices"
)

// Threshold is the confidence that a share of answers has or exceeds: who answers
// from it on and abstains below covers that share of photos like these.
//
// Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks",
// https://arxiv.org/abs/1705.08500.
func Threshold(confidence []float64, coverage float64) float64 {
	if len(confidence) == 0 {
		return math.NaN()
	}
	order := slices.Sorted(slices.Values(confidence))
	n := len(order)
	k := min(max(int(math.Round(coverage*float64(n))), 1), n)
	return order[n-k]
}
