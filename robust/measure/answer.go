package measure

import "math"

// Softmax returns exp(z/t) over its sum; t is the temperature.
func Softmax(logits []float32, t float64) []float64 {
	p := make([]float64, len(logits))
	high := math.Inf(-1)
	for _, z := range logits {
		high = max(high, float64(z))
	}
	sum := 0.0
	for i, z := range logits {
		p[i] = math.Exp((float64(z) - high) / t)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

// Only returns the scores of some classes, so that they add up to one again.
func Only(p []float64, classes []int) []float64 {
	out := make([]float64, len(classes))
	sum := 0.0
	for i, k := range classes {
		out[i] = p[k]
		sum += p[k]
	}
	for i := range out {
		if sum > 0 {
			out[i] /= sum
		} else {
			out[i] = 1 / float64(len(out))
		}
	}
	return out
}

// Best returns the class of the highest score, the first of several.
func Best(p []float64) int {
	best := 0
	for k, v := range p {
		if v > p[best] {
			best = k
		}
	}
	return best
}

// Rank returns how many classes come before one: those of a higher score, and
// on a tie those of a lower index.
func Rank(p []float64, class int) int {
	rank := 0
	for k, v := range p {
		if v > p[class] || v == p[class] && k < class {
			rank++
		}
	}
	return rank
}

// least is what a logarithm is taken of in place of zero.
const least = 0x1p-1022

// NLL is -log of the score of the class.
func NLL(p []float64, class int) float64 { return -math.Log(max(p[class], least)) }

// Brier is Σ (p - [k = class])², 0 to 2.
//
// Brier, "Verification of Forecasts Expressed in Terms of Probability", 1950.
func Brier(p []float64, class int) float64 {
	sum := 0.0
	for k, v := range p {
		if k == class {
			v--
		}
		sum += v * v
	}
	return sum
}

// Entropy is -Σ p log p, in nats.
func Entropy(p []float64) float64 {
	sum := 0.0
	for _, v := range p {
		if v > 0 {
			sum -= v * math.Log(v)
		}
	}
	return sum
}

// KL is Σ p log(p/q), in nats: how far answer q is from answer p.
func KL(p, q []float64) float64 {
	sum := 0.0
	for k, v := range p {
		if v > 0 {
			sum += v * (math.Log(v) - math.Log(max(q[k], least)))
		}
	}
	return max(sum, 0)
}

// Energy is log Σ exp(z), the negative of the energy of Liu et al.,
// "Energy-based Out-of-distribution Detection", https://arxiv.org/abs/2010.03759,
// equation 4: high where the model knows the photo.
func Energy(logits []float32) float64 {
	high := math.Inf(-1)
	for _, z := range logits {
		high = max(high, float64(z))
	}
	sum := 0.0
	for _, z := range logits {
		sum += math.Exp(float64(z) - high)
	}
	return high + math.Log(sum)
}
