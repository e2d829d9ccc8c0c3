package api_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	v1 "github.com/vitserve/vitserve/api/v1"
)

// several is the embedded model under several names.
func several(names ...string) func(cfg *api.Config) {
	return func(cfg *api.Config) {
		cfg.Backend, cfg.RequestTimeout = "gated", api.Duration(20*time.Second)
		for _, name := range names {
			cfg.Models = append(cfg.Models, api.ModelConfig{ID: name, Path: "starter", Lazy: true})
		}
	}
}

// long has the device take its time, and asks a model for an explanation of
// many passes.
func long(c *client, model string) chan reply {
	slow.Store(int64(50 * time.Millisecond))
	c.t.Cleanup(func() { slow.Store(0) })
	answer := c.async(c.t.Context(), "/v1/explain?method=rise&masks=1600&model="+model, photo(c.t, "banana.jpg"))
	waitMetric(c, `vitserve_batch_size_count{lane="explain",model="`+model+`"} 1`)
	return answer
}

func waits(c *client, answer chan reply) {
	c.t.Helper()
	select {
	case r := <-answer:
		require.Fail(c.t, "answered before", "%d %s", r.status, r.body)
	default:
	}
}

// TestReloadThatWaits: a model that is replaced waits for its requests, and
// nobody waits for it.
func TestReloadThatWaits(t *testing.T) {
	c := start(t, several("a", "b", "c"))
	require.Equal(t, http.StatusOK, c.post("/v1/models/a/load", nil).status)
	answer := long(c, "a")
	for _, id := range []string{"a", "b", "a", "c"} {
		r := c.post("/v1/models/"+id+"/load", nil)
		require.Equal(t, http.StatusOK, r.status, "%s: %s", id, r.body)
		waits(c, answer)
	}
	slow.Store(0)
	require.Equal(t, http.StatusOK, (<-answer).status, "by the model that it asked")
}

// TestRoomThatWaits: a model that must go for another waits for its requests;
// the other waits with it, and a third does not.
func TestRoomThatWaits(t *testing.T) {
	one := footprint(t)
	c := start(t, func(cfg *api.Config) {
		several("a", "b", "c")(cfg)
		cfg.MemoryBudget = 2*one + one/2
	})
	for _, id := range []string{"a", "b"} {
		require.Equal(t, http.StatusOK, c.post("/v1/models/"+id+"/load", nil).status)
	}
	answer := long(c, "a")
	require.Equal(t, http.StatusOK, c.post("/v1/classify?model=b", photo(t, "banana.jpg")).status, "a is the older")
	coming := c.async(t.Context(), "/v1/models/c/load", nil)
	ready := func(id string) bool { return c.model(t, c.get("/v1/models/"+id)).State == v1.Ready }
	require.Eventually(t, func() bool { return !ready("a") }, 5*time.Second, 5*time.Millisecond)
	r := c.post("/v1/models/b/load", nil)
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)
	waits(c, answer)
	require.False(t, ready("c"))
	slow.Store(0)
	require.Equal(t, http.StatusOK, (<-answer).status)
	require.Equal(t, http.StatusOK, (<-coming).status)
	require.True(t, ready("c"))
}
