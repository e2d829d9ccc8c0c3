package models_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/vit"
)

// TestLayers compares what each layer would have answered with the final norm,
// pooling and head of timm and transformers on their own tokens:
// testdata/make_layers.py.
func TestLayers(t *testing.T) {
	files, err := filepath.Glob("testdata/golden/*/layers.npy")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 8)
	for name, b := range backends(t) {
		for _, file := range files {
			dir := filepath.Dir(file)
			t.Run(name+"/"+filepath.Base(dir), func(t *testing.T) {
				c, err := models.Open(dir, models.Options{ImageSize: sizes[filepath.Base(dir)]})
				require.NoError(t, err)
				defer c.Close()
				m, err := c.Model(b)
				require.NoError(t, err)
				defer m.Close()
				s, err := m.NewSession(vit.SessionOptions{MaxBatch: 2})
				require.NoError(t, err)
				defer s.Close()
				pixels := npy(t, dir, "pixels")
				plain, err := s.Forward(pixels, vit.Wants{})
				require.NoError(t, err)
				require.Nil(t, plain.Layers)
				out, err := s.Forward(pixels, vit.Wants{Layers: true})
				require.NoError(t, err)
				require.Len(t, out.Layers, c.Config.Depth)
				want := npy(t, dir, "layers")
				for i := range out.Layers {
					close(t, slab(want, i), out.Layers[i], 1e-4, "layer %d", i+1)
				}
				require.Equal(t, plain.Logits.Float32s(), out.Logits.Float32s(), "no want changes another answer")
				require.Equal(t, out.Logits.Float32s(), out.Layers[c.Config.Depth-1].Float32s())
			})
		}
	}
}
