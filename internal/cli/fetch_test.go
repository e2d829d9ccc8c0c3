package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// atHub sets a user's environment: a hub, and a cache of its own.
func atHub(t *testing.T, url string) (cache string) {
	t.Helper()
	cache = t.TempDir()
	for name, value := range map[string]string{
		"HF_ENDPOINT": url, "HF_HUB_CACHE": cache, "HF_HOME": cache, "HF_TOKEN": "", "HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "",
	} {
		t.Setenv(name, value)
	}
	return cache
}

// counted counts the requests that a hub answers.
func counted(t *testing.T, hub *httptest.Server) (url string, n *atomic.Int64) {
	t.Helper()
	n = &atomic.Int64{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		hub.Config.Handler.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, n
}

func starterHub(t *testing.T, name string) *httptest.Server {
	t.Helper()
	return hubOf(t, name, filepath.Join("..", "..", "models", "starter"))
}

// TestFetch: a model of the hub is fetched by the command that first asks for
// it, once, and by every command.
func TestFetch(t *testing.T) {
	const name = "acme/starter"
	image := writeFile(t, t.TempDir(), "x.png", testPicture(t))
	url, asked := counted(t, starterHub(t, name))
	cache := atHub(t, url)

	got := vitserve(t, "classify", "--json", "--model", name, image)
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Equal(t, vitserve(t, "classify", "--json", image).stdout, got.stdout)
	require.Contains(t, got.stderr, "fetching "+name+" from 127.0.0.1:")
	require.Contains(t, got.stderr, "model.safetensors: ")
	require.NotContains(t, got.stderr, "\r", "no bar without a terminal")
	require.NotContains(t, got.stderr, "\x1b")
	require.DirExists(t, filepath.Join(cache, "models--acme--starter"))

	before := asked.Load()
	got = vitserve(t, "classify", "--json", "--model", name, image)
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Equal(t, before, asked.Load(), "what is there is not asked for again")
	require.NotContains(t, got.stderr, "fetching")

	list := vitserve(t, "models")
	require.Equal(t, exitOK, list.code, list.stderr)
	require.Contains(t, list.stdout, name)
	var l modelList
	require.NoError(t, json.Unmarshal([]byte(vitserve(t, "models", "--json").stdout), &l))
	require.Len(t, l.Cached, 1)
	require.Equal(t, name, l.Cached[0].Name)
	require.Positive(t, l.Cached[0].Bytes)
	require.Equal(t, before, asked.Load(), "models asks nobody")

	for _, args := range [][]string{
		{"explain", "--model", name, image}, {"embed", "--model", name, image}, {"inspect", name}, {"bench", "--model", name, "--runs", "1", "--seconds", "0.01", "--precision", "f32"},
	} {
		url, asked := counted(t, starterHub(t, name))
		atHub(t, url)
		got := vitserve(t, args...)
		require.Equal(t, exitOK, got.code, "%v: %s", args, got.stderr)
		require.Positive(t, asked.Load(), "%v", args)
	}
}

// TestFetchOffline: nobody is asked by who said so, in either way.
func TestFetchOffline(t *testing.T) {
	const name = "acme/starter"
	image := writeFile(t, t.TempDir(), "x.png", testPicture(t))
	url, asked := counted(t, starterHub(t, name))
	atHub(t, url)
	got := vitserve(t, "classify", "--offline", "--model", name, image)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "vitserve pull "+name)
	t.Setenv("HF_HUB_OFFLINE", "1")
	got = vitserve(t, "classify", "--model", name, image)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "vitserve pull "+name)
	require.Zero(t, asked.Load())
	require.Equal(t, exitFailed, vitserve(t, "serve", "--addr", "127.0.0.1:0", "--model", name).code)
	require.Zero(t, asked.Load())
}

// TestFetchWhatIsNotThere: no such model, no such hub.
func TestFetchWhatIsNotThere(t *testing.T) {
	image := writeFile(t, t.TempDir(), "x.png", testPicture(t))
	atHub(t, starterHub(t, "acme/starter").URL)
	got := vitserve(t, "classify", "--model", "acme/startr", image)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "acme/startr")
	require.Contains(t, got.stderr, "not found")
	readable(t, notes.ReplaceAllString(got.stderr, ""))

	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	atHub(t, gone.URL)
	got = vitserve(t, "classify", "--model", "acme/starter", image)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "cannot be reached")
	require.Contains(t, got.stderr, "vitserve pull acme/starter")
}

// TestFetchGoesOn: what was cut off is completed, not begun anew.
func TestFetchGoesOn(t *testing.T) {
	const name = "acme/starter"
	image := writeFile(t, t.TempDir(), "x.png", testPicture(t))
	hub := starterHub(t, name)
	var ranges sync.Map
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/model.safetensors") || r.Method != http.MethodGet {
			hub.Config.Handler.ServeHTTP(w, r)
			return
		}
		ranges.Store(r.Header.Get("Range"), true)
		hub.Config.Handler.ServeHTTP(w, r)
	}))
	defer s.Close()
	cache := atHub(t, s.URL)
	half := filepath.Join(cache, "models--acme--starter", "blobs")
	require.NoError(t, os.MkdirAll(half, 0o755))

	data, err := os.ReadFile(filepath.Join("..", "..", "models", "starter", "model.safetensors"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(half, blobName(data)+".incomplete"), data[:len(data)/2], 0o644))
	got := vitserve(t, "classify", "--json", "--model", name, image)
	require.Equal(t, exitOK, got.code, got.stderr)
	_, whole := ranges.Load("")
	require.False(t, whole, "nothing was fetched from its beginning")
	require.Equal(t, vitserve(t, "classify", "--json", image).stdout, got.stdout)
}

// TestFetchWithoutRoom: a model larger than the disk is refused before it is
// fetched.
func TestFetchWithoutRoom(t *testing.T) {
	const name = "acme/starter"
	image := writeFile(t, t.TempDir(), "x.png", testPicture(t))
	hub := starterHub(t, name)
	fetched := atomic.Bool{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/model.safetensors") {
			if r.Method == http.MethodHead {
				w.Header().Set("ETag", `"`+strings.Repeat("a", 64)+`"`)
				w.Header().Set("X-Linked-Size", "1000000000000000000")
				w.Header().Set("X-Linked-Etag", `"`+strings.Repeat("a", 64)+`"`)
				return
			}
			fetched.Store(true)
		}
		hub.Config.Handler.ServeHTTP(w, r)
	}))
	defer s.Close()
	atHub(t, s.URL)
	got := vitserve(t, "classify", "--model", name, image)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "the disk is full: 1000000000000000000 bytes more are needed")
	require.Contains(t, got.stderr, "set HF_HOME")
	require.False(t, fetched.Load())
}

// TestFetchTwice: two that ask at once fetch once, and both answer.
func TestFetchTwice(t *testing.T) {
	const name = "acme/starter"
	image := writeFile(t, t.TempDir(), "x.png", testPicture(t))
	hub := starterHub(t, name)
	var bodies atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/model.safetensors") && r.Method == http.MethodGet {
			bodies.Add(1)
		}
		hub.Config.Handler.ServeHTTP(w, r)
	}))
	defer s.Close()
	atHub(t, s.URL)
	var both sync.WaitGroup
	var got [2]answered
	for i := range got {
		both.Go(func() { got[i] = vitserve(t, "classify", "--json", "--model", name, image) })
	}
	both.Wait()
	for _, g := range got {
		require.Equal(t, exitOK, g.code, g.stderr)
		require.Equal(t, got[0].stdout, g.stdout)
	}
	require.EqualValues(t, 1, bodies.Load())
}

// TestServeFetches: at its start; a lazy model at its first request only where
// that is configured.
func TestServeFetches(t *testing.T) {
	const name = "acme/starter"
	url, asked := counted(t, starterHub(t, name))
	atHub(t, url)
	classify := func(addr string) int {
		res, err := http.Post("http://"+strings.TrimPrefix(addr, "http://")+"/v1/classify?model=m", "image/png", strings.NewReader(string(testPicture(t))))
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return res.StatusCode
	}
	addr, stop := startServer(t, "--model", "m="+name)
	require.Positive(t, asked.Load())
	require.Equal(t, http.StatusOK, classify(addr))
	require.Equal(t, exitOK, stop())

	for mode, want := range map[string][2]int{ // of a lazy model: status, and whether the start has asked the hub
		"start": {http.StatusOK, 1}, "request": {http.StatusOK, 0}, "never": {http.StatusServiceUnavailable, 0},
	} {
		url, asked := counted(t, starterHub(t, name))
		atHub(t, url)
		config := writeFile(t, t.TempDir(), "serve.yaml", []byte("models: [starter, {id: m, path: "+name+", lazy: true}]\nfetch_models: "+mode+"\n"))
		addr, stop := startServer(t, "--config", config)
		require.Equal(t, want[1] == 1, asked.Load() > 0, mode)
		require.Equal(t, want[0], classify(addr), mode)
		require.Equal(t, mode != "never", asked.Load() > 0, mode)
		require.Equal(t, exitOK, stop())
	}
}
