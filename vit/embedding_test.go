package vit

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/tensor"
)

// TestEmbedding takes vectors out of an output whose values are counted up.
func TestEmbedding(t *testing.T) {
	counted := func(shape ...int) *tensor.Dense {
		x := tensor.New(tensor.WithShape(shape...), tensor.Of(tensor.Float32))
		for i := range x.Float32s() {
			x.Float32s()[i] = float32(i)
		}
		return x
	}
	c := Config{Image: [2]int{2, 4}, Patch: [2]int{2, 2}, Prefix: 1, Dim: 2} // a row of two patches, three tokens
	out := &Output{Final: counted(2, 3, 2)}
	for pool, want := range map[string][]float32{PoolClass: {6, 7}, PoolMean: {9, 10}, PoolGrid: {8, 9, 10, 11}} {
		x := Embedding{Pool: pool}.Of(out, 1, c)
		require.Equal(t, want, x.Float32s(), pool)
		require.Equal(t, Embedding{Pool: pool}.Shape(c), x.Shape())
		require.NoError(t, Embedding{Pool: pool}.Check(c))
	}
	require.Equal(t, tensor.Shape{1, 2, 2}, Embedding{Pool: PoolGrid}.Shape(c))
	unit := Embedding{Pool: PoolGrid, L2: true}.Of(out, 0, c).Float32s()
	require.InDelta(t, 1, unit[2]*unit[2]+unit[3]*unit[3], 1e-6)
	require.Equal(t, []float32{0, 0}, Embedding{Pool: PoolClass, L2: true}.Of(&Output{Final: tensor.New(tensor.WithShape(1, 3, 2), tensor.Of(tensor.Float32))}, 0, c).Float32s(), "no direction")
	require.EqualValues(t, 2, out.Final.Float32s()[2], "the output stays as it is")

	c.Prefix = 0
	require.EqualError(t, Embedding{Pool: PoolClass}.Check(c), `pool "class", want model or mean or grid`)
	require.EqualError(t, Embedding{}.Check(c), `pool "", want model or mean or grid`)
}
