package jpeg

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestIDCT compares the inverse transform with the definition (A.3.3).
func TestIDCT(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		var coef, q [64]int16
		for i := range 64 {
			q[i] = int16(1 + rng.IntN(20))
			if rng.IntN(4) == 0 {
				coef[i] = int16(rng.IntN(21) - 10)
			}
		}
		for _, size := range []int{8, 4, 2} {
			got := make([]byte, size*size)
			block := coef
			switch size {
			case 8:
				idct8(got, 8, &block, &q)
			case 4:
				idct4(got, 4, &block, &q)
			case 2:
				idct2(got, 2, &block, &q)
			}
			for i, v := range got {
				want := 128 + definition(&coef, &q, size, i%size, i/size)
				require.InDelta(t, min(max(want, 0), 255), float64(v), 1)
			}
		}
	}
}

// definition is the inverse transform of a block's size × size lowest
// frequencies at (x, y); the factor of size/8 keeps the mean.
func definition(coef, q *[64]int16, size, x, y int) float64 {
	sum, n := 0.0, float64(size)
	basis := func(u, x int) float64 {
		if u == 0 {
			return math.Sqrt(1 / n)
		}
		return math.Sqrt(2/n) * math.Cos(float64(2*x+1)*float64(u)*math.Pi/(2*n))
	}
	for v := range size {
		for u := range size {
			sum += basis(u, x) * basis(v, y) * float64(coef[8*v+u]) * float64(q[8*v+u])
		}
	}
	return sum * n / 8
}
