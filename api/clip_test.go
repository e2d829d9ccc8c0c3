package api_test

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
)

// TestClipTower: an image tower of CLIP classifies nothing, with the reason,
// and embeds into what its head projects to.
func TestClipTower(t *testing.T) {
	c := start(t, func(cfg *api.Config) {
		cfg.Models = []api.ModelConfig{{ID: "clip", Path: filepath.Join("..", "models", "testdata", "trials", "tm_clip")}}
	})
	banana := photo(t, "banana.jpg")
	r := c.post("/v1/classify", banana)
	require.Equal(t, http.StatusUnprocessableEntity, r.status)
	require.Contains(t, r.problem(t).Detail, "projection to an embedding of 512 values")
	require.Equal(t, http.StatusUnprocessableEntity, c.post("/v1/explain?class=1", banana).status)
	require.Equal(t, http.StatusOK, c.post("/v1/explain", banana).status, "attention is there")
	r = c.post("/v1/embed", banana, "Accept", "application/x-npy")
	require.Equal(t, http.StatusOK, r.status)
	require.Contains(t, string(r.body[:128]), "(512,)")
	require.Equal(t, http.StatusOK, c.post("/v1/embed?pool=class", banana).status)
	card := c.get("/v1/models/clip")
	require.NotContains(t, string(card.body), `"classify"`)
}
