package api

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/attention/focus"
)

// Explain is POST /v1/explain.
func (s *Server) Explain(c echo.Context) error {
	r, ctx, err := s.receive(c)
	if err != nil {
		return err
	}
	defer r.release()
	room := s.room(r)
	if n := r.model.kept(r.question.Keep); n > room.most {
		return fmt.Errorf("%w: attention of %d layers and %d heads over %d tokens takes %d bytes, the limit is %d: ask for one layer or head",
			errValue, r.model.config.Depth, r.model.config.Heads, r.model.config.Tokens(), n, room.most)
	}
	answers, err := s.each(ctx, r, func(ctx context.Context, r *request, up upload) (*answer, error) {
		return s.explain(ctx, r, up, room)
	})
	if err != nil {
		return err
	}
	serverTiming(c, answers)
	if r.send.format != formatJSON {
		return s.sendOne(c, r, answers[0])
	}
	out := v1.ExplainAnswer{
		Model: r.model.id, Revision: r.model.revision, Note: r.model.note, Results: make([]v1.ExplainResult, len(answers)),
	}
	for i, a := range answers {
		out.Results[i].Image = r.ups[i].name
		if a.err != nil {
			out.Results[i].Error = problem(a.err, "")
			continue
		}
		a.explained.Image, a.explained.Predictions, a.explained.Logits = r.ups[i].name, &a.predictions, a.logits
		a.explained.TimingsMs, a.explained.Batch = a.timings, a.batch
		out.Results[i] = a.explained
	}
	return writeJSON(c, http.StatusOK, echo.MIMEApplicationJSON, out)
}

// countable refuses to send several of what is sent by itself: a parameter
// that asks for it has an impossible value, an Accept that does is not met.
func (r *request) countable() error {
	maps, kind := r.question.Count(), errAccept
	if r.send.named {
		kind = errValue
	}
	switch {
	case r.send.format == formatJSON:
	case len(r.ups) > 1:
		return fmt.Errorf("%w: %d pictures as %s, want one, or %s", kind, len(r.ups), r.send.format, echo.MIMEApplicationJSON)
	case maps > 1 && r.send.format != formatNpy:
		return fmt.Errorf("%w: %d maps as %s, want one, or %s", kind, maps, r.send.format, echo.MIMEApplicationJSON)
	}
	return nil
}

// sendOne answers a picture, or values, by themselves.
func (s *Server) sendOne(c echo.Context, r *request, a *answer) error {
	geometry, err := json.Marshal(geometryOf(a.geometry))
	if err != nil {
		return fmt.Errorf("api: encode geometry: %w", err)
	}
	h := c.Response().Header()
	h.Set("X-Model", r.model.id)
	h.Set("X-Model-Revision", r.model.revision)
	h.Set("X-Geometry", string(geometry))
	if r.send.values != focus.ValuesAttention {
		h.Set(echo.HeaderContentLength, strconv.Itoa(a.encoded.data.Len()))
		return c.Blob(http.StatusOK, a.encoded.media, a.encoded.data.Bytes())
	}
	h.Set(echo.HeaderContentType, types(formatNpy)[0])
	c.Response().WriteHeader(http.StatusOK)
	return a.focus.Kept.WriteNpy(c.Response(), 0)
}

// explain answers one picture.
func (s *Server) explain(ctx context.Context, r *request, up upload, room *room) (*answer, error) {
	slot, err := r.model.explain.Reserve(r.priority)
	if err != nil {
		return nil, busy(r.model, r.model.explain, err)
	}
	defer slot.Release()
	v, err := s.look(ctx, r, up.data, r.send.picture == focus.OverlayPicture || r.send.picture == focus.SheetPicture)
	if err != nil {
		return nil, err
	}
	defer v.release()
	if err := room.take(r.model.kept(r.question.Keep)); err != nil {
		return nil, err
	}
	s.device.enter()
	res, err := slot.Do(ctx, focusIn{ctx, v.pixels, r.question})
	s.device.leave()
	if err != nil {
		return nil, err
	}
	if res.Out.err != nil {
		return nil, res.Out.err
	}
	a := &answer{geometry: v.geometry, timings: v.timings, batch: res.Batch, focus: &res.Out}
	a.timings.Queue, a.timings.Infer, a.timings.Explain = ms(res.Queued), ms(res.Ran-res.Out.maps), ms(res.Out.maps)
	if err := a.label(r, res.Out.Logits); err != nil {
		return nil, err
	}
	start := time.Now()
	if err := s.present(ctx, r, v, a, room); err != nil {
		return nil, err
	}
	a.timings.Encode += ms(time.Since(start))
	s.met.answered(r, a)
	return a, nil
}

// present turns what was found out into what is sent of it.
func (s *Server) present(ctx context.Context, r *request, v *seen, a *answer, room *room) error {
	w := &r.send
	var paint func(m *focus.Map) (*image.NRGBA, error)
	switch {
	case w.values == focus.ValuesAttention:
		return nil // it is sent as it was kept
	case w.picture == focus.SheetPicture:
		err := s.draw(ctx, r, a, room, func() (*image.NRGBA, error) {
			return focus.ContactSheet(v.photo, v.geometry, a.focus.Kept, 0, a.focus.Maps[0].Options, r.style)
		})
		if err != nil || w.format != formatJSON {
			return err
		}
	case w.picture == focus.HeatPicture:
		paint = func(m *focus.Map) (*image.NRGBA, error) {
			return focus.HeatMap(m, r.style, v.geometry.Input[0], v.geometry.Input[1])
		}
	case w.picture == focus.OverlayPicture:
		paint = func(m *focus.Map) (*image.NRGBA, error) {
			return focus.Overlay(v.photo, v.geometry, m, r.style)
		}
	}
	x, maps, err := ExplainedOf(a.focus.Explanation, v.geometry, r.model.top(a.focus.Logits, 0, 0))
	if err != nil {
		return err
	}
	a.explained = x
	if w.picture == focus.SheetPicture {
		a.explained.Sheet = a.encoded.inJSON()
		return nil
	}
	if w.format == formatNpy {
		for _, e := range a.focus.Maps {
			if e.Err != nil {
				return e.Err // the file would not say which map is missing
			}
		}
		a.encoded = &encoded{media: types(formatNpy)[0], room: room}
		return focus.WriteMaps(a.encoded, maps...)
	}
	for i := 0; paint != nil && i < len(maps); i++ {
		if err := s.draw(ctx, r, a, room, func() (*image.NRGBA, error) { return paint(maps[i]) }); err != nil {
			return err
		}
		if w.format == formatJSON {
			a.explained.Maps[i].Picture = a.encoded.inJSON()
		}
	}
	return nil
}

// draw paints and encodes. That takes as much as decoding, and its turn.
func (s *Server) draw(ctx context.Context, r *request, a *answer, room *room, paint func() (*image.NRGBA, error)) error {
	return s.decoders.turn(ctx, func() error {
		img, err := paint()
		if err != nil {
			return err
		}
		a.encoded, err = r.send.encode(img, room)
		return err
	})
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

// room returns that of the answer to r.
func (s *Server) room(r *request) *room {
	return &room{most: min(s.cfg.MaxAnswer, s.cfg.BodyBudget), body: &r.body}
}

func (r *room) take(n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken += n; r.taken > r.most {
		return fmt.Errorf("%w: pictures and values of one answer take more than the limit of %d bytes: ask for JPEG, or for fewer of them", errValue, r.most)
	}
	return r.body.answer(n)
}
