package cli

import (
	"encoding/json"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/attention/focus"
	"gorgonia.org/tensor"
)

func explainJSON(t *testing.T, args ...string) v1.ExplainResult {
	t.Helper()
	got := vitserve(t, append([]string{"explain", "--json"}, args...)...)
	require.Equal(t, exitOK, got.code, got.stderr)
	var a v1.ExplainAnswer
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &a))
	require.Len(t, a.Results, 1)
	return a.Results[0]
}

func TestExplainAsks(t *testing.T) {
	file := writeFile(t, t.TempDir(), "x.png", pngBytes(t, picture(1, 200, 100)))
	best := *explainJSON(t, file).Predictions

	maps := map[string][][]float32{}
	for _, args := range [][]string{
		{"--method", "occlusion", "--window", "3"},
		{"--method", "rise", "--masks", "20"},
		{"--method", "rise", "--masks", "20", "--seed", "4"},
	} {
		a := explainJSON(t, append(args, file)...)
		require.Equal(t, args[1], a.Maps[0].Method)
		require.Equal(t, best[0].Index, a.Maps[0].Class.Index, "the best class is asked for")
		require.Empty(t, a.Maps[0].Fusion)
		require.Zero(t, a.Maps[0].Evidence)
		for name, other := range maps {
			require.NotEqual(t, other, a.Maps[0].Values, name)
		}
		maps[args[1]+args[len(args)-1]] = a.Maps[0].Values

		// Another class, by index and by label, is another map.
		by := explainJSON(t, append(args, "--class", best[1].Label, file)...)
		require.Equal(t, best[1], by.Maps[0].Class)
		require.NotEqual(t, a.Maps[0].Values, by.Maps[0].Values)
	}

	a := explainJSON(t, "--method", "raw", "--evidence", file)
	require.Len(t, a.Maps[0].Evidence.DeletionCurve, focus.EvidenceSteps+1)
	require.InDelta(t, (*a.Predictions)[0].Score, a.Maps[0].Evidence.DeletionCurve[0], 1e-5)
	require.InDelta(t, (*a.Predictions)[0].Score, a.Maps[0].Evidence.InsertionCurve[focus.EvidenceSteps], 1e-5)

	a = explainJSON(t, "--method", "auto", file)
	require.NotEmpty(t, a.Maps[0].Trials)
	score := func(x v1.Trial) float64 { return *x.Insertion - *x.Deletion }
	winner := slices.MaxFunc(a.Maps[0].Trials, func(x, y v1.Trial) int {
		if score(x) < score(y) {
			return -1
		}
		return 1
	})
	require.InDelta(t, a.Maps[0].Evidence.Insertion-a.Maps[0].Evidence.Deletion, score(winner), 1e-12)
	require.NotNil(t, a.Outliers, "they were looked for")
	require.Equal(t, winner.Method, a.Maps[0].Method)
	require.Equal(t, winner.Fusion, a.Maps[0].Fusion)
	require.InDelta(t, winner.Discard, a.Maps[0].Discard, 0)
}

// TestExplainDerives holds that every method with gradients is about the class
// that is named, and that a difference is another map.
func TestExplainDerives(t *testing.T) {
	file := writeFile(t, t.TempDir(), "x.png", pngBytes(t, picture(1, 200, 100)))
	for _, method := range focus.Names(focus.FromGradients) {
		a := explainJSON(t, "--method", method, file)
		require.Equal(t, (*a.Predictions)[0], a.Maps[0].Class, method)
		require.Equal(t, method, a.Maps[0].Method)
		require.Empty(t, a.Maps[0].Fusion)
		by := explainJSON(t, "--method", method, "--class", (*a.Predictions)[1].Label, file)
		require.Equal(t, (*a.Predictions)[1], by.Maps[0].Class)
		require.NotEqual(t, a.Maps[0].Values, by.Maps[0].Values, method)
		against := explainJSON(t, "--method", method, "--class", (*a.Predictions)[0].Label, "--versus", (*a.Predictions)[1].Label, file)
		require.Equal(t, (*a.Predictions)[1], against.Maps[0].Versus)
		require.NotEqual(t, a.Maps[0].Values, against.Maps[0].Values, method)
	}
	require.Equal(t, focus.DefaultMethod, explainJSON(t, "--class", "0", file).Maps[0].Method)
}

// npy is the file that a command line writes.
func npy(t *testing.T, args ...string) *tensor.Dense {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.npy")
	got := vitserve(t, append(args, "-o", out)...)
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Contains(t, got.stdout, " in "+out)
	f, err := os.Open(out)
	require.NoError(t, err)
	defer f.Close()
	values := new(tensor.Dense)
	require.NoError(t, values.ReadNpy(f))
	return values
}

// TestExplainSeveral holds that several classes or patches are the maps that
// each has alone.
func TestExplainSeveral(t *testing.T) {
	file := writeFile(t, t.TempDir(), "x.png", pngBytes(t, picture(1, 200, 100)))
	for _, c := range []struct {
		common []string
		each   [][]string
	}{
		{nil, [][]string{{"--class", "banana"}, {"--class", "3"}}},
		{[]string{"--versus", "pizza"}, [][]string{{"--class", "banana"}, {"--class", "3"}}},
		{[]string{"--method", "occlusion"}, [][]string{{"--class", "banana"}, {"--class", "pizza"}}},
		{[]string{"--method", "raw", "--layer", "2"}, [][]string{{"--queries", "1,2"}, {"--queries", "7,0"}}},
		{nil, [][]string{{"--queries", "1,2"}, {"--queries", "7,0"}}},
	} {
		args := append(slices.Concat(c.each...), c.common...)
		together := explainJSON(t, append(args, file)...).Maps
		require.Len(t, together, len(c.each))
		for i, one := range c.each {
			alone := explainJSON(t, append(append(one, c.common...), file)...).Maps
			require.Equal(t, alone, together[i:i+1], "%v %v", c.common, one)
		}
		require.NotEqual(t, together[0].Values, together[1].Values)
	}
	best := explainJSON(t, "--classes", "3", file)
	for i, m := range best.Maps {
		require.Equal(t, (*best.Predictions)[i], m.Class)
	}
	got := vitserve(t, "explain", "--classes", "2", file)
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Equal(t, 2, strings.Count(got.stdout, "strongest at"))
}

func TestExplainPictures(t *testing.T) {
	dir := t.TempDir()
	file := writeFile(t, dir, "x.png", pngBytes(t, picture(1, 200, 100)))
	a := explainJSON(t, file)

	require.Equal(t, slices.Concat(a.Maps[0].Values...), npy(t, "explain", file).Float32s())

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
	require.Equal(t, sheetOf, size("--picture", "sheet", "--method", "raw", "--queries", "1,1"))

	for _, c := range []struct {
		args  []string
		shape tensor.Shape
	}{
		{[]string{"--classes", "3"}, tensor.Shape{3, 8, 8}},
		{[]string{"--values", "attention"}, tensor.Shape{6, 3, 65, 65}},
		{[]string{"--values", "attention", "--layer", "2", "--head", "3"}, tensor.Shape{1, 1, 65, 65}},
	} {
		require.Equal(t, c.shape, npy(t, append([]string{"explain", file}, c.args...)...).Shape())
	}
}

func TestExplainAskingRefuses(t *testing.T) {
	file := writeFile(t, t.TempDir(), "x.png", pngBytes(t, picture(1, 100, 100)))
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--method", "rollout", "--class", "1"}, "knows no class"},
		{[]string{"--class", "999999"}, "want 0 to"},
		{[]string{"--versus", "1"}, "want a class"},
		{[]string{"--method", "occlusion", "--class", "1", "--versus", "2"}, "want relevance"},
		{[]string{"--method", "occlusion", "--class", "no such thing"}, "or a label of starter"},
		{[]string{"--method", "occlusion", "--class", "999999"}, "want 0 to"},
		{[]string{"--method", "occlusion", "--layer", "1"}, "has no layer"},
		{[]string{"--method", "rise", "--masks", "-1"}, "1 to "},
		{[]string{"--method", "auto", "--discard", "0.5"}, "has no discard"},
		{[]string{"--method", "auto", "--fusion", "max"}, "has no fusion"},
		{[]string{"--method", "auto", "--mass", "0.5"}, "whole maps"},
		{[]string{"--method", "rise", "--fusion", "max"}, "has no fusion"},
		{[]string{"--method", "magic"}, "raw, rollout, normrollout, occlusion, rise, relevance, "},
		{[]string{"--picture", "painting"}, "overlay, heat, sheet, figure"},
		{[]string{"--picture", "heat", "--alpha", "0.5"}, "no photo under it"},
		{[]string{"--picture", "sheet", "--method", "rise"}, "no method but raw"},
		{[]string{"--picture", "sheet", "--class", "1"}, "no method but raw"},
		{[]string{"--picture", "sheet", "--layer", "1"}, "mass with a sheet"},
		{[]string{"--values", "attention"}, "ends in .npy"},
		{[]string{"--values", "attention", "-o", "x.npy", "--evidence"}, "neither queries nor evidence"},
		{[]string{"--values", "all", "-o", "x.npy"}, "want map or attention"},
		{[]string{"--class", "1", "--classes", "2"}, "want one of them"},
		{[]string{"--classes", "33"}, "at most 32"},
		{[]string{"--queries", "8,0"}, "0,0 to 7,7"},
		{[]string{"--queries", "8"}, "row,column"},
		{[]string{"--quality", "0", "-o", "x.jpg"}, "1 to 100"},
		{[]string{"--quality", "40", "-o", "x.png"}, "ends in .jpg"},
		{[]string{"--quality", "40"}, "ends in .jpg"},
	} {
		got := vitserve(t, append([]string{"explain", file}, c.args...)...)
		require.Equal(t, exitUsage, got.code, "%v: %s", c.args, got.stderr)
		require.Contains(t, got.stderr, c.says)
	}
}
