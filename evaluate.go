package vitserve

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/vit"
)

// Tally counts the right answers among the photos of one class, or of all.
type Tally struct {
	Class    string `json:"class,omitempty"`
	Pictures int    `json:"pictures"`
	First    int    `json:"first"` // the best label is right
	Five     int    `json:"five"`  // one of the best five is
}

func (t *Tally) add(rank int) {
	t.Pictures++
	if rank == 0 {
		t.First++
	}
	if rank < 5 {
		t.Five++
	}
}

// Share returns n of the tally's photos in percent.
func (t Tally) Share(n int) float64 { return 100 * float64(n) / float64(max(1, t.Pictures)) }

// Evaluation says how often a model is right.
type Evaluation struct {
	Model string  `json:"model"`
	Top1  float64 `json:"top1"` // percent
	Top5  float64 `json:"top5"`

	// Wilson's intervals of both at 95 %, in percent.
	Top1Interval [2]float64 `json:"top1_interval"`
	Top5Interval [2]float64 `json:"top5_interval"`

	All     Tally   `json:"all"`
	Classes []Tally `json:"classes"`
	LeftOut int     `json:"left_out"` // photos of classes that the model does not have
	Failed  int     `json:"failed"`   // photos without an answer; they count as wrong
}

// Exam counts the right answers about photos whose class is known, whoever
// computes them: this process or a server.
type Exam struct {
	ck      *models.Checkpoint
	v       Evaluation
	byClass []Tally
}

// NewExam returns the exam of a model. Of the checkpoint its name, its classes,
// their labels and names, and how they score are asked for, and no weights.
func NewExam(ck *models.Checkpoint) (*Exam, error) {
	if ck.Config.Classes == 0 {
		return nil, fmt.Errorf("%w: model %s: %s", ErrHead, ck.Name, ck.Headless())
	}
	if ck.Scoring == vit.Raw {
		return nil, fmt.Errorf("%w: model %s is a regression: its outputs are values, and none is right or wrong", ErrHead, ck.Name)
	}
	return &Exam{ck: ck, v: Evaluation{Model: ck.Name}, byClass: make([]Tally, ck.Config.Classes)}, nil
}

// Add counts an answer about a photo whose label means a class. One without
// an answer counts as wrong.
func (e *Exam) Add(r Result) {
	class, ok, _ := e.Truth(r.Source.Label)
	if !ok {
		panic(fmt.Sprintf("vitserve: label %q is of no class of model %s", r.Source.Label, e.ck.Name))
	}
	rank := e.ck.Config.Classes
	if r.Err == nil {
		rank = e.Rank(r.Logits, class)
	} else {
		e.v.Failed++
	}
	e.v.All.add(rank)
	e.byClass[class].add(rank)
}

// Evaluation is what was counted, beside so many photos that were left out.
func (e *Exam) Evaluation(leftOut int) *Evaluation {
	v := e.v
	v.LeftOut = leftOut
	for i, t := range e.byClass {
		if t.Pictures > 0 {
			t.Class = e.ck.Labels[i]
			v.Classes = append(v.Classes, t)
		}
	}
	v.Top1, v.Top5 = v.All.Share(v.All.First), v.All.Share(v.All.Five)
	v.Top1Interval, v.Top5Interval = interval(v.All.First, v.All.Pictures), interval(v.All.Five, v.All.Pictures)
	return &v
}

// Evaluate classifies sources whose Label is known and counts the right
// answers. each, if it is not nil, is given every Result that counts.
func (m *Model) Evaluate(ctx context.Context, sources iter.Seq[Source], o StreamOptions, each func(Result)) (*Evaluation, error) {
	e, err := NewExam(m.Checkpoint)
	if err != nil {
		return nil, err
	}
	var unclear error
	var leftOut atomic.Int64
	known := func(yield func(Source) bool) {
		for s := range sources {
			_, ok, err := e.Truth(s.Label)
			if err != nil {
				unclear = fmt.Errorf("%s: %w", s.Name, err)
				return
			}
			if !ok {
				leftOut.Add(1)
			} else if !yield(s) {
				return
			}
		}
	}
	for r, err := range m.Stream(ctx, known, o) {
		if err != nil {
			return nil, err
		}
		e.Add(r)
		if each != nil {
			each(r)
		}
	}
	if unclear != nil {
		return nil, unclear
	}
	return e.Evaluation(int(leftOut.Load())), nil
}

// ClassOf finds the class that a label of a data set means: its name there
// (n02123045), a label of the model in letters of any case, one of the names
// that such a label lists, or an index.
func (m *Model) ClassOf(label string) (class int, ok bool) {
	class, ok, _ = m.Truth(label)
	return class, ok
}

// Truth is ClassOf with an error of a label that several classes have.
func (m *Model) Truth(label string) (class int, ok bool, err error) {
	return (&Exam{ck: m.Checkpoint}).Truth(label)
}

// Truth is Model.Truth.
func (e *Exam) Truth(label string) (class int, ok bool, err error) {
	c := e.ck
	if label == "" {
		return 0, false, nil
	}
	if i := slices.Index(c.ClassIDs, label); i >= 0 {
		return i, true, nil
	}
	var found []int
	for i, l := range c.Labels {
		if strings.EqualFold(l, label) {
			found = append(found, i)
		}
	}
	switch len(found) {
	case 0:
	case 1:
		return found[0], true, nil
	default:
		return 0, false, &models.AmbiguousError{Name: label, Classes: found}
	}
	class, err = c.Class(label)
	var ambiguous *models.AmbiguousError
	if err != nil && !errors.As(err, &ambiguous) {
		return 0, false, nil
	}
	return class, err == nil, err
}

// interval is Wilson's of a share of n in all, in percent, at 95 %.
//
// Wilson, "Probable Inference, the Law of Succession, and Statistical
// Inference", https://doi.org/10.1080/01621459.1927.10502953.
func interval(n, all int) [2]float64 {
	if all == 0 {
		return [2]float64{0, 100}
	}
	const z = 1.959963984540054 // the 97.5th percentile of the normal distribution
	p, k := float64(n)/float64(all), float64(all)
	middle := p + z*z/(2*k)
	half := z * math.Sqrt(p*(1-p)/k+z*z/(4*k*k))
	return [2]float64{max(0, 100*(middle-half)/(1+z*z/k)), min(100, 100*(middle+half)/(1+z*z/k))}
}

// Rank is Exam.Rank.
func (m *Model) Rank(logits []float32, class int) int {
	return (&Exam{ck: m.Checkpoint}).Rank(logits, class)
}

// Rank returns how many classes the model puts before one; of a single output,
// whose score is a sigmoid, none where that is at least a half.
func (e *Exam) Rank(logits []float32, class int) int {
	if e.ck.Config.Classes == 1 {
		if logits[0] >= 0 {
			return 0
		}
		return 5 // below all that are counted
	}
	return rankOf(logits, class)
}

// rankOf returns how many classes are before class: those with a greater
// logit, and on a tie those of lower index, as in Checkpoint.Top.
func rankOf(logits []float32, class int) int {
	rank := 0
	for i, v := range logits {
		if v > logits[class] || v == logits[class] && i < class {
			rank++
		}
	}
	return rank
}
