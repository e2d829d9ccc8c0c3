package patch

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
			var coef coefficients
			var q [64]int32
			scale := 1 << (i % 16) // up to what only a hostile file holds
			for j := range 64 {
				if rng.IntN(3) > 0 {
					coef[j] = int16(rng.IntN(2*scale) - scale)
				}
				q[j] = int32(1 + rng.IntN(1<<(i%17)))
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
	t.Run("vertical", func(t *testing.T) {
		for n := 1; n < 140; n++ {
			stride, rows := n+rng.IntN(9), 1+rng.IntN(20)
			src := random(rng, stride*rows)
			w := make([]int32, rows)
			for i := range w {
				w[i] = int32(rng.IntN(3<<precisionBits)-1<<precisionBits) / int32(rows)
			}
			want, got := make([]byte, n), make([]byte, n)
			verticalGo(want, src, stride, w)
			vertical(got, src, stride, w)
			require.Equal(t, want, got)
		}
	})
	t.Run("horizontal and line", func(t *testing.T) {
		for _, how := range []Interpolation{Nearest, Bilinear, Bicubic, Lanczos} {
			for range 60 {
				in, out := 1+rng.IntN(300), 1+rng.IntN(100)
				var a axis
				a.set(how, in, 0, float64(in), out, 0, out)
				for _, slack := range []int{0, rowSlack} {
					src := random(rng, 4*in+slack)
					want, got := make([]byte, 4*out), make([]byte, 4*out)
					horizontalGo(want, src, &a)
					horizontal(got, src, &a)
					require.Equal(t, want, got)
					src = random(rng, in+slack)
					lineGo(want, src, &a)
					line(got, src, &a)
					require.Equal(t, want, got)
				}
			}
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
			yccRow(rgbb, y, near, far, n)
			require.Equal(t, rgba, rgbb)
		}
	})
}
