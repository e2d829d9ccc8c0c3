package cli

import (
	"context"
	"errors"
	"fmt"

	lib "github.com/vitserve/vitserve"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/robust/corrupt"
)

// drawsHere reports whether pictures of what a server answers are drawn by this
// program, of its numbers: whatever has more than the one map, which the server
// draws itself, but for the contact sheet, whose attention stays there.
func (f *explainFlags) drawsHere() bool {
	kind := focus.Picture(f.picture)
	return f.drawsPicture() && kind != focus.SheetPicture && (f.photo || isHTML(f.output) || f.question.Evidence && kind == focus.FigurePicture)
}

// drawn is what a server found out about a photo as this program would have
// found it out.
func drawn(ctx context.Context, data []byte, o patch.Options, a *v1.ExplainAnswer) (*explanation, error) {
	r := &a.Results[0]
	p, err := corrupt.Decode(ctx, data, o)
	if err != nil {
		return nil, err
	}
	g := r.Geometry
	if len(g.Photo) != 2 || len(g.Input) != 2 || g.Photo[0] != p.W || g.Photo[1] != p.H {
		return nil, fmt.Errorf("the server's photo has %v pixels, want the %d×%d of this one", g.Photo, p.W, p.H)
	}
	x := &explanation{Explanation: &lib.Explanation{
		Explanation: &focus.Explanation{}, Model: a.Model,
		Photo: &patch.Photo{Image: p.Image(), Orientation: g.Orientation},
		Geometry: patch.Geometry{
			Photo: [2]int(g.Photo), Orientation: g.Orientation, Input: [2]int(g.Input), Coverage: g.Coverage,
			Seen: patch.Rect{X: g.Seen.X, Y: g.Seen.Y, W: g.Seen.W, H: g.Seen.H},
		},
	}}
	known := func(p v1.Prediction) {
		if p.Label != "" {
			x.Classes = append(x.Classes, models.Prediction{Index: p.Index, Label: p.Label, Score: p.Score})
		}
	}
	if r.Predictions != nil {
		for _, p := range *r.Predictions {
			known(p)
		}
	}
	values := mapsOf(r.Maps)
	for i := range r.Maps {
		m := &r.Maps[i]
		method, err := focus.Find(m.Method)
		if err != nil {
			return nil, err
		}
		values[i].Layer, values[i].Head, values[i].OnPrefix = m.Layer, m.Head, m.OnPrefix
		of := focus.Focus{Method: method, Map: values[i], Options: focus.Options{Query: m.Query, Discard: m.Discard}}
		if m.Class.Label != "" {
			of.Target = &focus.Target{Class: m.Class.Index}
			known(m.Class)
		}
		if m.Versus.Label != "" {
			of.Target.Versus = []int{m.Versus.Index}
			known(m.Versus)
		}
		if e := m.Evidence; len(e.DeletionCurve) > 0 {
			of.Evidence = &focus.Evidence{
				Deletion: e.Deletion, Insertion: e.Insertion, Positive: e.Positive, Negative: e.Negative, DeletionCurve: e.DeletionCurve, InsertionCurve: e.InsertionCurve,
			}
		}
		x.Maps = append(x.Maps, of)
	}
	for _, m := range r.Failed {
		method, err := focus.Find(m.Method)
		if err != nil {
			return nil, err
		}
		x.Maps = append(x.Maps, focus.Focus{Method: method, Err: errors.New(m.Error.Detail)})
	}
	return x, nil
}
