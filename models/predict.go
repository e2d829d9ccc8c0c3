package models

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/vit"
)

// Prediction is one label of an answer.
type Prediction struct {
	Index int     `json:"index"`
	Label string  `json:"label"`
	Score float64 `json:"score"` // by the checkpoint's Scoring: a probability, or the output itself of a regression
}

// Top returns the k best labels whose score is at least min, best first; ties
// go to the lower index. k ≤ 0 means all.
func (c *Checkpoint) Top(logits []float32, k int, min float64) []Prediction {
	return c.TopBy("", logits, k, min)
}

// TopBy is Top with scores of another kind than the checkpoint's own, which
// the empty one is. It does not change which label is better.
func (c *Checkpoint) TopBy(how vit.Scoring, logits []float32, k int, min float64) []Prediction {
	if len(logits) != len(c.Labels) {
		panic(fmt.Sprintf("models: %d logits, %d labels", len(logits), len(c.Labels)))
	}
	// By logit: float64 scores of different logits may round together.
	order := func(a, b Prediction) int { return cmp.Compare(logits[b.Index], logits[a.Index]) }
	var best []Prediction
	for i, s := range c.scores(logits, cmp.Or(how, c.Scoring)) {
		if min > 0 && s < min { // a regression has outputs below 0, too
			continue
		}
		p := Prediction{i, c.Labels[i], s}
		if k <= 0 || len(best) < k {
			best = append(best, p)
			if len(best) == k {
				slices.SortStableFunc(best, order)
			}
			continue
		}
		// The k best so far are in order: few of what comes is better, and
		// sorting all would take longer than a small model's last layers.
		if at := k - 1; order(p, best[at]) < 0 {
			for ; at > 0 && order(p, best[at-1]) < 0; at-- {
				best[at] = best[at-1]
			}
			best[at] = p
		}
	}
	if k <= 0 || len(best) < k {
		slices.SortStableFunc(best, order)
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
		near := ""
		if meant := words.Nearest(name, c.names()...); meant != "" {
			near = fmt.Sprintf("; did you mean %s?", meant)
		}
		return 0, fmt.Errorf("models: %w: %.64q, want 0 to %d or a label of %s%s", ErrClass, name, len(c.Labels)-1, c.Name, near)
	}
	return 0, &AmbiguousError{Name: name, Classes: found}
}

// names are those that Class finds: of a label of several, each.
func (c *Checkpoint) names() (all []string) {
	for _, l := range c.Labels {
		for part := range strings.SplitSeq(l, ",") {
			all = append(all, strings.TrimSpace(part))
		}
	}
	return all
}

// AmbiguousError is of a label that several classes have.
type AmbiguousError struct {
	Name    string
	Classes []int
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("models: %v: %.64q is the label of %d classes, want an index, such as %d or %d", ErrClass, e.Name, len(e.Classes), e.Classes[0], e.Classes[1])
}

// Unwrap returns ErrClass.
func (e *AmbiguousError) Unwrap() error { return ErrClass }
