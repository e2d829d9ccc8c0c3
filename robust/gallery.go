package robust

import (
	"context"
	"fmt"
	"image"
	"iter"

	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/robust/attack"
	"github.com/vitserve/vitserve/robust/corrupt"
	"github.com/vitserve/vitserve/robust/measure"
	"gorgonia.org/tensor"
)

// Exhibit is a photo as it is and disturbed, what the model says of both, and
// where it looked.
type Exhibit struct {
	Photo, Cell             string
	Clean, Disturbed        *image.NRGBA
	CleanMap, DisturbedMap  *image.NRGBA // overlays; nil: none
	CleanAnswer, Answer     string
	CleanScore, AnswerScore float64
}

// Gallery asks the target anew about the first photos of a run, a few of its
// cells each, so many in all at most.
func Gallery(ctx context.Context, t Target, photos iter.Seq[Photo], o Options, count, cells int) ([]Exhibit, error) {
	about := t.About()
	chosen := spread(o.Cells[1:], cells)
	var all []Exhibit
	for p := range photos {
		if count == 0 || o.Released {
			break
		}
		class, ok, err := o.Truth(p.Label)
		if err != nil || o.Classes != nil && (!ok || index(o.Classes, class) < 0) {
			continue
		}
		if !ok {
			class = -1
		}
		s, err := o.load(ctx, &about, p)
		if err != nil {
			continue // its row has the error
		}
		count--
		clean, a, err := o.exhibit(ctx, t, s, Clean)
		if err != nil {
			return all, err
		}
		if a.Err != nil {
			continue
		}
		s.row = o.cleanRow(a, class)
		if a.Map != nil {
			s.order = highestFirst(a.Map)
		}
		x := Exhibit{Photo: p.Name, Clean: clean.Image()}
		x.CleanAnswer, x.CleanScore = best(&about, a)
		x.CleanMap = overlay(&about, x.Clean, a.Map)
		for _, c := range chosen {
			if c.how.needs().order && s.order == nil {
				continue
			}
			made, a, err := o.exhibit(ctx, t, s, c)
			if err != nil {
				return all, err
			}
			if a.Err != nil {
				continue
			}
			y := x
			y.Cell, y.Disturbed = c.Key(), made.Image()
			y.Answer, y.AnswerScore = best(&about, a)
			y.DisturbedMap = overlay(&about, y.Disturbed, a.Map)
			all = append(all, y)
		}
	}
	return all, ctx.Err()
}

// spread chooses n cells evenly, each of another name as far as there are.
func spread(cells []Cell, n int) []Cell {
	by := map[string][]Cell{}
	var names []string
	for _, c := range cells {
		if c.how.needs().frames > 0 {
			continue
		}
		if by[c.Name] == nil {
			names = append(names, c.Name)
		}
		by[c.Name] = append(by[c.Name], c)
	}
	var chosen []Cell
	for i := range min(n, len(names)) {
		of := by[names[i*len(names)/min(n, len(names))]]
		chosen = append(chosen, of[len(of)/2])
	}
	return chosen
}

// exhibit disturbs one photo and asks about it.
func (o *Options) exhibit(ctx context.Context, t Target, s *subject, c Cell) (*corrupt.Picture, Answer, error) {
	if d, ok := c.how.(adversary); ok {
		return o.attacked(ctx, t, s, c, d)
	}
	p := &corrupt.Picture{}
	keep, err := c.how.frame(p, s, 0)
	if err != nil {
		return nil, Answer{Err: err}, nil
	}
	answers, err := t.Answer(ctx, []Input{{Picture: p, Whole: o.Mode == PhotoMode, Keep: keep, Map: t.About().Maps}})
	if err != nil {
		return nil, Answer{}, err
	}
	return p, answers[0], nil
}

// attacked attacks one photo and asks about the picture that this ends with. It
// is shown rounded to bytes.
func (o *Options) attacked(ctx context.Context, t Target, s *subject, c Cell, d adversary) (*corrupt.Picture, Answer, error) {
	class, ok := o.aim(s.row)
	if !ok {
		return nil, Answer{Err: errNoPhoto}, nil // the model is wrong about it already
	}
	v := &victim{target: t, whole: o.Mode == PhotoMode, bytes: !d.attack.Gradients, only: o.classesOf(), asked: func(int) {}}
	classes := len(t.About().Labels)
	if v.only != nil {
		classes = len(v.only)
	}
	x := attack.Picture{W: s.picture.W, H: s.picture.H}
	err := attack.Each(ctx, v, 1, 1, func(_ int, oracle *attack.Oracle) error {
		res, err := d.attack.Run(oracle, d.problem(s, c, class, classes))
		x.X = res.X
		return err
	}, func(int) error { return nil })
	if err != nil {
		return nil, Answer{}, err
	}
	p := picture(x)
	in := Input{Picture: p, Whole: v.whole, Map: t.About().Maps}
	if !v.bytes {
		in.Picture, in.Exact = nil, &x
	}
	answers, err := t.Answer(ctx, []Input{in})
	if err != nil {
		return nil, Answer{}, err
	}
	return p, answers[0], nil
}

// cleanRow is what a row has of the clean answer.
func (o *Options) cleanRow(a Answer, class int) *Row {
	scores := a.Scores
	if only := o.classesOf(); only != nil {
		scores = measure.Only(scores, only)
	}
	r := &Row{Class: class, Records: []Record{unknown()}}
	r.Records[0].Class = measure.Best(scores)
	if only := o.classesOf(); only != nil {
		r.Records[0].Class = only[r.Records[0].Class]
	}
	if class == r.Records[0].Class {
		r.Records[0].Rank = 0
	}
	return r
}

func best(about *About, a Answer) (label string, score float64) {
	k := measure.Best(a.Scores)
	if k < len(about.Labels) {
		return about.Labels[k], a.Scores[k]
	}
	return fmt.Sprint("class ", k), a.Scores[k]
}

// overlay paints a map over the model's input; of a whole photo over the part
// that the model sees.
func overlay(about *About, m *image.NRGBA, values []float32) *image.NRGBA {
	if values == nil || about.Transform == nil {
		return nil
	}
	t := *about.Transform
	if m.Rect.Dx() == t.Size[1] && m.Rect.Dy() == t.Size[0] {
		t.Fit = patch.FitNone
	}
	photo := &patch.Photo{Image: m, Format: "image", Orientation: 1}
	g, err := t.Geometry(m.Rect.Dx(), m.Rect.Dy())
	if err != nil {
		return nil
	}
	size := [2]int{t.Size[0] / about.Grid[0], t.Size[1] / about.Grid[1]}
	f := &focus.Map{Values: tensor.New(tensor.WithShape(about.Grid[0], about.Grid[1]), tensor.WithBacking(values))}
	o, err := focus.Overlay(photo, focus.OnPatches(g, about.Grid, size), f, focus.Style{})
	if err != nil {
		return nil // a flat map is no picture
	}
	return o
}
