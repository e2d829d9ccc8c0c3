package patch

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/patch/jpeg"
	"gorgonia.org/tensor"
)

// TestPixelsAllocate: a request in the steady state allocates next to
// nothing; the planes of 640×480 would be 460 kB.
func TestPixelsAllocate(t *testing.T) {
	data := photo(t, 640, 480)
	dst := tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(3, 224, 224))
	for _, r := range []Resize{ResizeExact, ResizeFast} {
		ask := func() {
			_, err := good().Pixels(t.Context(), dst, data, Options{Resize: r})
			require.NoError(t, err)
		}
		ask()
		best := uint64(math.MaxUint64)
		for range 10 { // a garbage collection may empty the pools
			best = min(best, allocated(ask))
		}
		require.Less(t, best, uint64(16<<10))
	}
}

// TestScaledJPEG compares smaller blocks with the means of the whole ones'
// samples: as near as two ways to leave frequencies out are.
func TestScaledJPEG(t *testing.T) {
	planes := func(size int) []jpeg.Plane {
		r, err := jpeg.Open(t.Context(), photo(t, 640, 480))
		require.NoError(t, err)
		planes, err := r.Planes(size) // not closed: the planes stay
		require.NoError(t, err)
		return planes
	}
	whole := planes(8)
	for _, size := range []int{4, 2, 1} {
		small := planes(size)
		for i, a := range whole {
			b, n := small[i], 8/size
			require.Equal(t, (a.Width+n-1)/n, b.Width)
			require.Equal(t, (a.Height+n-1)/n, b.Height)
			sum := 0.0
			for y := range a.Height / n {
				for x := range a.Width / n {
					mean := 0
					for j := range n * n {
						mean += int(a.Pix[(y*n+j/n)*a.Stride+x*n+j%n])
					}
					sum += math.Abs(float64(mean)/float64(n*n) - float64(b.Pix[y*b.Stride+x]))
				}
			}
			require.Less(t, sum/float64(b.Width*b.Height), 3.0, "component %d at 1/%d", i, n)
		}
	}
}
