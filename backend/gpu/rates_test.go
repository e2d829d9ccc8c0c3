//go:build cgo && linux

package gpu

import (
	"encoding/json"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend/backendtest"
	"github.com/vitserve/vitserve/backend/gpu/standin"
)

// TestRates writes the times of operations of ViT-B/16 to the file that
// VITSERVE_GPU_RATES names, for a batch of VITSERVE_GPU_BATCH images; with
// VITSERVE_GPU_QUICK each is run once, which shows that it can be.
func TestRates(t *testing.T) {
	path := os.Getenv("VITSERVE_GPU_RATES")
	if path == "" {
		t.Skip("VITSERVE_GPU_RATES names no file to write to: scripts/gpu/run.sh")
	}
	batch, err := strconv.Atoi(os.Getenv("VITSERVE_GPU_BATCH"))
	require.NoError(t, err)
	standin.CUDA(t)
	b := openTest(t, "cuda")
	rates := backendtest.Rates(t, b, batch, os.Getenv("VITSERVE_GPU_QUICK") != "")
	require.NotEmpty(t, rates)
	for _, r := range rates {
		require.Positive(t, r.Microseconds, r.Operation)
	}
	text, err := json.MarshalIndent(map[string]any{"device": b.Name(), "rates": rates}, "", " ")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text, 0o644))
}
