package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/internal/batch"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
	"golang.org/x/sync/errgroup"
	"gorgonia.org/tensor"
)

// seen is a picture brought to a model.
type seen struct {
	pixels   *tensor.Dense // (3, H, W)
	photo    *patch.Photo  // only if it is to be drawn on
	geometry patch.Geometry
	timings  v1.Timings
	release  func() // gives the room of photo back
}

// decode waits until a picture may be decoded, and has f do it. Pictures wait
// here for each other, so that those in memory at the same time are bounded in
// number and in pixels. After an error there is nothing to be released.
func (s *Server) decode(ctx context.Context, r *request, data []byte, f func(o patch.Options) error) (release func(), err error) {
	o := r.ask.decode
	o.MaxPixels = s.cfg.MaxPixels
	d, err := patch.Declared(data, o)
	if err != nil {
		return nil, err
	}
	room := int64(d.Width) * int64(d.Height)
	if err := s.pixels.Acquire(ctx, room); err != nil {
		return nil, err
	}
	release = func() { s.pixels.Release(room) }
	if err := s.decoders.turn(ctx, func() error { return f(o) }); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// look decodes a picture and prepares it for a model.
func (s *Server) look(ctx context.Context, r *request, data []byte, keep bool) (*seen, error) {
	v := &seen{pixels: r.model.blank()}
	release, err := s.decode(ctx, r, data, func(o patch.Options) error { return v.decode(ctx, r.see, o, data, keep) })
	if err != nil {
		return nil, err
	}
	v.release = release
	if !keep {
		v.photo = nil
		v.release()
		v.release = func() {}
	}
	if r.question.Options.Compat == focus.VitExplain {
		focus.VitExplainPixels(v.pixels, r.see.Mean, r.see.Std)
	}
	v.geometry = focus.OnPatches(v.geometry, r.model.shape().Grid, r.model.config.Patch)
	s.met.stage("decode", v.timings.Decode)
	if v.timings.Preprocess > 0 {
		s.met.stage("preprocess", v.timings.Preprocess)
	}
	return v, nil
}

func (v *seen) decode(ctx context.Context, t patch.Transform, o patch.Options, data []byte, keep bool) (err error) {
	start := time.Now()
	if !keep && bytes.HasPrefix(data, []byte("\xff\xd8\xff")) {
		// A JPEG that nobody draws on need not become a picture: package
		// patch prepares it as it decodes.
		v.geometry, err = t.Pixels(ctx, v.pixels, data, o)
		v.timings.Decode = ms(time.Since(start))
		return err
	}
	if v.photo, err = patch.Decode(ctx, data, o); err != nil {
		return err
	}
	decoded := time.Now()
	v.geometry, err = t.PhotoPixels(ctx, v.pixels, v.photo)
	v.timings.Decode, v.timings.Preprocess = ms(decoded.Sub(start)), ms(time.Since(decoded))
	return err
}

// busy tells the sender when to come back to a full queue.
func busy[In, Out any](m *resident, q *batch.Queue[In, Out], err error) error {
	if errors.Is(err, batch.ErrBusy) {
		err = hint{fmt.Errorf("model %s: %w", m.id, err), q.RetryAfter()}
	}
	return err
}

// answer is what became of one picture.
type answer struct {
	predictions []v1.Prediction
	logits      []float32
	geometry    patch.Geometry
	timings     v1.Timings
	batch       int
	focus       *focusOut
	explained   v1.ExplainResult // what the contract says of focus
	embedded    *tensor.Dense    // vectors
	receipt     *patch.Receipt   // without its file
	encoded     *encoded         // what is sent by itself
	err         error            // of the picture itself
}

// each answers every upload, a few at a time. Of many pictures a broken one is
// an error of its own; whatever else fails, fails the request.
func (s *Server) each(ctx context.Context, r *request, one func(context.Context, *request, upload) (*answer, error)) ([]*answer, error) {
	answers := make([]*answer, len(r.ups))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(s.cfg.MaxBatch)
	for i, up := range r.ups {
		g.Go(func() error {
			a, err := s.fetched(ctx, r, up, one)
			if err != nil && (len(r.ups) == 1 || !ofPicture(err)) {
				return err
			}
			if err != nil {
				a = &answer{err: err}
			}
			answers[i] = a
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return answers, nil
}

// ofPicture reports whether err is the fault of a picture, not of the request.
func ofPicture(err error) bool {
	for _, e := range []error{patch.ErrFormat, patch.ErrImage, patch.ErrSize, patch.ErrShape, focus.ErrFlat, focus.ErrNotFinite, vit.ErrNotFinite, errFetch} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// request is one that has been received.
type request struct {
	*ask
	model  *resident
	ups    []upload
	see    patch.Transform
	body   body
	cancel context.CancelFunc
}

// receive reads a request whose query is understood: what else it asks for and
// its pictures. The context ends when the answer is of no use. A request must
// be released.
func (s *Server) receive(c echo.Context) (_ *request, _ context.Context, err error) {
	r := &request{ask: c.Get(keyAsk).(*ask), body: body{of: &s.bodies, from: s.sender(c)}, cancel: func() {}}
	if r.route&toSend != 0 {
		c.Response().Header().Add(echo.HeaderVary, echo.HeaderAccept)
	}
	defer func() {
		if err != nil {
			r.release()
		}
	}()
	began := time.Now()
	if r.ups, err = s.uploads(c, r.ask, &r.body); err != nil {
		if status(err) != http.StatusRequestTimeout {
			s.hurry(c.Response(), began)
		}
		return nil, nil, err
	}
	if r.route&toSend != 0 {
		if err := r.send.decide(strings.Join(c.Request().Header.Values(echo.HeaderAccept), ","), r.route); err != nil {
			return nil, nil, err
		}
	}
	limit := s.cfg.RequestTimeout.std()
	if r.timeout > 0 {
		limit = min(limit, r.timeout)
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), limit)
	r.cancel = cancel
	if r.model, err = s.models.get(ctx, r.ask.model); err != nil {
		return nil, nil, err
	}
	c.Set(keyModel, r.model.id)
	if r.see, err = r.model.check(r.ask); err != nil {
		return nil, nil, err
	}
	if r.route&toSend != 0 {
		err = r.countable()
	}
	return r, ctx, err
}

// release lets the model go and gives the memory of the pictures back.
func (r *request) release() {
	r.cancel()
	if r.model != nil {
		r.model.held.Done()
	}
	r.body.release()
}

// Classify is POST /v1/classify.
func (s *Server) Classify(c echo.Context) error {
	r, ctx, err := s.receive(c)
	if err != nil {
		return err
	}
	defer r.release()
	answers, err := s.each(ctx, r, s.classify)
	if err != nil {
		return err
	}
	out := v1.ClassifyAnswer{
		Model: r.model.id, Revision: r.model.revision, Note: r.model.note, Results: make([]v1.ClassifyResult, len(answers)),
	}
	for i, a := range answers {
		o := &out.Results[i]
		o.Image = r.ups[i].name
		if a.err != nil {
			o.Error = problem(a.err, "")
			continue
		}
		o.Predictions, o.Logits, o.Batch = &a.predictions, a.logits, a.batch
		o.Geometry, o.TimingsMs = geometryOf(a.geometry), a.timings
	}
	serverTiming(c, answers)
	return writeJSON(c, http.StatusOK, echo.MIMEApplicationJSON, out)
}

// classify answers one picture.
func (s *Server) classify(ctx context.Context, r *request, up upload) (*answer, error) {
	a, out, err := s.forward(ctx, r, up, vit.Wants{})
	if err != nil {
		return nil, err
	}
	if err := a.label(r, out.logits()); err != nil {
		return nil, err
	}
	s.met.answered(r, a)
	return a, nil
}

// forward sends one picture through the model.
func (s *Server) forward(ctx context.Context, r *request, up upload, wants vit.Wants) (a *answer, out forwardOut, err error) {
	// The place comes first: a full queue must not cost a decoding.
	slot, err := r.model.classify.Reserve(r.priority)
	if err != nil {
		return nil, out, busy(r.model, r.model.classify, err)
	}
	defer slot.Release()
	v, err := s.look(ctx, r, up.data, false)
	if err != nil {
		return nil, out, err
	}
	s.device.enter()
	res, err := slot.Do(ctx, forwardIn{v.pixels, wants})
	s.device.leave()
	if err != nil {
		return nil, out, err // its lane may still be reading the pixels
	}
	r.model.spare.Put(v.pixels)
	a = &answer{geometry: v.geometry, timings: v.timings, batch: res.Batch}
	a.timings.Queue, a.timings.Infer = ms(res.Queued), ms(res.Ran)
	return a, res.Out, nil
}

// label turns logits into the predictions that were asked for.
func (a *answer) label(r *request, logits []float32) error {
	start := time.Now()
	if err := vit.CheckFinite("logits", logits); err != nil {
		return err
	}
	a.predictions = PredictionsOf(r.model.top(logits, r.topK, r.minScore))
	if r.logits {
		a.logits = logits
	}
	a.timings.Encode = ms(time.Since(start))
	return nil
}

// writeJSON marshals before it writes, so that a failure is still an answer.
func writeJSON(c echo.Context, code int, contentType string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("api: encode answer: %w", err)
	}
	b = append(b, '\n')
	c.Response().Header().Set(echo.HeaderContentLength, strconv.Itoa(len(b))) // else what is long is sent in chunks
	return c.Blob(code, contentType, b)
}

// serverTiming says where the time went, https://www.w3.org/TR/server-timing/.
func serverTiming(c echo.Context, answers []*answer) {
	var t v1.Timings
	for _, a := range answers {
		t.Decode += a.timings.Decode
		t.Preprocess += a.timings.Preprocess
		t.Queue += a.timings.Queue
		t.Infer += a.timings.Infer
		t.Explain += a.timings.Explain
		t.Encode += a.timings.Encode
	}
	c.Response().Header().Set("Server-Timing", fmt.Sprintf(
		"decode;dur=%.3f, preprocess;dur=%.3f, queue;dur=%.3f, infer;dur=%.3f, explain;dur=%.3f, encode;dur=%.3f",
		t.Decode, t.Preprocess, t.Queue, t.Infer, t.Explain, t.Encode))
}

// ms returns milliseconds to the microsecond.
func ms(d time.Duration) float64 { return math.Round(float64(d)/1e3) / 1e3 }

func geometryOf(g patch.Geometry) v1.Geometry {
	return v1.Geometry{
		Photo: g.Photo[:], Orientation: g.Orientation, Input: g.Input[:], Coverage: g.Coverage,
		Seen: v1.Rect{X: g.Seen.X, Y: g.Seen.Y, W: g.Seen.W, H: g.Seen.H},
	}
}

func transformOf(t patch.Transform) v1.Transform {
	return v1.Transform{
		Size: t.Size[:], Fit: string(t.Fit), Resize: t.Resize[:], Interpolation: string(t.Interpolation),
		Rounding: string(t.Rounding), Mean: t.Mean[:], Std: t.Std[:],
	}
}
