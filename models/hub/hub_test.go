package hub

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	org    = "acme/vit-tiny"
	commit = "0123456789abcdef0123456789abcdef01234567"
	token  = "hf_secret"
)

// fakeHub behaves as the hub does: a list of files, small ones of its own
// with git's hash for an etag, large ones on another host with sha256.
type fakeHub struct {
	t        *testing.T
	hub, cdn *httptest.Server
	files    map[string][]byte
	large    map[string]bool

	mu       sync.Mutex
	requests []string                                                       // "GET host path range"
	fail     func(w http.ResponseWriter, r *http.Request, body []byte) bool // of the CDN; true: it has answered
	list     http.HandlerFunc                                               // answers in place of the list of files
	gate     bool                                                           // asks for the token
}

func newHub(t *testing.T) *fakeHub {
	h := &fakeHub{t: t, files: map[string][]byte{
		"config.json": []byte(`{"model_type":"vit"}`), "README.md": []byte("# card"), "model.safetensors": bytes.Repeat([]byte("weights!"), 300_000), "big.bin": []byte("not wanted"),
	}, large: map[string]bool{"model.safetensors": true}}
	h.hub = httptest.NewServer(http.HandlerFunc(h.serveHub))
	h.cdn = httptest.NewServer(http.HandlerFunc(h.serveCDN))
	t.Cleanup(h.hub.Close)
	t.Cleanup(h.cdn.Close)
	return h
}

func (h *fakeHub) client(t *testing.T) *Client {
	return &Client{Endpoint: h.hub.URL, Cache: t.TempDir(), Token: token, firstWait: time.Millisecond}
}

func (h *fakeHub) log(host string, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests = append(h.requests, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", r.Method, host, r.URL.Path, r.Header.Get("Range"))))
}

func (h *fakeHub) count(prefix string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.requests {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}

func sha(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }

func git(b []byte) string {
	s := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(b)), b...))
	return hex.EncodeToString(s[:])
}

func (h *fakeHub) serveHub(w http.ResponseWriter, r *http.Request) {
	h.log("hub", r)
	if r.Header.Get("Authorization") != "Bearer "+token && h.gate {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/old/") || strings.HasPrefix(r.URL.Path, "/api/models/old/") {
		http.Redirect(w, r, strings.Replace(r.URL.Path, "old/name", org, 1), http.StatusTemporaryRedirect)
		return
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/api/models/"+org+"/revision/"); ok {
		if h.list != nil {
			h.list(w, r)
			return
		}
		if rest != "main" && rest != commit && rest != "refs/pr/1" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		var list []map[string]string
		for name := range h.files {
			list = append(list, map[string]string{"rfilename": name})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"sha": commit, "siblings": list})
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/"+org+"/resolve/"+commit+"/")
	data := h.files[name]
	if !ok || data == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("X-Repo-Commit", commit)
	if h.large[name] {
		w.Header().Set("X-Linked-Etag", `"`+sha(data)+`"`)
		w.Header().Set("X-Linked-Size", fmt.Sprint(len(data)))
		w.Header().Set("ETag", `"another"`)
		http.Redirect(w, r, h.cdn.URL+"/signed/"+name, http.StatusFound)
		return
	}
	w.Header().Set("ETag", `W/"`+git(data)+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

func (h *fakeHub) serveCDN(w http.ResponseWriter, r *http.Request) {
	h.log("cdn", r)
	if r.Header.Get("Authorization") != "" {
		h.t.Errorf("the token was sent to another host")
	}
	data := h.files[strings.TrimPrefix(r.URL.Path, "/signed/")]
	if h.fail != nil && h.fail(w, r, data) {
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

func TestPull(t *testing.T) {
	h := newHub(t)
	h.gate = true
	c := h.client(t)
	done := map[string]int64{}
	c.Progress = func(file string, n, size int64) {
		require.LessOrEqual(t, done[file], n)
		require.Len(t, h.files[file], int(size))
		done[file] = n
	}
	dir, err := c.Pull(context.Background(), org, "")
	require.NoError(t, err)
	repo := filepath.Join(c.Cache, "models--acme--vit-tiny")
	require.Equal(t, filepath.Join(repo, "snapshots", commit), dir)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 3, "config, card and weights, and nothing else")
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		require.Equal(t, h.files[e.Name()], data)
		require.Len(t, data, int(done[e.Name()]))
	}
	ref, err := os.ReadFile(filepath.Join(repo, "refs", "main"))
	require.NoError(t, err)
	require.Equal(t, commit, string(ref))
	weights := h.files["model.safetensors"]
	require.FileExists(t, filepath.Join(repo, "blobs", sha(weights)))
	require.FileExists(t, filepath.Join(repo, "blobs", git(h.files["config.json"])))
	link, err := os.Readlink(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	require.Equal(t, filepath.Join("..", "..", "blobs", sha(weights)), link)

	before := len(h.requests)
	again, err := c.Pull(context.Background(), org, commit)
	require.NoError(t, err)
	require.Equal(t, dir, again)
	require.Len(t, h.requests, before+1, "a second pull asks for the list alone")

	h.hub.Close()
	c.Offline = true
	again, err = c.Pull(context.Background(), org, "main")
	require.NoError(t, err)
	require.Equal(t, dir, again)
	_, err = c.Pull(context.Background(), "acme/other", "")
	require.ErrorIs(t, err, ErrNotFound)
}

func TestPullRenamedAndRevision(t *testing.T) {
	h := newHub(t)
	c := h.client(t)
	dir, err := c.Pull(context.Background(), "old/name", "refs/pr/1")
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(dir, "model.safetensors"))
	cached, err := c.Cached("old/name", "refs/pr/1")
	require.NoError(t, err)
	require.Equal(t, dir, cached)
}

// TestPullResumes: what came before a failure is kept, within a pull and from
// one pull to the next.
func TestPullResumes(t *testing.T) {
	h := newHub(t)
	size := len(h.files["model.safetensors"])
	cuts := 0
	h.fail = func(w http.ResponseWriter, r *http.Request, data []byte) bool {
		if cuts++; cuts > 3 {
			return false
		}
		var from int
		_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		w.Header().Set("Content-Length", fmt.Sprint(size-from))
		if from > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, size-1, size))
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = w.Write(data[from : from+size/5])
		panic(http.ErrAbortHandler)
	}
	c := h.client(t)
	dir, err := c.Pull(context.Background(), org, "")
	require.NoError(t, err)
	data, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	require.Equal(t, sha(h.files["model.safetensors"]), sha(data))
	require.Equal(t, 3, h.count("GET cdn /signed/model.safetensors bytes="), "%v", h.requests)

	// From one pull to the next.
	blob := filepath.Join(c.Cache, "models--acme--vit-tiny", "blobs", sha(data))
	require.NoError(t, os.Remove(filepath.Join(dir, "model.safetensors")))
	require.NoError(t, os.Remove(blob))
	require.NoError(t, os.WriteFile(blob+".incomplete", data[:1000], 0o600))
	_, err = c.Pull(context.Background(), org, "")
	require.NoError(t, err)
	require.Equal(t, 1, h.count("GET cdn /signed/model.safetensors bytes=1000-"))
	require.NoFileExists(t, blob+".incomplete")

	// What an earlier process left is not believed.
	require.NoError(t, os.Remove(filepath.Join(dir, "model.safetensors")))
	require.NoError(t, os.Remove(blob))
	require.NoError(t, os.WriteFile(blob+".incomplete", make([]byte, 1000), 0o600))
	_, err = c.Pull(context.Background(), org, "")
	require.NoError(t, err)
	data, err = os.ReadFile(blob)
	require.NoError(t, err)
	require.Equal(t, h.files["model.safetensors"], data)
}

func TestPullFailures(t *testing.T) {
	reply := func(code int, body string) func(http.ResponseWriter, *http.Request, []byte) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
			return true
		}
	}
	for _, c := range []struct {
		name     string
		set      func(*fakeHub, *Client)
		repo     string
		err      string
		notFound bool
	}{
		{name: "wrong bytes", set: func(h *fakeHub, _ *Client) {
			h.fail = reply(200, string(make([]byte, len(h.files["model.safetensors"]))))
		}, err: "is not what it says"},
		{name: "more bytes", set: func(h *fakeHub, _ *Client) {
			h.fail = reply(200, string(make([]byte, len(h.files["model.safetensors"])+1)))
		}, err: "more than the 2400000 bytes"},
		{name: "nothing, again and again", set: func(h *fakeHub, _ *Client) { h.fail = reply(200, "") }, err: "after 6 tries: unexpected EOF"},
		{name: "server error", set: func(h *fakeHub, _ *Client) { h.fail = reply(503, "") }, err: "after 6 tries"},
		{name: "other range", set: func(h *fakeHub, _ *Client) { h.fail = reply(206, "") }, err: "asked for"},
		{name: "expired", set: func(h *fakeHub, _ *Client) { h.fail = reply(403, "") }, err: "not open", notFound: true},
		{name: "gated", set: func(h *fakeHub, c *Client) { h.gate = true; c.Token = "" }, err: "HF_TOKEN", notFound: true},
		{name: "no repository", repo: "acme/none", err: "not found on", notFound: true},
		{name: "no name", repo: "../x", err: "no repository"},
		{name: "weights as a pickle", set: func(h *fakeHub, _ *Client) {
			delete(h.files, "model.safetensors")
			h.files["pytorch_model.bin"] = []byte("x")
		}, err: "vitserve convert"},
		{name: "no weights", set: func(h *fakeHub, _ *Client) { delete(h.files, "model.safetensors") }, err: "no model.safetensors", notFound: true},
		{name: "shard upwards", set: func(h *fakeHub, _ *Client) {
			delete(h.files, "model.safetensors")
			h.files["../up.safetensors"] = []byte("x")
			h.files[indexFile] = []byte(`{"weight_map":{"a":"../up.safetensors"}}`)
		}, err: "no weight file of the repository"},
		{name: "endpoint", set: func(_ *fakeHub, c *Client) { c.Endpoint = "ftp://hub" }, err: "want a URL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHub(t)
			client := h.client(t)
			if c.set != nil {
				c.set(h, client)
			}
			repo := org
			if c.repo != "" {
				repo = c.repo
			}
			_, err := client.Pull(context.Background(), repo, "")
			require.ErrorContains(t, err, c.err)
			require.NotContains(t, err.Error(), token)
			if c.notFound {
				require.ErrorIs(t, err, ErrNotFound)
			}
			require.NoFileExists(t, filepath.Join(client.Cache, "models--acme--vit-tiny", "refs", "main"), "a failed pull has no name")
		})
	}
}

// TestPullWhenBusy: the hub's wish to be left alone is heeded.
func TestPullWhenBusy(t *testing.T) {
	h := newHub(t)
	n := 0
	h.fail = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
		if n++; n > 2 {
			return false
		}
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	}
	_, err := h.client(t).Pull(context.Background(), org, "")
	require.NoError(t, err)
	require.Equal(t, 3, n)
}

func TestPullStalls(t *testing.T) {
	h := newHub(t)
	n := 0
	h.fail = func(w http.ResponseWriter, r *http.Request, data []byte) bool {
		if n++; n > 1 {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data[:1000])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	}
	c := h.client(t)
	c.stall = 50 * time.Millisecond
	_, err := c.Pull(context.Background(), org, "")
	require.NoError(t, err)
	require.Equal(t, 1, h.count("GET cdn /signed/model.safetensors bytes=1000-"))
}

func TestPullCancelled(t *testing.T) {
	h := newHub(t)
	ctx, cancel := context.WithCancel(context.Background())
	h.fail = func(w http.ResponseWriter, r *http.Request, data []byte) bool {
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data[:1000])
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
		return true
	}
	_, err := h.client(t).Pull(ctx, org, "")
	require.ErrorIs(t, err, context.Canceled)
}

// TestPullTogether: several at once download each file once.
func TestPullTogether(t *testing.T) {
	h := newHub(t)
	c := h.client(t)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			_, err := (&Client{Endpoint: c.Endpoint, Cache: c.Cache}).Pull(context.Background(), org, "")
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	require.Equal(t, 1, h.count("GET cdn"))
}

// TestTokenStaysHome: neither another port, nor another scheme, nor a host
// below the hub's sees the token.
func TestTokenStaysHome(t *testing.T) {
	seen := map[string]string{}
	c := &Client{Endpoint: "https://hub.example", Token: token, HTTP: roundTrip(func(r *http.Request) *http.Response {
		seen[r.URL.String()] = r.Header.Get("Authorization")
		return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}
	})}
	for _, at := range []string{"https://hub.example/a", "https://cdn.hub.example/a", "https://hub.example:8443/a", "https://hub.example.evil/a"} {
		_, err := c.send(context.Background(), http.MethodGet, at, nil)
		require.NoError(t, err)
	}
	require.Equal(t, map[string]string{"https://hub.example/a": "Bearer " + token, "https://cdn.hub.example/a": "", "https://hub.example:8443/a": "", "https://hub.example.evil/a": ""}, seen)
	_, err := c.send(context.Background(), http.MethodGet, "http://hub.example/a", nil)
	require.ErrorContains(t, err, "not https")
}

type roundTrip func(*http.Request) *http.Response

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }
