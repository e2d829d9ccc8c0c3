package cli

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/models"
)

// shared returns the folder of real weights and photos, or skips.
func shared(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("VITSERVE_SHARED")
	if dir == "" {
		t.Skip("VITSERVE_SHARED is not set: real weights and photos are not tested")
	}
	return dir
}

// photoLabels returns the class of each of the 250 photos by file name.
func photoLabels(t *testing.T, dir string) map[string]int {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "data", "nips2017", "labels.csv"))
	require.NoError(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	want := map[string]int{}
	for _, row := range rows[1:] {
		want[row[0]], err = strconv.Atoi(row[1])
		require.NoError(t, err)
	}
	require.Len(t, want, 250)
	return want
}

// TestRealPhotos holds what DeiT-tiny is right about on 250 real photos, as
// measured with timm: 220 at first, 248 among five; by command line and by
// REST, which must agree to the bit.
func TestRealPhotos(t *testing.T) {
	dir := shared(t)
	model := filepath.Join(dir, "models", "deit_tiny_patch16_224")
	want := photoLabels(t, dir)

	got := vitserve(t, "classify", "--json", "--model", model, filepath.Join(dir, "data", "nips2017", "images"))
	require.Equal(t, exitOK, got.code, got.stderr)
	url, stop := startServer(t, "--model", model)
	top1, top5 := 0, 0
	for _, a := range lines[answer](t, got.stdout) {
		label, ok := want[filepath.Base(a.Image)]
		require.True(t, ok, a.Image)
		delete(want, filepath.Base(a.Image))
		require.Len(t, a.Predictions, 5)
		for i, p := range a.Predictions {
			if p.Index == label {
				top5++
				if i == 0 {
					top1++
				}
			}
		}
		data, err := os.ReadFile(a.Image)
		require.NoError(t, err)
		var rest served
		post(t, url+"/v1/classify", data, &rest)
		require.Equal(t, a.Predictions, rest.Results[0].Predictions, a.Image)
	}
	require.Empty(t, want, "photos without an answer")
	require.Equal(t, exitOK, stop())
	t.Logf("top-1 %d, top-5 %d of 250", top1, top5)
	require.InDelta(t, 220, top1, 1, "top-1")
	require.InDelta(t, 248, top5, 1, "top-5")
}

// TestPrecisions holds how far bf16 and int8 may be from f32 on real photos:
// the same first answer on 99 % and 97 %, and first answers right on as many
// photos within one point.
func TestPrecisions(t *testing.T) {
	dir := shared(t)
	want := photoLabels(t, dir)
	first := func(t *testing.T, precision string) (all []models.Prediction, right int) {
		got := vitserve(t, "classify", "--json", "--top", "1", "--precision", precision,
			"--model", filepath.Join(dir, "models", "deit_tiny_patch16_224"), filepath.Join(dir, "data", "nips2017", "images"))
		if got.code != exitOK && precision != "f32" {
			require.Contains(t, got.stderr, "not supported by this machine")
			t.Skip(got.stderr)
		}
		require.Equal(t, exitOK, got.code, got.stderr)
		for _, a := range lines[answer](t, got.stdout) {
			all = append(all, a.Predictions[0])
			if a.Predictions[0].Index == want[filepath.Base(a.Image)] {
				right++
			}
		}
		return all, right
	}
	exact, rightExact := first(t, "f32")
	for precision, least := range map[string]float64{"bf16": 0.99, "int8": 0.97} {
		t.Run(precision, func(t *testing.T) {
			found, right := first(t, precision)
			same := 0
			for i, p := range found {
				if p.Index == exact[i].Index {
					same++
				}
			}
			t.Logf("%s agrees with f32 on %d of %d photos, and is right on %d where f32 is on %d", precision, same, len(exact), right, rightExact)
			require.InDelta(t, rightExact, right, 0.01*float64(len(exact)))
			require.GreaterOrEqual(t, float64(same)/float64(len(exact)), least)
		})
	}
}
