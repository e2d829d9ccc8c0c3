package hub

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// mirror is a hub as other people's servers imitate it.
type mirror struct {
	prefix  string // of its paths
	etag    func(data []byte) string
	chunked bool // no answer has a Content-Length
	ranges  bool
	away    bool // weights are on another host
	short   bool // weights end in the midst, once
}

func (m *mirror) serve(t *testing.T, files map[string][]byte) *httptest.Server {
	var other *httptest.Server
	cut := m.short
	send := func(w http.ResponseWriter, r *http.Request, data []byte) {
		if m.etag != nil {
			w.Header().Set("ETag", m.etag(data))
		}
		if m.ranges && !m.chunked {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
			return
		}
		if m.ranges && r.Header.Get("Range") == "bytes=0-0" {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-0/%d", len(data)))
			w.WriteHeader(http.StatusPartialContent)
			data = data[:1]
		}
		if r.Method == http.MethodHead {
			w.(http.Flusher).Flush()
			return
		}
		if cut && len(data) > 1000 {
			cut = false
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			_, _ = w.Write(data[:len(data)/2])
			return
		}
		for half := len(data) / 2; len(data) > 0; data, half = data[half:], len(data)-half {
			if half == 0 {
				half = len(data)
			}
			_, _ = w.Write(data[:half])
			w.(http.Flusher).Flush() // which makes it chunked
		}
	}
	if m.away {
		other = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { send(w, r, files[strings.TrimPrefix(r.URL.Path, "/")]) }))
		t.Cleanup(other.Close)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, ok := strings.CutPrefix(r.URL.Path, m.prefix)
		if !ok {
			http.NotFound(w, r)
			return
		}
		if path == "/api/models/"+org+"/revision/main" {
			var list []map[string]string
			for name := range files {
				list = append(list, map[string]string{"rfilename": name})
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"sha": commit, "siblings": list})
			return
		}
		name, ok := strings.CutPrefix(path, "/"+org+"/resolve/"+commit+"/")
		data, known := files[name]
		switch {
		case !ok || !known:
			http.NotFound(w, r)
		case m.away && filepath.Ext(name) == ".safetensors":
			http.Redirect(w, r, other.URL+"/"+name, http.StatusFound)
		default:
			send(w, r, data)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// TestMirrors: mirrors and proxies of five kinds, and some of two, bring the
// same files.
func TestMirrors(t *testing.T) {
	files := map[string][]byte{
		"config.json": []byte(`{"model_type":"vit"}`), "processor_config.json": []byte(`{"image_processor":{}}`), "model.safetensors": bytes.Repeat([]byte("weights!"), 40_000),
	}
	md := func(data []byte) string { return fmt.Sprintf(`"%x"`, md5.Sum(data)) }
	for name, m := range map[string]mirror{
		"etags of its own":                {etag: md, ranges: true},
		"weak etags with a suffix":        {etag: func(d []byte) string { return `W/"` + git(d) + `-gzip"` }, ranges: true},
		"etags that are no file names":    {etag: func([]byte) string { return `"../../../x/` + strings.Repeat("y", 300) + `"` }, ranges: true},
		"no etags":                        {ranges: true},
		"chunks":                          {etag: md, chunked: true},
		"chunks, ranges":                  {etag: md, chunked: true, ranges: true},
		"chunks and nothing else":         {chunked: true},
		"chunks with the hub's etags":     {etag: func(d []byte) string { return `"` + git(d) + `"` }, chunked: true},
		"below a path":                    {prefix: "/proxy/hf", etag: md, ranges: true},
		"weights elsewhere, nothing said": {etag: md, ranges: true, away: true},
		"chunks that end early, once":     {chunked: true, short: true},
		"sizes, cut once":                 {etag: md, short: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := m.serve(t, files)
			c := &Client{Endpoint: s.URL + m.prefix, Cache: t.TempDir(), firstWait: time.Millisecond}
			for range 2 { // the second time they are there
				dir, err := c.Pull(t.Context(), org, "")
				require.NoError(t, err)
				for name, data := range files {
					got, err := os.ReadFile(filepath.Join(dir, name))
					require.NoError(t, err)
					require.True(t, bytes.Equal(data, got), name)
				}
			}
			left, err := filepath.Glob(filepath.Join(c.Cache, "*", "blobs", "*.incomplete"))
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

// TestMirrorWithAWrongHash: a hash is held to, whoever gives it.
func TestMirrorWithAWrongHash(t *testing.T) {
	m := mirror{etag: func([]byte) string { return `"` + strings.Repeat("a", 40) + `"` }, chunked: true}
	s := m.serve(t, map[string][]byte{"config.json": []byte("{}"), "model.safetensors": []byte("weights")})
	_, err := (&Client{Endpoint: s.URL, Cache: t.TempDir(), firstWait: time.Millisecond}).Pull(t.Context(), org, "")
	require.ErrorContains(t, err, "what the hub sends is not what it says")
}

// carrier answers every request itself.
type carrier func(*http.Request) (*http.Response, error)

func (c carrier) RoundTrip(r *http.Request) (*http.Response, error) { return c(r) }

// TestUnknownHost: a host that does not exist is told at once; one whose name
// cannot be asked for just now is asked again.
func TestUnknownHost(t *testing.T) {
	for _, e := range []struct {
		notFound bool
		asked    int
	}{{true, 1}, {false, maxTries}} {
		asked := 0
		c := &Client{Endpoint: "https://no-such-host.invalid", Cache: t.TempDir(), firstWait: time.Millisecond, HTTP: carrier(func(*http.Request) (*http.Response, error) {
			asked++
			return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "no-such-host.invalid", IsNotFound: e.notFound, IsTemporary: !e.notFound}}
		})}
		_, err := c.Pull(t.Context(), org, "")
		require.ErrorContains(t, err, "no-such-host.invalid")
		require.Equal(t, e.asked, asked)
		if e.notFound {
			require.ErrorContains(t, err, "is not known")
		}
	}
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	s.Config.ErrorLog = nil
	start := time.Now()
	_, err := (&Client{Endpoint: s.URL, Cache: t.TempDir(), firstWait: time.Minute}).Pull(context.Background(), org, "")
	require.ErrorContains(t, err, "is not trusted")
	require.Less(t, time.Since(start), 10*time.Second)
	require.False(t, errors.Is(err, ErrNotFound))
}

// TestVariables: every variable of the hub's own library that names a folder,
// a token or a wish to stay offline.
func TestVariables(t *testing.T) {
	home := t.TempDir()
	clear := func(t *testing.T) {
		for _, name := range []string{
			"HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "XDG_CACHE_HOME",
		} {
			t.Setenv(name, "")
		}
		t.Setenv("HOME", home)
		t.Setenv("USERPROFILE", home)
		t.Setenv("DISK", filepath.Join(home, "disk"))
	}
	require.NoError(t, os.WriteFile(filepath.Join(home, "secret"), []byte("from-file\n"), 0o600))
	for _, e := range []struct {
		name string
		set  map[string]string
		want Client
	}{
		{"nothing", nil, Client{Cache: filepath.Join(home, ".cache", "huggingface", "hub")}},
		{"HF_HOME with ~", map[string]string{"HF_HOME": "~/hf"}, Client{Cache: filepath.Join(home, "hf", "hub")}},
		{"HF_HOME is ~", map[string]string{"HF_HOME": "~"}, Client{Cache: filepath.Join(home, "hub")}},
		{"HF_HOME with $", map[string]string{"HF_HOME": "$DISK/hf"}, Client{Cache: filepath.Join(home, "disk", "hf", "hub")}},
		{"HF_HOME with ${}", map[string]string{"HF_HOME": "${DISK}/hf"}, Client{Cache: filepath.Join(home, "disk", "hf", "hub")}},
		{"a variable that is not set", map[string]string{"HF_HOME": "/a/$NO_SUCH_THING/${NO_SUCH_THING}"}, Client{Cache: "/a/$NO_SUCH_THING/${NO_SUCH_THING}/hub"}},
		{"~ in the midst", map[string]string{"HF_HOME": "/a/~/b"}, Client{Cache: "/a/~/b/hub"}},
		{"XDG_CACHE_HOME with ~", map[string]string{"XDG_CACHE_HOME": "~/x"}, Client{Cache: filepath.Join(home, "x", "huggingface", "hub")}},
		{"HF_HUB_CACHE with ~", map[string]string{"HF_HUB_CACHE": "~/c"}, Client{Cache: filepath.Join(home, "c")}},
		{"HF_HUB_CACHE with $", map[string]string{"HF_HUB_CACHE": "$DISK"}, Client{Cache: filepath.Join(home, "disk")}},
		{"HUGGINGFACE_HUB_CACHE", map[string]string{"HUGGINGFACE_HUB_CACHE": "~/old"}, Client{Cache: filepath.Join(home, "old")}},
		{"both caches", map[string]string{"HF_HUB_CACHE": "/new", "HUGGINGFACE_HUB_CACHE": "/old"}, Client{Cache: "/new"}},
		{"HF_HUB_OFFLINE", map[string]string{"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": "/c"}, Client{Cache: "/c", Offline: true}},
		{"TRANSFORMERS_OFFLINE", map[string]string{"TRANSFORMERS_OFFLINE": "yes", "HF_HUB_CACHE": "/c"}, Client{Cache: "/c", Offline: true}},
		{"TRANSFORMERS_OFFLINE is 0", map[string]string{"TRANSFORMERS_OFFLINE": "0", "HF_HUB_CACHE": "/c"}, Client{Cache: "/c"}},
		{"HF_TOKEN", map[string]string{"HF_TOKEN": " a ", "HUGGING_FACE_HUB_TOKEN": "b", "HF_HUB_CACHE": "/c"}, Client{Cache: "/c", Token: "a"}},
		{"HUGGING_FACE_HUB_TOKEN", map[string]string{"HUGGING_FACE_HUB_TOKEN": "b", "HF_HUB_CACHE": "/c"}, Client{Cache: "/c", Token: "b"}},
		{"HF_TOKEN_PATH with ~", map[string]string{"HF_TOKEN_PATH": "~/secret", "HF_HUB_CACHE": "/c"}, Client{Cache: "/c", Token: "from-file"}},
		{"HF_ENDPOINT", map[string]string{"HF_ENDPOINT": "http://127.0.0.1:9/hf/", "HF_HUB_CACHE": "/c"}, Client{Cache: "/c", Endpoint: "http://127.0.0.1:9/hf/"}},
	} {
		t.Run(e.name, func(t *testing.T) {
			clear(t)
			for name, v := range e.set {
				t.Setenv(name, v)
			}
			c, err := FromEnv()
			require.NoError(t, err)
			require.Equal(t, &e.want, c)
		})
	}
}

// TestSnapshot: a folder of the cache, given as it is, is the model that its
// refs name, or the only one.
func TestSnapshot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "models--acme--vit-tiny")
	_, _, ok, err := Snapshot(dir)
	require.NoError(t, err)
	require.False(t, ok, "it is not there")
	at := func(c string) string { return filepath.Join(dir, "snapshots", c) }
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "snapshots"), 0o755))
	_, _, _, err = Snapshot(dir)
	require.ErrorContains(t, err, "no snapshot")
	require.NoError(t, os.MkdirAll(at(commit), 0o755))
	got, name, ok, err := Snapshot(dir)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, at(commit), got)
	require.Equal(t, "vit-tiny", name)
	second := strings.Repeat("b", 40)
	require.NoError(t, os.MkdirAll(at(second), 0o755))
	_, _, _, err = Snapshot(dir)
	require.ErrorContains(t, err, "2 snapshots")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "refs"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "refs", "main"), []byte(second+"\n"), 0o600))
	got, _, _, err = Snapshot(dir)
	require.NoError(t, err)
	require.Equal(t, at(second), got)
	_, _, ok, err = Snapshot(t.TempDir())
	require.NoError(t, err)
	require.False(t, ok)
}
