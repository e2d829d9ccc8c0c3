package vitserve_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/attention/focus"
)

// TestScoresAsPipeline: one output is a sigmoid and a regression gives its
// outputs, as transformers 5.24.0's image-classification pipeline, with
// Pillow's processor, answers the same photo. Maps and evidence have their p of both.
func TestScoresAsPipeline(t *testing.T) {
	for name, want := range map[string]map[string]float64{
		"hf_onelogit":    {"defect": 0.6259307861328125},
		"hf_regression3": {"ant": 0.5147990584373474, "bee": -0.11039146035909653, "cat": -0.5744214653968811},
	} {
		m, err := vitserve.Open("models/testdata/trials/" + name)
		require.NoError(t, err)
		photo := vitserve.File("models/testdata/trials/plain.png")
		a, err := m.Classify(t.Context(), photo)
		require.NoError(t, err)
		require.Len(t, a.Predictions, len(want))
		for i, p := range a.Predictions {
			require.InDelta(t, want[p.Label], p.Score, 1e-5, "%s: %s", name, p.Label)
			require.True(t, i == 0 || p.Score <= a.Predictions[i-1].Score, "best first")
		}

		x, err := m.Explain(t.Context(), photo, vitserve.Question{Question: focus.Question{Method: "relevance", Evidence: true}})
		require.NoError(t, err)
		e := x.Maps[0].Evidence
		require.InDelta(t, a.Predictions[0].Score, e.DeletionCurve[0], 1e-5, "%s: evidence begins with the photo's own score", name)
		if name == "hf_onelogit" {
			for _, p := range e.DeletionCurve {
				require.True(t, p > 0 && p < 1, "%s: a softmax of one output would be 1", name)
			}
		}
		require.NoError(t, m.Close())
	}
}
