package patch

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// least is the fewest bits that a decision may take whose outcome has
// probability p/256: a range of 128 to 255 is divided with rounding.
func least(p uint8, one bool) float64 {
	fewest := math.Inf(1)
	for most := 127.0; most < 255; most++ {
		split := math.Floor(most*float64(p)/256) + 1
		part := split
		if one {
			part = most + 1 - split
		}
		fewest = min(fewest, -math.Log2(part/(most+1)))
	}
	return max(fewest, 0)
}

// TestVP8Least adds up what the modes of a macroblock take at their likeliest.
func TestVP8Least(t *testing.T) {
	zero, one := false, true
	whole := least(145, one) + min(
		least(156, zero)+min(least(163, zero), least(163, one)),
		least(156, one)+min(least(128, zero), least(128, one)))
	block := math.Inf(1)
	for i := range vp8Modes {
		for j := range vp8Modes[i] {
			p := &vp8Modes[i][j]
			path := 0.0
			for k, more := range []int{0, 1, 2} { // the first three modes
				block = min(block, path+least(p[k], zero))
				path += least(p[more], one)
			}
			low := path + least(p[3], zero)
			block = min(block, low+least(p[4], zero), low+least(p[4], one)+min(least(p[5], zero), least(p[5], one)))
			high := path + least(p[3], one)
			block = min(block, high+least(p[6], zero))
			high += least(p[6], one)
			block = min(block, high+least(p[7], zero))
			high += least(p[7], one)
			block = min(block, high+min(least(p[8], zero), least(p[8], one)))
		}
	}
	blocks := least(145, zero) + 16*block
	chroma := min(least(142, zero), least(142, one)+min(least(114, zero), least(114, one)+min(least(183, zero), least(183, one))))
	t.Logf("%.2f bits as a whole, %.2f block by block, %.2f for chroma", whole, blocks, chroma)
	require.Greater(t, min(whole, blocks)+chroma, float64(vp8Least))
}
