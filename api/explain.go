package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/api/op"
	"github.com/vitserve/vitserve/attention/focus"
)

// Explain implements op.Call.
func (c *call) Explain(ctx context.Context, a op.Explain, pictures []op.Picture) (*op.Answer[op.Explained], error) {
	j := c.job("explain", a.Options)
	x, err := answer(ctx, j, pictures, func() error { return j.aim(&a) }, func(ctx context.Context, i int, p op.Picture) (op.Explained, error) {
		return j.explain(ctx, &a, i, p)
	})
	if err != nil {
		return nil, err
	}
	x.Note = j.model.model.NoteOf(a.Question)
	return x, nil
}

// aim says what of a is impossible for the model, and completes its question.
func (j *job) aim(a *op.Explain) (err error) {
	m := j.model.model
	a.Question, err = m.Ask(vitserve.Question{
		Question: a.Question, Classes: a.Classes, Versus: a.Versus,
		Attention: a.Values == focus.ValuesAttention, Sheet: a.Picture == focus.SheetPicture,
	})
	if errors.Is(err, vitserve.ErrHead) {
		return j.headed() // with what else there is to ask
	}
	if err != nil {
		return err
	}
	j.look.Compat = a.Question.Options.Compat
	j.look.Keep = a.Picture != "" && a.Picture != focus.HeatPicture
	picture := focus.OverlayPicture
	if a.Picture != "" {
		picture = a.Picture
	}
	a.Style.Compat = a.Question.Options.Compat
	if err := picture.Check(a.Style); err != nil {
		return err
	}
	if n, c := j.model.kept(a.Question.Keep), m.Config(); n > j.room.most {
		return fmt.Errorf("%w: attention of %d layers and %d heads over %d tokens takes %d bytes, the limit is %d: ask for one layer or head",
			errValue, c.Depth, c.Heads, c.Tokens(), n, j.room.most)
	}
	return nil
}

// explain answers one picture.
func (j *job) explain(ctx context.Context, a *op.Explain, i int, picture op.Picture) (x op.Explained, err error) {
	slot, err := j.reserve(ctx, a)
	if err != nil {
		return x, err
	}
	defer slot.Release()
	p, s, release, err := j.prepare(ctx, picture)
	if err != nil {
		return x, err
	}
	defer release()
	if err := j.Take(j.model.kept(a.Question.Keep)); err != nil {
		return x, err
	}
	j.s.device.enter()
	res, err := slot.Do(ctx, vitserve.Inquiry{Context: ctx, Pixels: p.Pixels, Question: a.Question})
	j.s.device.leave()
	if err != nil {
		return x, err
	}
	out := res.Out
	if out.Err != nil {
		return x, out.Err
	}
	s.Batch, s.Timings.Queue, s.Timings.Infer, s.Timings.Explain = res.Batch, ms(res.Queued), ms(res.Ran-out.Took), ms(out.Took)
	x = op.Explained{Found: out.Explanation, Photo: p.Photo, Model: j.model.id}
	if x.Classified, err = j.label(s, a.Labels, out.Logits); err != nil {
		return x, err
	}
	x.Scored = j.model.model.Checkpoint.Top(out.Logits, 0, 0)
	for _, logits := range out.Layers {
		x.Layers = append(x.Layers, j.model.model.Checkpoint.Top(logits, a.TopK, a.MinScore))
	}
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
	c := r.model.Config()
	return p.Bytes(c.Depth, c.Heads, c.Tokens())
}
