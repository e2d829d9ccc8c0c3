package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/vitserve/vitserve/api/op"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
)

// operation is one of /v1 about pictures. A is what a request asks for, and
// answer computes and writes what it is answered.
type operation[A any] struct {
	fresh  func() A // with its defaults
	table  []op.Parameter[A]
	settle func(a *A, accept string) error // how the answer is sent; nil: as JSON
	answer func(ctx context.Context, c *call, a *A, pictures []op.Picture) error
}

// handle reads a request by the table, which refuses what it does not know
// with words of our own, and answers it.
func (o operation[A]) handle(c *call) error {
	ask := o.fresh()
	r := c.c.Request()
	asking := op.Asking[A]{Ask: &ask, Table: o.table}
	// echo's own reading leaves out what it cannot read.
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return fmt.Errorf("%w: query: %v", errSyntax, err)
	}
	if err := asking.Query(query); err != nil {
		return err
	}
	if o.settle != nil {
		c.c.Response().Header().Add(echo.HeaderVary, echo.HeaderAccept)
	}
	pictures, err := c.s.pictures(c, asking)
	if err != nil {
		return c.unread(err)
	}
	if o.settle != nil {
		if err := o.settle(&ask, strings.Join(r.Header.Values(echo.HeaderAccept), ",")); err != nil {
			return err
		}
	}
	return o.answer(r.Context(), c, &ask, pictures)
}

// The operations.
var (
	classifyPictures = operation[askClassify]{
		fresh: func() askClassify {
			return askClassify{Classify: op.Classify{Labels: op.Labels{TopK: 5, Abstain: &op.Abstain{}}}}
		},
		table:  classifyParameters,
		answer: answerClassify,
	}
	explainPictures = operation[askExplain]{
		fresh:  func() askExplain { return askExplain{Explain: op.Explain{Labels: op.Labels{TopK: 5}}} },
		table:  explainParameters,
		settle: (*askExplain).settle,
		answer: answerExplain,
	}
	embedPictures = operation[askEmbed]{
		fresh:  func() askEmbed { return askEmbed{Embed: op.Embed{Embedding: vit.Embedding{Pool: vit.Pools()[0]}}} },
		table:  embedParameters,
		settle: func(a *askEmbed, accept string) error { return a.send.settleNumbers(accept) },
		answer: answerEmbed,
	}
	preprocessPictures = operation[askPreprocess]{
		fresh:  func() askPreprocess { return askPreprocess{} },
		table:  preprocessParameters,
		settle: func(a *askPreprocess, accept string) error { return a.send.settleNumbers(accept) },
		answer: answerPreprocess,
	}
)

func answerClassify(ctx context.Context, c *call, a *askClassify, pictures []op.Picture) error {
	x, err := c.Classify(ctx, a.Classify, pictures)
	if err != nil {
		return err
	}
	out := v1.ClassifyAnswer{Model: x.Model, Revision: x.Revision, Note: x.Note, Results: make([]v1.ClassifyResult, len(x.Items))}
	var spent op.Timings
	for i, item := range x.Items {
		o, y := &out.Results[i], &item.Value
		o.Image = pictures[i].Name
		if item.Err != nil {
			o.Error = itemProblem(item.Err)
			continue
		}
		predictions := PredictionsOf(y.Predictions)
		if o.Abstained = y.Abstained; o.Abstained != "" {
			predictions = []v1.Prediction{}
		}
		o.Predictions, o.Batch, o.Geometry, o.TimingsMs = &predictions, y.Batch, geometryOf(y.Geometry), v1.Timings(y.Timings)
		if a.logits {
			o.Logits = y.Logits
		}
		spent.Add(y.Timings)
	}
	serverTiming(c.c, spent)
	return writeJSON(c.c, http.StatusOK, echo.MIMEApplicationJSON, out)
}

func answerEmbed(ctx context.Context, c *call, a *askEmbed, pictures []op.Picture) error {
	a.Text = a.send.format == formatJSON
	a.Check = func() error { return a.send.countable(len(pictures), 1) }
	x, err := c.Embed(ctx, a.Embed, pictures)
	if err != nil {
		return err
	}
	if !a.Text {
		y := &x.Items[0].Value
		e, err := npy(c, y.Vectors.Shape(), y.Vectors.Float32s())
		if err != nil {
			return err
		}
		return sendOne(c, x, y.Seen, e)
	}
	out := v1.EmbedAnswer{
		Model: x.Model, Revision: x.Revision, Note: x.Note,
		Pool: a.Embedding.Pool, L2: a.Embedding.L2, Results: make([]v1.EmbedResult, len(x.Items)),
	}
	var spent op.Timings
	for i, item := range x.Items {
		o, y := &out.Results[i], &item.Value
		o.Image = pictures[i].Name
		if item.Err != nil {
			o.Error = itemProblem(item.Err)
			continue
		}
		o.Embedding, o.Grid = EmbeddingOf(y.Vectors.Float32s(), y.Vectors.Shape())
		o.Geometry, o.TimingsMs, o.Batch = geometryOf(y.Geometry), v1.Timings(y.Timings), y.Batch
		spent.Add(y.Timings)
	}
	serverTiming(c.c, spent)
	return writeJSON(c.c, http.StatusOK, echo.MIMEApplicationJSON, out)
}

func answerPreprocess(ctx context.Context, c *call, a *askPreprocess, pictures []op.Picture) error {
	a.File = a.send.format == formatNpy
	a.Check = func() error { return a.send.countable(len(pictures), 1) }
	x, err := c.Preprocess(ctx, a.Preprocess, pictures)
	if err != nil {
		return err
	}
	if a.File {
		y := &x.Items[0].Value
		return sendOne(c, x, y.Seen, &encoded{media: types(formatNpy)[0], data: *bytes.NewBuffer(y.Receipt.NPY)})
	}
	out := v1.PreprocessAnswer{Model: x.Model, Revision: x.Revision, Note: x.Note, Results: make([]v1.PreprocessResult, len(x.Items))}
	var spent op.Timings
	for i, item := range x.Items {
		o, y := &out.Results[i], &item.Value
		o.Image = pictures[i].Name
		if item.Err != nil {
			o.Error = itemProblem(item.Err)
			continue
		}
		o.Steps, o.Shape, o.Sha256 = y.Receipt.Steps, y.Receipt.Shape[:], y.Receipt.SHA256
		o.Geometry, o.TimingsMs = geometryOf(y.Geometry), v1.Timings(y.Timings)
		spent.Add(y.Timings)
	}
	serverTiming(c.c, spent)
	return writeJSON(c.c, http.StatusOK, echo.MIMEApplicationJSON, out)
}

// sendOne answers a picture, or values, by themselves.
func sendOne[R any](c *call, x *op.Answer[R], s op.Seen, e *encoded) error {
	geometry, err := json.Marshal(geometryOf(s.Geometry))
	if err != nil {
		return fmt.Errorf("api: encode geometry: %w", err)
	}
	serverTiming(c.c, s.Timings)
	h := c.c.Response().Header()
	h.Set("X-Model", x.Model)
	h.Set("X-Model-Revision", x.Revision)
	h.Set("X-Geometry", string(geometry))
	if e.stream == nil {
		h.Set(echo.HeaderContentLength, strconv.Itoa(e.data.Len()))
		return c.c.Blob(http.StatusOK, e.media, e.data.Bytes())
	}
	h.Set(echo.HeaderContentType, e.media)
	c.c.Response().WriteHeader(http.StatusOK)
	return e.stream(c.c.Response())
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
func serverTiming(c echo.Context, t op.Timings) {
	c.Response().Header().Set("Server-Timing", fmt.Sprintf(
		"decode;dur=%.3f, preprocess;dur=%.3f, queue;dur=%.3f, infer;dur=%.3f, explain;dur=%.3f, encode;dur=%.3f",
		t.Decode, t.Preprocess, t.Queue, t.Infer, t.Explain, t.Encode))
}

func geometryOf(g patch.Geometry) v1.Geometry {
	return v1.Geometry{
		Photo: g.Photo[:], Orientation: g.Orientation, Input: g.Input[:], Coverage: g.Coverage,
		Seen: v1.Rect{X: g.Seen.X, Y: g.Seen.Y, W: g.Seen.W, H: g.Seen.H},
	}
}

func transformOf(t patch.Transform) v1.Transform {
	return v1.Transform{
		Size: t.Size[:], Fit: string(t.Fit), Resize: t.Resize[:], Interpolation: string(t.Interpolation),
		Rounding: string(t.Rounding), Mean: t.Mean[:], Std: t.Std[:], Gray: t.Gray,
	}
}
