package cloud

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
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
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/vitserve/vitserve/internal/cli"
	"gocloud.dev/blob"
)

// asCommand has the test program be the command.
const asCommand = "VITSERVE_TEST_AS_COMMAND"

func init() {
	if os.Getenv(asCommand) != "" {
		os.Exit(cli.Main(Stores()))
	}
}

// fake is S3 on loopback with a bucket of photos, a hundredth of them broken,
// as objects and in tar files.
func fake(t *testing.T, n int) (query string) {
	t.Helper()
	server := httptest.NewServer(gofakes3.New(s3mem.New()).Server())
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "us-east-1",
	} {
		t.Setenv(name, value)
	}
	query = "?endpoint=" + server.URL + "&use_path_style=true&disable_https=true&region=us-east-1"
	for _, bucket := range []string{"photos", "scores"} {
		resp, err := server.Client().Do(must(newRequest("PUT", server.URL+"/"+bucket)))
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(err, resp)
		}
		resp.Body.Close()
	}
	b, err := blob.OpenBucket(t.Context(), "s3://photos"+query)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	list := "file\n"
	const shards = 20
	var tars [shards]bytes.Buffer
	var writers [shards]*tar.Writer
	for i := range writers {
		writers[i] = tar.NewWriter(&tars[i])
	}
	put := func(key string, data []byte) {
		if err := b.WriteAll(t.Context(), key, data, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		m := image.NewNRGBA(image.Rect(0, 0, 40, 40))
		for k := range 1600 {
			m.SetNRGBA(k%40, k/40, color.NRGBA{uint8(k * i), uint8(k / 5), uint8(i), 255})
		}
		var file bytes.Buffer
		if err := jpeg.Encode(&file, m, nil); err != nil {
			t.Fatal(err)
		}
		data := file.Bytes()
		if i%100 == 37 {
			data = data[:len(data)/2]
		}
		key := fmt.Sprintf("some/%05d.jpg", i)
		put(key, data)
		list += key + "\n"
		w := writers[i%shards]
		if err := w.WriteHeader(&tar.Header{Name: key, Size: int64(len(data)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	put("all.csv", []byte(list))
	for i := range writers {
		if err := writers[i].Close(); err != nil {
			t.Fatal(err)
		}
		put(fmt.Sprintf("shard-%02d.tar", i), tars[i].Bytes())
	}
	return query
}

// lines are those of all parts under a folder of the bucket, sorted.
func lines(t *testing.T, folder, query string) (all []string) {
	t.Helper()
	b, err := blob.OpenBucket(t.Context(), "s3://scores"+query)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for list := b.List(&blob.ListOptions{Prefix: folder + "/part-"}); ; {
		o, err := list.Next(t.Context())
		if err == io.EOF {
			slices.Sort(all)
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := b.ReadAll(t.Context(), o.Key)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")...)
	}
}

// TestKilled: twenty processes read from a bucket and write to another, are
// killed at random and started again; the union of their parts is what one
// process writes, byte for byte.
func TestKilled(t *testing.T) {
	const n = 200
	query := fake(t, n)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, input := range map[string]string{"objects": "s3://photos/some/" + query, "manifest": "s3://photos/all.csv" + query, "tars": "s3://photos/shard-{00..19}.tar" + query} {
		t.Run(name, func(t *testing.T) {
			run := func(kill time.Duration, args ...string) (killed bool) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				cmd := exec.CommandContext(ctx, self, append([]string{"score", "--threads", "1"}, args...)...)
				cmd.Env = append(os.Environ(), asCommand+"=1")
				var said bytes.Buffer
				cmd.Stderr = &said
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				var sent atomic.Bool
				if kill > 0 {
					timer := time.AfterFunc(kill, func() { sent.Store(true); _ = cmd.Process.Kill() })
					defer timer.Stop()
				}
				if err := cmd.Wait(); err != nil && (!sent.Load() || cmd.ProcessState.ExitCode() >= 0) {
					t.Fatalf("%v: %s", err, said.String())
				} else if err != nil {
					return true
				}
				return false
			}
			begin := time.Now()
			run(0, input, "--output", "s3://scores/"+name+"-one"+query)
			took := time.Since(begin)
			kills := 0
			for shard := range 20 {
				for try := 0; run(time.Duration(rand.Int64N(int64(took)))*time.Duration(min(1, max(0, 3-try))), input,
					"--output", "s3://scores/"+name+query, "--shards", "20", "--shard", fmt.Sprint(shard)); try++ {
					kills++
				}
			}
			t.Logf("%d processes were killed", kills)
			want := lines(t, name+"-one", query)
			if len(want) != n {
				t.Fatalf("%d rows, want %d", len(want), n)
			}
			if got := lines(t, name, query); !slices.Equal(want, got) {
				t.Errorf("the parts differ: %d rows, want %d", len(got), len(want))
			}
			if broken := slices.DeleteFunc(slices.Clone(want), func(l string) bool { return !strings.Contains(l, `"error":`) }); len(broken) != n/100 {
				t.Errorf("%d rows with an error: %s", len(broken), broken)
			}
			run(0, "--finish", "--shards", "20", "--output", "s3://scores/"+name+query)
			b := must(blob.OpenBucket(t.Context(), "s3://scores"+query))
			defer b.Close()
			said, err := b.ReadAll(t.Context(), name+"/_SUCCESS")
			if err != nil || !strings.Contains(string(said), fmt.Sprintf(`"rows":%d,"failed":%d`, n, n/100)) {
				t.Errorf("%s: %v", said, err)
			}
		})
	}
}

// TestNone: what is not in a bucket is a row, and a manifest that is not there
// is hopeless.
func TestNone(t *testing.T) {
	query := fake(t, 2)
	out := t.TempDir()
	if err := os.WriteFile(filepath.Join(out, "list.txt"), []byte("s3://photos/none.jpg"+query+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for input, code := range map[string]int{filepath.Join(out, "list.txt"): 0, "s3://photos/none.csv" + query: 42} {
		var said bytes.Buffer
		if got := cli.Run(t.Context(), []string{"score", input, "--output", out, "--force"}, strings.NewReader(""), io.Discard, &said, Stores()); got != code {
			t.Errorf("%s: %d, want %d: %s", input, got, code, said.String())
		}
	}
	text, err := os.ReadFile(filepath.Join(out, "part-00000-of-00001.jsonl"))
	if err != nil || !strings.Contains(string(text), `"error":"file does not exist in the bucket"`) {
		t.Errorf("%s: %v", text, err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newRequest(method, url string) (*http.Request, error) { return http.NewRequest(method, url, nil) }
