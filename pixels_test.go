package vitserve_test

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// TestFromPixels: pixels that Prepare made are answered as their photo is,
// pixels beyond black and white are taken as they are, and what is no pixel or
// no picture of the model's size is refused.
func TestFromPixels(t *testing.T) {
	m := open(t, "starter")
	want, err := m.Classify(t.Context(), vitserve.File(testPhoto("banana.jpg")))
	require.NoError(t, err)
	p, err := m.Prepare(t.Context(), vitserve.File(testPhoto("banana.jpg")), vitserve.Look{})
	require.NoError(t, err)
	pixels := slices.Clone(p.Pixels.Float32s())
	logits := func(pixels []float32) []float32 {
		q, err := m.FromPixels(pixels)
		require.NoError(t, err)
		require.InDelta(t, 1, q.Geometry.Coverage, 0)
		l := m.NewLane(vit.SessionOptions{MaxBatch: 1})
		out, err := l.Forward(1, []*tensor.Dense{q.Pixels}, vit.Wants{})
		require.NoError(t, err)
		q.Free() // gives nothing of the caller's away
		found := slices.Clone(out.Logits.Float32s())
		require.NoError(t, l.Close())
		return found
	}
	require.Equal(t, want.Logits, logits(pixels))
	clipped, beyond := slices.Clone(pixels), slices.Clone(pixels)
	clipped[5], beyond[5] = 1, 3
	require.NotEqual(t, logits(clipped), logits(beyond))

	beyond[7] = float32(math.NaN())
	_, err = m.FromPixels(beyond)
	require.ErrorIs(t, err, vit.ErrNotFinite)
	_, err = m.FromPixels(pixels[1:])
	require.ErrorIs(t, err, patch.ErrShape)
	require.ErrorContains(t, err, "want 3×")
}
