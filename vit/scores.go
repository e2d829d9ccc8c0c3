package vit

import (
	"errors"
	"fmt"
	"math"
)

// ErrNotFinite is the error of numbers that are none: the model is broken.
var ErrNotFinite = errors.New("NaN or Inf")

// CheckFinite refuses values that nobody can act on with ErrNotFinite; what
// they are begins its text.
func CheckFinite(what string, values []float32) error {
	for i, v := range values {
		if v-v != 0 {
			return fmt.Errorf("%s with %w: %v at %d", what, ErrNotFinite, v, i)
		}
	}
	return nil
}

// Scoring is how the logits of an image become the scores of its labels.
type Scoring string

// Scorings. The empty one is Softmax.
const (
	Softmax Scoring = "softmax" // one of the classes: they add up to 1
	Sigmoid Scoring = "sigmoid" // each label on its own, or the only one there is
	Raw     Scoring = "raw"     // a regression: the outputs as they are
)

// Energy is log Σ exp(logits), the negative of the energy of Liu et al.,
// "Energy-based Out-of-distribution Detection", https://arxiv.org/abs/2010.03759,
// equation 4: high where the model knows the photo.
func Energy(logits []float32) float64 {
	top := math.Inf(-1)
	for _, x := range logits {
		top = max(top, float64(x))
	}
	sum := 0.0
	for _, x := range logits {
		sum += math.Exp(float64(x) - top)
	}
	return top + math.Log(sum)
}

// Scores turns the logits (K) of one image into scores. What is not a number
// counts as impossible, so that scores are numbers whatever a model computes.
func Scores(logits []float32, how Scoring) []float64 {
	scores := make([]float64, len(logits))
	switch how {
	case Sigmoid:
		for i, x := range logits {
			if x == x {
				scores[i] = 1 / (1 + math.Exp(-float64(x)))
			}
		}
		return scores
	case Raw:
		for i, x := range logits {
			if x == x {
				scores[i] = float64(x)
			}
		}
		return scores
	}
	top := math.Inf(-1)
	for _, x := range logits {
		if x := float64(x); x > top {
			top = x
		}
	}
	var sum float64
	for i, x := range logits {
		switch x := float64(x); {
		case x == top && !math.IsInf(x, -1):
			scores[i] = 1 // and with an infinite top the others are nothing
		case x < top:
			scores[i] = math.Exp(x - top)
		}
		sum += scores[i]
	}
	for i := range scores {
		if sum > 0 {
			scores[i] /= sum
		}
	}
	return scores
}
