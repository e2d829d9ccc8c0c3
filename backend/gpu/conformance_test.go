//go:build cgo && linux

package gpu

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/backendtest"
	"github.com/vitserve/vitserve/backend/gpu/standin"
)

// openTest opens a backend that the test closes: then nothing is left of it.
func openTest(t testing.TB, name string) *Backend {
	t.Helper()
	b, err := backend.Open(name, backend.Options{})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, b.Close())
		require.Zero(t, b.(*Backend).Bytes(), "memory in use after Close")
	})
	return b.(*Backend)
}

// TestLife is a few operations and their gradients, on every driver and on the
// oracle: what runs where there is no time for the whole suite.
func TestLife(t *testing.T) {
	want, err := life("ref")
	require.NoError(t, err)
	standin.Each(t, func(t *testing.T, name string) {
		got, err := life(name)
		require.NoError(t, err)
		require.InDeltaSlice(t, want, got, 1e-4)
	})
}

// TestCUDA is the whole suite on the stand-in, whose threads and groups run
// from the first to the last and from the last to the first.
func TestCUDA(t *testing.T) {
	standin.Whole(t)
	standin.CUDA(t)
	for _, order := range []string{"forward", "reverse"} {
		t.Run(order, func(t *testing.T) {
			t.Setenv("STANDIN_ORDER", order)
			backendtest.Run(t, openTest(t, "cuda"), backend.F32)
		})
	}
}

// TestOpenCL is the whole suite on the OpenCL device that is installed.
func TestOpenCL(t *testing.T) {
	standin.Whole(t)
	standin.OpenCL(t)
	backendtest.Run(t, openTest(t, "opencl:0"), backend.F32)
}
