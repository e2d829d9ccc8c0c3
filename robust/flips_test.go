package robust

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCompareFlips holds ratios to a loop on numbers of four digits, and what a
// reference may not be.
func TestCompareFlips(t *testing.T) {
	of := func(name string, flips, distance float64) Result {
		return Result{Cell: Cell{Suite: "imagenet-p", Name: name}, FlipRate: plain(flips), Top5Distance: plain(distance)}
	}
	reference := Report{Hash: "abc", Target: About{Model: "alexnet"}, Results: []Result{{Cell: Clean}, of("sequence_snow", 12, 4), of("sequence_tilt", 7, 2.5), of("sequence_scale", 20, 9)}}
	dir := t.TempDir()
	write := func(name string, v any) string {
		data, err := json.Marshal(v)
		require.NoError(t, err)
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		return path
	}
	path := write("reference.json", &reference)

	r := Report{Results: []Result{{Cell: Clean}, of("sequence_snow", 3, 3), of("sequence_tilt", 7, 1)}}
	require.NoError(t, r.CompareFlips(path))
	require.Equal(t, "alexnet", r.Flips.Reference)
	require.Equal(t, "abc", r.Flips.Protocol)
	require.InDelta(t, 100*(3./12+1)/2, r.Flips.MFR.Value, 1e-12)
	require.InDelta(t, 100*(3./4+1/2.5)/2, r.Flips.MT5D.Value, 1e-12)
	require.Equal(t, []FlipRatio{{"sequence_snow", 0.25, 0.75}, {"sequence_tilt", 1, 0.4}}, r.Flips.By)
	l, err := ParseLimit("mfr>60")
	require.NoError(t, err)
	exceeded, value, err := l.Exceeded(&r)
	require.NoError(t, err)
	require.True(t, exceeded)
	require.InDelta(t, 62.5, value, 1e-12)

	same := reference
	require.NoError(t, same.CompareFlips(path))
	require.InDelta(t, 100, same.Flips.MFR.Value, 1e-12)
	require.InDelta(t, 100, same.Flips.MT5D.Value, 1e-12)

	more := Report{Results: []Result{of("sequence_brightness", 3, 3)}}
	require.ErrorContains(t, more.CompareFlips(path), "has no sequence_brightness")
	none := Report{Results: []Result{{Cell: Clean}}}
	require.ErrorContains(t, none.CompareFlips(path), "want the suite imagenet-p")
	still := write("still.json", &Report{Results: []Result{of("sequence_snow", 0, 4)}})
	require.ErrorContains(t, r.CompareFlips(still), "no answer flips in sequence_snow")
	require.NoError(t, os.WriteFile(path, []byte("file,label\n"), 0o600))
	require.ErrorContains(t, r.CompareFlips(path), "want a JSON report")
	require.ErrorIs(t, r.CompareFlips(filepath.Join(dir, "none.json")), os.ErrNotExist)
}
