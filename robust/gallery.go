package robust

import (
	"context"
	"fmt"
	"image"
	"iter"

	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/patch"
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
		if class, ok, err := o.Truth(p.Label); err != nil || o.Classes != nil && (!ok || index(o.Classes, class) < 0) {
			continue
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
	p := &corrupt.Picture{}
	keep, err := c.how.frame(p, s, 0)
	if err != nil {
		return nil, Answer{Err: err}, nil
	}
	answers, err := t.Answer(ctx, []Input{{p, o.Mode == PhotoMode, keep, t.About().Maps}})
	if err != nil {
		return nil, Answer{}, err
	}
	return p, answers[0], nil
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
