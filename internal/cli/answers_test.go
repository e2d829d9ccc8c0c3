package cli

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write what the default model answers to testdata/images/answers.jsonl")

// TestAnswers holds what the default model says of the project's own
// pictures, right or wrong. Scores may differ by what kernels of another
// machine, or a change in decoding, round differently.
func TestAnswers(t *testing.T) {
	t.Chdir(filepath.Join("..", "..", "testdata", "images"))
	got := vitserve(t, "classify", "--json", "--top", "3", ".")
	require.Equal(t, exitFailed, got.code, "some pictures are broken on purpose")
	if *update {
		require.NoError(t, os.WriteFile("answers.jsonl", []byte(got.stdout), 0o644))
	}
	stored, err := os.ReadFile("answers.jsonl")
	require.NoError(t, err)
	want, found := lines[answer](t, string(stored)), lines[answer](t, got.stdout)
	require.Len(t, found, len(want), "pictures came or went: go test ./internal/cli -run TestAnswers -update")
	right := 0
	for i, w := range want {
		f := found[i]
		require.Equal(t, w.Image, f.Image)
		require.Equal(t, w.Error == "", f.Error == "", f.Error)
		require.Len(t, f.Predictions, len(w.Predictions))
		if len(w.Predictions) > 0 {
			require.Equal(t, w.Predictions[0].Label, f.Predictions[0].Label, w.Image)
			require.InDelta(t, w.Predictions[0].Score, f.Predictions[0].Score, 0.01, w.Image)
		}
		name := strings.TrimSuffix(f.Image, filepath.Ext(f.Image))
		if len(f.Predictions) > 0 && f.Predictions[0].Label == strings.ReplaceAll(name, "_", " ") {
			right++
		}
	}
	require.GreaterOrEqual(t, right, 5, "pictures recognised as what their file is named after")
}

// TestUpright holds that a photo stored sideways is answered as the upright
// one is, unless its orientation is to be left alone.
func TestUpright(t *testing.T) {
	t.Chdir(filepath.Join("..", "..", "testdata", "images"))
	top := func(args ...string) answer {
		got := vitserve(t, append([]string{"classify", "--json"}, args...)...)
		require.Equal(t, exitOK, got.code, got.stderr)
		return lines[answer](t, got.stdout)[0]
	}
	upright, sideways, lying := top("basketball.jpg"), top("sideways.jpg"), top("--no-exif", "sideways.jpg")
	require.InDelta(t, upright.Predictions[0].Score, sideways.Predictions[0].Score, 2e-3)
	require.Greater(t, max(sideways.Predictions[0].Score-lying.Predictions[0].Score, lying.Predictions[0].Score-sideways.Predictions[0].Score), 5e-3)
}
