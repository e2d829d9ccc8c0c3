package measure

import (
	"math"
	"slices"
	"sort"
)

// Bins is how many the calibration errors have by default.
const Bins = 15

// Bin is a range of confidences of a reliability diagram.
type Bin struct {
	Low, High  float64 // confidences (Low, High]
	Count      int
	Accuracy   float64 // share of right answers; NaN of none
	Confidence float64 // their mean; NaN of none
}

// Reliability sorts answers into bins of equal width. confidence is the highest
// score of each answer.
//
// Guo et al., "On Calibration of Modern Neural Networks",
// https://arxiv.org/abs/1706.04599, section 2.
func Reliability(confidence []float64, right []bool, bins int) []Bin {
	out := make([]Bin, bins)
	for i := range out {
		out[i].Low, out[i].High = float64(i)/float64(bins), float64(i+1)/float64(bins)
	}
	for i, c := range confidence {
		b := &out[min(max(int(math.Ceil(c*float64(bins)))-1, 0), bins-1)]
		b.Count++
		b.Confidence += c
		if right[i] {
			b.Accuracy++
		}
	}
	for i := range out {
		n := float64(out[i].Count)
		out[i].Accuracy, out[i].Confidence = out[i].Accuracy/n, out[i].Confidence/n
	}
	return out
}

// EqualMass sorts answers into bins of about equal counts: between the
// quantiles of their confidence, [Low, High).
//
// Nguyen and O'Connor, "Posterior Calibration and Exploratory Analysis for
// Natural Language Processing Models", https://arxiv.org/abs/1508.05154.
func EqualMass(confidence []float64, right []bool, bins int) []Bin {
	order := slices.Sorted(slices.Values(confidence))
	out := make([]Bin, bins)
	step := 1 / float64(bins)
	for i := range out {
		out[i].High = 1
		if i > 0 && len(order) > 0 {
			out[i].Low = quantile(order, float64(i)*step)
			out[i-1].High = out[i].Low
		}
	}
	for i, c := range confidence {
		k := sort.Search(bins-1, func(k int) bool { return c < out[k].High })
		b := &out[k]
		b.Count++
		b.Confidence += c
		if right[i] {
			b.Accuracy++
		}
	}
	for i := range out {
		n := float64(out[i].Count)
		out[i].Accuracy, out[i].Confidence = out[i].Accuracy/n, out[i].Confidence/n
	}
	return out
}

// CalibrationError is Σ count/N · |accuracy - confidence| over bins: the ECE of
// those of Reliability, the adaptive one of those of EqualMass.
func CalibrationError(bins []Bin) float64 {
	n, sum := 0, 0.0
	for _, b := range bins {
		if b.Count > 0 {
			n += b.Count
			sum += float64(b.Count) * math.Abs(b.Accuracy-b.Confidence)
		}
	}
	return sum / float64(n)
}

// Temperature returns the one that the logits are divided by to make the mean
// NLL of their classes least. each calls f for every photo, as often as it is
// called itself. The NLL is convex in 1/t: its derivative is brought to zero by
// Newton's steps, held between 1/100 and 100.
func Temperature(each func(f func(logits []float32, class int)) error) (float64, error) {
	// at returns the first and second derivative in 1/t.
	at := func(beta float64) (slope, curvature float64, err error) {
		err = each(func(z []float32, class int) {
			p := Softmax(z, 1/beta)
			var mean, square float64
			for k, v := range p {
				x := float64(z[k])
				mean, square = mean+v*x, square+v*x*x
			}
			slope += mean - float64(z[class])
			curvature += square - mean*mean
		})
		return slope, curvature, err
	}
	lo, hi, beta := 0.01, 100.0, 1.0
	if slope, _, err := at(hi); err != nil || slope <= 0 {
		return 1 / hi, err
	}
	if slope, _, err := at(lo); err != nil || slope >= 0 {
		return 1 / lo, err
	}
	for range 100 {
		slope, curvature, err := at(beta)
		if err != nil {
			return 0, err
		}
		if slope < 0 {
			lo = beta
		} else {
			hi = beta
		}
		next := beta - slope/curvature
		if !(next > lo && next < hi) {
			next = math.Sqrt(lo * hi)
		}
		if math.Abs(next-beta) < 1e-9*beta {
			break
		}
		beta = next
	}
	return 1 / beta, nil
}

// sorted returns the order of values, stable.
func sorted(v []float64, less func(a, b float64) bool) []int {
	order := make([]int, len(v))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		switch {
		case less(v[i], v[j]):
			return -1
		case less(v[j], v[i]):
			return 1
		}
		return 0
	})
	return order
}
