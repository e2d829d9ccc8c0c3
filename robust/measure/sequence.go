package measure

// FlipProbability is the share of frames whose answer is another than that of
// the frame step before; of noise, whose frames do not follow each other, than
// that of the first.
//
// Hendrycks and Dietterich, https://arxiv.org/abs/1903.12261, section 3.3.
func FlipProbability(answers []int, noise bool, step int) float64 {
	flips, pairs := 0, 0
	eachPair(len(answers), noise, step, func(i, j int) {
		pairs++
		if answers[i] != answers[j] {
			flips++
		}
	})
	return float64(flips) / float64(pairs)
}

// TopDistance is how far the best five of a frame move in the next, on average:
// Σ |i - min(σ(i), 6)| over the ranks i of 1 to 5, σ(i) being the new rank of
// the class that had rank i. ranks are of frames: the best five classes, best
// first.
func TopDistance(best [][]int, noise bool, step int) float64 {
	sum, pairs := 0, 0
	eachPair(len(best), noise, step, func(i, j int) {
		pairs++
		for r, class := range best[i] {
			now := 5
			for q, c := range best[j] {
				if c == class {
					now = q
				}
			}
			sum += max(r-now, now-r)
		}
	})
	return float64(sum) / float64(pairs)
}

func eachPair(n int, noise bool, step int, f func(before, after int)) {
	if noise {
		for i := 1; i < n; i++ {
			f(0, i)
		}
		return
	}
	for i := step; i < n; i += step {
		f(i-step, i)
	}
}
