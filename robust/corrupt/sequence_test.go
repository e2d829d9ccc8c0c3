package corrupt

import (
	"crypto/sha256"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPerturbations: where a sequence passes the photo itself, its frame is the
// photo; frames that follow each other differ less than those far apart; and
// the same frame is the same again.
func TestPerturbations(t *testing.T) {
	base := synthetic(64, 64)
	middle := New(48, 48)
	for y := range 48 {
		copy(middle.Pix[3*48*y:][:3*48], base.Pix[3*(64*(y+8)+8):])
	}
	still := map[string]int{"gaussian_noise": 0, "shot_noise": 0, "zoom_blur": 0, "brightness": 15, "translate": 20, "rotate": 15, "tilt": 15, "scale": 24}
	require.Len(t, Perturbations(), 10)
	for _, p := range Perturbations() {
		frame := func(i int) *Picture {
			seed := 0
			if p.Noise {
				seed = i
			}
			var dst Picture
			require.NoError(t, p.Frame(&dst, base, i, 48, 48, Seed(sha256.Sum256(nil), p.Name, seed, 1)))
			return &dst
		}
		if i, ok := still[p.Name]; ok {
			most, _ := difference(middle, frame(i))
			require.LessOrEqual(t, most, 1, p.Name)
		}
		require.Equal(t, frame(5), frame(5))
		_, next := difference(frame(5), frame(6))
		_, far := difference(frame(5), frame(p.Frames-1))
		require.Greater(t, next, 0.0, p.Name)
		if !p.Noise {
			require.Less(t, next, far, p.Name)
		}
	}
}

// TestTilt: a plane that is tilted and seen head-on again is where it was, and
// its middle never moves.
func TestTilt(t *testing.T) {
	m := tilted(0.2, 100)
	i := inverse(m)
	for r := range 3 {
		for c := range 3 {
			sum := 0.0
			for k := range 3 {
				sum += m[3*r+k] * i[3*k+c]
			}
			want := 0.0
			if r == c {
				want = 1
			}
			require.InDelta(t, want, sum, 1e-12)
		}
	}
	require.InDelta(t, 0, math.Hypot(m[2], m[5]), 1e-12)
}
