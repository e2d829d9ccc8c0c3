package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image/png"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/attention"
)

// Explain is POST /v1/explain.
func (s *Server) Explain(c echo.Context, _ v1.ExplainParams) error {
	overlay := wantsPNG(c.Request().Header.Get(echo.HeaderAccept))
	c.Response().Header().Add(echo.HeaderVary, echo.HeaderAccept)
	r, ctx, err := s.receive(c, true)
	if err != nil {
		return err
	}
	defer r.release()
	if overlay && len(r.ups) != 1 {
		return fmt.Errorf("%w: %d pictures, want one, or accept %s", errManyPNG, len(r.ups), echo.MIMEApplicationJSON)
	}
	answers, err := s.each(ctx, r, func(ctx context.Context, r *request, up upload) (*answer, error) {
		return s.explain(ctx, r, up, overlay)
	})
	if err != nil {
		return err
	}
	serverTiming(c, answers)
	if overlay {
		geometry, err := json.Marshal(geometryOf(answers[0].geometry))
		if err != nil {
			return fmt.Errorf("api: encode geometry: %w", err)
		}
		h := c.Response().Header()
		h.Set("X-Model", r.model.id)
		h.Set("X-Model-Revision", r.model.revision)
		h.Set("X-Geometry", string(geometry))
		return c.Blob(http.StatusOK, "image/png", answers[0].png)
	}
	out := v1.ExplainAnswer{
		Model: r.model.id, Revision: r.model.revision, Note: r.model.note, Results: make([]v1.ExplainResult, len(answers)),
	}
	for i, a := range answers {
		o := &out.Results[i]
		o.Image = r.ups[i].name
		if a.err != nil {
			o.Error = problem(a.err, "")
			continue
		}
		o.Focus, o.Evidence = focusOf(a.focus), evidenceOf(a.focus.evidence)
		if a.focus.class >= 0 {
			o.Class = a.class
		}
		o.Predictions, o.Logits, o.Batch = &a.predictions, a.logits, a.batch
		o.Geometry, o.TimingsMs = geometryOf(a.geometry), a.timings
	}
	return writeJSON(c, http.StatusOK, echo.MIMEApplicationJSON, out)
}

// explain answers one picture.
func (s *Server) explain(ctx context.Context, r *request, up upload, overlay bool) (*answer, error) {
	slot, err := r.model.explain.Reserve(r.priority)
	if err != nil {
		return nil, busy(r.model, r.model.explain, err)
	}
	defer slot.Release()
	v, err := s.look(ctx, r, up.data, overlay)
	if err != nil {
		return nil, err
	}
	defer v.release()
	res, err := slot.Do(ctx, focusIn{ctx, v.pixels, r.plan})
	if err != nil {
		return nil, err
	}
	if res.Out.err != nil {
		return nil, res.Out.err
	}
	a := &answer{geometry: v.geometry, timings: v.timings, batch: res.Batch, focus: &res.Out}
	a.timings.Queue, a.timings.Infer, a.timings.Explain = ms(res.Queued), ms(res.Ran-res.Out.maps), ms(res.Out.maps)
	a.label(r, res.Out.logits)
	if a.focus.class >= 0 {
		for _, p := range r.model.top(res.Out.logits, 0, 0) {
			if p.Index == a.focus.class {
				a.class = v1.Prediction{Index: p.Index, Label: p.Label, Score: p.Score}
			}
		}
	}
	if overlay {
		start := time.Now()
		if a.png, err = s.draw(ctx, v, a.focus.focus, r.style); err != nil {
			return nil, err
		}
		a.timings.Encode += ms(time.Since(start))
	}
	s.met.answered(r.model.id, a)
	return a, nil
}

// draw lays a map over its photo. Drawing takes as much as decoding, and its
// turn.
func (s *Server) draw(ctx context.Context, v *seen, m *attention.Map, style attention.Style) ([]byte, error) {
	if err := s.decoders.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer s.decoders.Release(1)
	img, err := attention.Overlay(v.photo, v.geometry, m, style)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := enc.Encode(&b, img); err != nil {
		return nil, fmt.Errorf("api: encode overlay: %w", err)
	}
	return b.Bytes(), nil
}

// wantsPNG reports whether an Accept header prefers an overlay to JSON.
func wantsPNG(accept string) bool {
	best := map[string]float64{}
	for _, part := range strings.Split(accept, ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q := 1.0
		if v, given := params["q"]; given {
			if q, err = strconv.ParseFloat(v, 64); err != nil {
				continue
			}
		}
		best[media] = max(best[media], q)
	}
	png := max(best["image/png"], best["image/*"])
	return png > 0 && png > max(best[echo.MIMEApplicationJSON], best["application/*"])
}
