package vitserve_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/ref"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// TestView holds what the maps are told of a model to what its session says.
func TestView(t *testing.T) {
	c := vit.Config{
		Image: [2]int{16, 24}, Patch: [2]int{4, 4}, Prefix: 1, Dim: 32, Depth: 2, Heads: 2, Hidden: 80,
		Act: backend.GELU, Eps: 1e-6, Pool: []backend.Span{{Lo: 0, Hi: 1}}, Classes: 7,
	}
	m, err := vit.New(ref.Backend{}, c, vit.Random(c, 5))
	require.NoError(t, err)
	s, err := m.NewSession(vit.SessionOptions{MaxBatch: 2})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	pixels := tensor.New(tensor.WithShape(5, 3, c.Image[0], c.Image[1]), tensor.Of(tensor.Float32))
	rng := rand.New(rand.NewPCG(1, 9))
	for i := range pixels.Float32s() {
		pixels.Float32s()[i] = rng.Float32()
	}
	image := func(d *tensor.Dense, b int) []float32 {
		size := d.Shape().TotalSize() / d.Shape()[0]
		return d.Float32s()[b*size : (b+1)*size]
	}
	for _, how := range []vit.Scoring{vit.Softmax, vit.Sigmoid, vit.Raw} {
		p := vitserve.View{Session: s, Scoring: how}
		got, err := p.Probabilities(context.Background(), pixels)
		require.NoError(t, err)
		require.Equal(t, tensor.Shape{5, c.Classes}, got.Shape())
		for b := range 5 {
			one := tensor.New(tensor.WithShape(1, 3, c.Image[0], c.Image[1]), tensor.WithBacking(image(pixels, b)))
			out, err := s.Forward(one, vit.Wants{})
			require.NoError(t, err)
			var sum float64
			for _, v := range out.Logits.Float32s() {
				sum += math.Exp(float64(v))
			}
			for k, v := range out.Logits.Float32s() {
				want := math.Exp(float64(v)) / sum
				switch how {
				case vit.Sigmoid:
					want = 1 / (1 + math.Exp(-float64(v)))
				case vit.Raw:
					want = float64(v)
				}
				require.InDelta(t, want, image(got, b)[k], 1e-6)
			}
			if b > 0 {
				continue
			}
			keep := [][]int{{1, 3}, {2, 5}, {0, 23}}
			kept, err := p.Kept(context.Background(), one, keep)
			require.NoError(t, err)
			require.Equal(t, tensor.Shape{3, c.Classes}, kept.Shape())
			for i := range keep {
				logits, err := s.Kept(one, keep[i:i+1])
				require.NoError(t, err)
				for k, score := range vit.Scores(logits.Float32s(), how) {
					require.Equal(t, float32(score), image(kept, i)[k])
				}
			}
		}
	}
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = vitserve.View{Session: s}.Probabilities(stopped, pixels)
	require.ErrorIs(t, err, context.Canceled)
}
