package vit

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/cpu"
	"github.com/vitserve/vitserve/backend/ref"
	"gorgonia.org/tensor"
)

// TestBackwardCompany: an image's gradients have the same bits alone and in a
// batch, with one thread and with several.
func TestBackwardCompany(t *testing.T) {
	c := deitTi()
	c.Depth, c.Classes = 2, 10
	w, pixels := Random(c, 5), photos(c, 3, 1)
	size := len(image(pixels, 0))
	var want []*Grads
	for _, threads := range []int{1, 2, 3} {
		m, err := New(newCPU(t, threads), c, w)
		require.NoError(t, err)
		s, err := m.NewSession(SessionOptions{MaxBatch: 3})
		require.NoError(t, err)
		for n := 1; n <= 3; n++ {
			for first := 0; first+n <= 3; first++ {
				part := tensor.New(tensor.WithShape(n, 3, 224, 224), tensor.WithBacking(pixels.Float32s()[first*size:(first+n)*size]))
				classes := []int{4, 5, 6}[first : first+n]
				g := derive(t, trace(t, s, part, Wants{}), AtLogits(OneHot(c.Classes, classes...)),
					GradWants{Pixels: true, Probs: []int{0}, Relevance: []int{0, 1}})
				if threads == 1 && n == 1 {
					want = append(want, g)
					continue
				}
				for b := range n {
					alone := want[first+b]
					for _, both := range [][2]*tensor.Dense{
						{alone.Pixels, g.Pixels}, {alone.Probs[0], g.Probs[0]},
						{alone.Relevance[0], g.Relevance[0]}, {alone.Relevance[1], g.Relevance[1]},
					} {
						require.Equal(t, bits(image(both[0], 0)), bits(image(both[1], b)), "%d threads, image %d of %d", threads, b, n)
					}
				}
			}
		}
		require.NoError(t, s.Close())
	}
}

// TestBackwardPrecision: models of bf16 and int8 are derived in float32,
// through their own weights.
func TestBackwardPrecision(t *testing.T) {
	c := deitTi()
	c.Depth, c.Classes = 2, 10
	w, pixels, seed := Random(c, 5), photos(c, 1, 1), AtLogits(OneHot(10, 3))
	wants := GradWants{Pixels: true, Relevance: []int{0}}
	want := derive(t, trace(t, newSession(t, ref.Backend{}, c, w, 1), pixels, Wants{}), seed, wants)
	for p, limit := range map[backend.Precision]float64{backend.BF16: 1e-4, backend.Int8: 2e-3} {
		t.Run(p.String(), func(t *testing.T) {
			b, err := cpu.New(backend.Options{Precision: p, Threads: 2})
			if errors.Is(err, backend.ErrUnsupported) {
				t.Skip(err)
			}
			require.NoError(t, err)
			defer b.Close()
			got := derive(t, trace(t, newSession(t, b, c, w, 1), pixels, Wants{}), seed, wants)
			requireClose(t, want.Pixels, got.Pixels, limit, fmt.Sprintf("%v pixels", p))
			requireClose(t, want.Relevance[0], got.Relevance[0], limit, fmt.Sprintf("%v relevance", p))
		})
	}
}
