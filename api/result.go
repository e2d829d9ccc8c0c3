package api

import (
	"slices"

	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/patch"
)

// ExplainedOf is what an explanation says, in the words of the contract: maps
// in the order of what was asked for, those that cannot be painted apart. Maps
// that are painted are returned beside theirs; classes are all of a picture's
// predictions. The error is that of the first map where none can be painted.
func ExplainedOf(x *focus.Explanation, g patch.Geometry, classes []models.Prediction) (r v1.ExplainResult, maps []*focus.Map, err error) {
	named := func(k int) v1.Prediction {
		for _, p := range classes {
			if p.Index == k {
				return predictionOf(p)
			}
		}
		return v1.Prediction{Index: k}
	}
	for _, e := range x.Maps {
		var class, versus v1.Prediction
		if e.Target != nil {
			class = named(e.Target.Class)
			if len(e.Target.Versus) > 0 {
				versus = named(e.Target.Versus[0])
			}
		}
		if e.Err != nil {
			r.Failed = append(r.Failed, v1.NoMap{Method: e.Method.Name, Class: class, Versus: versus, Query: e.Options.Query, Error: itemProblem(e.Err)})
			continue
		}
		m := mapOf(&e, g)
		m.Class, m.Versus = class, versus
		r.Maps, maps = append(r.Maps, m), append(maps, e.Map)
	}
	if len(maps) == 0 {
		return r, nil, x.Maps[0].Err
	}
	if x.Outliers != nil {
		found := make([]v1.Outlier, len(x.Outliers))
		for i, o := range x.Outliers {
			found[i] = v1.Outlier(o)
		}
		r.Outliers = &found
	}
	r.Geometry = geometryOf(g)
	return r, maps, nil
}

// LayersOf is what each layer would have answered, in the words of the contract.
func LayersOf(layers [][]models.Prediction) (all []v1.Layer) {
	for i, p := range layers {
		all = append(all, v1.Layer{Layer: i + 1, Predictions: PredictionsOf(p)})
	}
	return all
}

func mapOf(e *focus.Focus, g patch.Geometry) v1.Map {
	rows, cols := e.Map.Grid()
	s := e.Map.Summary(g)
	m := v1.Map{
		Method: e.Method.Name, Paper: e.Method.Paper, Query: e.Options.Query, Layer: e.Map.Layer, Head: e.Map.Head,
		Fusion: string(fusionOf(e.Method, e.Options, e.Map.Head)), Discard: e.Options.Discard,
		Rows: rows, Cols: cols, Values: make([][]float32, rows),
		Min: float64(s.Min), Max: float64(s.Max), Mean: s.Sum / float64(rows*cols), Entropy: s.Entropy, OnPrefix: s.OnPrefix,
		Peak: boxOf(s.Peak), Boxes: make([]v1.Box, len(s.Boxes)), Evidence: evidenceOf(e.Evidence),
	}
	for i := range m.Values {
		m.Values[i] = e.Map.Values.Float32s()[i*cols : (i+1)*cols]
	}
	for i, b := range s.Boxes {
		m.Boxes[i] = boxOf(b)
	}
	for _, t := range e.Trials {
		o := v1.Trial{Method: t.Method.Name, Fusion: string(fusionOf(t.Method, t.Options, 0)), Discard: t.Options.Discard}
		if t.Err != nil {
			o.Error = words.Plain(t.Err)
		} else {
			o.Deletion, o.Insertion = &t.Evidence.Deletion, &t.Evidence.Insertion
		}
		m.Trials = append(m.Trials, o)
	}
	return m
}

// fusionOf is how the heads of a map became one; "" where they did not.
func fusionOf(m focus.Method, o focus.Options, head int) focus.Fusion {
	if !m.Fuses() || head > 0 || o.Fusion != "" {
		return o.Fusion
	}
	return focus.Mean
}

func boxOf(b focus.Box) v1.Box { return v1.Box{X: b.X, Y: b.Y, W: b.W, H: b.H, Share: b.Share} }

func predictionOf(p models.Prediction) v1.Prediction {
	return v1.Prediction{Index: p.Index, Label: p.Label, Score: p.Score}
}

// PredictionsOf is predictions in the words of the contract.
func PredictionsOf(ps []models.Prediction) []v1.Prediction {
	out := make([]v1.Prediction, len(ps))
	for i, p := range ps {
		out[i] = predictionOf(p)
	}
	return out
}

func evidenceOf(e *focus.Evidence) v1.Evidence {
	if e == nil {
		return v1.Evidence{}
	}
	return v1.Evidence{
		Deletion: e.Deletion, Insertion: e.Insertion, Positive: e.Positive, Negative: e.Negative,
		DeletionCurve: e.DeletionCurve, InsertionCurve: e.InsertionCurve, PositiveCurve: e.PositiveCurve, NegativeCurve: e.NegativeCurve,
	}
}

// EmbeddingOf is an embedding in the words of the contract: a vector (D), or
// a grid (rows, columns, C). They share their memory with values.
func EmbeddingOf(values []float32, shape []int) (vector []float32, grid [][][]float32) {
	if len(shape) == 1 {
		return values, nil
	}
	for row := range slices.Chunk(values, shape[1]*shape[2]) {
		grid = append(grid, slices.Collect(slices.Chunk(row, shape[2])))
	}
	return nil, grid
}
