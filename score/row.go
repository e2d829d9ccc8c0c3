package score

import (
	"slices"

	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/models"
)

// Row is what is written of a photo. What was not asked for, and of a broken
// photo everything but its key, its error and the model, is left out.
type Row struct {
	Key   string `json:"key"`
	Error string `json:"error,omitempty"`
	Model string `json:"model"`
	*Photo
	*Best
	TopK      []Prediction `json:"topk,omitempty"`
	Embedding []float32    `json:"embedding,omitempty"`
	*Look
}

// Photo is the upright photo's size in pixels.
type Photo struct {
	Width  int32 `json:"width"`
	Height int32 `json:"height"`
}

// Best is the label with the highest score.
type Best struct {
	Label string  `json:"label"`
	Index int32   `json:"index"`
	Score float32 `json:"score"`
}

// Prediction is one of the k best.
type Prediction struct {
	Index int32   `json:"index"`
	Label string  `json:"label"`
	Score float32 `json:"score"`
}

// Look is what the focus map says, see focus.Digest. Where the map cannot be
// made, which the error then says, there is none.
type Look struct {
	Row      int32   `json:"focus_row"`       // the strongest patch, from 0
	Col      int32   `json:"focus_col"`       //
	X        float32 `json:"focus_x"`         // centre of mass, pixels of the upright photo
	Y        float32 `json:"focus_y"`         //
	Entropy  float32 `json:"focus_entropy"`   // 0: all in one patch, 1: even
	TopFifth float32 `json:"focus_top_fifth"` // share of the map that the highest fifth of the patches holds
	Coverage float32 `json:"focus_coverage"`  // share of the photo that the model saw
}

// row makes a row of what the model says.
func (j *Job) row(ck *models.Checkpoint, r lib.Result) *Row {
	row := &Row{Key: r.Source.Name, Model: ck.Name}
	if r.Err != nil {
		row.Error = words.Plain(r.Err)
		return row
	}
	row.Photo = &Photo{Width: int32(r.Geometry.Photo[0]), Height: int32(r.Geometry.Photo[1])}
	if r.Logits != nil {
		top := ck.Top(r.Logits, max(j.TopK, 1), 0)
		row.Best = &Best{top[0].Label, int32(top[0].Index), float32(top[0].Score)}
		for _, p := range top[:min(j.TopK, len(top))] {
			row.TopK = append(row.TopK, Prediction{int32(p.Index), p.Label, float32(p.Score)})
		}
	}
	if r.Embedding != nil {
		row.Embedding = slices.Clone(r.Embedding.Float32s())
	}
	if r.Focus != nil && len(r.Focus.Maps) > 0 {
		m := r.Focus.Maps[0]
		if m.Err != nil {
			row.Error = words.Plain(m.Err)
			return row
		}
		d := m.Map.Digest(r.Geometry)
		row.Look = &Look{int32(d.Row), int32(d.Col), float32(d.X), float32(d.Y), float32(d.Entropy), float32(d.TopFifth), float32(r.Geometry.Coverage)}
	}
	return row
}
