package vit

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestShuffled: from a block on every tensor has its own values in another
// order, the same for the same seed, and all before is untouched.
func TestShuffled(t *testing.T) {
	for name := range families {
		c := family(name)
		w := Random(c, 3)
		whole := w.slots(c)
		for _, from := range []int{-1, 0, c.Depth - 1, c.Depth} {
			got, again, other := w.Shuffled(c, from, 1), w.Shuffled(c, from, 1), w.Shuffled(c, from, 2)
			require.NoError(t, got.check(c))
			all := w.Shuffled(c, -1, 1).slots(c)
			sameAgain, another := again.slots(c), other.slots(c)
			moved := 0
			for i, s := range got.slots(c) {
				was := *whole[i].at
				if was == nil {
					require.Nil(t, *s.at)
					continue
				}
				if s.block < from || s.kind == angle {
					require.Same(t, was, *s.at, s.name)
					continue
				}
				moved++
				v := (*s.at).Float32s()
				require.NotEqual(t, was.Float32s(), v, s.name)
				require.Equal(t, (*all[i].at).Float32s(), v, "%s: one order whatever else is shuffled", s.name)
				require.Equal(t, (*sameAgain[i].at).Float32s(), v, s.name)
				require.NotEqual(t, (*another[i].at).Float32s(), v, s.name)
				sorted, want := slices.Clone(v), slices.Clone(was.Float32s())
				slices.Sort(sorted)
				slices.Sort(want)
				require.Equal(t, want, sorted, s.name)
			}
			if from < c.Depth || c.Classes > 0 || c.FinalNorm != NormNone {
				require.Positive(t, moved)
			}
		}
	}
}
