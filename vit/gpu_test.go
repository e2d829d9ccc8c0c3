//go:build cgo && linux

package vit

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	_ "github.com/vitserve/vitserve/backend/gpu"
	"github.com/vitserve/vitserve/backend/gpu/standin"
	"github.com/vitserve/vitserve/backend/ref"
)

// TestGPUIsRef is TestCPUIsRef on GPUs, with its limits.
func TestGPUIsRef(t *testing.T) { standin.Backends(t, isRef) }

// TestGPUSteps: what an attack by projected gradient descent takes of a
// gradient, its signs, are the oracle's wherever they are not rounding.
//
// Madry et al., "Towards Deep Learning Models Resistant to Adversarial
// Attacks", https://arxiv.org/abs/1706.06083.
func TestGPUSteps(t *testing.T) {
	standin.Backends(t, func(t *testing.T, b backend.Backend) {
		for name := range families {
			c := family(name)
			if c.Classes == 0 {
				continue
			}
			w, pixels := Random(c, 5), photos(c, 2, 1)
			seed := AtLogits(OneHot(c.Classes, 0, c.Classes-1))
			want := derive(t, trace(t, newSession(t, ref.Backend{}, c, w, 2), pixels, Wants{}), seed, GradWants{Pixels: true})
			got := derive(t, trace(t, newSession(t, b, c, w, 2), pixels, Wants{}), seed, GradWants{Pixels: true})
			requireClose(t, want.Pixels, got.Pixels, 1e-11, name)
			most := 0.0
			for _, v := range want.Pixels.Float32s() {
				most = max(most, math.Abs(float64(v)))
			}
			for i, v := range want.Pixels.Float32s() {
				if math.Abs(float64(v)) > 1e-4*most {
					require.Equal(t, v > 0, got.Pixels.Float32s()[i] > 0, "%s: pixel %d", name, i)
				}
			}
		}
	})
}
