package vitserve_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/vit"
)

// TestTrials: checkpoints as people have them answer as transformers and timm
// do (models/testdata/make_trials.py).
func TestTrials(t *testing.T) {
	text, err := os.ReadFile("models/testdata/trials/answers.json")
	require.NoError(t, err)
	var answers map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(text, &answers))
	photo := vitserve.File("models/testdata/trials/plain.png")
	for _, name := range []string{"hf_processor_config", "hf_noproctype", "tm_origmod", "tm_clip"} {
		var want []float32
		require.NoError(t, json.Unmarshal(answers[name], &want))
		m, err := vitserve.Open("models/testdata/trials/" + name)
		require.NoError(t, err)
		var got []float32
		if m.Config().Projection > 0 {
			_, err := m.Classify(t.Context(), photo)
			require.ErrorIs(t, err, vitserve.ErrHead)
			require.ErrorContains(t, err, "projection to an embedding of 512 values")
			e, err := m.Embed(t.Context(), photo, vit.Embedding{Pool: vit.PoolModel})
			require.NoError(t, err)
			got = e.Float32s()
		} else {
			a, err := m.Classify(t.Context(), photo)
			require.NoError(t, err)
			got = a.Logits
		}
		require.Len(t, got, len(want), name)
		most := 0.0
		for _, x := range want {
			most = max(most, float64(x), -float64(x))
		}
		require.InDeltaSlice(t, want, got, 2e-5*most, name)
		require.NoError(t, m.Close())
	}
}
