package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// lines decodes JSON lines.
func lines[T any](t *testing.T, s string) []T {
	t.Helper()
	var all []T
	for line := range strings.Lines(s) {
		var v T
		dec := json.NewDecoder(strings.NewReader(line))
		dec.DisallowUnknownFields()
		require.NoError(t, dec.Decode(&v), line)
		all = append(all, v)
	}
	return all
}

func TestClassifyJSON(t *testing.T) {
	dir := album(t)
	got := vitserve(t, "classify", "--json", "--top", "3", dir)
	require.Equal(t, exitFailed, got.code, "one picture is broken")
	require.Contains(t, got.stderr, "broken.png: ")
	require.Contains(t, got.stderr, "1 of 5 pictures failed")

	var names []string
	for _, a := range lines[answer](t, got.stdout) {
		name, err := filepath.Rel(dir, a.Image)
		require.NoError(t, err)
		names = append(names, filepath.ToSlash(name))
		if strings.HasSuffix(a.Image, "broken.png") {
			require.NotEmpty(t, a.Error)
			require.Nil(t, a.Predictions)
			continue
		}
		require.Empty(t, a.Error)
		require.Len(t, a.Predictions, 3)
		for i, p := range a.Predictions {
			require.NotEmpty(t, p.Label)
			require.InDelta(t, 0.5, p.Score, 0.5)
			require.True(t, i == 0 || p.Score <= a.Predictions[i-1].Score, "best first")
		}
	}
	require.Equal(t, []string{"a/noextension", "a/two.png", "b.png", "broken.png", "c.JPG"}, names, "in order, hidden ones left out")
}

// TestClassifyAlone holds that an answer does not depend on its company, on
// threads or on the way the picture came.
func TestClassifyAlone(t *testing.T) {
	dir := album(t)
	together := vitserve(t, "classify", "--json", "--top", "0", "--batch", "3", dir)
	for _, a := range lines[answer](t, together.stdout) {
		if a.Error != "" {
			continue
		}
		alone := vitserve(t, "classify", "--json", "--top", "0", "--batch", "1", "--threads", "1", a.Image)
		require.Equal(t, exitOK, alone.code, alone.stderr)
		require.Equal(t, a, lines[answer](t, alone.stdout)[0])

		data, err := os.ReadFile(a.Image)
		require.NoError(t, err)
		piped := vitserveWith(t, bytes.NewReader(data), "classify", "--json", "--top", "0", "-")
		require.Equal(t, exitOK, piped.code, piped.stderr)
		p := lines[answer](t, piped.stdout)[0]
		require.Equal(t, "-", p.Image)
		require.Equal(t, a.Predictions, p.Predictions)
	}
}

func TestClassifyScores(t *testing.T) {
	image := writeFile(t, t.TempDir(), "x.png", pngBytes(t, picture(1, 64, 64)))
	all := lines[answer](t, vitserve(t, "classify", "--json", "--top", "0", image).stdout)[0].Predictions
	sum := 0.0
	for _, p := range all {
		sum += p.Score
	}
	require.InDelta(t, 1, sum, 1e-5)

	second := all[1].Score
	some := lines[answer](t, vitserve(t, "classify", "--json", "--top", "0", "--min-score", fmt.Sprint(second), image).stdout)[0].Predictions
	require.Equal(t, all[:2], some)

	none := vitserve(t, "classify", "--json", "--min-score", "1", image)
	require.Equal(t, exitOK, none.code)
	require.Contains(t, none.stdout, `"predictions":[]`)
}

func TestClassifyTable(t *testing.T) {
	dir := album(t)
	got := vitserve(t, "classify", filepath.Join(dir, "b.png"), filepath.Join(dir, "nowhere.png"), filepath.Join(dir, "c.JPG"))
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "nowhere.png: no such file")
	require.Equal(t, 1, strings.Count(got.stderr, "note: "), "the embedded model says once what it is: %s", got.stderr)
	rows := strings.Split(strings.TrimSpace(got.stdout), "\n")
	require.Len(t, rows, 12)
	require.Equal(t, filepath.Join(dir, "b.png"), rows[0])
	require.Equal(t, filepath.Join(dir, "c.JPG"), rows[6])
	column := strings.Index(rows[1], "class ")
	for _, row := range rows[2:6] {
		require.Equal(t, column, strings.Index(row, "class "), "aligned:\n%s", got.stdout)
	}

	got = vitserve(t, "classify", "--top", "1", filepath.Join(dir, "b.png"))
	require.Regexp(t, `^ *[\d.]+ %  \S.*  .*b\.png\n$`, got.stdout)
}

func TestClassifyLabels(t *testing.T) {
	dir := t.TempDir()
	image := writeFile(t, dir, "x.png", pngBytes(t, picture(1, 64, 64)))
	all := lines[answer](t, vitserve(t, "classify", "--json", "--top", "0", image).stdout)[0].Predictions
	var names strings.Builder
	for i := range all {
		fmt.Fprintf(&names, "thing <%d>\n", i)
	}
	labels := writeFile(t, dir, "labels.txt", []byte(names.String()))
	got := vitserve(t, "classify", "--json", "--labels", labels, image)
	require.Equal(t, exitOK, got.code, got.stderr)
	p := lines[answer](t, got.stdout)[0].Predictions[0]
	require.Equal(t, fmt.Sprintf("thing <%d>", p.Index), p.Label)
	require.Contains(t, got.stdout, fmt.Sprintf("thing <%d>", p.Index), "letters as they are")

	short := writeFile(t, dir, "short.txt", []byte("one\ntwo\n"))
	got = vitserve(t, "classify", "--labels", short, image)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "2")
}

func TestClassifyMany(t *testing.T) {
	dir := t.TempDir()
	for i := range 40 {
		writeFile(t, dir, fmt.Sprintf("%02d.png", i), pngBytes(t, picture(i, 64, 64)))
	}
	got := vitserve(t, "classify", "--json", "--batch", "7", dir)
	require.Equal(t, exitOK, got.code, got.stderr)
	for i, a := range lines[answer](t, got.stdout) {
		require.Equal(t, fmt.Sprintf("%02d.png", i), filepath.Base(a.Image))
		require.NotEmpty(t, a.Predictions)
	}
	require.Equal(t, 40, strings.Count(got.stdout, "\n"))
}

func TestClassifyEmptyFolder(t *testing.T) {
	got := vitserve(t, "classify", t.TempDir())
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "no pictures in this folder")
}

func TestClassifyTooLarge(t *testing.T) {
	image := writeFile(t, t.TempDir(), "x.png", pngBytes(t, picture(1, 100, 100)))
	got := vitserve(t, "classify", "--max-pixels", "9999", image)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "too large")
	require.Equal(t, exitOK, vitserve(t, "classify", "--max-pixels", "10000", image).code)
}
