package measure

import "math"

// RiskCoverage returns the share of wrong answers among the i+1 of the highest
// confidence, for each i; on a tie the earlier comes first.
//
// Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks",
// https://arxiv.org/abs/1705.08500.
func RiskCoverage(confidence []float64, right []bool) []float64 {
	risk := make([]float64, len(confidence))
	wrong := 0
	for i, j := range sorted(confidence, func(a, b float64) bool { return a > b }) {
		if !right[j] {
			wrong++
		}
		risk[i] = float64(wrong) / float64(i+1)
	}
	return risk
}

// AURC is the mean of RiskCoverage: 0 where every wrong answer is less sure
// than every right one and there is none.
//
// Geifman, Uziel and El-Yaniv, "Bias-Reduced Uncertainty Estimation for Deep
// Neural Classifiers", https://arxiv.org/abs/1805.08206.
func AURC(confidence []float64, right []bool) float64 {
	risk := RiskCoverage(confidence, right)
	sum := 0.0
	for _, r := range risk {
		sum += r
	}
	return sum / float64(len(risk))
}

// Detection says how well a score tells outliers, which are the positive class,
// from what the model knows.
type Detection struct {
	AUROC float64 // 0.5: not at all, 1: always
	AUPR  float64 // average precision
	FPR95 float64 // share of what is known that is taken for an outlier where 95 % of these are found
}

// Detect measures scores, higher for outliers. Ties count half in AUROC.
//
// Hendrycks and Gimpel, "A Baseline for Detecting Misclassified and
// Out-of-Distribution Examples", https://arxiv.org/abs/1610.02136.
func Detect(known, outliers []float64) Detection {
	all := append(append(make([]float64, 0, len(known)+len(outliers)), known...), outliers...)
	order := sorted(all, func(a, b float64) bool { return a > b })
	n, p := float64(len(known)), float64(len(outliers))
	var d Detection
	d.FPR95 = 1
	var found, false_, before float64 // outliers and others so far; outliers before this score
	reached := false
	for i := 0; i < len(order); {
		j := i
		var f, k float64
		for ; j < len(order) && all[order[j]] == all[order[i]]; j++ {
			if order[j] >= len(known) {
				f++
			} else {
				k++
			}
		}
		d.AUROC += k * (found + f/2)
		found, false_ = found+f, false_+k
		d.AUPR += (found - before) / p * found / (found + false_)
		before = found
		if !reached && found >= 0.95*p {
			d.FPR95, reached = false_/n, true
		}
		i = j
	}
	d.AUROC /= n * p
	if n == 0 || p == 0 {
		d = Detection{math.NaN(), math.NaN(), math.NaN()}
	}
	return d
}
