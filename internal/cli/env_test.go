package cli

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestKeyOfEnvironment: VITSERVE_API_KEY is the key of --url, before which
// --api-key goes.
func TestKeyOfEnvironment(t *testing.T) {
	var sent atomic.Value
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent.Store(r.Header.Get("Authorization"))
		http.Error(w, "no", http.StatusForbidden)
	}))
	defer s.Close()
	picture := filepath.Join("..", "..", "testdata", "images", "banana.jpg")
	for _, c := range []struct {
		env  string
		args []string
		want string
	}{
		{"", nil, ""},
		{"secret", nil, "Bearer secret"},
		{"secret", []string{"--api-key", "other"}, "Bearer other"},
	} {
		t.Setenv("VITSERVE_API_KEY", c.env)
		got := vitserve(t, append([]string{"classify", "--url", s.URL, picture}, c.args...)...)
		require.Equal(t, exitFailed, got.code)
		require.Equal(t, c.want, sent.Load())
	}
}

// TestOfflineOfEnvironment: VITSERVE_OFFLINE keeps a model that is not here
// from being fetched, as HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE do.
func TestOfflineOfEnvironment(t *testing.T) {
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.NotFound(w, r)
	}))
	defer s.Close()
	t.Setenv("HF_ENDPOINT", s.URL)
	t.Setenv("HF_HUB_CACHE", t.TempDir())
	picture := filepath.Join("..", "..", "testdata", "images", "banana.jpg")
	for name, asks := range map[string]bool{"VITSERVE_OFFLINE": false, "HF_HUB_OFFLINE": false, "TRANSFORMERS_OFFLINE": false, "SOMETHING_ELSE": true} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "1")
			asked.Store(0)
			got := vitserve(t, "classify", "--model", "acme/nothing", picture)
			require.NotEqual(t, exitOK, got.code)
			require.Contains(t, got.stderr, "acme/nothing")
			require.Equal(t, asks, asked.Load() > 0, got.stderr)
		})
	}
}
