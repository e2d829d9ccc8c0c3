package attack

import (
	"math"
	"sort"
)

// loss is what an attack makes large: its value and derivative ∂L/∂z (K) at
// logits z.
type loss func(z []float64) (value float64, d []float64)

// softmax returns exp(z) over its sum, and the logarithm of the sum.
func softmax(z []float64) (p []float64, logSum float64) {
	p = make([]float64, len(z))
	high := math.Inf(-1)
	for _, v := range z {
		high = max(high, v)
	}
	sum := 0.0
	for k, v := range z {
		p[k] = math.Exp(v - high)
		sum += p[k]
	}
	for k := range p {
		p[k] /= sum
	}
	return p, high + math.Log(sum)
}

// crossEntropy is -log p of the class, times sign: 1 drives the answer away from
// the class, -1 towards it.
func crossEntropy(class int, sign float64) loss {
	return func(z []float64) (float64, []float64) {
		d, logSum := softmax(z)
		value := sign * (logSum - z[class])
		d[class]--
		for k := range d {
			d[k] *= sign
		}
		return value, d
	}
}

// dlrTargeted is the targeted difference of logits ratio, which does not change
// when the logits are scaled:
//
//	-(z_y - z_t) / (z_(1) - (z_(3) + z_(4))/2 + 1e-12)
//
// Croce and Hein, "Reliable evaluation of adversarial robustness with an
// ensemble of diverse parameter-free attacks", https://arxiv.org/abs/2003.01690.
func dlrTargeted(class, target int) loss {
	return func(z []float64) (float64, []float64) {
		r := ranked(z, 4)
		return ratio(z, class, target, map[int]float64{r[0]: 1, r[2]: -0.5, r[3]: -0.5})
	}
}

// ratio is -(z_y - z_o)/(Σ w z + 1e-12) and its derivative.
func ratio(z []float64, class, other int, weights map[int]float64) (float64, []float64) {
	above, below := z[class]-z[other], 1e-12
	for k, w := range weights {
		below += w * z[k]
	}
	d := make([]float64, len(z))
	for k, w := range weights {
		d[k] += above / (below * below) * w
	}
	d[class] -= 1 / below
	d[other] += 1 / below
	return -above / below, d
}

// ranked returns the n classes of the highest logits, the highest first.
func ranked(z []float64, n int) []int {
	order := make([]int, len(z))
	for k := range order {
		order[k] = k
	}
	sort.SliceStable(order, func(i, j int) bool { return z[order[i]] > z[order[j]] })
	return order[:n]
}

// margin is z_y - max_{i≠y} z_i: above zero the class is the answer.
func margin(z []float64, class int) float64 {
	other := math.Inf(-1)
	for k, v := range z {
		if k != class {
			other = max(other, v)
		}
	}
	return z[class] - other
}
