package measure

import (
	"math"
	"sort"
)

// Drift is how far a focus map has moved: four ways to compare two maps over the
// same patches.
type Drift struct {
	Cosine   float64 // of the angle between them, 1: the same
	Spearman float64 // correlation of their ranks, 1: the same order
	JS       float64 // Jensen-Shannon divergence of the two as distributions, 0 to 1 bit
	IoU      float64 // of the fifths of the patches where each is highest, 1: the same
}

// Compare compares two maps of values that are not negative.
func Compare(a, b []float32) Drift {
	return Drift{cosine(a, b), spearman(a, b), jensenShannon(a, b), topIoU(a, b, 0.2)}
}

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	return ab / math.Sqrt(aa*bb)
}

// spearman is Pearson's correlation of ranks, equal values having the mean of
// theirs.
func spearman(a, b []float32) float64 {
	x, y := ranks(a), ranks(b)
	mean := float64(len(a)-1) / 2
	var xy, xx, yy float64
	for i := range x {
		u, v := x[i]-mean, y[i]-mean
		xy, xx, yy = xy+u*v, xx+u*u, yy+v*v
	}
	return xy / math.Sqrt(xx*yy)
}

// ranks from 0.
func ranks(v []float32) []float64 {
	order := make([]int, len(v))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(i, j int) bool { return v[order[i]] < v[order[j]] })
	r := make([]float64, len(v))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && v[order[j]] == v[order[i]] {
			j++
		}
		for _, k := range order[i:j] {
			r[k] = float64(i+j-1) / 2
		}
		i = j
	}
	return r
}

// jensenShannon is (KL(p‖m) + KL(q‖m))/2 in bits, m the mean of both.
//
// Lin, "Divergence Measures Based on the Shannon Entropy",
// https://doi.org/10.1109/18.61115.
func jensenShannon(a, b []float32) float64 {
	var sa, sb float64
	for i := range a {
		sa, sb = sa+float64(a[i]), sb+float64(b[i])
	}
	sum := 0.0
	for i := range a {
		p, q := float64(a[i])/sa, float64(b[i])/sb
		m := (p + q) / 2
		if p > 0 {
			sum += p * math.Log2(p/m) / 2
		}
		if q > 0 {
			sum += q * math.Log2(q/m) / 2
		}
	}
	return max(sum, 0)
}

// topIoU is |A ∩ B| / |A ∪ B| of the patches where each map is highest, a share
// of all of them rounded up; on a tie the earlier patch counts.
func topIoU(a, b []float32, share float64) float64 {
	n := int(math.Ceil(share * float64(len(a))))
	in := make([]int, len(a))
	for _, v := range [][]float32{a, b} {
		order := make([]int, len(v))
		for i := range order {
			order[i] = i
		}
		sort.SliceStable(order, func(i, j int) bool { return v[order[i]] > v[order[j]] })
		for _, k := range order[:n] {
			in[k]++
		}
	}
	both := 0
	for _, c := range in {
		if c == 2 {
			both++
		}
	}
	return float64(both) / float64(2*n-both)
}
