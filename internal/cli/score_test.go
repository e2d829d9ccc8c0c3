package cli

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/score"
)

// scoreRows are the objects of a part.
func scoreRows(t *testing.T, name string) (rows []score.Row) {
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	for line := range strings.Lines(string(data)) {
		var r score.Row
		require.NoError(t, json.Unmarshal([]byte(line), &r))
		rows = append(rows, r)
	}
	return rows
}

// TestScoreRows: the table says what classify, embed and explain say.
func TestScoreRows(t *testing.T) {
	in := truths(t, map[string]string{"a.jpg": "banana.jpg", "b.jpg": "broken.jpg", "c.jpg": "sideways.jpg"})
	out := filepath.Join(t.TempDir(), "out")
	got := vitserve(t, "score", in, "--output", out, "--embed", "--pool", "mean", "--l2", "--focus", "--top-k", "2")
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Contains(t, got.stderr, "3 rows, 1 with an error")
	rows := scoreRows(t, filepath.Join(out, "part-00000-of-00001.jsonl"))
	require.Len(t, rows, 3)
	require.Equal(t, filepath.Join(in, "b.jpg"), rows[1].Key)
	require.Contains(t, rows[1].Error, "truncated JPEG")
	require.Nil(t, rows[1].Best)
	require.Nil(t, rows[1].Photo)

	m, err := lib.Open("")
	require.NoError(t, err)
	defer m.Close()
	for i, name := range map[int]string{0: "a.jpg", 2: "c.jpg"} {
		row, photo := rows[i], lib.File(filepath.Join(in, name))
		a, err := m.Classify(t.Context(), photo)
		require.NoError(t, err)
		require.Empty(t, row.Error)
		require.Equal(t, a.Predictions[0].Label, row.Label)
		require.Equal(t, float32(a.Predictions[0].Score), row.Score)
		require.Len(t, row.TopK, 2)
		require.Equal(t, a.Predictions[1].Label, row.TopK[1].Label)
		require.Equal(t, a.Geometry.Photo, [2]int{int(row.Width), int(row.Height)})
		x, err := m.Explain(t.Context(), photo)
		require.NoError(t, err)
		d := x.Maps[0].Map.Digest(x.Geometry)
		require.Equal(t, score.Look{
			Row: int32(d.Row), Col: int32(d.Col), X: float32(d.X), Y: float32(d.Y),
			Entropy: float32(d.Entropy), TopFifth: float32(d.TopFifth), Coverage: float32(x.Geometry.Coverage),
		}, *row.Look)
		var length float64
		for _, v := range row.Embedding {
			length += float64(v) * float64(v)
		}
		require.InDelta(t, 1, length, 1e-5)
	}

	// The same as CSV and as Parquet.
	for _, format := range []string{"csv", "parquet"} {
		got := vitserve(t, "score", in, "--output", out, "--embed", "--focus", "--format", format)
		require.Equal(t, exitOK, got.code, got.stderr)
	}
	f, err := os.Open(filepath.Join(out, "part-00000-of-00001.csv"))
	require.NoError(t, err)
	defer f.Close()
	table, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	require.Equal(t, "key error model width height label index score topk embedding focus_row focus_col focus_x focus_y focus_entropy focus_top_fifth focus_coverage", strings.Join(table[0], " "))
	require.Equal(t, "banana", table[1][5])
	require.Equal(t, strings.Repeat(",", 13), strings.Join(table[2][3:], ","), "a broken photo has nothing but its error")

	// A part that is there is left, unless it is forced.
	part := filepath.Join(out, "part-00000-of-00001.jsonl")
	require.NoError(t, os.WriteFile(part, []byte("{}\n"), 0o644))
	got = vitserve(t, "score", in, "--output", out)
	require.Equal(t, exitOK, got.code)
	require.Contains(t, got.stderr, "is there already")
	require.Equal(t, exitOK, vitserve(t, "score", in, "--output", out, "--force").code)
	require.Len(t, scoreRows(t, part), 3)
}

// TestScoreManifests: what a manifest of each kind names, from the disk and
// from a server, is the same rows.
func TestScoreManifests(t *testing.T) {
	dir := truths(t, map[string]string{"x/a.jpg": "banana.jpg", "x/b.jpg": "beacon.jpg"})
	zipped := func(text string) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(text))
		require.NoError(t, z.Close())
		return b.Bytes()
	}
	writeFile(t, dir, "list.txt", []byte("\ufeffx/a.jpg\r\n\r\nx/b.jpg\r\nx/none.jpg"))
	writeFile(t, dir, "list.txt.gz", zipped("x/a.jpg\nx/b.jpg\nx/none.jpg\n"))
	writeFile(t, dir, "list.csv", []byte("size;Path\n1;x/a.jpg\n2;x/b.jpg\n3;x/none.jpg\n"))
	writeFile(t, dir, "list.tsv", []byte("url\tlabel\nx/a.jpg\t1\nx/b.jpg\t2\nx/none.jpg\t3\n"))
	web := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer web.Close()
	var want []score.Row
	for _, name := range []string{"list.txt", "list.txt.gz", "list.csv", "list.tsv"} {
		for _, base := range []string{dir, web.URL} {
			out := t.TempDir()
			got := vitserve(t, "score", base+"/"+name, "--output", out)
			require.Equal(t, exitOK, got.code, got.stderr)
			rows := scoreRows(t, filepath.Join(out, "part-00000-of-00001.jsonl"))
			require.Len(t, rows, 3)
			require.Contains(t, rows[2].Error, map[bool]string{true: "404", false: "no such file"}[base == web.URL])
			rows[2].Error = ""
			if want == nil {
				want = rows
			}
			require.Equal(t, want, rows, "%s of %s", name, base)
		}
	}
}

// TestScoreTrouble: a server that breaks off and fails is asked again from
// where it stopped; one that stays away ends the process without a part, and
// what is not there is a row.
func TestScoreTrouble(t *testing.T) {
	photo, err := os.ReadFile(filepath.Join("..", "..", "testdata", "images", "banana.jpg"))
	require.NoError(t, err)
	var asked atomic.Int64
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/once.jpg": // half of it, then a failure, then the rest
			w.Header().Set("ETag", `"1"`)
			switch asked.Add(1) {
			case 1:
				w.Header().Set("Content-Length", "10000")
				_, _ = w.Write(photo[:5000])
				panic(http.ErrAbortHandler)
			case 2:
				http.Error(w, "busy", http.StatusServiceUnavailable)
			default:
				if r.Header.Get("Range") != "bytes=5000-" || r.Header.Get("If-Range") != `"1"` {
					http.Error(w, "want the rest", http.StatusTeapot)
					return
				}
				w.WriteHeader(http.StatusPartialContent)
				_, _ = w.Write(photo[5000:])
			}
		case "/away.jpg":
			http.Error(w, "busy", http.StatusServiceUnavailable)
		default:
			http.NotFound(w, r)
		}
	}))
	defer web.Close()
	out := t.TempDir()
	got := vitserve(t, "score", web.URL+"/once.jpg", web.URL+"/none.jpg", "--output", out)
	require.Equal(t, exitOK, got.code, got.stderr)
	rows := scoreRows(t, filepath.Join(out, "part-00000-of-00001.jsonl"))
	require.Empty(t, rows[0].Error)
	require.Equal(t, "banana", rows[0].Label)
	require.Contains(t, rows[1].Error, "404 Not Found")

	out = t.TempDir()
	got = vitserve(t, "score", web.URL+"/away.jpg", "--output", out)
	require.Equal(t, exitFailed, got.code, "worth starting again")
	require.Contains(t, got.stderr, "503")
	list, err := os.ReadDir(out)
	require.NoError(t, err)
	require.Empty(t, list)
}

// TestScoreRefuses: what is hopeless is 42, what was typed wrong is 2.
func TestScoreRefuses(t *testing.T) {
	dir := truths(t, map[string]string{"a.jpg": "banana.jpg"})
	writeFile(t, dir, "no.csv", []byte("size,owner\n1,2\n"))
	writeFile(t, dir, "no.parquet", []byte("this is no table at all"))
	writeFile(t, dir, "empty.csv", nil)
	out := filepath.Join(t.TempDir(), "out")
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{dir}, exitUsage, "no --output"},
		{[]string{"-o", out}, exitUsage, "no photos given"},
		{[]string{dir, "-o", out, "--format", "arrow"}, exitUsage, "--format arrow"},
		{[]string{dir, "-o", out, "--shard", "3"}, exitUsage, "without --shards"},
		{[]string{dir, "-o", out, "--shards", "2"}, exitUsage, "neither --shard nor JOB_COMPLETION_INDEX"},
		{[]string{dir, "-o", out, "--shards", "2", "--shard", "2"}, exitUsage, "want 0 to 1"},
		{[]string{dir, "-o", out, "--l2"}, exitUsage, "--embed"},
		{[]string{dir, "-o", out, "--focus=rolout"}, exitUsage, "rollout"},
		{[]string{dir, "-o", out, "--finish"}, exitUsage, "--finish with photos"},
		{[]string{at("no.csv"), "-o", out}, exitHopeless, "want file"},
		{[]string{at("empty.csv"), "-o", out}, exitHopeless, "empty.csv"},
		{[]string{at("no.parquet"), "-o", out}, exitHopeless, "no.parquet"},
		{[]string{at("none.txt"), "-o", out}, exitHopeless, "no such manifest"},
		{[]string{at("none"), "-o", out}, exitHopeless, "none"},
		{[]string{dir, "-o", out, "--model", "nomodel"}, exitHopeless, "nomodel"},
		{[]string{"s3://bucket/photos/", "-o", out}, exitHopeless, "cloud/cmd/vitserve"},
		{[]string{dir, "-o", "http://127.0.0.1:1/out"}, exitFailed, "127.0.0.1:1"},
		{[]string{"--finish", "-o", out, "--shards", "3"}, exitFailed, "3 of 3 parts are missing: shard 0, 1, 2"},
	} {
		got := vitserve(t, append([]string{"score"}, c.args...)...)
		require.Equal(t, c.code, got.code, "%q: %s", c.args, got.stderr)
		require.Contains(t, got.stderr, c.want)
	}
	for _, name := range score.Indexes() {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "1")
			got := vitserve(t, "score", dir, "-o", out)
			require.Equal(t, exitUsage, got.code)
			require.Contains(t, got.stderr, name+"=1 says that this is one of several")
			got = vitserve(t, "score", dir, "-o", out, "--shards", "2")
			require.Equal(t, exitOK, got.code, got.stderr)
			require.FileExists(t, filepath.Join(out, "part-00001-of-00002.jsonl"))
			require.Equal(t, exitOK, vitserve(t, "score", dir, "-o", out, "--shards", "2", "--shard", "0").code)
			require.Equal(t, exitOK, vitserve(t, "score", "--finish", "-o", out, "--shards", "2").code)
			require.NoError(t, os.RemoveAll(out))
		})
	}
}

// TestScoreMetrics: what is counted is told while it runs.
func TestScoreMetrics(t *testing.T) {
	dir := truths(t, map[string]string{"a.jpg": "banana.jpg", "b.jpg": "broken.jpg"})
	m, err := lib.Open("")
	require.NoError(t, err)
	defer m.Close()
	job := score.Job{Inputs: []string{dir}, Output: t.TempDir(), Metrics: score.NewMetrics(), Prefetch: 2}
	_, err = job.Run(t.Context(), m)
	require.NoError(t, err)
	w := httptest.NewRecorder()
	job.Metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Contains(t, w.Body.String(), "vitserve_score_rows_total 2\n")
	require.Contains(t, w.Body.String(), "vitserve_score_failed_total 1\n")
	require.Contains(t, w.Body.String(), "vitserve_score_committed 1\n")
	got := vitserve(t, "score", dir, "-o", t.TempDir(), "--metrics-addr", "nowhere:x")
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "--metrics-addr")
}
