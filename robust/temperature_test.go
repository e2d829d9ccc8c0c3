package robust

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/robust/measure"
)

// TestTemperature holds the cross-fitted temperature of a run to SciPy's, and
// the share that abstaining keeps of held-out halves to a count of numpy's; what
// was promised is in its interval.
func TestTemperature(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "temperature.json"))
	require.NoError(t, err)
	var g struct {
		Logits   [][]float32
		Truth    []int
		All, NLL float64
		Halves   [2]float64
		Coverage map[string][2]int
	}
	require.NoError(t, json.Unmarshal(data, &g))
	o := Options{Mode: PhotoMode, Cells: []Cell{Clean}, Journal: filepath.Join(t.TempDir(), "j")}
	j, _, err := openJournal(o.Journal, "run", 1)
	require.NoError(t, err)
	for i, z := range g.Logits {
		rec := unknown()
		p := measure.Softmax(z, 1)
		rec.Answered, rec.Class, rec.Rank, rec.Confidence = true, measure.Best(p), measure.Rank(p, g.Truth[i]), p[measure.Best(p)]
		require.NoError(t, j.add(&Row{Name: fmt.Sprint(i), Class: g.Truth[i], Records: []Record{rec}, Logits: z}))
	}
	require.NoError(t, j.close())
	r, err := Summarise(o, About{}, Counts{Photos: len(g.Logits)}, "")
	require.NoError(t, err)
	got := r.Temperature
	require.InDelta(t, g.All, got.All, 1e-4)
	require.InDelta(t, g.Halves[0], got.Halves[0], 1e-4)
	require.InDelta(t, g.Halves[1], got.Halves[1], 1e-4)
	require.InDelta(t, g.NLL, got.NLL, 1e-6)
	require.Equal(t, len(g.Logits), got.Photos)
	require.Len(t, got.Coverage, len(promised))
	for _, c := range got.Coverage {
		want := g.Coverage[fmt.Sprint(c.Promised)]
		require.InDelta(t, 100*float64(want[0])/float64(len(g.Logits)), c.HeldOut.Value, 1e-9)
		require.InDelta(t, 100*float64(want[1])/float64(want[0]), c.Wrong.Value, 1e-9)
		require.True(t, c.HeldOut.Low <= c.Promised && c.Promised <= c.HeldOut.High, "%g: %v", c.Promised, c.HeldOut)
	}
}
