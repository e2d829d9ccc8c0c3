package cli

import (
	"bytes"
	"encoding/json"
	"image"
	_ "image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	v1 "github.com/vitserve/vitserve/api/v1"
)

func sizeOf(t *testing.T, path string) image.Point {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	m, _, err := image.Decode(f)
	require.NoError(t, err)
	return m.Bounds().Size()
}

// TestExplainFigure: a figure has room for its caption and scale, and more of
// it for more panels, whose number is that of maps, photos, curves and stages.
func TestExplainFigure(t *testing.T) {
	dir := t.TempDir()
	bus := writeFile(t, dir, "bus.png", testPicture(t))
	size := func(args ...string) image.Point {
		out := filepath.Join(dir, "out.png")
		got := vitserve(t, append([]string{"explain", bus, "-o", out}, args...)...)
		require.Equal(t, exitOK, got.code, got.stderr)
		require.Contains(t, got.stdout, "figure in "+out)
		return sizeOf(t, out)
	}
	one := size()
	require.Greater(t, one.X, 320)
	require.Greater(t, one.Y, 240)
	photo := size("--photo")
	require.Equal(t, one.X+320+14, photo.X, "the photo beside it")
	require.Greater(t, size("--evidence").X, one.X+300, "the curves")
	require.Greater(t, size("--evidence", "--photo").X, photo.X+300)
	require.Equal(t, 3*(one.X-14)+14, size("--classes", "3").X)
	require.Equal(t, 2*(one.X-14)+14, size("--method", "raw,legrad").X)
	require.Equal(t, 6*(one.X-14)+14, size("--sanity").X, "the map and five stages")

	plain := filepath.Join(dir, "plain.png")
	require.Equal(t, exitOK, vitserve(t, "explain", bus, "--picture", "overlay", "--hatch=false", "-o", plain).code)
	f, err := os.ReadFile(plain)
	require.NoError(t, err)
	m, err := png.Decode(bytes.NewReader(f))
	require.NoError(t, err)
	require.Equal(t, m.At(4, 4), m.At(5, 5), "no lines across what was not seen")
}

// TestExplainFolder: a figure for each picture, none over another's, and exit
// code 1 for the one that is broken.
func TestExplainFolder(t *testing.T) {
	dir := t.TempDir()
	bus := testPicture(t)
	writeFile(t, dir, "in/a/x.png", bus)
	writeFile(t, dir, "in/b/x.png", bus)
	writeFile(t, dir, "in/b/X.jpg", bus)
	writeFile(t, dir, "in/broken.png", bus[:400])
	out := filepath.Join(dir, "out")
	got := vitserve(t, "explain", filepath.Join(dir, "in"), "-o", out+"/")
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "broken.png")
	require.Contains(t, got.stderr, "1 of 4 pictures failed")
	names, err := os.ReadDir(out)
	require.NoError(t, err)
	require.Len(t, names, 3)
	for _, n := range names {
		require.Greater(t, sizeOf(t, filepath.Join(out, n.Name())).X, 320)
	}
	url, stop := startServer(t)
	defer stop()
	far := filepath.Join(dir, "far")
	got = vitserve(t, "explain", filepath.Join(dir, "in"), "--url", url, "-o", far+"/")
	require.Equal(t, exitFailed, got.code)
	names, err = os.ReadDir(far)
	require.NoError(t, err)
	require.Len(t, names, 3)
}

// TestExplainPanel: several pictures are panels of one figure, and JSON has a
// line for each.
func TestExplainPanel(t *testing.T) {
	dir := t.TempDir()
	bus := writeFile(t, dir, "bus.png", testPicture(t))
	other := writeFile(t, dir, "other.png", testPicture(t))
	out := filepath.Join(dir, "panel.jpg")
	got := vitserve(t, "explain", bus, other, "--method", "raw,rollout", "-o", out)
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Greater(t, sizeOf(t, out).X, 2*320)
	require.Greater(t, sizeOf(t, out).Y, 2*240)
	require.Equal(t, 4, strings.Count(got.stdout, "strongest at"))

	got = vitserve(t, "explain", bus, other, "--json")
	require.Equal(t, exitOK, got.code, got.stderr)
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	require.Len(t, lines, 2)
	for i, line := range lines {
		var a v1.ExplainAnswer
		require.NoError(t, json.Unmarshal([]byte(line), &a))
		require.Equal(t, []string{bus, other}[i], a.Results[0].Image)
	}
	require.Equal(t, vitserve(t, "explain", bus).stdout[:60], vitserve(t, "explain", bus, other).stdout[:60])

	got = vitserve(t, "explain", bus, "-o", "-")
	require.Equal(t, exitOK, got.code)
	_, err := png.Decode(strings.NewReader(got.stdout))
	require.NoError(t, err, "a picture and nothing else")
	require.Contains(t, vitserve(t, "explain", bus, "-o", "-", "--json").stderr, "want one of them")
	require.Equal(t, exitUsage, vitserve(t, "explain", bus, other, "--method", "raw,magic").code)
}

// TestExplainReport: one file, no address in it, with the curves as SVG.
func TestExplainReport(t *testing.T) {
	dir := t.TempDir()
	bus := writeFile(t, dir, "<bus>.png", testPicture(t))
	out := filepath.Join(dir, "report.html")
	got := vitserve(t, "explain", bus, bus, "--evidence", "--sanity", "--method", "legrad", "-o", out)
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Contains(t, got.stdout, "report in "+out)
	page, err := os.ReadFile(out)
	require.NoError(t, err)
	text := string(page)
	for _, want := range []string{"<svg", "school bus 91.6 %", "insertion 0.", "deletion 0.", "&lt;bus&gt;", "shuffled weights", "<table>", "data:image/png;base64,"} {
		require.Contains(t, text, want)
	}
	require.NotRegexp(t, `<[^>]*\b(src|href)="?(http|//|/|\.)`, text)
	require.NotContains(t, text, "<script")
}

// TestExplainLayers: each layer answers, the last as the model does, here and
// from a server.
func TestExplainLayers(t *testing.T) {
	bus := writeFile(t, t.TempDir(), "bus.png", testPicture(t))
	a := explainJSON(t, "--layers", bus)
	require.Len(t, a.Layers, 6)
	for i, l := range a.Layers {
		require.Equal(t, i+1, l.Layer)
		require.Len(t, l.Predictions, 5)
	}
	require.Equal(t, *a.Predictions, a.Layers[5].Predictions)
	require.NotEqual(t, a.Layers[0].Predictions, a.Layers[5].Predictions)
	require.Empty(t, explainJSON(t, bus).Layers)
	require.Equal(t, 6, strings.Count(vitserve(t, "explain", "--layers", bus).stdout, "layer  "))

	url, stop := startServer(t)
	defer stop()
	require.Equal(t, a.Layers, explainJSON(t, "--layers", "--url", url, bus).Layers)
	require.Equal(t, a.Layers, explainJSON(t, "--layers", "--method", "rollout", "--url", url, bus).Layers)
}
