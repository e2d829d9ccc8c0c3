//go:build unix

package cli

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	reference "github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

var scorePhotos = flag.Int("scorephotos", 500, "how many photos TestScoreKilled scores in each way; 10000 is what docs/scale.md reports")

// pile is a folder of small photos, one in a hundred of them broken, with
// manifests and tar files of the same.
func pile(t *testing.T, n int) string {
	dir := t.TempDir()
	var kinds [][]byte
	for seed := range 50 {
		var b bytes.Buffer
		require.NoError(t, jpeg.Encode(&b, picture(seed, 40+seed, 50), nil))
		kinds = append(kinds, b.Bytes())
	}
	var names []string
	const shards = 40
	tars := make([]*tar.Writer, shards)
	for i := range tars {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("shard-%03d.tar", i)))
		require.NoError(t, err)
		defer func() { require.NoError(t, f.Close()) }()
		tars[i] = tar.NewWriter(f)
	}
	for i := range n {
		data := kinds[i%len(kinds)]
		if i%100 == 37 {
			data = data[:len(data)/2]
		}
		name := fmt.Sprintf("photos/%d/%05d.jpg", i%10, i)
		writeFile(t, dir, name, data)
		names = append(names, name)
		w := tars[i*shards/n]
		require.NoError(t, w.WriteHeader(&tar.Header{Name: fmt.Sprintf("%05d.jpg", i), Mode: 0o644, Size: int64(len(data))}))
		_, err := w.Write(data)
		require.NoError(t, err)
	}
	for _, w := range tars {
		require.NoError(t, w.Close())
	}
	writeFile(t, dir, "all.txt", []byte(strings.Join(names, "\n")+"\n"))
	writeFile(t, dir, "all.csv", []byte("id,file\n"+strings.Join(names, "\n")+"\n"))
	table := "key,path\n"
	type entry struct {
		Path string `parquet:"path"`
		Key  string `parquet:"key"`
	}
	var entries []entry
	for i, name := range names {
		table += fmt.Sprintf("k%d,%s\n", i, name)
		entries = append(entries, entry{name, fmt.Sprintf("k%d", i)})
	}
	writeFile(t, dir, "all.csv", []byte(table))
	require.NoError(t, reference.WriteFile(filepath.Join(dir, "all.parquet"), entries))
	return dir
}

// scored are the lines of all parts, sorted.
func scored(t *testing.T, dir, format string) (lines []string) {
	parts, err := filepath.Glob(filepath.Join(dir, "part-*."+format))
	require.NoError(t, err)
	for _, p := range parts {
		if format == "parquet" {
			lines = append(lines, parquetLines(t, p)...)
			continue
		}
		data, err := os.ReadFile(p)
		require.NoError(t, err)
		rows := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
		if format == "csv" {
			rows = rows[1:]
		}
		if len(data) > 0 {
			lines = append(lines, rows...)
		}
	}
	slices.Sort(lines)
	return lines
}

// parquetLines are the rows of a part by the library's own reader.
func parquetLines(t *testing.T, name string) (lines []string) {
	f, err := os.Open(name)
	require.NoError(t, err)
	defer f.Close()
	r := reference.NewReader(f)
	defer r.Close()
	for {
		row := map[string]any{}
		err := r.Read(&row)
		if errors.Is(err, io.EOF) {
			return lines
		}
		require.NoError(t, err)
		line, err := json.Marshal(row)
		require.NoError(t, err)
		lines = append(lines, string(line))
	}
}

// TestScoreKilled: twenty processes, each told its shard by the environment,
// are killed at random and started again until each has ended by itself. The
// union of their parts is what one process writes, byte for byte.
func TestScoreKilled(t *testing.T) {
	n := *scorePhotos
	dir := pile(t, n)
	web := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer web.Close()
	for _, c := range []struct {
		name, format string
		inputs       []string
	}{
		{"folder", "jsonl", []string{filepath.Join(dir, "photos")}},
		{"table", "csv", []string{filepath.Join(dir, "all.csv")}},
		{"tars", "parquet", []string{filepath.Join(dir, "shard-{000..039}.tar")}},
		{"web", "jsonl", []string{web.URL + "/all.parquet"}},
		{"tars of the web", "jsonl", []string{web.URL + "/shard-{000..039}.tar"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			one, many := t.TempDir(), t.TempDir()
			args := append([]string{"score", "--threads", "1", "--format", c.format}, c.inputs...)
			start := time.Now()
			got := vitserve(t, append(args, "--output", one)...)
			require.Equal(t, exitOK, got.code, got.stderr)
			require.Contains(t, got.stderr, fmt.Sprintf("%d rows, %d with an error", n, n/100))
			killed := scoreKilled(t, append(args, "--output", many, "--shards", "20"), time.Since(start))
			t.Logf("%d processes were killed", killed)
			require.Positive(t, killed)

			want := scored(t, one, c.format)
			require.Len(t, want, n)
			require.Equal(t, want, scored(t, many, c.format))
			keys := map[string]bool{}
			for _, line := range want {
				if c.format != "csv" {
					var row struct {
						Key   string `json:"key"`
						Error string `json:"error"`
					}
					require.NoError(t, json.Unmarshal([]byte(line), &row))
					keys[row.Key] = true
				} else {
					key, _, _ := strings.Cut(line, ",")
					keys[key] = true
				}
			}
			require.Len(t, keys, n, "every key once")

			got = vitserve(t, "score", "--finish", "--format", c.format, "--shards", "20", "--output", many)
			require.Equal(t, exitOK, got.code, got.stderr)
			require.Equal(t, fmt.Sprintf("20 parts, %d rows, %d with an error\n", n, n/100), got.stdout)
			list, err := os.ReadDir(many)
			require.NoError(t, err)
			require.Len(t, list, 21, "the parts and _SUCCESS, and nothing that the killed have left: %v", list)
		})
	}
}

// scoreKilled runs twenty processes, a few at a time, and kills some of them
// before as long has passed as all photos take one process.
func scoreKilled(t *testing.T, args []string, whole time.Duration) int {
	self, err := os.Executable()
	require.NoError(t, err)
	var killed atomic.Int64
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	var all errgroup.Group
	all.SetLimit(4)
	for shard := range 20 {
		all.Go(func() error {
			for try := 0; ; try++ {
				cmd := exec.Command(self, args...)
				cmd.Env = append(os.Environ(), asCommand+"=1", fmt.Sprintf("JOB_COMPLETION_INDEX=%d", shard))
				var said bytes.Buffer
				cmd.Stderr = &said
				if err := cmd.Start(); err != nil {
					return err
				}
				mu.Lock()
				kill, after := try < 5 && random.IntN(3) > 0, time.Duration(random.Int64N(int64(whole/4+50*time.Millisecond)))
				mu.Unlock()
				if kill {
					time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
				}
				err := cmd.Wait()
				if err == nil {
					return nil
				}
				if cmd.ProcessState.ExitCode() >= 0 {
					return fmt.Errorf("shard %d: %w: %s", shard, err, said.String())
				}
				killed.Add(1)
			}
		})
	}
	require.NoError(t, all.Wait())
	return int(killed.Load())
}
