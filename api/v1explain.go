package api

import (
	"context"
	"image"
	"io"
	"net/http"

	"github.com/labstack/echo/v4"
	"github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/api/op"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/attention/focus"
)

// shown is what is sent of one picture that was explained.
type shown struct {
	result  v1.ExplainResult
	encoded *encoded // what is sent by itself
}

func answerExplain(ctx context.Context, c *call, a *askExplain, pictures []op.Picture) error {
	q := &a.Question
	a.Style.Compat = q.Options.Compat // it is painted as it is computed
	a.Check = func() error {
		return a.send.countable(len(pictures), max(1, len(q.Queries))*max(1, len(a.Classes), q.Best))
	}
	all := make([]shown, len(pictures))
	a.Each = func(ctx context.Context, i int, x *op.Explained) (err error) {
		all[i], err = a.show(ctx, c, x)
		return err
	}
	x, err := c.Explain(ctx, a.Explain, pictures)
	if err != nil {
		return err
	}
	if a.send.format != formatJSON {
		return sendOne(c, x, x.Items[0].Value.Seen, all[0].encoded)
	}
	out := v1.ExplainAnswer{Model: x.Model, Revision: x.Revision, Note: x.Note, Results: make([]v1.ExplainResult, len(x.Items))}
	var spent op.Timings
	for i, item := range x.Items {
		o, y := &out.Results[i], &item.Value
		if item.Err != nil {
			o.Image, o.Error = pictures[i].Name, itemProblem(item.Err)
			continue
		}
		predictions := PredictionsOf(y.Predictions)
		*o = all[i].result
		o.Image, o.Predictions, o.Batch, o.TimingsMs = pictures[i].Name, &predictions, y.Batch, v1.Timings(y.Timings)
		if a.logits {
			o.Logits = y.Logits
		}
		o.Layers = LayersOf(y.Layers)
		spent.Add(y.Timings)
	}
	serverTiming(c.c, spent)
	return writeJSON(c.c, http.StatusOK, echo.MIMEApplicationJSON, out)
}

// show turns what was found out into what is sent of it.
func (a *askExplain) show(ctx context.Context, c *call, x *op.Explained) (s shown, err error) {
	if a.Values == focus.ValuesAttention {
		// It is sent as it was kept.
		kept := x.Found.Kept
		s.encoded = &encoded{media: types(formatNpy)[0], stream: func(w io.Writer) error { return kept.WriteNpy(w, 0) }}
		return s, nil
	}
	draw := func(paint func() (*image.NRGBA, error)) error {
		return c.Draw(ctx, func() error {
			m, err := paint()
			if err == nil {
				s.encoded, err = a.send.encode(m, c)
			}
			return err
		})
	}
	picture := vitserve.Explanation{Explanation: x.Found, Photo: x.Photo, Geometry: x.Geometry, Model: x.Model, Classes: x.Scored}
	if a.Picture == focus.SheetPicture {
		err := draw(func() (*image.NRGBA, error) { return picture.Draw(a.Picture, 0, a.Style) })
		if err != nil || a.send.format != formatJSON {
			return s, err
		}
	}
	var maps []*focus.Map
	if s.result, maps, err = ExplainedOf(x.Found, x.Geometry, x.Scored); err != nil {
		return s, err
	}
	switch {
	case a.Picture == focus.SheetPicture:
		s.result.Sheet = s.encoded.inJSON()
	case a.send.format == formatNpy:
		for _, e := range x.Found.Maps {
			if e.Err != nil {
				return s, e.Err // the file would not say which map is missing
			}
		}
		s.encoded = &encoded{media: types(formatNpy)[0], call: c}
		return s, focus.WriteMaps(s.encoded, maps...)
	case a.Picture != "":
		painted := 0
		for i, e := range x.Found.Maps {
			if e.Err != nil {
				continue
			}
			if err := draw(func() (*image.NRGBA, error) { return picture.Draw(a.Picture, i, a.Style) }); err != nil {
				return s, err
			}
			if a.send.format == formatJSON {
				s.result.Maps[painted].Picture = s.encoded.inJSON()
			}
			painted++
		}
	}
	return s, nil
}
