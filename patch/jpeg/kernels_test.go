package jpeg

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func random(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// TestKernels holds the assembly to the Go that it must equal, at lengths
// around its vectors.
func TestKernels(t *testing.T) {
	if !useAVX2 {
		t.Skip("no AVX2 here: the portable kernels are all there is")
	}
	rng := rand.New(rand.NewPCG(3, 4))
	t.Run("idct", func(t *testing.T) {
		for i := range 2000 {
			var coef, q [64]int16
			scale := 1 << (i % 16)         // up to what only a hostile file holds
			rows := 8 << (3 * rng.IntN(2)) // all or the first, which overflows in another way
			for j := range 64 {
				if j < rows && rng.IntN(3) > 0 {
					coef[j] = int16(rng.IntN(2*scale) - scale)
				}
				q[j] = int16(1 + rng.IntN(1<<(i%17)))
			}
			want, got := make([]byte, 8*13), make([]byte, 8*13)
			idct8Go(want, 13, &coef, &q)
			idct8(got, 13, &coef, &q)
			require.Equal(t, want, got)
			idct4Go(want, 13, &coef, &q)
			idct4(got, 13, &coef, &q)
			require.Equal(t, want, got)
		}
	})
	t.Run("colour", func(t *testing.T) {
		for n := 1; n < 100; n++ {
			near, far := random(rng, n), random(rng, n)
			want, got := make([]uint16, n+2), make([]uint16, n+2)
			addRowsGo(want[1:n+1], near, far)
			addRows(got[1:n+1], near, far)
			require.Equal(t, want, got)
			wide, wider := make([]byte, 2*n), make([]byte, 2*n)
			widenGo(wide, want, n, 8, 7)
			widen(wider, want, n, 8, 7)
			require.Equal(t, wide, wider)
			y, rgba, rgbb := random(rng, n), make([]byte, 4*n), make([]byte, 4*n)
			yccRowGo(rgba, y, near, far, n)
			YCC(rgbb, y, near, far, n)
			require.Equal(t, rgba, rgbb)
		}
	})
}
