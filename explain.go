package vitserve

import (
	"context"
	"fmt"
	"image"
	"time"

	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/patch"
	"gorgonia.org/tensor"
)

// ProbeBatch is how many parts of a photo a model is asked about at once, if
// its lane takes so many.
const ProbeBatch = 8

// Question is what is asked about where the model looked in a photo. The zero
// value asks for the default map. Targets and Keep are Ask's to fill in.
type Question struct {
	focus.Question

	Classes []string // labels or indices, a map each; none: the best, or none where the method knows no classes
	Versus  string   // label or index that each class is set against; "": nothing

	Attention bool // the attention itself is kept, of the layer and head of the options: Explanation.Kept
	Sheet     bool // what a contact sheet shows of it is kept
}

// Explanation is the answer to a Question.
type Explanation struct {
	*focus.Explanation
	Photo    *patch.Photo   // to draw on
	Geometry patch.Geometry // from the maps back to the photo
}

// Draw paints an explanation: of map i, which must be there, an overlay or a
// heat map; or the contact sheet of a Question with Sheet.
func (x *Explanation) Draw(kind focus.Picture, i int, s focus.Style) (*image.NRGBA, error) {
	switch kind {
	case focus.HeatPicture:
		return focus.HeatMap(x.Maps[i].Map, s, x.Geometry.Input[0], x.Geometry.Input[1])
	case focus.SheetPicture:
		return focus.ContactSheet(x.Photo, x.Geometry, x.Kept, 0, x.Maps[i].Options, s)
	}
	return focus.Overlay(x.Photo, x.Geometry, x.Maps[i].Map, s)
}

// Explain says where the model looked in a photo. Of questions there is one
// at most. A map that cannot be drawn has an error of its own in the answer.
func (m *Model) Explain(ctx context.Context, s Source, questions ...Question) (*Explanation, error) {
	q, err := m.Ask(only(questions))
	if err != nil {
		return nil, err
	}
	look := m.look
	look.Keep, look.Compat = true, q.Options.Compat
	p, err := m.Prepare(ctx, s, look)
	if err != nil {
		return nil, s.blame(err)
	}
	x, err := m.ExplainPrepared(ctx, p, q)
	if err != nil {
		return nil, s.blame(err)
	}
	return x, nil
}

// Ask holds a question to the model: it finds the classes, and says what is
// impossible. The errors have focus.ErrOption, models.ErrClass or ErrHead in
// their chain.
func (m *Model) Ask(asked Question) (focus.Question, error) {
	q := asked.Question
	if m.config.Classes == 0 && (len(asked.Classes) > 0 || q.AsksModel()) {
		return q, m.headless()
	}
	if err := q.Aim(m.Checkpoint.Class, asked.Classes, asked.Versus); err != nil {
		return q, err
	}
	var err error
	switch {
	case asked.Attention:
		err = q.OfAttention()
	case asked.Sheet:
		err = q.OfSheet(m.shape)
	}
	if err != nil {
		return q, err
	}
	return q, q.Check(m.shape)
}

// ExplainPrepared answers what Ask has returned about a prepared photo.
func (m *Model) ExplainPrepared(ctx context.Context, p *Prepared, q focus.Question) (*Explanation, error) {
	x := &Explanation{Photo: p.Photo, Geometry: p.Geometry}
	lanes := m.probes
	if q.Batch() == 1 {
		lanes = m.passes
	}
	err := lanes.use(ctx, func(l *Lane, threads int) error {
		found, err := l.Explain(threads, []Inquiry{{ctx, p.Pixels, q}})
		if err != nil {
			return fmt.Errorf("model %s: %w", m.Checkpoint.Name, err)
		}
		x.Explanation = found[0].Explanation
		return found[0].Err
	})
	return x, err
}

// Inquiry is a prepared photo with a question that Ask has returned.
type Inquiry struct {
	Context  context.Context // asking the model takes long: it ends when nobody waits
	Pixels   *tensor.Dense   // (3, H, W)
	Question focus.Question
}

// Finding is the answer to an Inquiry.
type Finding struct {
	*focus.Explanation
	Err  error         // of the photo
	Took time.Duration // the maps of the whole batch
}

// Explain answers a batch of inquiries on so many threads; 0: all. Photos that
// need something else of the forward pass are computed apart, so that none
// depends on its company.
func (l *Lane) Explain(threads int, in []Inquiry) (_ []Finding, err error) {
	if err := l.Ready(); err != nil {
		return nil, err
	}
	ok := false
	defer func() {
		if !ok {
			l.reset()
		}
	}()
	l.session.SetThreads(threads)
	out := make([]Finding, len(in))
	done := make([]bool, len(in))
	shape := l.m.shape
	var maps time.Duration
	for i := range in {
		if done[i] {
			continue
		}
		if in[i].Question.Derives() {
			start := time.Now()
			out[i], done[i] = l.look(in[i], &focus.Record{Shape: shape}), true
			maps += time.Since(start)
			continue
		}
		wants := WantsOf(in[i].Question, shape)
		var group []int
		var pixels []*tensor.Dense
		for j := i; j < len(in) && len(group) < l.o.MaxBatch; j++ {
			if q := in[j].Question; !done[j] && !q.Derives() && wants.Equal(WantsOf(q, shape)) {
				group, pixels, done[j] = append(group, j), append(pixels, in[j].Pixels), true
			}
		}
		f, err := l.Forward(threads, pixels, wants)
		if err != nil {
			return nil, err
		}
		rec := RecordOf(shape, f)
		start := time.Now()
		for b, j := range group {
			out[j] = l.look(in[j], rec.Image(b))
		}
		maps += time.Since(start)
	}
	for i := range out {
		out[i].Took = maps
	}
	ok = true
	return out, nil
}

// look makes the maps of one photo, whose record it is.
func (l *Lane) look(in Inquiry, rec *focus.Record) (f Finding) {
	c := l.m.config
	f.Explanation, f.Err = in.Question.Explain(in.Context, focus.Subject{
		Record: rec, Model: View{Session: l.session, Scoring: l.m.Checkpoint.Scoring}, Batch: min(ProbeBatch, l.o.MaxBatch),
		Pixels: tensor.New(tensor.WithShape(1, 3, c.Image[0], c.Image[1]), tensor.WithBacking(in.Pixels.Float32s())),
	})
	return f
}
