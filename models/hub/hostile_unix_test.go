//go:build unix

package hub

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestFIFOInCache: nothing waits for a pipe that lies in the cache.
func TestFIFOInCache(t *testing.T) {
	h := newHub(t)
	repo := "models--acme--vit-tiny"
	for _, name := range []string{filepath.Join("refs", "main"), filepath.Join("blobs", sha(h.files["model.safetensors"])+".incomplete")} {
		c := h.client(t)
		at := filepath.Join(c.Cache, repo, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(at), 0o755))
		require.NoError(t, unix.Mkfifo(at, 0o600))
		if filepath.Base(name) == "main" {
			_, err := c.Cached(org, "")
			require.ErrorContains(t, err, "no regular file")
			continue
		}
		_, err := c.Pull(context.Background(), org, "")
		require.ErrorContains(t, err, "it is not written through")
	}
}
