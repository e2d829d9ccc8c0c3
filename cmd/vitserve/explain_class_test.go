package main

import (
	"encoding/json"
	"image"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/attention"
	"gorgonia.org/tensor"
)

func explainJSON(t *testing.T, args ...string) explainAnswer {
	t.Helper()
	got := vitserve(t, append([]string{"explain", "--json"}, args...)...)
	require.Equal(t, exitOK, got.code, got.stderr)
	var a explainAnswer
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &a))
	return a
}

func TestExplainAsks(t *testing.T) {
	file := writeFile(t, t.TempDir(), "x.png", pngBytes(t, picture(1, 200, 100)))
	best := explainJSON(t, file).Predictions

	maps := map[string][][]float32{}
	for _, args := range [][]string{
		{"--method", "occlusion", "--window", "3"},
		{"--method", "rise", "--masks", "20"},
		{"--method", "rise", "--masks", "20", "--seed", "4"},
	} {
		a := explainJSON(t, append(args, file)...)
		require.Equal(t, args[1], a.Focus.Method)
		require.Equal(t, best[0].Index, a.Focus.Class.Index, "the best class is asked for")
		require.Empty(t, a.Focus.Fusion)
		require.Nil(t, a.Focus.Evidence)
		for name, other := range maps {
			require.NotEqual(t, other, a.Focus.Values, name)
		}
		maps[args[1]+args[len(args)-1]] = a.Focus.Values

		// Another class, by index and by label, is another map.
		by := explainJSON(t, append(args, "--class", best[1].Label, file)...)
		require.Equal(t, best[1], *by.Focus.Class)
		require.NotEqual(t, a.Focus.Values, by.Focus.Values)
	}

	a := explainJSON(t, "--method", "raw", "--evidence", file)
	require.Len(t, a.Focus.Evidence.DeletionCurve, attention.EvidenceSteps+1)
	require.InDelta(t, a.Predictions[0].Score, a.Focus.Evidence.DeletionCurve[0], 1e-5)
	require.InDelta(t, a.Predictions[0].Score, a.Focus.Evidence.InsertionCurve[attention.EvidenceSteps], 1e-5)

	a = explainJSON(t, "--method", "auto", file)
	require.NotEmpty(t, a.Focus.Trials)
	score := func(x trial) float64 { return x.Insertion - x.Deletion }
	winner := slices.MaxFunc(a.Focus.Trials, func(x, y trial) int {
		if score(x) < score(y) {
			return -1
		}
		return 1
	})
	require.InDelta(t, a.Focus.Evidence.Score(), score(winner), 1e-12)
	require.Equal(t, winner.Method, a.Focus.Method)
	require.Equal(t, winner.Fusion, a.Focus.Fusion)
	require.InDelta(t, winner.Discard, a.Focus.Discard, 0)
}

// TestExplainDerives holds that every method with gradients is about the class
// that is named, and that a difference is another map.
func TestExplainDerives(t *testing.T) {
	file := writeFile(t, t.TempDir(), "x.png", pngBytes(t, picture(1, 200, 100)))
	for _, method := range attention.GradientNames() {
		a := explainJSON(t, "--method", method, file)
		require.Equal(t, a.Predictions[0], *a.Focus.Class, method)
		require.Equal(t, method, a.Focus.Method)
		require.Empty(t, a.Focus.Fusion)
		by := explainJSON(t, "--method", method, "--class", a.Predictions[1].Label, file)
		require.Equal(t, a.Predictions[1], *by.Focus.Class)
		require.NotEqual(t, a.Focus.Values, by.Focus.Values, method)
		against := explainJSON(t, "--method", method, "--class", a.Predictions[0].Label, "--versus", a.Predictions[1].Label, file)
		require.Equal(t, a.Predictions[1], *against.Focus.Versus)
		require.NotEqual(t, a.Focus.Values, against.Focus.Values, method)
	}
	require.Equal(t, attention.DefaultClassMethod, explainJSON(t, "--class", "0", file).Focus.Method)
}

func TestExplainPictures(t *testing.T) {
	dir := t.TempDir()
	file := writeFile(t, dir, "x.png", pngBytes(t, picture(1, 200, 100)))
	a := explainJSON(t, file)

	out := filepath.Join(dir, "out.npy")
	got := vitserve(t, "explain", file, "-o", out)
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Contains(t, got.stdout, "values in "+out)
	f, err := os.Open(out)
	require.NoError(t, err)
	values := new(tensor.Dense)
	require.NoError(t, values.ReadNpy(f))
	require.NoError(t, f.Close())
	require.Equal(t, slices.Concat(a.Focus.Values...), values.Float32s())

	size := func(args ...string) image.Point {
		out := filepath.Join(dir, "out.png")
		got := vitserve(t, append([]string{"explain", file, "-o", out}, args...)...)
		require.Equal(t, exitOK, got.code, got.stderr)
		f, err := os.Open(out)
		require.NoError(t, err)
		defer f.Close()
		m, _, err := image.Decode(f)
		require.NoError(t, err)
		return m.Bounds().Size()
	}
	require.Equal(t, image.Pt(a.Geometry.Input[0], a.Geometry.Input[1]), size("--picture", "heat", "--upsample", "bicubic"))
	sheetOf := size("--picture", "sheet")
	require.Greater(t, sheetOf.Y, 200)
	require.Equal(t, sheetOf, size("--picture", "sheet", "--method", "raw"))
	require.Equal(t, sheetOf, size("--picture", "sheet", "--method", "rise", "--masks", "5"))
}

func TestExplainAskingRefuses(t *testing.T) {
	file := writeFile(t, t.TempDir(), "x.png", pngBytes(t, picture(1, 100, 100)))
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--method", "rollout", "--class", "1"}, "knows no class"},
		{[]string{"--class", "999999"}, "want 0 to"},
		{[]string{"--versus", "1"}, "want --class"},
		{[]string{"--method", "occlusion", "--class", "1", "--versus", "2"}, "want --class and a method of relevance"},
		{[]string{"--method", "occlusion", "--class", "no such thing"}, "the model's labels"},
		{[]string{"--method", "occlusion", "--class", "999999"}, "want 0 to"},
		{[]string{"--method", "occlusion", "--layer", "1"}, "has no layer"},
		{[]string{"--method", "rise", "--masks", "-1"}, "1 to "},
		{[]string{"--method", "auto", "--discard", "0.5"}, "has no discard"},
		{[]string{"--method", "auto", "--fusion", "max"}, "has no fusion"},
		{[]string{"--method", "auto", "--mass", "0.5"}, "whole maps"},
		{[]string{"--method", "rise", "--fusion", "max"}, "has no fusion"},
		{[]string{"--method", "magic"}, "raw, rollout, occlusion, rise, relevance, "},
		{[]string{"--picture", "painting"}, "overlay, heat, sheet"},
	} {
		got := vitserve(t, append([]string{"explain", file}, c.args...)...)
		require.Equal(t, exitUsage, got.code, "%v: %s", c.args, got.stderr)
		require.Contains(t, got.stderr, c.says)
	}
}
