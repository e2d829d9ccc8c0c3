package cli

import (
	"image"
	_ "image/jpeg"
	_ "image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
)

func TestExplainJSON(t *testing.T) {
	file := writeFile(t, t.TempDir(), "x.png", pngBytes(t, picture(1, 200, 100)))
	for _, args := range [][]string{
		{"--method", "raw"}, {"--method", "raw", "--layer", "1", "--head", "2"},
		{"--method", "raw", "--fusion", "max"}, {"--method", "rollout"}, {"--method", "rollout", "--fusion", "min", "--discard", "0.5"},
	} {
		a := explainJSON(t, append(args, file)...)
		require.Equal(t, args[1], a.Maps[0].Method)
		require.Equal(t, []int{200, 100}, a.Geometry.Photo)
		require.Positive(t, a.Maps[0].Rows)
		require.Len(t, a.Maps[0].Values, a.Maps[0].Rows)
		lo, hi := a.Maps[0].Values[0][0], a.Maps[0].Values[0][0]
		for _, row := range a.Maps[0].Values {
			require.Len(t, row, a.Maps[0].Cols)
			for _, v := range row {
				lo, hi = min(lo, v), max(hi, v)
			}
		}
		require.Greater(t, hi, lo, "a flat map")
		if args[1] == "raw" && len(args) > 4 {
			require.Equal(t, 1, a.Maps[0].Layer)
			require.Equal(t, 2, a.Maps[0].Head)
			require.Empty(t, a.Maps[0].Fusion)
		}
		require.Len(t, *a.Predictions, 5)
	}
}

// TestExplainAgrees holds that a picture is classified alike on both ways.
func TestExplainAgrees(t *testing.T) {
	file := writeFile(t, t.TempDir(), "x.png", pngBytes(t, picture(2, 120, 100)))
	want := lines[answer](t, vitserve(t, "classify", "--json", file).stdout)[0].Predictions
	require.Equal(t, api.PredictionsOf(want), *explainJSON(t, file).Predictions)
}

func TestExplainOverlay(t *testing.T) {
	dir := t.TempDir()
	file := writeFile(t, dir, "x.png", pngBytes(t, picture(1, 200, 100)))
	seen := map[string]bool{}
	for _, c := range []struct{ name, format, colors string }{{"a.png", "png", "turbo"}, {"b.JPG", "jpeg", "turbo"}, {"c.png", "png", "viridis"}} {
		out := filepath.Join(dir, c.name)
		got := vitserve(t, "explain", file, "--picture", "overlay", "-o", out, "--colors", c.colors)
		require.Equal(t, exitOK, got.code, got.stderr)
		require.Contains(t, got.stdout, "overlay in "+out)
		f, err := os.Open(out)
		require.NoError(t, err)
		m, format, err := image.Decode(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.Equal(t, c.format, format)
		require.Equal(t, image.Pt(200, 100), m.Bounds().Size(), "in the photo's own pixels")
		data, err := os.ReadFile(out)
		require.NoError(t, err)
		require.False(t, seen[string(data)], "colours differ")
		seen[string(data)] = true
	}
}

func TestExplainText(t *testing.T) {
	file := writeFile(t, t.TempDir(), "x.png", pngBytes(t, picture(1, 200, 100)))
	got := vitserve(t, "explain", file)
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Contains(t, got.stdout, "strongest at ")
	require.Contains(t, got.stdout, "@@", "the brightest patch is drawn")
}

func TestExplainBroken(t *testing.T) {
	dir := t.TempDir()
	file := writeFile(t, dir, "x.png", []byte("not a picture"))
	got := vitserve(t, "explain", file, "-o", filepath.Join(dir, "out.png"))
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "x.png: ")
	require.NoFileExists(t, filepath.Join(dir, "out.png"))

	got = vitserve(t, "explain", filepath.Join(dir, "nowhere.png"))
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "no such file")

	good := writeFile(t, dir, "good.png", pngBytes(t, picture(1, 64, 64)))
	got = vitserve(t, "explain", good, "-o", filepath.Join(dir, "no", "folder.png"))
	require.Equal(t, exitFailed, got.code)
}

func TestDrawBlocks(t *testing.T) {
	var got captured
	require.NoError(t, drawBlocks(&got, picture(1, 3, 3)))
	require.Equal(t, 2, got.count("\n"), "two pixels a line")
	require.Equal(t, 6, got.count("▀"))
	require.Equal(t, 2, got.count("\x1b[0m"), "colours end with the line")
}

// TestDrawLetters: of a map with signs, what speaks against the class is as
// blank as what says nothing.
func TestDrawLetters(t *testing.T) {
	var plain, signed captured
	require.NoError(t, drawLetters(&plain, [][]float32{{1, 5.5, 10}}))
	require.Equal(t, "  ==@@\n", plain.String())
	require.NoError(t, drawLetters(&signed, [][]float32{{-10, 5, 10}, {10, 0, -1}}))
	require.Equal(t, "  ==@@\n@@\n", signed.String())
}
