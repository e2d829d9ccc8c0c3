package models

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Prediction is one label of an answer.
type Prediction struct {
	Index int     `json:"index"`
	Label string  `json:"label"`
	Score float64 `json:"score"` // softmax, or sigmoid for a multi-label model
}

// Top returns the k best labels whose score is at least min, best first; ties
// go to the lower index. k ≤ 0 means all.
func (c *Checkpoint) Top(logits []float32, k int, min float64) []Prediction {
	if len(logits) != len(c.Labels) {
		panic(fmt.Sprintf("models: %d logits, %d labels", len(logits), len(c.Labels)))
	}
	score := softmax
	if c.MultiLabel {
		score = sigmoid
	}
	var best []Prediction
	for i, s := range score(logits) {
		if s >= min {
			best = append(best, Prediction{i, c.Labels[i], s})
		}
	}
	slices.SortStableFunc(best, func(a, b Prediction) int {
		// By logit: float64 scores of different logits may round together.
		return cmp.Compare(logits[b.Index], logits[a.Index])
	})
	if k > 0 && len(best) > k {
		best = best[:k]
	}
	return best
}

// ErrClass is in the chain of the errors of Class.
var ErrClass = errors.New("no such class")

// Class finds a class by index or by label: the whole label or one of its
// names, in letters of any case. A label of several classes is refused.
func (c *Checkpoint) Class(name string) (int, error) {
	if i, err := strconv.Atoi(name); err == nil {
		if i < 0 || i >= len(c.Labels) {
			return 0, fmt.Errorf("models: %w: %d, want 0 to %d or a label", ErrClass, i, len(c.Labels)-1)
		}
		return i, nil
	}
	var found []int
	for i, l := range c.Labels {
		named := slices.ContainsFunc(strings.Split(l, ","), func(part string) bool {
			return strings.EqualFold(strings.TrimSpace(part), strings.TrimSpace(name))
		})
		if named || strings.EqualFold(l, name) {
			found = append(found, i)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return 0, fmt.Errorf("models: %w: %.64q, want 0 to %d or a label of %s", ErrClass, name, len(c.Labels)-1, c.Name)
	}
	return 0, fmt.Errorf("models: %w: %.64q is the label of %d classes, want an index, such as %d or %d", ErrClass, name, len(found), found[0], found[1])
}

// softmax returns exp(x - max) / Σ exp(x - max). What is not a number counts
// as impossible, so that scores are numbers whatever a model computes.
func softmax(logits []float32) []float64 {
	top := math.Inf(-1)
	for _, x := range logits {
		if x := float64(x); x > top {
			top = x
		}
	}
	scores := make([]float64, len(logits))
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

// sigmoid returns 1 / (1 + exp(-x)), and 0 for what is not a number.
func sigmoid(logits []float32) []float64 {
	scores := make([]float64, len(logits))
	for i, x := range logits {
		if x == x {
			scores[i] = 1 / (1 + math.Exp(-float64(x)))
		}
	}
	return scores
}
