package measure

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Replicates is how many samples a bootstrap takes by default.
const Replicates = 1000

// Bootstrap returns the interval of a statistic of n photos that holds it in
// 95 of 100 samples: percentiles over so many samples of n with replacement. f
// is given how often each photo is in the sample.
//
// Efron, "Bootstrap Methods: Another Look at the Jackknife",
// https://doi.org/10.1214/aos/1176344552.
func Bootstrap(n, replicates int, seed uint64, f func(times []int) float64) [2]float64 {
	if n == 0 {
		return [2]float64{math.NaN(), math.NaN()}
	}
	rng := rand.New(rand.NewPCG(seed, 0xb007))
	values := make([]float64, 0, replicates)
	times := make([]int, n)
	for range replicates {
		clear(times)
		for range n {
			times[rng.IntN(n)]++
		}
		values = append(values, f(times))
	}
	slices.Sort(values)
	return [2]float64{quantile(values, 0.025), quantile(values, 0.975)}
}

// quantile is between the two values beside it.
func quantile(sorted []float64, q float64) float64 {
	x := q * float64(len(sorted)-1)
	i := int(x)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	step, t := sorted[i+1]-sorted[i], x-float64(i)
	if t >= 0.5 { // rounded as numpy does it
		return sorted[i+1] - step*(1-t)
	}
	return sorted[i] + step*t
}

// Wilson is the interval of a share of n in all at 95 %, 0 to 1.
//
// Wilson, "Probable Inference, the Law of Succession, and Statistical
// Inference", https://doi.org/10.1080/01621459.1927.10502953.
func Wilson(n, all int) [2]float64 {
	if all == 0 {
		return [2]float64{0, 1}
	}
	const z = 1.959963984540054 // the 97.5th percentile of the normal distribution
	p, k := float64(n)/float64(all), float64(all)
	middle, half := p+z*z/(2*k), z*math.Sqrt(p*(1-p)/k+z*z/(4*k*k))
	return [2]float64{max(0, (middle-half)/(1+z*z/k)), min(1, (middle+half)/(1+z*z/k))}
}

// Pair compares two runs over the same photos.
type Pair struct {
	OnlyFirst  int     // photos that only the first is right on
	OnlySecond int     // only the second
	Difference float64 // share of right answers of the second less that of the first
	Interval   [2]float64
	P          float64 // of McNemar's exact test that neither is better
}

// Paired compares which answers are right, by photo; the interval is a
// bootstrap's.
//
// McNemar, "Note on the Sampling Error of the Difference Between Correlated
// Proportions or Percentages", https://doi.org/10.1007/BF02295996.
func Paired(first, second []bool, seed uint64) Pair {
	var p Pair
	steps := make([]int, len(first))
	for i := range first {
		switch {
		case first[i] && !second[i]:
			p.OnlyFirst++
			steps[i] = -1
		case second[i] && !first[i]:
			p.OnlySecond++
			steps[i] = 1
		}
	}
	n := float64(len(first))
	p.Difference = float64(p.OnlySecond-p.OnlyFirst) / n
	p.Interval = Bootstrap(len(first), Replicates, seed, func(times []int) float64 {
		sum := 0
		for i, t := range times {
			sum += t * steps[i]
		}
		return float64(sum) / n
	})
	p.P = binomial(min(p.OnlyFirst, p.OnlySecond), p.OnlyFirst+p.OnlySecond)
	return p
}

// binomial is twice the probability of k or fewer heads of n, at most 1.
func binomial(k, n int) float64 {
	if n == 0 {
		return 1
	}
	all, _ := math.Lgamma(float64(n + 1))
	sum := 0.0
	for i := range k + 1 {
		a, _ := math.Lgamma(float64(i + 1))
		b, _ := math.Lgamma(float64(n - i + 1))
		sum += math.Exp(all - a - b - float64(n)*math.Ln2)
	}
	return min(1, 2*sum)
}
