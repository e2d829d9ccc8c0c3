package api

import (
	"context"
	"time"

	"github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/attention/focus"
	"gorgonia.org/tensor"
)

// probeBatch is how many parts of a picture the model is asked about at once.
const probeBatch = 8

// focusIn is a picture to be explained.
type focusIn struct {
	ctx      context.Context // asking the model takes long: it ends when nobody waits
	pixels   *tensor.Dense   // (3, H, W)
	question focus.Question
}

// focusOut is a picture explained.
type focusOut struct {
	*focus.Explanation
	maps time.Duration // what all maps of the batch took
	err  error         // of the picture
}

// shape is what the focus maps know of the model.
func (r *resident) shape() focus.Shape { return vitserve.ShapeOf(r.config) }

// focus explains a batch. Pictures that need something else of the forward
// pass are computed apart, so that none depends on its company.
func (r *resident) focus(in []focusIn) ([]focusOut, error) {
	ok := false
	defer func() {
		if !ok {
			r.probes.reset()
		}
	}()
	out := make([]focusOut, len(in))
	done := make([]bool, len(in))
	shape := r.shape()
	var maps time.Duration
	for i := range in {
		if done[i] {
			continue
		}
		if in[i].question.Derives() {
			start := time.Now()
			if err := r.probes.ready(); err != nil {
				return nil, err
			}
			out[i], done[i] = r.look(in[i], &focus.Record{Shape: shape}), true
			maps += time.Since(start)
			continue
		}
		wants := vitserve.WantsOf(in[i].question, shape)
		var group []int
		var pixels []*tensor.Dense
		for j := i; j < len(in); j++ {
			if q := in[j].question; !done[j] && !q.Derives() && wants.Equal(vitserve.WantsOf(q, shape)) {
				group, pixels, done[j] = append(group, j), append(pixels, in[j].pixels), true
			}
		}
		f, err := r.probes.forward(0, pixels, wants)
		if err != nil {
			return nil, err
		}
		rec := vitserve.RecordOf(shape, f)
		start := time.Now()
		for b, j := range group {
			out[j] = r.look(in[j], rec.Image(b))
		}
		maps += time.Since(start)
	}
	for i := range out {
		out[i].maps = maps
	}
	ok = true
	return out, nil
}

// look makes the maps of one picture, whose record it is.
func (r *resident) look(in focusIn, rec *focus.Record) (o focusOut) {
	o.Explanation, o.err = in.question.Explain(in.ctx, focus.Subject{
		Record: rec, Model: vitserve.View{Session: r.probes.session, MultiLabel: r.card.MultiLabel}, Batch: probeBatch,
		Pixels: tensor.New(tensor.WithShape(1, 3, r.config.Image[0], r.config.Image[1]), tensor.WithBacking(in.pixels.Float32s())),
	})
	return o
}
