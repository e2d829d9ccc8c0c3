package models_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/cpu"
	"github.com/vitserve/vitserve/backend/ref"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// backends that the goldens run on.
func backends(t *testing.T) map[string]backend.Backend {
	t.Helper()
	fast, err := cpu.New(backend.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, fast.Close()) })
	return map[string]backend.Backend{"ref": ref.Backend{}, "cpu": fast}
}

// TestGolden compares every layout with what timm or transformers compute
// from the same file: testdata/make_golden.py.
func TestGolden(t *testing.T) {
	for name, b := range backends(t) {
		t.Run(name, func(t *testing.T) { golden(t, b) })
	}
}

// golden compares the answers of a backend.
func golden(t *testing.T, b backend.Backend) {
	// The largest difference of any value. Activations are of order 1.
	const tolerance = 1e-4
	for _, dir := range goldens(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			c, err := models.Open(dir, models.Options{ImageSize: sizes[filepath.Base(dir)]})
			require.NoError(t, err)
			out := forward(t, c, b, npy(t, dir, "pixels"))

			tokens := npy(t, dir, "tokens")
			for i := range c.Config.Depth + 1 {
				close(t, slab(tokens, i), out.Tokens[i-1], tolerance, "tokens after block %d", i-1)
			}
			attention := npy(t, dir, "attention")
			for i := range c.Config.Depth {
				close(t, slab(attention, i), out.Attn[i], tolerance, "attention of block %d", i)
			}
			if c.Config.Probe.Heads > 0 {
				close(t, npy(t, dir, "probe"), out.Probe, tolerance, "attention of the probe")
			} else {
				require.NoFileExists(t, filepath.Join(dir, "probe.npy"))
			}
			close(t, npy(t, dir, "features"), out.Features, tolerance, "features")
			if c.Config.Classes > 0 {
				close(t, npy(t, dir, "logits"), out.Logits, tolerance, "logits")
			} else {
				require.NoFileExists(t, filepath.Join(dir, "logits.npy"))
				require.Nil(t, out.Logits)
			}
		})
	}
}

// sizes are the inputs of goldens whose pixels have another size than the
// model was saved at.
var sizes = map[string][2]int{
	"timm_resized": {40, 24}, "hf_resized": {24, 56}, "hf_dinov2_head": {40, 24}, "hf_clip_vision": {24, 40}, "hf_siglip_head": {24, 40}, "hf_siglip": {24, 40}, "hf_aimv2_native": {24, 40}, "hf_tips": {24, 40},
	"timm_beit_resized": {40, 24}, "timm_eva02_resized": {40, 24}, "hf_beit": {24, 40},
}

// goldens returns the folders of the golden models.
func goldens(t *testing.T) (dirs []string) {
	t.Helper()
	configs, err := filepath.Glob("testdata/golden/*/config.json")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(configs), 25)
	for _, c := range configs {
		dirs = append(dirs, filepath.Dir(c))
	}
	return dirs
}

// forward computes everything that goldens hold.
func forward(t *testing.T, c *models.Checkpoint, b backend.Backend, pixels *tensor.Dense) *vit.Output {
	t.Helper()
	m, err := c.Model(b)
	require.NoError(t, err)
	require.NoError(t, c.Close(), "the backend has copied the weights")
	s, err := m.NewSession(vit.SessionOptions{MaxBatch: pixels.Shape()[0]})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	wants := vit.Wants{Features: true, AttnFull: true, Probe: true}
	for i := range c.Config.Depth + 1 {
		wants.Tokens = append(wants.Tokens, i-1)
	}
	out, err := s.Forward(pixels, wants)
	require.NoError(t, err)
	return out
}

// npy reads a golden array.
func npy(t testing.TB, dir, name string) *tensor.Dense {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, name+".npy"))
	require.NoError(t, err)
	defer f.Close()
	a := new(tensor.Dense)
	require.NoError(t, a.ReadNpy(f))
	return a
}

// slab returns a[i] of a contiguous array.
func slab(a *tensor.Dense, i int) *tensor.Dense {
	shape := a.Shape()[1:].Clone()
	n := shape.TotalSize()
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(a.Float32s()[i*n:(i+1)*n]))
}

// close requires equal values up to a difference. A shape may have gained or
// lost dimensions of one.
func close(t testing.TB, want, got *tensor.Dense, tolerance float64, what string, args ...any) {
	t.Helper()
	require.NotNil(t, got, append([]any{what}, args...)...)
	w, g := want.Float32s(), got.Float32s()
	require.Len(t, g, len(w), append([]any{what}, args...)...)
	require.InDeltaSlice(t, w, g, tolerance, append([]any{what}, args...)...)
}

func TestStarter(t *testing.T) {
	require.Equal(t, "starter", models.Embedded()[0])
	for _, name := range []string{"", "starter"} {
		c, err := models.Open(name, models.Options{})
		require.NoError(t, err)
		require.Equal(t, "starter", c.Name)
		require.Equal(t, "embedded", c.Source)
		require.Equal(t, 20, c.Config.Classes)
		require.Equal(t, "goldfish", c.Labels[0])
		require.Equal(t, 3, c.Config.Heads)
		require.Equal(t, [2]int{64, 64}, c.Transform.Size)
		require.Contains(t, c.Note, "stand-in")
		require.Len(t, c.Revision(), 64)
		require.NoError(t, c.Close())
	}
}
