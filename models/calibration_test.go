package models

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/vit"
)

// TestCalibration: a temperature makes scores softer and changes no order; a
// file of other weights, or one that is none, is refused.
func TestCalibration(t *testing.T) {
	c, err := Open("starter", Options{})
	require.NoError(t, err)
	defer c.Close()
	name := filepath.Join(t.TempDir(), TemperatureFile)
	write := func(text string) { require.NoError(t, os.WriteFile(name, []byte(text), 0o600)) }
	logits := make([]float32, len(c.Labels))
	for i := range logits {
		logits[i] = float32(i%17) / 3
	}
	plain := c.Top(logits, 0, 0)

	write(fmt.Sprintf(`{"temperature": 2, "weights_sha256": %q, "photos": 250, "more": [1]}`, c.Revision()))
	k, err := ReadCalibration(name)
	require.NoError(t, err)
	require.NoError(t, c.Calibrate(k))
	require.Contains(t, c.Note, "scores are at temperature 2, fitted on 250 photos")
	soft := c.Top(logits, 0, 0)
	half := make([]float32, len(logits))
	for i, v := range logits {
		half[i] = v / 2
	}
	want := vit.Scores(half, vit.Softmax)
	for i, p := range soft {
		require.Equal(t, plain[i].Index, p.Index)
		require.InDelta(t, want[p.Index], p.Score, 1e-12)
	}
	require.Less(t, soft[0].Score, plain[0].Score)
	require.Equal(t, vit.Scores(logits, vit.Raw)[soft[0].Index], c.TopBy(vit.Raw, logits, 1, 0)[0].Score)

	k.Weights = "other"
	require.ErrorContains(t, c.Calibrate(k), "other weights")
	for text, wrong := range map[string]string{
		"":                       "unexpected end",
		`{"temperature": 0}`:     "want 0.001 to 1000",
		`{"temperature": 1e9}`:   "want 0.001 to 1000",
		`{"temperature": "hot"}`: "temperature",
		strings.Repeat(" ", largestCalibration+1): "more than",
	} {
		write(text)
		_, err := ReadCalibration(name)
		require.ErrorContains(t, err, wrong)
	}
	require.Empty(t, c.Beside(TemperatureFile))
	require.Equal(t, name, (&Checkpoint{Source: filepath.Dir(name)}).Beside(TemperatureFile))
}
