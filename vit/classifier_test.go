package vit

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend/ref"
	"gorgonia.org/tensor"
)

func TestClassifier(t *testing.T) {
	c := tiny()
	s := newSession(t, ref.Backend{}, c, Random(c, 5), 2)
	pixels := photos(c, 5, 1)
	for _, multi := range []bool{false, true} {
		p := Classifier{Session: s, MultiLabel: multi}
		got, err := p.Probabilities(context.Background(), pixels)
		require.NoError(t, err)
		require.Equal(t, tensor.Shape{5, c.Classes}, got.Shape())
		for b := range 5 {
			one := tensor.New(tensor.WithShape(1, 3, c.Image[0], c.Image[1]), tensor.WithBacking(image(pixels, b)))
			out, err := s.Forward(one, Wants{})
			require.NoError(t, err)
			var sum float64
			for _, v := range out.Logits.Float32s() {
				sum += math.Exp(float64(v))
			}
			for k, v := range out.Logits.Float32s() {
				want := math.Exp(float64(v)) / sum
				if multi {
					want = 1 / (1 + math.Exp(-float64(v)))
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
				for k, score := range Scores(logits.Float32s(), multi) {
					require.Equal(t, float32(score), image(kept, i)[k])
				}
			}
		}
	}
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Classifier{Session: s}.Probabilities(stopped, pixels)
	require.ErrorIs(t, err, context.Canceled)
}
