package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/api/op"
	"github.com/vitserve/vitserve/internal/batch"
)

// errLate is the error of what would take longer than it has, by itself.
var errLate = errors.New("cannot be answered in time")

// doubtful is how many times as long as it may an answer must be estimated to
// take before it is refused: passes of different methods are not all alike.
const doubtful = 2

// client is whom a call is counted for: its key, or its address.
func (c *call) client() string {
	if key, ok := c.c.Get(keyName).(Key); ok {
		return "key " + key.SHA256
	}
	return c.body.from
}

// reserve takes a place for an explanation, which costs what it takes in
// passes. What cannot be answered before ctx ends is refused at once.
func (j *job) reserve(ctx context.Context, a *op.Explain) (*batch.Slot[vitserve.Inquiry, vitserve.Finding], error) {
	q, passes := j.model.explain, a.Question.Passes(vitserve.ShapeOf(j.model.model.Config()))
	slot, err := q.ReserveFor(j.o.Priority, j.client(), passes)
	if err != nil {
		return nil, busy(j.model, q, err)
	}
	if err := j.timely(ctx, passes); err != nil {
		slot.Release()
		return nil, err
	}
	return slot, nil
}

func (j *job) timely(ctx context.Context, passes float64) error {
	end, limited := ctx.Deadline()
	if !limited {
		return nil
	}
	q, left := j.model.explain, time.Until(end)
	wait, takes := q.Estimate(j.o.Priority, j.client(), passes)
	if takes == 0 { // a pass of classify is one, too
		_, takes = j.model.classify.Estimate(j.o.Priority, "", passes)
	}
	round := func(d time.Duration) time.Duration { return d.Round(max(d/100, time.Millisecond)) }
	switch {
	case takes > doubtful*left:
		q.Doubt()
		j.model.classify.Doubt()
		return fmt.Errorf("%w: about %.0f passes of the model, which take %v, and there are %v: ask for less, or with more time", errLate, passes, round(takes), round(left))
	case wait+takes > doubtful*left:
		q.Doubt()
		return hint{fmt.Errorf("model %s: %w: the answer would be ready in %v, and there are %v", j.model.id, batch.ErrBusy, round(wait+takes), round(left)), wait}
	}
	return nil
}
