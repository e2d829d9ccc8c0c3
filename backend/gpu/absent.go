//go:build !cgo || !linux

// Package gpu computes a Vision Transformer on a GPU. This build of it cannot:
// it says so where a GPU is asked for.
package gpu

import (
	"fmt"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/gpu/device"
)

func init() {
	for _, name := range []string{"cuda", "opencl"} {
		backend.Register(name, func(backend.Options) (backend.Backend, error) {
			return nil, fmt.Errorf("gpu: %w", device.Missing())
		})
	}
}
