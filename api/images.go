package api

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/api/op"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/internal/batch"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
)

// decode waits until a picture may be decoded, and has f do it. Pictures wait
// here for each other, so that those that are decoded or drawn on at the same
// time are bounded in number and in bytes. After an error there is nothing to
// be released.
func (j *job) decode(ctx context.Context, data []byte, f func() error) (release func(), err error) {
	s := j.s
	d, err := patch.Declared(data, j.look.Options)
	if err != nil {
		return nil, err
	}
	room, photo := d.PixelsBytes, int64(0)
	if j.look.Keep {
		room, photo = d.Bytes, 4*int64(d.Width)*int64(d.Height)
	}
	if room > s.cfg.DecodeBudget {
		return nil, fmt.Errorf("a %s of %d×%d pixels takes %d bytes to decode, the limit is %d: %w",
			d.Format, d.Width, d.Height, room, s.cfg.DecodeBudget, patch.ErrSize)
	}
	l := s.decoders.line(d, len(data), room)
	if err := l.take(ctx, room); err != nil {
		return nil, err
	}
	err = s.decoders.decode(ctx, l, f)
	if err != nil {
		photo = 0
	}
	l.keep(room, photo)
	if err != nil {
		return nil, err
	}
	return func() { l.keep(photo, 0) }, nil
}

// prepare decodes a picture and prepares it for the model, unless it is pixels. What is kept of it
// to draw on has room until release.
func (j *job) prepare(ctx context.Context, picture op.Picture) (p *vitserve.Prepared, seen op.Seen, release func(), err error) {
	if picture.Pixels != nil {
		if j.look.Keep || j.look.Compat != "" {
			return nil, seen, nil, fmt.Errorf("%w: pixels are prepared already, and no photo to draw on", errValue)
		}
		p, err = j.model.model.FromPixels(picture.Pixels)
		if err == nil {
			seen.Geometry = p.Geometry
		}
		return p, seen, func() {}, err
	}
	data := picture.Data
	release, err = j.decode(ctx, data, func() (err error) {
		p, err = j.model.model.Prepare(ctx, vitserve.Bytes(data), j.look)
		return err
	})
	if err != nil {
		return nil, seen, nil, err
	}
	if !j.look.Keep {
		release()
		release = func() {}
	}
	seen.Geometry, seen.Timings.Decode, seen.Timings.Preprocess = p.Geometry, ms(p.Decoding), ms(p.Preparing)
	j.s.met.stage("decode", seen.Timings.Decode)
	if p.Preparing > 0 {
		j.s.met.stage("preprocess", seen.Timings.Preprocess)
	}
	return p, seen, release, nil
}

// busy tells the sender when to come back to a full queue.
func busy[In, Out any](m *resident, q *batch.Queue[In, Out], err error) error {
	if errors.Is(err, batch.ErrBusy) {
		err = hint{fmt.Errorf("model %s: %w: the limits are max_queue and explain_max_queue", m.id, err), q.RetryAfter()}
	}
	return err
}

// ofPicture reports whether err is the fault of a picture, not of the call.
func ofPicture(err error) bool {
	for _, e := range []error{patch.ErrFormat, patch.ErrImage, patch.ErrSize, patch.ErrShape, focus.ErrFlat, focus.ErrNotFinite, vit.ErrNotFinite, errFetch} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Classify implements op.Call.
func (c *call) Classify(ctx context.Context, a op.Classify, pictures []op.Picture) (*op.Answer[op.Classified], error) {
	j := c.job("classify", a.Options)
	return answer(ctx, j, pictures, j.headed, func(ctx context.Context, _ int, p op.Picture) (op.Classified, error) {
		s, out, err := j.forward(ctx, p, vit.Wants{})
		if err != nil {
			return op.Classified{}, err
		}
		x, err := j.label(s, a.Labels, out.logits())
		if err == nil {
			j.answered(x.Timings)
		}
		return x, err
	})
}

// headed refuses a model that knows no classes.
func (j *job) headed() error {
	if j.model.model.Config().Classes == 0 {
		return fmt.Errorf("%w: model %s knows no classes: %s; /v1/embed answers with it, and /v1/explain by methods that read attention", errHead, j.model.id, j.model.card.Classless)
	}
	return nil
}

// forward sends one picture through the model.
func (j *job) forward(ctx context.Context, picture op.Picture, wants vit.Wants) (s op.Seen, out forwardOut, err error) {
	// The place comes first: a full queue must not cost a decoding.
	slot, err := j.model.classify.ReserveFor(j.o.Priority, j.client(), 1)
	if err != nil {
		return s, out, busy(j.model, j.model.classify, err)
	}
	defer slot.Release()
	p, s, _, err := j.prepare(ctx, picture)
	if err != nil {
		return s, out, err
	}
	j.s.device.enter()
	res, err := slot.Do(ctx, forwardIn{p.Pixels, wants})
	j.s.device.leave()
	if err != nil {
		return s, out, err // its lane may still be reading the pixels
	}
	p.Free()
	s.Batch, s.Timings.Queue, s.Timings.Infer = res.Batch, ms(res.Queued), ms(res.Ran)
	return s, res.Out, nil
}

// label turns logits into the predictions that are asked for.
func (j *job) label(s op.Seen, which op.Labels, logits []float32) (x op.Classified, err error) {
	start := time.Now()
	if err := vit.CheckFinite("logits", logits); err != nil {
		return x, err
	}
	x = op.Classified{Seen: s, Predictions: j.model.model.Checkpoint.TopBy(which.Scoring, logits, which.TopK, which.MinScore), Logits: logits}
	j.drift(which, x.Predictions, logits)
	if which.Abstain != nil {
		x.Abstained = j.model.unsure(*which.Abstain, logits)
	}
	x.Timings.Encode = ms(time.Since(start))
	return x, nil
}

// ms returns milliseconds to the microsecond.
func ms(d time.Duration) float64 { return math.Round(float64(d)/1e3) / 1e3 }
