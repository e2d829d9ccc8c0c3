package api

import (
	"context"
	"fmt"
	"time"

	"github.com/vitserve/vitserve/api/op"
	"github.com/vitserve/vitserve/attention/focus"
)

// Explain implements op.Call.
func (c *call) Explain(ctx context.Context, a op.Explain, pictures []op.Picture) (*op.Answer[op.Explained], error) {
	j := c.job("explain", a.Options)
	return answer(ctx, j, pictures, func() error { return j.aim(&a) }, func(ctx context.Context, i int, data []byte) (op.Explained, error) {
		return j.explain(ctx, &a, i, data)
	})
}

// aim says what of a is impossible for the model, and completes its question.
func (j *job) aim(a *op.Explain) error {
	q, m, shape := &a.Question, j.model, j.model.shape()
	if len(a.Classes) > 0 || q.AsksModel() {
		if err := j.headed(); err != nil {
			return err
		}
	}
	if err := q.Aim(m.class, a.Classes, a.Versus); err != nil {
		return err
	}
	var err error
	switch {
	case a.Values == focus.ValuesAttention:
		err = q.OfAttention()
	case a.Picture == focus.SheetPicture:
		err = q.OfSheet(shape)
	}
	if err != nil {
		return err
	}
	if err := q.Check(shape); err != nil {
		return err
	}
	if q.Options.Compat == focus.VitExplain {
		j.see = focus.VitExplainTransform(j.see)
	}
	picture := focus.OverlayPicture
	if a.Picture != "" {
		picture = a.Picture
	}
	a.Style.Compat = q.Options.Compat
	if err := picture.Check(a.Style); err != nil {
		return err
	}
	if n := m.kept(q.Keep); n > j.room.most {
		return fmt.Errorf("%w: attention of %d layers and %d heads over %d tokens takes %d bytes, the limit is %d: ask for one layer or head",
			errValue, m.config.Depth, m.config.Heads, m.config.Tokens(), n, j.room.most)
	}
	return nil
}

// explain answers one picture.
func (j *job) explain(ctx context.Context, a *op.Explain, i int, data []byte) (x op.Explained, err error) {
	slot, err := j.model.explain.Reserve(j.o.Priority)
	if err != nil {
		return x, busy(j.model, j.model.explain, err)
	}
	defer slot.Release()
	v, err := j.look(ctx, data, a.Picture == focus.OverlayPicture || a.Picture == focus.SheetPicture)
	if err != nil {
		return x, err
	}
	defer v.release()
	if a.Question.Options.Compat == focus.VitExplain {
		focus.VitExplainPixels(v.pixels, j.see.Mean, j.see.Std)
	}
	if err := j.Take(j.model.kept(a.Question.Keep)); err != nil {
		return x, err
	}
	j.s.device.enter()
	res, err := slot.Do(ctx, focusIn{ctx, v.pixels, a.Question})
	j.s.device.leave()
	if err != nil {
		return x, err
	}
	out := res.Out
	if out.err != nil {
		return x, out.err
	}
	s := v.Seen
	s.Batch, s.Timings.Queue, s.Timings.Infer, s.Timings.Explain = res.Batch, ms(res.Queued), ms(res.Ran-out.maps), ms(out.maps)
	x = op.Explained{Found: out.Explanation, Photo: v.photo}
	if x.Classified, err = j.label(s, a.Labels, out.Logits); err != nil {
		return x, err
	}
	x.Scored = j.model.top(out.Logits, 0, 0)
	if a.Each != nil {
		start := time.Now()
		if err := a.Each(ctx, i, &x); err != nil {
			return x, err
		}
		x.Timings.Encode += ms(time.Since(start))
	}
	x.Photo = nil // its room is given back
	j.answered(x.Timings)
	return x, nil
}

// kept returns the bytes of a part of one picture's attention.
func (r *resident) kept(p *focus.Part) int64 {
	if p == nil {
		return 0
	}
	return p.Bytes(r.config.Depth, r.config.Heads, r.config.Tokens())
}
