//go:build cgo && linux

package models_test

import (
	"testing"

	_ "github.com/vitserve/vitserve/backend/gpu"
	"github.com/vitserve/vitserve/backend/gpu/standin"
)

// TestGoldenGPU is TestGolden on GPUs, with its tolerance.
func TestGoldenGPU(t *testing.T) { standin.Backends(t, golden) }

// TestGoldenGradientsGPU is TestGoldenGradients on GPUs, with its tolerance.
func TestGoldenGradientsGPU(t *testing.T) { standin.Backends(t, goldenGradients) }
