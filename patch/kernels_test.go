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
		for _, how := range []Interpolation{Nearest, Bilinear, Bicubic, Lanczos, Box, Hamming} {
			for range 60 {
				in, out := 1+rng.IntN(300), 1+rng.IntN(100)
				var a axis
				a.set(resize{how: how}, in, 0, float64(in), out, 0, out)
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
}
