package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// drip sends piece again and again until the client has had enough.
func drip(w http.ResponseWriter, r *http.Request, piece []byte, every time.Duration) {
	for r.Context().Err() == nil {
		if _, err := w.Write(piece); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-time.After(every):
		case <-r.Context().Done():
		}
	}
}

// TestListHostile: no list of files keeps a pull, however it comes.
func TestListHostile(t *testing.T) {
	for _, c := range []struct {
		name, err string
		list      http.HandlerFunc
	}{
		{"stalls at once", "list of files: nothing came for 100ms", func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}},
		{"stalls in the midst", "list of files: ", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"sha":%q,"siblings":[`, commit)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}},
		{"trickles", "want at least 102", func(w http.ResponseWriter, r *http.Request) { drip(w, r, []byte(" "), 10*time.Millisecond) }},
		{"flows and does not end", "had not ended after 400ms", func(w http.ResponseWriter, r *http.Request) {
			drip(w, r, []byte(strings.Repeat(" ", 1000)), 5*time.Millisecond)
		}},
		{"never ends", "list of files: more than 16777216 bytes", func(w http.ResponseWriter, r *http.Request) {
			drip(w, r, []byte(strings.Repeat(" ", 1<<20)), 0)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHub(t)
			h.list = c.list
			client := h.client(t)
			client.stall = 100 * time.Millisecond
			if c.name == "never ends" {
				client.stall = time.Minute
			}
			start := time.Now()
			_, err := client.Pull(context.Background(), org, "")
			require.ErrorContains(t, err, c.err)
			require.Less(t, time.Since(start), 20*time.Second)
		})
	}
	t.Run("the pull is cancelled", func(t *testing.T) {
		h := newHub(t)
		ctx, cancel := context.WithCancel(context.Background())
		h.list = func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			cancel()
			<-r.Context().Done()
		}
		_, err := h.client(t).Pull(ctx, org, "")
		require.ErrorIs(t, err, context.Canceled)
	})
}

// TestDownloadHostile: a file that does not grow, or only by a little, is
// asked for a bounded number of times.
func TestDownloadHostile(t *testing.T) {
	for _, c := range []struct {
		name, err string
		fail      func(w http.ResponseWriter, r *http.Request, data []byte) bool
	}{
		{"stalls", "model.safetensors: after 6 tries: nothing came for 30ms (1000 of 2400000 bytes are there)", func(w http.ResponseWriter, r *http.Request, data []byte) bool {
			var from int
			if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-", from))
				w.WriteHeader(http.StatusPartialContent)
			} else {
				_, _ = w.Write(data[:1000])
			}
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return true
		}},
		{"trickles", "want at least 30", func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			drip(w, r, []byte{0}, 5*time.Millisecond)
			return true
		}},
		{"begins anew each time", "after 6 tries: unexpected EOF (2000000 of 2400000 bytes are there)", func(w http.ResponseWriter, _ *http.Request, data []byte) bool {
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			_, _ = w.Write(data[:2_000_000])
			panic(http.ErrAbortHandler)
		}},
		{"a byte a request", "after 6 tries: unexpected EOF (6 of 2400000 bytes are there)", func(w http.ResponseWriter, r *http.Request, data []byte) bool {
			var from int
			if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-", from))
				w.WriteHeader(http.StatusPartialContent)
			}
			_, _ = w.Write(data[from : from+1])
			return true
		}},
		{"grows and is refused", "after 6 tries", func(w http.ResponseWriter, r *http.Request, data []byte) bool {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return true
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			_, _ = w.Write(data[:1_000_000])
			panic(http.ErrAbortHandler)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHub(t)
			h.fail = c.fail
			client := h.client(t)
			client.stall = 30 * time.Millisecond
			start := time.Now()
			_, err := client.Pull(context.Background(), org, "")
			require.ErrorContains(t, err, c.err)
			require.Less(t, time.Since(start), 20*time.Second)
			require.LessOrEqual(t, h.count("GET cdn"), 12)
		})
	}
}

// TestPullOfHugeTexts: what is read whole is small, and an index does not
// name files without end.
func TestPullOfHugeTexts(t *testing.T) {
	h := newHub(t)
	h.files["config.json"] = make([]byte, maxText+1)
	_, err := h.client(t).Pull(context.Background(), org, "")
	require.ErrorContains(t, err, "config.json: 16777217 bytes, want at most 16777216")

	h = newHub(t)
	index := map[string]map[string]string{"weight_map": {}}
	for i := range 200_000 {
		index["weight_map"][fmt.Sprint(i)] = fmt.Sprintf("%d.safetensors", i)
	}
	delete(h.files, "model.safetensors")
	h.files[indexFile], err = json.Marshal(index)
	require.NoError(t, err)
	_, err = h.client(t).Pull(context.Background(), org, "")
	require.ErrorContains(t, err, "names 200000 files, want at most 1000")
}

// TestHostileNames: whatever a hub calls its files, nothing appears outside
// of the repository's part of the cache.
func TestHostileNames(t *testing.T) {
	for _, name := range []string{"../up.safetensors", "/tmp/abs.safetensors", "a/../../b.safetensors", "..", ".", "", "a\x00b.safetensors", `..\up.safetensors`, "sub/x.safetensors"} {
		h := newHub(t)
		delete(h.files, "model.safetensors")
		h.files[name] = []byte("x")
		var err error
		h.files[indexFile], err = json.Marshal(map[string]map[string]string{"weight_map": {"a": name}})
		require.NoError(t, err)
		c := h.client(t)
		outer := filepath.Dir(c.Cache)
		before := tree(t, outer)
		_, err = c.Pull(context.Background(), org, "")
		require.Error(t, err, "%q", name)
		for path := range tree(t, outer) {
			if !before[path] {
				require.True(t, strings.HasPrefix(path, c.Cache), "%q made %s", name, path)
			}
		}
	}
}

func tree(t *testing.T, dir string) map[string]bool {
	all := map[string]bool{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		all[path] = true
		return err
	}))
	return all
}

// TestPullFollowsNoLinks: links that lie where a pull writes lead nowhere.
func TestPullFollowsNoLinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege there")
	}
	weights := newHub(t).files["model.safetensors"]
	const repo = "models--acme--vit-tiny"
	blob := filepath.Join(repo, "blobs", sha(weights))
	for _, c := range []struct {
		link, err string // err "": the link is replaced
		folder    bool   // the link is to a folder
		inside    bool   // to what lies in the cache, too
	}{
		{link: blob + ".incomplete", err: "it is not written through"},
		{link: blob + ".incomplete", inside: true, err: "it is not written through"},
		{link: blob},
		{link: filepath.Join(repo, "refs", "main")},
		{link: filepath.Join(repo, "snapshots", commit, "model.safetensors")},
		{link: filepath.Join(repo, "blobs"), folder: true, err: "escapes"},
		{link: filepath.Join(repo, "snapshots"), folder: true, err: "escapes"},
		{link: filepath.Join(repo, "snapshots", commit), folder: true, err: "escapes"},
		{link: filepath.Join(repo, "refs"), folder: true, err: "escapes"},
		{link: repo, folder: true, err: "escapes"},
		{link: ".locks", folder: true, err: "escapes"},
		{link: filepath.Join(".locks", repo, sha(weights)+".lock"), err: "escapes"},
	} {
		t.Run(c.link, func(t *testing.T) {
			h := newHub(t)
			client := h.client(t)
			where := t.TempDir()
			if c.inside {
				where = client.Cache
			}
			victim := filepath.Join(where, "victim")
			target := victim
			require.NoError(t, os.WriteFile(victim, weights[:100], 0o600))
			if c.folder {
				target = where
			}
			at := filepath.Join(client.Cache, c.link)
			require.NoError(t, os.MkdirAll(filepath.Dir(at), 0o755))
			require.NoError(t, os.Symlink(target, at))
			dir, err := client.Pull(context.Background(), org, "")
			data, err2 := os.ReadFile(victim)
			require.NoError(t, err2)
			require.Equal(t, weights[:100], data, "the link was written through")
			if !c.inside {
				require.Len(t, tree(t, where), 2, "the folder and the victim")
			}
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			got, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
			require.NoError(t, err)
			require.Equal(t, sha(weights), sha(got))
		})
	}
}
