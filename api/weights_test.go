package api_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// uploads is how many constants the backends "counted" hold.
var uploads atomic.Int64

func init() {
	backend.Register("counted", func(o backend.Options) (backend.Backend, error) {
		b, err := backend.Open("cpu", o)
		return countedBackend{b}, err
	})
}

type countedBackend struct{ backend.Backend }

func (b countedBackend) Upload(t *tensor.Dense) (backend.Tensor, error) {
	uploads.Add(1)
	return b.Backend.Upload(t)
}

func (b countedBackend) Free(t backend.Tensor) {
	if !t.IsZero() {
		uploads.Add(-1)
	}
	b.Backend.Free(t)
}

// TestWeightsAreFreed: a model that leaves the memory, or is replaced, frees
// its weights there and then, and not with the server.
func TestWeightsAreFreed(t *testing.T) {
	c := start(t, func(cfg *api.Config) { cfg.Backend = "counted" })
	one := uploads.Load()
	require.Positive(t, one)
	for range 3 {
		require.Equal(t, http.StatusOK, c.post("/v1/models/starter/load", nil).status)
	}
	require.Eventually(t, func() bool { return uploads.Load() == one }, 10*time.Second, 10*time.Millisecond, "three models were replaced")
	require.Equal(t, http.StatusOK, c.post("/v1/models/starter/unload", nil).status)
	require.Zero(t, uploads.Load())
	require.Equal(t, "banana", (*c.post("/v1/classify?top_k=1", photo(t, "banana.jpg")).classified(t).Results[0].Predictions)[0].Label)
	require.Equal(t, one, uploads.Load(), "and it comes back")
}
