package vitserve

import (
	"context"
	"fmt"
	"image"
	"slices"
	"strings"
	"time"

	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
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

	Model   string              // that looked, for captions
	Classes []models.Prediction // of every class, best first; nil of a model without a head
}

// Panel is map i, which must be there, over the photo, with a caption and its
// scale: a part of a focus.Figure.
func (x *Explanation) Panel(i int, s focus.Style) (p focus.Panel, err error) {
	f := &x.Maps[i]
	if p.Image, err = focus.Overlay(x.Photo, x.Geometry, f.Map, s); err != nil {
		return p, err
	}
	if s.Compat == "" {
		p.Scale = focus.ScaleOf(f.Map, s)
	}
	p.Caption = []string{x.Caption(f), f.Method.Name}
	switch {
	case f.Map.Head > 0:
		p.Caption[1] += fmt.Sprintf(", layer %d, head %d", f.Map.Layer, f.Map.Head)
	case f.Map.Layer > 0:
		p.Caption[1] += fmt.Sprintf(", layer %d", f.Map.Layer)
	}
	if len(f.Options.Query) == 2 {
		p.Caption[1] += fmt.Sprintf(", patch %d,%d", f.Options.Query[0], f.Options.Query[1])
	}
	if x.Model != "" {
		p.Caption[1] += " · " + x.Model
	}
	if f.Evidence != nil {
		p.Caption = append(p.Caption, fmt.Sprintf("insertion %.3f − deletion %.3f = %.3f", f.Evidence.Insertion, f.Evidence.Deletion, f.Evidence.Score()))
	}
	return p, nil
}

// Caption says what a map is of: its class and the class's score; of attention,
// which is of no class, what the model sees.
func (x *Explanation) Caption(f *focus.Focus) string {
	label := func(class int) string {
		for _, p := range x.Classes {
			if p.Index == class {
				return fmt.Sprintf("%s %.1f %%", firstName(p.Label), 100*p.Score)
			}
		}
		return fmt.Sprintf("class %d", class)
	}
	switch {
	case f.Target != nil && len(f.Target.Versus) > 0:
		return label(f.Target.Class) + " against " + label(f.Target.Versus[0])
	case f.Target != nil:
		return label(f.Target.Class)
	case len(x.Classes) > 0:
		return "attention; sees " + label(x.Classes[0].Index)
	}
	return "attention"
}

// firstName is the first of the names that a label has.
func firstName(label string) string {
	first, _, _ := strings.Cut(label, ",")
	return first
}

// Draw paints an explanation: of map i, which must be there, an overlay, a
// heat map or a figure; or the contact sheet of a Question with Sheet.
func (x *Explanation) Draw(kind focus.Picture, i int, s focus.Style) (*image.NRGBA, error) {
	switch kind {
	case focus.HeatPicture:
		return focus.HeatMap(x.Maps[i].Map, s, x.Geometry.Input[0], x.Geometry.Input[1])
	case focus.FigurePicture:
		p, err := x.Panel(i, s)
		if err != nil {
			return nil, err
		}
		return focus.Figure("", []focus.Panel{p}, 1)
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

// Ask holds a question to the model: it finds the classes, names the method
// where none is named, and says what is impossible. The errors have focus.ErrOption, models.ErrClass or ErrHead in
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
	if q.Method == "" {
		q.Method = q.Default(m.config.Classes > 0)
	}
	return q, q.Check(m.shape)
}

// ExplainPrepared answers what Ask has returned about a prepared photo.
func (m *Model) ExplainPrepared(ctx context.Context, p *Prepared, q focus.Question) (*Explanation, error) {
	x := &Explanation{Photo: p.Photo, Geometry: p.Geometry, Model: m.Checkpoint.Name}
	lanes := m.probes
	if q.Batch() == 1 {
		lanes = m.passes
	}
	err := lanes.use(ctx, func(l *Lane, threads int) error {
		found, err := l.Explain(threads, []Inquiry{{ctx, p.Pixels, q}})
		if err != nil {
			return fmt.Errorf("model %s: %w", m.Checkpoint.Name, err)
		}
		if x.Explanation = found[0].Explanation; x.Explanation != nil && x.Logits != nil {
			x.Classes = m.Checkpoint.Top(x.Logits, 0, 0)
		}
		return found[0].Err
	})
	return x, err
}

// NoteOf is what one must know of an answer to q, which Ask has returned: the
// checkpoint's note, and where the gradients of a map come from if the layers
// compute in another arithmetic. "": nothing.
func (m *Model) NoteOf(q focus.Question) string {
	note := m.Checkpoint.Note
	if p := m.backend.Info().Precision; q.Derives() && p != backend.F32 {
		if note != "" {
			note += "; "
		}
		note += fmt.Sprintf("the gradients of %s maps are computed in f32 from the %s weights", q.Method, p)
	}
	return note
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

// Warm does once what the first maps of the model would do for all that follow
// them: it allocates the lane's memory, and has the backend make the weights
// that gradients need, of the default map and of those that go down to the
// pixels, which all others share. The picture is grey; whether a map can be
// painted of it says nothing of the model.
func (l *Lane) Warm(ctx context.Context) error {
	c := l.m.config
	if c.Classes == 0 {
		return l.Ready()
	}
	pixels := l.m.newPixels()
	for i := range pixels.Float32s() {
		pixels.Float32s()[i] = 0.5
	}
	for _, method := range []string{focus.DefaultMethod, pixelMethod} {
		if _, err := l.Explain(0, []Inquiry{{ctx, pixels, focus.Question{Method: method}}}); err != nil {
			return err
		}
	}
	return nil
}

// pixelMethod derives a model from its classes to its pixels, through every
// weight.
const pixelMethod = "inputgradient"

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

// look makes the maps of one photo, whose record it is, and has each layer
// answer where that is asked for.
func (l *Lane) look(in Inquiry, rec *focus.Record) (f Finding) {
	c := l.m.config
	x := focus.Subject{
		Record: rec, Model: View{Session: l.session, Scoring: l.m.Checkpoint.Scoring}, Batch: min(ProbeBatch, l.o.MaxBatch),
		Pixels: tensor.New(tensor.WithShape(1, 3, c.Image[0], c.Image[1]), tensor.WithBacking(in.Pixels.Float32s())),
	}
	f.Explanation, f.Err = in.Question.Explain(in.Context, x)
	if f.Err != nil || !in.Question.Layers {
		return f
	}
	var out *vit.Output
	if out, f.Err = l.session.Forward(x.Pixels, vit.Wants{Layers: true}); f.Err != nil {
		return f
	}
	for _, t := range out.Layers {
		f.Layers = append(f.Layers, t.Float32s())
	}
	return f
}

// View is a session's model as the focus maps see it. It asks in batches of
// at most the session's, and like the session it is for one goroutine at a
// time.
type View struct {
	Session *vit.Session
	Scoring vit.Scoring // how logits become probabilities
}

var _ focus.Model = View{}

// ShapeOf is what the focus maps know of a model.
func ShapeOf(c vit.Config) focus.Shape {
	rows, cols := c.Grid()
	return focus.Shape{
		Grid: [2]int{rows, cols}, Patch: c.Patch, Prefix: c.Prefix, Depth: c.Depth, Heads: c.Heads,
		ProbeHeads: c.Probe.Heads, Pooled: !slices.Contains(c.Pool, backend.Span{Lo: 0, Hi: 1}),
	}
}

// WantsOf returns what a forward pass has to keep for a question. One that
// Derives makes its own.
func WantsOf(q focus.Question, s focus.Shape) vit.Wants {
	rows := q.Rows(s)
	return vit.Wants{AttnRows: rows, AttnFull: rows == nil, Gram: q.Gram(), Probe: s.ProbeHeads > 0}
}

// RecordOf is a forward pass as the focus maps read it.
func RecordOf(s focus.Shape, o *vit.Output) *focus.Record {
	return &focus.Record{Shape: s, Logits: o.Logits, Attn: o.Attn, Rows: o.Rows, Gram: o.Gram, Probe: o.Probe}
}

// Probabilities implements focus.Model.
func (v View) Probabilities(ctx context.Context, pixels *tensor.Dense) (*tensor.Dense, error) {
	shape := pixels.Shape()
	image := shape.TotalSize() / shape[0]
	return v.inBatches(ctx, shape[0], func(lo, hi int) (*tensor.Dense, error) {
		part := tensor.New(tensor.WithShape(hi-lo, shape[1], shape[2], shape[3]), tensor.WithBacking(pixels.Float32s()[lo*image:hi*image]))
		out, err := v.Session.Forward(part, vit.Wants{})
		if err != nil {
			return nil, err
		}
		return out.Logits, nil
	})
}

// Kept implements focus.Model.
func (v View) Kept(ctx context.Context, pixels *tensor.Dense, keep [][]int) (*tensor.Dense, error) {
	return v.inBatches(ctx, len(keep), func(lo, hi int) (*tensor.Dense, error) {
		return v.Session.Kept(pixels, keep[lo:hi])
	})
}

// Tokens implements focus.Model. It takes at most the session's batch.
func (v View) Tokens(ctx context.Context, pixels *tensor.Dense) (*tensor.Dense, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	last := v.Session.Config().Depth - 1
	out, err := v.Session.Forward(pixels, vit.Wants{Tokens: []int{last}})
	if err != nil {
		return nil, err
	}
	return out.Tokens[last], nil
}

// inBatches gathers the probabilities of n questions.
func (v View) inBatches(ctx context.Context, n int, logits func(lo, hi int) (*tensor.Dense, error)) (*tensor.Dense, error) {
	classes, most := v.Session.Config().Classes, v.Session.MaxBatch()
	all := make([]float32, 0, n*classes)
	for lo := 0; lo < n; lo += most {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		l, err := logits(lo, min(lo+most, n))
		if err != nil {
			return nil, err
		}
		for row := l.Float32s(); len(row) > 0; row = row[classes:] {
			for _, score := range vit.Scores(row[:classes], v.Scoring) {
				all = append(all, float32(score))
			}
		}
	}
	return tensor.New(tensor.WithShape(n, classes), tensor.WithBacking(all)), nil
}

// Trace implements focus.Model. It takes at most the session's batch.
func (v View) Trace(ctx context.Context, pixels *tensor.Dense, attn bool, normed []int) (focus.Trace, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t, err := v.Session.Trace(pixels, vit.Wants{AttnFull: attn, Normed: normed, Probe: true})
	if err != nil {
		return nil, err
	}
	return trace{t, v.Session.Config().Depth - 1}, nil
}

// trace is a forward pass as the focus maps derive it.
type trace struct {
	*vit.Trace
	last int // block
}

func (t trace) Logits() *tensor.Dense          { return t.Output.Logits }
func (t trace) Attn() []*tensor.Dense          { return t.Output.Attn }
func (t trace) Normed(block int) *tensor.Dense { return t.Output.Normed[block] }
func (t trace) Probe() *tensor.Dense           { return t.Output.Probe }

// PixelGrad implements focus.Trace.
func (t trace) PixelGrad(ctx context.Context, d *tensor.Dense) (*tensor.Dense, error) {
	g, err := t.grads(ctx, d, t.last, vit.GradWants{Pixels: true})
	return g.Pixels, err
}

// NormedGrad implements focus.Trace.
func (t trace) NormedGrad(ctx context.Context, d *tensor.Dense, block int) (*tensor.Dense, error) {
	g, err := t.grads(ctx, d, t.last, vit.GradWants{Normed: []int{block}})
	return g.Normed[block], err
}

// ProbsGrad implements focus.Trace.
func (t trace) ProbsGrad(ctx context.Context, d *tensor.Dense, last int, blocks []int) (map[int]*tensor.Dense, error) {
	g, err := t.grads(ctx, d, last, vit.GradWants{Probs: blocks})
	return g.Probs, err
}

// ProbeGrad implements focus.Trace.
func (t trace) ProbeGrad(ctx context.Context, d *tensor.Dense, last int) (*tensor.Dense, error) {
	g, err := t.grads(ctx, d, last, vit.GradWants{Probe: true})
	return g.Probe, err
}

// Relevance implements focus.Trace.
func (t trace) Relevance(ctx context.Context, d *tensor.Dense, blocks []int) (map[int]*tensor.Dense, error) {
	g, err := t.grads(ctx, d, t.last, vit.GradWants{Relevance: blocks})
	return g.Relevance, err
}

// grads derives the logits that the tokens after a block make.
func (t trace) grads(ctx context.Context, d *tensor.Dense, last int, w vit.GradWants) (vit.Grads, error) {
	if err := ctx.Err(); err != nil {
		return vit.Grads{}, err
	}
	g, err := t.Backward(vit.AtLogitsAfter(last, d), w)
	if err != nil {
		return vit.Grads{}, fmt.Errorf("gradient of logits after block %d: %w", last, err)
	}
	return *g, nil
}
