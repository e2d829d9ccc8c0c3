package cli

import (
	"crypto/sha1" // git's hash, which the hub names small files by
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// hubOf serves the files of a folder as the hub serves a repository.
func hubOf(t *testing.T, name, dir string) *httptest.Server {
	t.Helper()
	commit := strings.Repeat("0123456789", 4)
	mux := http.NewServeMux()
	mux.HandleFunc("/api/models/"+name+"/revision/main", func(w http.ResponseWriter, _ *http.Request) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		var files []map[string]string
		for _, e := range entries {
			files = append(files, map[string]string{"rfilename": e.Name()})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"sha": commit, "siblings": files})
	})
	mux.HandleFunc("/"+name+"/resolve/"+commit+"/{file}", func(w http.ResponseWriter, r *http.Request) {
		data, err := os.ReadFile(filepath.Join(dir, filepath.Base(r.PathValue("file"))))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", `"`+blobName(data)+`"`)
		http.ServeFile(w, r, filepath.Join(dir, filepath.Base(r.PathValue("file"))))
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// blobName is what the hub calls a small file: git's hash of it.
func blobName(data []byte) string {
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...))
	return hex.EncodeToString(sum[:])
}

// TestPull brings a model over HTTP and classifies with it by its name.
func TestPull(t *testing.T) {
	const name = "acme/starter"
	hub := hubOf(t, name, filepath.Join("..", "..", "models", "starter"))
	t.Setenv("HF_ENDPOINT", hub.URL)
	t.Setenv("HF_HUB_CACHE", t.TempDir())
	t.Setenv("HF_TOKEN", "")
	t.Setenv("HF_HUB_OFFLINE", "")
	image := writeFile(t, t.TempDir(), "x.png", pngBytes(t, picture(1, 64, 64)))

	got := vitserve(t, "classify", "--offline", "--model", name, image)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "vitserve pull "+name, "says how to get it")

	got = vitserve(t, "pull", name)
	require.Equal(t, exitOK, got.code, got.stderr)
	require.DirExists(t, strings.TrimSpace(got.stdout))
	require.Contains(t, got.stderr, "model.safetensors: ")

	got = vitserve(t, "classify", "--json", "--model", name, image)
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Equal(t, vitserve(t, "classify", "--json", image).stdout, got.stdout)

	got = vitserve(t, "pull", "acme/nothing")
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "acme/nothing")
	got = vitserve(t, "pull", "nothing")
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.stderr, "want ORG/NAME")
}
