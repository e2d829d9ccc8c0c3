package cli

import (
	"bytes"
	"context"
	"errors"
	"image/png"
	"net/http"

	"github.com/vitserve/vitserve/api/client"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/robust"
	"golang.org/x/sync/errgroup"
)

// restTarget is a model of a vitserve server, as a run of robust asks it.
type restTarget struct {
	c      *client.Client
	about  robust.About
	params client.Params
	method string // of the maps; "": none
}

var _ robust.Target = (*restTarget)(nil)

// newRestTarget asks the server about its model; params are sent with every
// picture.
func newRestTarget(ctx context.Context, c *client.Client, model string, params client.Params, batch int, method string) (*restTarget, error) {
	m, err := loadedModel(ctx, c, model)
	switch {
	case err != nil:
		return nil, err
	case m.Classes == 0:
		return nil, errors.New("model " + m.ID + " has no classification head: nothing to be right about")
	}
	t := &restTarget{c: c, method: method, params: params, about: robust.About{
		Kind: "vitserve", Model: m.ID, Sum: m.Revision, Labels: m.Labels, IDs: m.ClassIDs, Logits: true, Maps: method != "", Batch: batch,
	}}
	if x := m.Transform; len(x.Size) == 2 && len(x.Resize) == 2 && len(m.Grid) == 2 {
		t.about.Transform = &patch.Transform{
			Size: [2]int(x.Size), Fit: patch.Fit(x.Fit), Resize: [2]int(x.Resize), Interpolation: patch.Interpolation(x.Interpolation),
			Rounding: patch.Rounding(x.Rounding), Mean: [3]float32(x.Mean), Std: [3]float32(x.Std),
		}
		t.about.Grid = [2]int(m.Grid)
	}
	t.params.Set("model", m.ID)
	t.params.Set("top_k", "0")
	t.params.Set("logits", "true")
	return t, nil
}

// About implements robust.Target.
func (t *restTarget) About() robust.About { return t.about }

// Answer implements robust.Target: a request for each picture, all at a time.
func (t *restTarget) Answer(ctx context.Context, in []robust.Input) ([]robust.Answer, error) {
	out := make([]robust.Answer, len(in))
	var g errgroup.Group
	for i := range in {
		g.Go(func() error {
			err := t.ask(ctx, in[i], &out[i])
			if detail, ok := ofPicture(err); ok {
				out[i].Err, err = errors.New(detail), nil
			}
			return err
		})
	}
	return out, g.Wait()
}

func (t *restTarget) ask(ctx context.Context, in robust.Input, a *robust.Answer) error {
	var b bytes.Buffer
	e := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := e.Encode(&b, in.Picture.Image()); err != nil {
		return err
	}
	p := client.Params{}
	for k, v := range t.params {
		p[k] = v
	}
	if !in.Whole {
		p.Set("preprocess", string(patch.PreprocessNone))
	}
	picture := client.Picture{Name: "photo.png", Data: b.Bytes()}
	if in.Map && t.about.Maps {
		p.Set("method", t.method)
		x, err := t.c.Explain(ctx, p, picture)
		if err != nil {
			return err
		}
		r := x.Results[0]
		if len(r.Maps) > 0 {
			for _, row := range r.Maps[0].Values {
				a.Map = append(a.Map, row...)
			}
		}
		t.score(a, r.Predictions, r.Logits, r.Error)
		return nil
	}
	x, err := t.c.Classify(ctx, p, picture)
	if err != nil {
		return err
	}
	t.score(a, x.Results[0].Predictions, x.Results[0].Logits, x.Results[0].Error)
	return nil
}

func (t *restTarget) score(a *robust.Answer, predictions *[]v1.Prediction, logits []float32, problem v1.Problem) {
	if problem.Status != 0 && problem.Status != http.StatusOK {
		a.Err = errors.New(problem.Detail)
		return
	}
	a.Logits, a.Scores = logits, make([]float64, len(t.about.Labels))
	if predictions == nil || len(*predictions) != len(a.Scores) {
		a.Err = errors.New("an answer without the scores of all classes")
		return
	}
	for _, p := range *predictions {
		if p.Index >= 0 && p.Index < len(a.Scores) {
			a.Scores[p.Index] = p.Score
		}
	}
}
