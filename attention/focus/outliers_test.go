package focus

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/tensor"
)

func TestOutliers(t *testing.T) {
	const prefix, dim = 2, 8
	grid := [2]int{4, 5}
	rng := rand.New(rand.NewPCG(1, 1))
	n := prefix + 20
	x := make([]float32, 2*n*dim)
	for i := range x {
		x[i] = 1 + 0.1*rng.Float32()
	}
	tokens := tensor.New(tensor.WithShape(2, n, dim), tensor.WithBacking(x))
	require.Empty(t, Outliers(tokens, 1, prefix, grid))

	scale := func(b, token int, by float32) {
		for i := range dim {
			x[(b*n+token)*dim+i] *= by
		}
	}
	scale(1, 0, 50) // the class token is no patch
	scale(1, prefix+7, 3)
	scale(1, prefix+19, 10)
	scale(1, prefix+3, 1.5) // large, but not twice the median
	require.Empty(t, Outliers(tokens, 0, prefix, grid), "another image's")
	got := Outliers(tokens, 1, prefix, grid)
	require.Len(t, got, 2)
	require.Equal(t, [2]int{3, 4}, [2]int{got[0].Row, got[0].Col})
	require.Equal(t, [2]int{1, 2}, [2]int{got[1].Row, got[1].Col})
	require.InDelta(t, 10, got[0].Ratio, 0.5)
	require.InDelta(t, 3, got[1].Ratio, 0.3)

	require.Panics(t, func() { Outliers(tokens, 2, prefix, grid) })
	require.Panics(t, func() { Outliers(tokens, 0, prefix+1, grid) })

	// Norms that all differ much have no outlier.
	for i := range 20 {
		for j := range dim {
			x[(prefix+i)*dim+j] = float32(i + 1)
		}
	}
	require.Empty(t, Outliers(tokens, 0, prefix, grid))
}
