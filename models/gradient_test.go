package models_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// TestGoldenGradients compares gradients at pixels, tokens and probabilities
// with PyTorch's: testdata/make_gradients.py.
func TestGoldenGradients(t *testing.T) {
	// The largest difference, as a share of the largest value.
	const tolerance = 1e-4
	folders, err := filepath.Glob("testdata/golden/*/grad_pixels.npy")
	require.NoError(t, err)
	require.Len(t, folders, 6)
	for device, b := range backends(t) {
		for _, file := range folders {
			dir := filepath.Dir(file)
			t.Run(device+"/"+filepath.Base(dir), func(t *testing.T) {
				c, err := models.Open(dir, models.Options{})
				require.NoError(t, err)
				defer func() { require.NoError(t, c.Close()) }()
				m, err := c.Model(b)
				require.NoError(t, err)
				pixels := npy(t, dir, "pixels")
				s, err := m.NewSession(vit.SessionOptions{MaxBatch: pixels.Shape()[0]})
				require.NoError(t, err)
				defer func() { require.NoError(t, s.Close()) }()

				trace, err := s.Trace(pixels, vit.Wants{})
				require.NoError(t, err)
				seed := vit.AtFeatures
				if c.Config.Classes > 0 {
					seed = vit.AtLogits
				}
				wants := vit.GradWants{Pixels: true, Tokens: []int{-1}}
				for i := range c.Config.Depth {
					wants.Tokens = append(wants.Tokens, i)
					wants.Probs = append(wants.Probs, i)
				}
				got, err := trace.Backward(seed(npy(t, dir, "seed")), wants)
				require.NoError(t, err)

				alike(t, npy(t, dir, "grad_pixels"), got.Pixels, tolerance, "pixels")
				tokens, attention := npy(t, dir, "grad_tokens"), npy(t, dir, "grad_attention")
				for i := range c.Config.Depth + 1 {
					alike(t, slab(tokens, i), got.Tokens[i-1], tolerance, "tokens after block %d", i-1)
				}
				for i := range c.Config.Depth {
					alike(t, slab(attention, i), got.Probs[i], tolerance, "probabilities of block %d", i)
				}
			})
		}
	}
}

// alike is close with the difference as a share of the largest value.
func alike(t testing.TB, want, got *tensor.Dense, tolerance float64, what string, args ...any) {
	t.Helper()
	var largest float64
	for _, v := range want.Float32s() {
		largest = max(largest, float64(v), -float64(v))
	}
	require.Positive(t, largest, append([]any{what}, args...)...)
	close(t, want, got, tolerance*largest, what, args...)
}
