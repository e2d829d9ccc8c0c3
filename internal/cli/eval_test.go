package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	lib "github.com/vitserve/vitserve"
)

// truths puts pictures of this project into folders of the given names.
func truths(t *testing.T, files map[string]string) string {
	dir := t.TempDir()
	for name, picture := range files {
		data, err := os.ReadFile(filepath.Join("..", "..", "testdata", "images", picture))
		require.NoError(t, err)
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, data, 0o644))
	}
	return dir
}

func TestEvalCounts(t *testing.T) {
	dir := truths(t, map[string]string{
		"banana/1.jpg":     "banana.jpg", // by label, right
		"n07753592/2.jpg":  "banana.jpg", // by WordNet id, right
		"18/3.jpg":         "banana.jpg", // by index, right
		"school bus/4.jpg": "banana.jpg", // among the five
		"tabby/5.jpg":      "banana.jpg", // not among them
		"zebra/6.jpg":      "banana.jpg", // no class of this model
	})
	got := vitserve(t, "eval", "--json", dir)
	require.Equal(t, exitOK, got.code, got.stderr)
	var v lib.Evaluation
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &v))
	require.Equal(t, lib.Tally{Pictures: 5, First: 3, Five: 4}, v.All)
	require.Equal(t, 60.0, v.Top1)
	require.Equal(t, 80.0, v.Top5)
	require.Equal(t, 1, v.LeftOut)
	require.Len(t, v.Classes, 3)

	got = vitserve(t, "eval", dir)
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Contains(t, got.stdout, "top-1 60.00 %   top-5 80.00 %   5 pictures, 3 classes")
	require.Contains(t, got.stdout, "1 pictures of other classes were left out")
}

func TestEvalTruthFile(t *testing.T) {
	dir := truths(t, map[string]string{"a.jpg": "banana.jpg", "b.jpg": "orange.jpg", "c.jpg": "broken.jpg"})
	csv := filepath.Join(dir, "truth.csv")
	require.NoError(t, os.WriteFile(csv, []byte("label,file\nbanana,a.jpg\n17,b.jpg\n3,c.jpg\n"), 0o644))
	got := vitserve(t, "eval", "--json", "--truth", csv, dir)
	require.Equal(t, exitFailed, got.code, "one picture is broken")
	require.Contains(t, got.stderr, "c.jpg")
	var v lib.Evaluation
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &v))
	require.Equal(t, lib.Tally{Pictures: 3, First: 2, Five: 2}, v.All, "a picture that cannot be read counts as wrong")
	require.Equal(t, 1, v.Failed)
}

func TestEvalRefuses(t *testing.T) {
	dir := truths(t, map[string]string{"zebra/a.jpg": "banana.jpg"})
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"eval"}, exitUsage, "no folder given"},
		{[]string{"eval", dir}, exitFailed, "none of 1 pictures is of a class of model starter"},
		{[]string{"eval", "--truth", filepath.Join(dir, "no.csv"), dir}, exitFailed, "no such file"},
		{[]string{"eval", "--truth", filepath.Join(dir, "zebra", "a.jpg"), dir}, exitFailed, "--truth"},
		{[]string{"eval", "--batch", "0", dir}, exitUsage, "--batch 0"},
	} {
		got := vitserve(t, c.args...)
		require.Equal(t, c.code, got.code, got.stderr)
		require.Contains(t, got.stderr, c.want)
	}
}

// TestEvalRemote: a server's answers make the same report and the same rows as
// the model in this process.
func TestEvalRemote(t *testing.T) {
	dir := truths(t, map[string]string{
		"banana/1.jpg":     "banana.jpg",
		"n07753592/2.jpg":  "banana.jpg",
		"school bus/4.jpg": "banana.jpg",
		"tabby/5.jpg":      "orange.jpg",
		"tabby/6.jpg":      "broken.jpg",
		"zebra/7.jpg":      "banana.jpg",
	})
	url, stop := startServer(t)
	for _, more := range [][]string{nil, {"--limit", "3"}, {"--batch", "2"}} {
		var reports, tables []string
		for i, far := range [][]string{nil, {"--url", url}} {
			table := filepath.Join(t.TempDir(), "rows.jsonl")
			args := append([]string{"eval", "--json", "-o", table}, more...)
			got := vitserve(t, append(append(args, far...), dir)...)
			if more == nil || i == 1 && more[0] == "--batch" {
				require.Equal(t, exitFailed, got.code, "one picture is broken")
				require.Contains(t, got.stderr, "6.jpg")
			}
			text, err := os.ReadFile(table)
			require.NoError(t, err)
			reports, tables = append(reports, got.stdout), append(tables, withoutErrors(t, string(text)))
		}
		require.Equal(t, reports[0], reports[1])
		require.NotEmpty(t, tables[0])
		require.Equal(t, tables[0], tables[1])
	}
	got := vitserve(t, "eval", "--url", url, "--precision", "bf16", dir)
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.stderr, "--precision with --url")
	got = vitserve(t, "eval", "--url", url, "--model", "nobody", dir)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "nobody")
	require.Equal(t, exitOK, stop())
	got = vitserve(t, "eval", "--url", url, dir)
	require.Equal(t, exitFailed, got.code, "nobody is there any more")
	got = vitserve(t, "eval", "--api-key", "x", dir)
	require.Equal(t, exitUsage, got.code)
}

// withoutErrors leaves out the words of what is wrong with a picture, which a
// server begins otherwise.
func withoutErrors(t *testing.T, text string) string {
	var out []string
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		var r row
		require.NoError(t, json.Unmarshal([]byte(line), &r))
		if r.Error != "" {
			r.Error = "broken"
		}
		b, err := json.Marshal(r)
		require.NoError(t, err)
		out = append(out, string(b))
	}
	return strings.Join(out, "\n")
}
