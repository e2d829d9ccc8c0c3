package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/api/op"
	v1 "github.com/vitserve/vitserve/api/v1"
	"golang.org/x/sync/errgroup"
)

// call is a request of a client and what has been granted to it, which ends
// with it.
type call struct {
	s     *Server
	c     echo.Context
	began time.Time
	until time.Time // when the time of its operations is over; zero: none has begun
	body  body
	room  room

	arriving *messages // of gRPC; nil: it is no request of that
}

var _ op.Call = (*call)(nil)

// calling hands a request to handle as a call.
func calling(handle func(*call) error) func(*Server, echo.Context) error {
	return func(s *Server, c echo.Context) error {
		r := c.Request()
		r.Body = http.MaxBytesReader(c.Response(), s.paced(c.Response(), r.Body), s.cfg.MaxBody)
		call := s.call(c)
		defer call.body.release()
		return handle(call)
	}
}

// call begins one of a request. Its body is to be released.
func (s *Server) call(c echo.Context) *call {
	n := &call{s: s, c: c, began: time.Now(), body: body{of: &s.bodies, from: s.sender(c)}}
	n.room = room{most: min(s.cfg.MaxAnswer, s.cfg.BodyBudget), body: &n.body}
	return n
}

// Read implements op.Call.
func (c *call) Read(r io.Reader, size int64) ([]byte, error) {
	b, err := c.body.read(r, size)
	if err != nil {
		return nil, c.unread(bodyError(c.c.Request(), err))
	}
	return b, nil
}

// unread is the error of a body that was not read to its end: the sender of
// what is left of it is given no more time than it has had.
func (c *call) unread(err error) error {
	if kindOf(err) != op.Slow {
		c.s.hurry(c.c.Response(), c.began)
	}
	return err
}

// Charge implements op.Call.
func (c *call) Charge(n int64) error { return c.body.charge(n) }

// Take implements op.Call.
func (c *call) Take(n int64) error { return c.room.take(n) }

// Draw implements op.Call.
func (c *call) Draw(ctx context.Context, paint func() error) error {
	return c.s.decoders.draw(ctx, paint)
}

// Result implements op.Call.
func (c *call) Result(x *op.Explained) (v1.ExplainResult, error) {
	r, _, err := ExplainedOf(x.Found, x.Geometry, x.Scored)
	if err == nil {
		predictions := PredictionsOf(x.Predictions)
		r.Predictions, r.Batch, r.TimingsMs = &predictions, x.Batch, v1.Timings(x.Timings)
	}
	return r, err
}

// Models implements op.Call.
func (c *call) Models() []v1.Model { return c.s.models.cards() }

// Model implements op.Call.
func (c *call) Model(id string) (v1.Model, error) { return c.s.models.one(id) }

// Resident implements op.Call.
func (c *call) Resident(ctx context.Context, o op.Options) (v1.Model, error) {
	ctx, cancel := c.within(ctx, o)
	defer cancel()
	m, err := c.s.models.get(ctx, o.Model, o.Wait)
	if err != nil {
		return v1.Model{}, err
	}
	defer m.held.Done()
	return m.card, nil
}

// Network implements op.Call.
func (c *call) Network(ctx context.Context, o op.Options) (*op.Network, error) {
	ctx, cancel := c.within(ctx, o)
	defer cancel()
	m, err := c.s.models.get(ctx, o.Model, o.Wait)
	if err != nil {
		return nil, err
	}
	defer m.held.Done()
	c.c.Set(keyModel, m.id)
	return &op.Network{Config: m.model.Config(), Transform: m.model.Checkpoint.Transform, Labels: m.card.Labels, Classless: m.card.Classless}, nil
}

// Load implements op.Call.
func (c *call) Load(ctx context.Context, id string) error {
	return c.s.administer(ctx, c.c, id, c.s.models.reload)
}

// Unload implements op.Call.
func (c *call) Unload(ctx context.Context, id string) error {
	return c.s.administer(ctx, c.c, id, c.s.models.unload)
}

// Ready implements op.Call.
func (c *call) Ready() error { return c.s.isReady() }

// Version implements op.Call.
func (c *call) Version() v1.Version { return c.s.versions() }

// Limits implements op.Call.
func (c *call) Limits() op.Limits {
	cfg := &c.s.cfg
	return op.Limits{Body: cfg.MaxBody, Images: cfg.MaxImages, Batch: cfg.MaxBatch, Delay: cfg.BatchDelay.std()}
}

// Part implements op.Call.
func (c *call) Part() (op.Call, func(), error) {
	free := c.arriving.begin()
	if err := c.s.rated(c.c); err != nil {
		free()
		return nil, nil, err
	}
	part := c.s.call(c.c)
	return part, func() { part.body.release(); free() }, nil
}

// Failed implements op.Call.
func (c *call) Failed(err error) op.Failure { return c.s.told(c.c, err) }

// Ending implements op.Call.
func (c *call) Ending() <-chan struct{} { return c.s.ending }

// Param implements op.Call.
func (c *call) Param(name string) string {
	v := c.c.Param(name)
	if c.c.Request().URL.RawPath == "" {
		return v
	}
	if plain, err := url.PathUnescape(v); err == nil { // which it has been read as before
		return plain
	}
	return v
}

// room is what the pictures and values of one answer may take. They are
// charged to its request's body, so that those of all requests together are
// bounded, too.
type room struct {
	most int64
	body *body

	mu    sync.Mutex
	taken int64
}

func (r *room) take(n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken += n; r.taken > r.most {
		return fmt.Errorf("%w: pictures and values of one answer take more than the limit of %d bytes: ask for JPEG, or for fewer of them", errValue, r.most)
	}
	return r.body.answer(n)
}

// job is a call whose model is there.
type job struct {
	*call
	o         op.Options
	operation string // its name in the contract, for the metrics
	model     *resident
	look      vitserve.Look // how pictures are prepared

	mu      sync.Mutex
	done    int        // pictures that are answered
	slowest op.Timings // of them
}

func (c *call) job(operation string, o op.Options) *job {
	look := vitserve.Look{Options: o.Decode, Preprocess: o.Preprocess}
	look.MaxPixels, look.Decoders = c.s.cfg.MaxPixels, c.s.programs
	return &job{call: c, o: o, operation: operation, look: look}
}

// within bounds the time of a call, from the first of its operations on.
func (c *call) within(ctx context.Context, o op.Options) (context.Context, context.CancelFunc) {
	late := lateError{c.s.cfg.RequestTimeout.std(), "request_timeout"}
	if o.Timeout > 0 && o.Timeout < late.limit {
		late = lateError{o.Timeout, "timeout_ms"}
	}
	if c.until.IsZero() {
		c.until = time.Now().Add(late.limit)
	}
	return context.WithDeadlineCause(ctx, c.until, late)
}

// lateError is the end of a call's time: how long that was, and who says so.
type lateError struct {
	limit   time.Duration
	setting string
}

func (e lateError) Error() string {
	return fmt.Sprintf("the answer was not ready in time: the limit is %v (%s)", e.limit, e.setting)
}

// Unwrap returns context.DeadlineExceeded.
func (lateError) Unwrap() error { return context.DeadlineExceeded }

// blamed is err with the limit that it met, if it is of ctx's end.
func blamed(ctx context.Context, err error) error {
	var late lateError
	if errors.Is(err, context.DeadlineExceeded) && errors.As(context.Cause(ctx), &late) {
		return late
	}
	return err
}

// answer is what one answers of each picture, a few at a time. check says what
// is impossible for the model, and may change how it sees pictures. Of many
// pictures a broken one is an error of its own; whatever else fails, fails the
// call. The context of one ends when its answer is of no use.
func answer[R any](ctx context.Context, j *job, pictures []op.Picture, check func() error, one func(context.Context, int, op.Picture) (R, error)) (a *op.Answer[R], err error) {
	s := j.s
	if len(pictures) > s.cfg.MaxImages {
		return nil, fmt.Errorf("%w: %d pictures, the limit is %d (max_images)", errTooLarge, len(pictures), s.cfg.MaxImages)
	}
	ctx, cancel := j.within(ctx, j.o)
	defer cancel()
	within := ctx
	defer func() { err = blamed(within, err) }()
	if j.model, err = s.models.get(ctx, j.o.Model, j.o.Wait); err != nil {
		return nil, err
	}
	defer j.model.held.Done()
	j.c.Set(keyModel, j.model.id)
	began := time.Now()
	defer func() { s.met.triton.request(j, time.Since(began), err) }()
	if _, err := j.model.model.Transform(j.look); err != nil {
		return nil, err
	}
	if err := check(); err != nil {
		return nil, err
	}
	if j.o.Check != nil {
		if err := j.o.Check(); err != nil {
			return nil, err
		}
	}
	a = &op.Answer[R]{Model: j.model.id, Revision: j.model.revision, Note: j.model.card.Note, Items: make([]op.Item[R], len(pictures))}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(s.cfg.MaxBatch)
	for i, p := range pictures {
		g.Go(func() error {
			item := &a.Items[i]
			if item.Err = p.Err; item.Err != nil && len(pictures) > 1 {
				return nil
			}
			if item.Err == nil {
				item.Err = s.fetched(ctx, &j.body, p, func(p op.Picture) (err error) {
					item.Value, err = one(ctx, i, p)
					return err
				})
			}
			if item.Err != nil && (len(pictures) == 1 || !ofPicture(item.Err)) {
				return item.Err
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return a, nil
}
