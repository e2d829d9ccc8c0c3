package cli

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	lib "github.com/vitserve/vitserve"
)

func evaluated(t *testing.T, code int, args ...string) (v lib.Evaluation) {
	t.Helper()
	got := vitserve(t, append([]string{"eval", "--json"}, args...)...)
	require.Equal(t, code, got.code, got.stderr)
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &v))
	return v
}

// TestEvalTables: tables as spreadsheets and scripts write them.
func TestEvalTables(t *testing.T) {
	dir := truths(t, map[string]string{"x/a.jpg": "banana.jpg", "y/a.jpg": "orange.jpg", "b.jpg": "orange.jpg"})
	for name, table := range map[string]string{
		"commas":         "file,label\nx/a.jpg,banana\ny/a.jpg,17\nb.jpg,orange\n",
		"BOM":            "\xef\xbb\xbffile,label\nx/a.jpg,banana\ny/a.jpg,17\nb.jpg,orange\n",
		"semicolons":     "file;label\nx/a.jpg;banana\ny/a.jpg;17\nb.jpg;orange\n",
		"tabs":           "file\tlabel\nx/a.jpg\tbanana\ny/a.jpg\t17\nb.jpg\torange\n",
		"BOM, CRLF":      "\xef\xbb\xbfFilename;Class\r\nx/a.jpg;banana\r\ny/a.jpg;17\r\nb.jpg;orange\r\n",
		"filename":       "filename,label\nx/a.jpg,banana\ny/a.jpg,17\nb.jpg,orange\n",
		"image, class":   "id,image,class\n1,./x/a.jpg,banana\n2,y/a.jpg,17\n3,b.jpg,orange\n",
		"path, category": "category, path\nbanana,x/a.jpg\n17,y/a.jpg\norange,b.jpg\n",
	} {
		if name == "path, category" {
			table = strings.Replace(table, ", path", ",path", 1)
		}
		truth := filepath.Join(dir, "truth.csv")
		require.NoError(t, os.WriteFile(truth, []byte(table), 0o600))
		v := evaluated(t, exitOK, "--truth", truth, dir)
		require.Equal(t, lib.Tally{Pictures: 3, First: 3, Five: 3}, v.All, name)
	}
	for table, says := range map[string]string{
		"file,label\nx/a.jpg,banana\nx/a.jpg,orange\n":   "two lines for x/a.jpg",
		"file,label\nx/a.jpg,banana\n./x/a.jpg,banana\n": "two lines for x/a.jpg",
		"what,label\nx/a.jpg,banana\n":                   "want file among them",
	} {
		truth := filepath.Join(dir, "truth.csv")
		require.NoError(t, os.WriteFile(truth, []byte(table), 0o600))
		got := vitserve(t, "eval", "--truth", truth, dir)
		require.Equal(t, exitFailed, got.code)
		require.Contains(t, got.stderr, says)
	}
}

// TestEvalLinks: folders that are links are measured, loops are told.
func TestEvalLinks(t *testing.T) {
	dir := truths(t, map[string]string{"real/banana/1.jpg": "banana.jpg"})
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "val"), 0o755))
	require.NoError(t, os.Symlink(filepath.Join(dir, "real", "banana"), filepath.Join(dir, "val", "banana")))
	require.NoError(t, os.Symlink(filepath.Join(dir, "val"), filepath.Join(dir, "linked")))
	for _, at := range []string{"val", "linked"} {
		require.Equal(t, 1, evaluated(t, exitOK, filepath.Join(dir, at)).All.Pictures, at)
	}
	require.NoError(t, os.Symlink(filepath.Join(dir, "val"), filepath.Join(dir, "val", "again")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "val", "photo.DNG"), []byte("x"), 0o600))
	got := vitserve(t, "eval", filepath.Join(dir, "val"))
	require.Equal(t, exitFailed, got.code, "not all was looked at")
	require.Contains(t, got.stderr, "1 passed over that are links back")
	require.Contains(t, got.stderr, "1 passed over of formats that are not decoded")
	require.Contains(t, got.stdout, "top-1 100.00 %")
	require.Contains(t, got.stdout, "95 % intervals: top-1 20.65 to 100.00 %", "Wilson's of one in one")
}

// TestEvalRows: a row for each picture, and the first pictures alone.
func TestEvalRows(t *testing.T) {
	dir := truths(t, map[string]string{"banana/1.jpg": "banana.jpg", "tabby/2.jpg": "banana.jpg", "pizza/3.jpg": "broken.jpg"})
	out := filepath.Join(t.TempDir(), "rows.csv")
	evaluated(t, exitFailed, "--output", out, dir)
	f, err := os.Open(out)
	require.NoError(t, err)
	defer f.Close()
	table, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	require.Len(t, table, 4)
	require.Equal(t, []string{"file", "label", "class", "predicted", "predicted_label", "score", "rank", "error"}, table[0])
	rank := map[string]string{}
	for _, r := range table[1:] {
		rank[r[1]] = r[6]
		require.Equal(t, r[1] == "pizza", r[7] != "", r)
	}
	require.Equal(t, "1", rank["banana"])
	require.Equal(t, "0", rank["pizza"])

	out = filepath.Join(t.TempDir(), "rows.jsonl")
	require.Equal(t, 1, evaluated(t, exitOK, "--limit", "1", "--output", out, dir).All.Pictures)
	text, err := os.ReadFile(out)
	require.NoError(t, err)
	var one row
	require.NoError(t, json.Unmarshal(text, &one))
	require.Equal(t, "banana", one.Name)
	require.Equal(t, 1, one.Rank)
	for _, args := range [][]string{{"--limit", "-1"}, {"--output", "rows.xml"}} {
		require.Equal(t, exitUsage, vitserve(t, append(append([]string{"eval"}, args...), dir)...).code)
	}
}

// TestEvalAmbiguous: a label that two classes have is refused, as explain
// does.
func TestEvalAmbiguous(t *testing.T) {
	var names []string
	for i := range 20 {
		names = append(names, []string{"crane", "kite", "bird"}[min(i/2, 2)]+map[bool]string{true: "", false: string(rune('a' + i))}[i < 2])
	}
	labels := filepath.Join(t.TempDir(), "labels.txt")
	require.NoError(t, os.WriteFile(labels, []byte(strings.Join(names, "\n")+"\n"), 0o600))
	got := vitserve(t, "eval", "--labels", labels, truths(t, map[string]string{"Crane/1.jpg": "banana.jpg"}))
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "is the label of 2 classes, want an index, such as 0 or 1")
}

// TestEvalOutputs: a single output is right where its score is at least a
// half; of a regression nothing is.
func TestEvalOutputs(t *testing.T) {
	trials := filepath.Join("..", "..", "models", "testdata", "trials")
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "defect"), 0o755))
	data, err := os.ReadFile(filepath.Join(trials, "plain.png"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "defect", "1.png"), data, 0o600))
	require.Equal(t, 1, evaluated(t, exitOK, "--model", filepath.Join(trials, "hf_onelogit"), dir).All.First, "0.626")
	require.NoError(t, os.Rename(filepath.Join(dir, "defect"), filepath.Join(dir, "ant")))
	got := vitserve(t, "eval", "--model", filepath.Join(trials, "hf_regression3"), dir)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "is a regression")
}
