package focus

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/patch"
	"gorgonia.org/tensor"
)

// A photo of 100 × 50 pixels that a model of 2 × 5 patches has seen whole.
func TestDigest(t *testing.T) {
	g := patch.Geometry{Photo: [2]int{100, 50}, Orientation: 1, Input: [2]int{50, 20}, Seen: patch.Rect{W: 100, H: 50}, Coverage: 1}
	m := func(values ...float32) *Map {
		return &Map{Values: tensor.New(tensor.WithShape(2, 5), tensor.WithBacking(values))}
	}
	even := m(1, 1, 1, 1, 1, 1, 1, 1, 1, 1).Digest(g)
	require.InDelta(t, 50, even.X, 1e-9)
	require.InDelta(t, 25, even.Y, 1e-9)
	require.InDelta(t, 1, even.Entropy, 1e-12)
	require.InDelta(t, 0.2, even.TopFifth, 1e-12)

	one := m(0, 0, 0, 0, 0, -1, 0, 0, 7, -2).Digest(g)
	require.Equal(t, Digest{Row: 1, Col: 3, X: 70, Y: 37.5, Entropy: 0, TopFifth: 1}, one)

	two := m(3, 0, 0, 0, 1, 0, 0, 0, 0, 0).Digest(g)
	require.InDelta(t, 0.75*10+0.25*90, two.X, 1e-9)
	require.InDelta(t, 12.5, two.Y, 1e-9)
	require.InDelta(t, 1, two.TopFifth, 1e-12)

	none := m(-1, -2, -3, -4, -5, -6, -7, -8, -9, -1).Digest(g)
	require.Equal(t, Digest{X: 50, Y: 25}, none)
}
