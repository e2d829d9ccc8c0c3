package cli

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
)

func TestBenchJSON(t *testing.T) {
	got := vitserve(t, "bench", "--model", "starter", "--threads", "1,2", "--batch", "1,3", "--runs", "30", "--seconds", "0", "--json")
	require.Equal(t, exitOK, got.code, got.stderr)
	var settings [][2]int
	for _, m := range lines[measured](t, got.stdout) {
		settings = append(settings, [2]int{m.Threads, m.Batch})
		require.Equal(t, "starter", m.Model)
		require.Equal(t, "f32", m.Precision)
		require.GreaterOrEqual(t, m.Runs, 30)
		require.Positive(t, m.MsPerImage)
		require.LessOrEqual(t, m.MsPerImage, m.MsMedian)
		require.LessOrEqual(t, m.MsMedian, m.MsP95)
		require.InEpsilon(t, 1000/m.MsPerImage, m.ImagesPerSecond, 1e-6)
		require.InEpsilon(t, m.GFLOPPerImage*m.ImagesPerSecond, m.GFLOPS, 1e-6)
		require.InEpsilon(t, m.GFLOPS/m.PeakGFLOPS, m.FractionOfPeak, 1e-6)
		require.Less(t, m.FractionOfPeak, 1.5, "no faster than the machine, whose peak others may disturb")
	}
	require.Equal(t, [][2]int{{1, 1}, {1, 3}, {2, 1}, {2, 3}}, settings)

	var fields map[string]any
	require.NoError(t, json.Unmarshal([]byte(strings.SplitN(got.stdout, "\n", 2)[0]), &fields))
	for _, name := range []string{"model", "precision", "threads", "batch", "ms_per_image", "ms_median", "ms_p95",
		"images_per_second", "gflops", "peak_gflops", "fraction_of_peak"} {
		require.Contains(t, fields, name)
	}
}

func TestBenchTable(t *testing.T) {
	got := vitserve(t, "bench", "--preset", "deit_tiny_patch16_224", "--runs", "2", "--seconds", "0", "--attention", "full")
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Contains(t, got.stdout, "deit_tiny_patch16_224: 224×224 pixels, patch 16, 197 tokens, dim 192, depth 12, heads 3")
	require.Contains(t, got.stdout, "of peak")
	require.Equal(t, 3, strings.Count(got.stdout, "\n"))
}

func TestBenchImages(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.png", "b.png", "c.png"} {
		writeFile(t, dir, name, pngBytes(t, picture(1, 80, 80)))
	}
	got := vitserve(t, "bench", "--model", "starter", "--images", dir, "--runs", "3", "--seconds", "0", "--json")
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Equal(t, 3, lines[measured](t, got.stdout)[0].Images)

	writeFile(t, dir, "d.png", []byte("broken"))
	got = vitserve(t, "bench", "--model", "starter", "--images", dir, "--runs", "3", "--seconds", "0")
	require.Equal(t, exitFailed, got.code, "a picture that fails is not fast")
	require.Contains(t, got.stderr, filepath.Join(dir, "d.png"))
}

func TestBenchUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--preset", "vit_enormous"}, "deit_tiny_patch16_224"},
		{[]string{"--preset", "deit_tiny_patch16_224", "--model", "starter"}, "want one of them"},
		{[]string{"--batch", "0"}, "--batch 0"},
		{[]string{"--threads", "-1"}, "--threads -1"},
		{[]string{"--precision", "f8"}, "want f32, bf16, int8 or auto"},
		{[]string{"--attention", "some"}, "want none, class or full"},
		{[]string{"--runs", "0"}, "--runs 0"},
	} {
		got := vitserve(t, append([]string{"bench"}, c.args...)...)
		require.Equal(t, exitUsage, got.code, got.stderr)
		require.Contains(t, got.stderr, c.want)
	}
}

func TestTimer(t *testing.T) {
	calls := 0
	device, err := backend.Open("cpu", backend.Options{Threads: 1})
	require.NoError(t, err)
	defer device.Close()
	w := timer{runs: 5, atLeast: 30 * time.Millisecond, device: device}
	require.NoError(t, w.time(t.Context(), func() error {
		calls++
		time.Sleep(time.Millisecond)
		return nil
	}))
	require.GreaterOrEqual(t, len(w.times), 5)
	require.Greater(t, calls, len(w.times), "warming up does not count")
	require.Positive(t, w.peak)
	var row measured
	w.times = []time.Duration{4e6, 2e6, 3e6, 20e6}
	row.GFLOPPerImage, w.peak = 1, 1000
	w.report(&row, 2)
	require.Equal(t, measured{
		MsPerImage: 1, MsMedian: 2, MsP95: 10, ImagesPerSecond: 1000, GFLOPS: 1000, PeakGFLOPS: 1000, FractionOfPeak: 1, GFLOPPerImage: 1, Runs: 4,
	}, row)
}
