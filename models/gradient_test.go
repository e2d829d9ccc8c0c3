package models_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// TestGoldenGradients compares the derivatives of every layout with those of
// timm and transformers: of the best class's logit, or of the sum of the
// features where there is no head, at pixels in [0, 1] and at every layer's
// attention probabilities.
func TestGoldenGradients(t *testing.T) {
	for name, b := range backends(t) {
		t.Run(name, func(t *testing.T) { goldenGradients(t, b) })
	}
}

// goldenGradients compares the derivatives of a backend.
func goldenGradients(t *testing.T, b backend.Backend) {
	const tolerance = 1e-4 // the gradients are of order 1
	for _, dir := range goldens(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			c, err := models.Open(dir, models.Options{ImageSize: sizes[filepath.Base(dir)]})
			require.NoError(t, err)
			pixels := npy(t, dir, "pixels")
			m, err := c.Model(b)
			require.NoError(t, err)
			require.NoError(t, c.Close(), "gradients need the host's weights no more than values do")
			s, err := m.NewSession(vit.SessionOptions{MaxBatch: pixels.Shape()[0]})
			require.NoError(t, err)
			defer func() { require.NoError(t, s.Close()) }()
			trace, err := s.Trace(pixels, vit.Wants{Features: true})
			require.NoError(t, err)

			var seed vit.Seed
			if c.Config.Classes > 0 {
				best := make([]int, pixels.Shape()[0])
				for i := range best {
					best[i] = c.Top(slab(trace.Output.Logits, i).Float32s(), 1, 0)[0].Index
				}
				seed = vit.AtLogits(vit.OneHot(c.Config.Classes, best...))
			} else {
				ones := make([]float32, trace.Output.Features.Shape().TotalSize())
				for i := range ones {
					ones[i] = 1
				}
				seed = vit.AtFeatures(tensor.New(tensor.WithShape(trace.Output.Features.Shape()...), tensor.WithBacking(ones)))
			}
			wants := vit.GradWants{Pixels: true, Probe: c.Config.Probe.Heads > 0}
			for i := range c.Config.Depth {
				wants.Probs = append(wants.Probs, i)
			}
			grads, err := trace.Backward(seed, wants)
			require.NoError(t, err)
			close(t, npy(t, dir, "dpixels"), grads.Pixels, tolerance, "pixels")
			if wants.Probe {
				close(t, npy(t, dir, "dprobe"), grads.Probe, tolerance, "attention of the probe")
			}
			attention := npy(t, dir, "dattention")
			for i := range c.Config.Depth {
				close(t, slab(attention, i), grads.Probs[i], tolerance, "attention of block %d", i)
			}
		})
	}
}
