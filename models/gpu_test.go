//go:build cgo && linux

package models_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	_ "github.com/vitserve/vitserve/backend/gpu"
	"github.com/vitserve/vitserve/backend/gpu/standin"
)

// onGPUs runs a test on the stand-in for NVIDIA's driver and on the OpenCL
// device that is installed.
func onGPUs(t *testing.T, test func(t *testing.T, b backend.Backend)) {
	for name, driver := range map[string]func(testing.TB){"cuda": standin.CUDA, "opencl": standin.OpenCL} {
		t.Run(name, func(t *testing.T) {
			standin.Whole(t)
			driver(t)
			b, err := backend.Open(name, backend.Options{})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, b.Close()) })
			test(t, b)
		})
	}
}

// TestGoldenGPU is TestGolden on GPUs, with its tolerance.
func TestGoldenGPU(t *testing.T) { onGPUs(t, golden) }

// TestGoldenGradientsGPU is TestGoldenGradients on GPUs, with its tolerance.
func TestGoldenGradientsGPU(t *testing.T) { onGPUs(t, goldenGradients) }
