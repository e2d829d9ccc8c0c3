package vit

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/cpu"
)

// TestFinal holds that features are means of the final tokens, where the norm
// stands before the pooling, and that wanting these changes nothing else.
func TestFinal(t *testing.T) {
	b, err := cpu.New(backend.Options{})
	require.NoError(t, err)
	defer b.Close()
	for name := range families {
		t.Run(name, func(t *testing.T) {
			c := family(name)
			w := Random(c, 3)
			s := newSession(t, b, c, w, 2)
			pixels := photos(c, 2, 5)
			plain, err := s.Forward(pixels, Wants{Features: true})
			require.NoError(t, err)
			out, err := s.Forward(pixels, Wants{Features: true, Final: true, Tokens: []int{c.Depth - 1}})
			require.NoError(t, err)
			require.Equal(t, plain.Features.Float32s(), out.Features.Float32s())
			require.Equal(t, []int{2, c.Tokens(), c.Dim}, []int(out.Final.Shape()))
			for i := range 2 {
				naive := runNaive(c, w, image(pixels, i))
				last := naive.tokens[c.Depth]
				if c.FinalNorm == NormTokens || c.FinalNorm == NormTwice {
					last = naiveNorm(last, w.Norm, c.Eps)
				}
				requireNear(t, flat(last), image(out.Final, i), 1e-4, name)
			}
		})
	}
}
