//go:build cgo && linux

package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	v1 "github.com/vitserve/vitserve/api/v1"
	_ "github.com/vitserve/vitserve/backend/gpu"
	"github.com/vitserve/vitserve/backend/gpu/standin"
)

// onGPU serves the embedded model on the stand-in for NVIDIA's driver.
func onGPU(t *testing.T, change func(*api.Config)) *client {
	standin.CUDA(t)
	return start(t, func(cfg *api.Config) {
		cfg.Backend = "cuda:1"
		if change != nil {
			change(cfg)
		}
	})
}

// TestGPU: a GPU's answers are the processor's, and cards say what computes.
func TestGPU(t *testing.T) {
	c, plain := onGPU(t, nil), start(t, nil)
	want := *plain.post("/v1/classify", photo(t, "banana.jpg")).classified(t).Results[0].Predictions
	got := *c.post("/v1/classify", photo(t, "banana.jpg")).classified(t).Results[0].Predictions
	require.Len(t, got, len(want))
	for i, p := range want {
		require.Equal(t, p.Index, got[i].Index)
		require.InDelta(t, p.Score, got[i].Score, 1e-5)
	}
	var model v1.Model
	require.NoError(t, json.Unmarshal(c.get("/v1/models/starter").body, &model))
	require.Equal(t, "cuda/another stand-in f32", model.Backend)
	var version v1.Version
	require.NoError(t, json.Unmarshal(c.get("/version").body, &version))
	require.Equal(t, model.Backend, version.Backend)
}

// TestDeviceMemory: what the device has no room for is refused, alone.
func TestDeviceMemory(t *testing.T) {
	c := onGPU(t, nil)
	small := func() int { return c.post("/v1/classify", photo(t, "banana.jpg")).status }
	require.Equal(t, http.StatusOK, small())
	t.Setenv("STANDIN_MEMORY", "1000") // no more than there is already
	r := c.post("/v1/explain?method=rise&masks=9", photo(t, "banana.jpg"))
	require.Equal(t, http.StatusServiceUnavailable, r.status, "%s", r.body)
	require.Contains(t, r.problem(t).Detail, "out of device memory")
	require.NotEmpty(t, r.header.Get("Retry-After"))
	require.Equal(t, http.StatusOK, small(), "others go on")
	require.Equal(t, http.StatusOK, ready(c))
	t.Setenv("STANDIN_MEMORY", fmt.Sprint(1<<30))
	require.Equal(t, http.StatusOK, c.post("/v1/explain?method=rise&masks=9", photo(t, "banana.jpg")).status)

	// At load: refused with sizes, and what is served is served on.
	lazy := onGPU(t, func(cfg *api.Config) {
		cfg.Models = []api.ModelConfig{{}, {ID: "second", Path: "starter", Lazy: true}}
	})
	require.Equal(t, http.StatusOK, lazy.post("/v1/classify", photo(t, "banana.jpg")).status)
	t.Setenv("STANDIN_MEMORY", "1000")
	require.Equal(t, http.StatusServiceUnavailable, lazy.post("/v1/classify?model=second", photo(t, "banana.jpg")).status)
	require.Contains(t, lazy.logs.String(), "bytes are wanted")
	require.Equal(t, http.StatusOK, lazy.post("/v1/classify", photo(t, "banana.jpg")).status)
}

// TestLostDevice: a server whose device is lost says so, to everybody.
func TestLostDevice(t *testing.T) {
	c := onGPU(t, nil)
	require.Equal(t, http.StatusOK, ready(c))
	t.Setenv("STANDIN_FAIL", "cuLaunchKernel:2:700")
	r := c.post("/v1/classify", photo(t, "banana.jpg"))
	t.Setenv("STANDIN_FAIL", "")
	require.Equal(t, http.StatusServiceUnavailable, r.status, "%s", r.body)
	for range 2 {
		require.Equal(t, http.StatusServiceUnavailable, c.post("/v1/classify", photo(t, "banana.jpg")).status)
		r = c.get("/readyz")
		require.Equal(t, http.StatusServiceUnavailable, r.status)
		require.Contains(t, r.problem(t).Detail, "device is lost")
	}
	require.Equal(t, http.StatusOK, c.get("/healthz").status)
	require.Contains(t, c.logs.String(), `"msg":"device lost: every request is refused until the server is started again"`)
}
