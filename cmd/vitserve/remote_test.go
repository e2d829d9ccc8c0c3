package main

import (
	"encoding/json"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRemote holds that a server answers as this process does, in the same
// words and the same order.
func TestRemote(t *testing.T) {
	dir := album(t)
	url, stop := startServer(t)
	here := vitserve(t, "classify", "--json", "--top", "3", "--min-score", "0.01", dir)
	there := vitserve(t, "classify", "--json", "--top", "3", "--min-score", "0.01", "--url", url, "--batch", "3", dir)
	require.Equal(t, here.code, there.code, there.stderr)
	a, b := lines[answer](t, here.stdout), lines[answer](t, there.stdout)
	require.Len(t, b, len(a))
	for i := range a {
		require.Equal(t, a[i].Image, b[i].Image)
		require.Equal(t, a[i].Predictions, b[i].Predictions)
		require.Equal(t, a[i].Error == "", b[i].Error == "")
	}

	file := filepath.Join(dir, "b.png")
	out := filepath.Join(t.TempDir(), "overlay.png")
	got := vitserve(t, "explain", "--url", url, "--method", "raw", "--query", "1,2", "--json", "-o", out, file)
	require.Equal(t, exitOK, got.code, got.stderr)
	var far struct {
		Results []struct {
			Focus struct{ Values [][]float32 }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &far))
	var near explainAnswer
	require.NoError(t, json.Unmarshal([]byte(vitserve(t, "explain", "--method", "raw", "--query", "1,2", "--json", file).stdout), &near))
	require.Equal(t, near.Focus.Values, far.Results[0].Focus.Values)
	f, err := os.Open(out)
	require.NoError(t, err)
	defer f.Close()
	m, err := png.Decode(f)
	require.NoError(t, err)
	require.Equal(t, 90, m.Bounds().Dx())

	got = vitserve(t, "classify", "--url", url, "--model", "nobody", file)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "nobody")
	for _, args := range [][]string{{"classify", "--threads", "2"}, {"classify", "--labels", "x"}, {"explain"}, {"explain", "--precision", "f32", "--json"}} {
		got = vitserve(t, append(args, "--url", url, file)...)
		require.Equal(t, exitUsage, got.code, "%v: %s", args, got.stderr)
	}
	require.Equal(t, exitOK, stop())

	got = vitserve(t, "classify", "--url", url, file)
	require.Equal(t, exitFailed, got.code, "nobody is there any more")
	got = vitserve(t, "classify", "--url", "nowhere", file)
	require.Equal(t, exitUsage, got.code)
}
