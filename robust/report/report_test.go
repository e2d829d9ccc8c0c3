package report

import (
	"encoding/csv"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/robust"
	"github.com/vitserve/vitserve/robust/corrupt"
	"github.com/vitserve/vitserve/robust/measure"
)

// example is a report with something in every place.
func example(t *testing.T) *robust.Report {
	cells, err := robust.Cells([]string{"fog", "san"}, []int{1, 3}, corrupt.Package, robust.AttackOptions{})
	require.NoError(t, err)
	r := &robust.Report{Hash: "abc", MCEName: "CE-like", MCE: &robust.Value{Value: 61.25, Low: 50, High: 70}}
	r.Target = robust.About{Kind: "test", Model: "a|b <model>"}
	for i, c := range cells {
		x := robust.Result{Cell: c, Photos: 10}
		x.Top1 = &robust.Value{Value: 90 - float64(i), Low: 80, High: 95}
		x.AURC = &robust.Value{Value: 0.1, Low: math.NaN(), High: math.NaN()}
		x.DriftCosine = &robust.Value{Value: 0.5, Low: 0.4, High: 0.6}
		r.Results = append(r.Results, x)
	}
	r.Corruptions = []robust.Corruption{{Name: "fog", Severities: []int{1, 3}, Error: robust.Value{Value: 40, Low: 30, High: 50}}}
	r.Reliability = measure.Reliability([]float64{0.2, 0.9}, []bool{false, true}, 15)
	r.Risk = []float64{0, 0.5}
	r.Detections = []robust.Detection{{Score: "entropy", AUROC: 0.9}}
	r.Errors = []robust.RowError{{Photo: "x|y.jpg", Cell: "photo", Error: "broken\nbadly"}}
	r.Temperature = &robust.Temperature{All: 0.8}
	return r
}

// TestFormats: every format has what was measured, and is the same bytes again.
func TestFormats(t *testing.T) {
	r := example(t)
	for _, ending := range Formats() {
		var a, b strings.Builder
		require.NoError(t, Write(&a, ending, r))
		require.NoError(t, Write(&b, ending, r))
		require.Equal(t, a.String(), b.String())
		require.Contains(t, a.String(), "fog")
	}
	require.Error(t, Write(&strings.Builder{}, ".pdf", r))

	var b strings.Builder
	require.NoError(t, Write(&b, ".json", r))
	var back struct {
		MCE     struct{ Value, Low float64 }
		Results []struct {
			Name string
			AURC map[string]any
		}
	}
	require.NoError(t, json.Unmarshal([]byte(b.String()), &back))
	require.InDelta(t, 61.25, back.MCE.Value, 0)
	require.Equal(t, map[string]any{"value": 0.1}, back.Results[0].AURC, "what has no interval has no ends")

	b.Reset()
	require.NoError(t, Write(&b, ".csv", r))
	rows, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 1+len(r.Results))
	require.Equal(t, []string{"suite", "name", "severity"}, rows[0][:3])
	require.Equal(t, "90", rows[1][5])

	b.Reset()
	require.NoError(t, Write(&b, ".md", r))
	for _, line := range strings.Split(b.String(), "\n") {
		if strings.HasPrefix(line, "|") {
			require.NotContains(t, strings.ReplaceAll(line, `\|`, ""), "badly|")
		}
	}
	require.Contains(t, b.String(), `x\|y.jpg`)
	require.Contains(t, b.String(), "not sure enough")

	b.Reset()
	require.NoError(t, Write(&b, ".html", r))
	require.Contains(t, b.String(), "&lt;model&gt;")
	require.NotContains(t, b.String(), "<model>")
	for _, part := range []string{"Reliability diagram", "Risk over coverage", "Attention drift", "Outliers", "Errors", "Protocol"} {
		require.Contains(t, b.String(), part)
	}
}
