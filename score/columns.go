package score

import (
	"encoding/json"
	"strconv"

	"github.com/vitserve/vitserve/score/parquet"
)

// column is a column of a table of rows.
type column struct {
	name string
	kind parquet.Kind
	of   func(*Row) any // string, int32, float32, []float32, []Prediction; nil: nothing
}

// pick is a column of a part of a row that may be missing.
func pick[P, V any](part func(*Row) *P, value func(*P) V) func(*Row) any {
	return func(r *Row) any {
		if p := part(r); p != nil {
			return value(p)
		}
		return nil
	}
}

// columns are those that the job asks for, in their order.
func (j *Job) columns() []column {
	photo := func(r *Row) *Photo { return r.Photo }
	best := func(r *Row) *Best { return r.Best }
	look := func(r *Row) *Look { return r.Look }
	all := []column{
		{"key", parquet.Key, func(r *Row) any { return r.Key }},
		{"error", parquet.Text, func(r *Row) any {
			if r.Error == "" {
				return nil
			}
			return r.Error
		}},
		{"model", parquet.Text, func(r *Row) any { return r.Model }},
		{"width", parquet.Int, pick(photo, func(p *Photo) int32 { return p.Width })},
		{"height", parquet.Int, pick(photo, func(p *Photo) int32 { return p.Height })},
		{"label", parquet.Text, pick(best, func(b *Best) string { return b.Label })},
		{"index", parquet.Int, pick(best, func(b *Best) int32 { return b.Index })},
		{"score", parquet.Float, pick(best, func(b *Best) float32 { return b.Score })},
	}
	if j.TopK > 0 {
		all = append(all, column{"topk", parquet.Predictions, func(r *Row) any {
			if r.TopK == nil {
				return nil
			}
			return r.TopK
		}})
	}
	if j.Embedding != nil {
		all = append(all, column{"embedding", parquet.Floats, func(r *Row) any {
			if r.Embedding == nil {
				return nil
			}
			return r.Embedding
		}})
	}
	if j.Question != nil {
		all = append(all,
			column{"focus_row", parquet.Int, pick(look, func(l *Look) int32 { return l.Row })},
			column{"focus_col", parquet.Int, pick(look, func(l *Look) int32 { return l.Col })},
			column{"focus_x", parquet.Float, pick(look, func(l *Look) float32 { return l.X })},
			column{"focus_y", parquet.Float, pick(look, func(l *Look) float32 { return l.Y })},
			column{"focus_entropy", parquet.Float, pick(look, func(l *Look) float32 { return l.Entropy })},
			column{"focus_top_fifth", parquet.Float, pick(look, func(l *Look) float32 { return l.TopFifth })},
			column{"focus_coverage", parquet.Float, pick(look, func(l *Look) float32 { return l.Coverage })},
		)
	}
	return all
}

// text is a value in a cell of CSV; lists are JSON.
func text(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case int32:
		return strconv.Itoa(int(v)), nil
	case float32:
		return strconv.FormatFloat(float64(v), 'g', -1, 32), nil
	}
	b, err := json.Marshal(v)
	return string(b), err
}
