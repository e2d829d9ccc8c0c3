package jpeg

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMasks holds the tree to a search of all blocks.
func TestMasks(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, n := range []int{1, 15, 16, 17, 256, 257, 5000, 70000} {
		var m masks
		m.reset(n)
		for range 300 {
			i := rng.IntN(n)
			m.set(i, m.leaf[i]^1<<rng.IntN(64)) // which also takes away
			from := rng.IntN(n)
			to, band := from+rng.IntN(n-from+1), rng.Uint64()&rng.Uint64()&rng.Uint64()
			want := from
			for want < to && m.leaf[want]&band == 0 {
				want++
			}
			require.Equal(t, want, m.find(from, to, band))
		}
	}
}
