package patch

import (
	"testing"

	"github.com/vitserve/vitserve/internal/fence"
)

// TestGuardPages runs every kernel, as Go and as it is chosen here, on memory
// beside unreadable pages.
func TestGuardPages(t *testing.T) {
	for _, atEnd := range []bool{true, false} {
		within := func(t *testing.T, call func()) {
			t.Helper()
			if touched := fence.Touches(call); touched != nil {
				t.Fatalf("touches memory beside its own: %v", touched)
			}
		}
		bytes := func(t *testing.T, n int) []byte { return fence.Bytes(t, n, atEnd) }
		t.Run("vertical", func(t *testing.T) {
			for _, n := range []int{1, 7, 31, 32, 33, 47, 63, 64, 65, 96, 97, 127, 128, 129, 200} {
				for _, rows := range []int{1, 2, 3, 7, 20} {
					for _, stride := range []int{n, n + 5} {
						w := fence.Of[int32](t, rows, atEnd)
						dst, src := bytes(t, n), bytes(t, (rows-1)*stride+n)
						within(t, func() { vertical(dst, src, stride, w) })
						within(t, func() { verticalGo(dst, src, stride, w) })
					}
				}
			}
		})
		t.Run("horizontal and line", func(t *testing.T) {
			for _, how := range []Interpolation{Nearest, Bilinear, Bicubic, Lanczos, Box, Hamming} {
				for _, in := range []int{1, 2, 5, 8, 13, 31, 64, 100, 299} {
					for _, out := range []int{1, 2, 7, 8, 9, 33, 64, 100, 224} {
						var a axis
						a.set(resize{how: how}, in, 0, float64(in), out, 0, out)
						if len(a.weight) > 0 {
							weight := fence.Of[int32](t, len(a.weight), atEnd)
							copy(weight, a.weight)
							a.weight = weight
						}
						first := fence.Of[int](t, len(a.first), atEnd)
						copy(first, a.first)
						a.first = first
						for _, slack := range []int{0, 1, rowSlack} {
							wide, dst4 := bytes(t, 4*in+slack), bytes(t, 4*out)
							within(t, func() { horizontal(dst4, wide, &a) })
							within(t, func() { horizontalGo(dst4, wide, &a) })
							narrow, dst := bytes(t, in+slack), bytes(t, out)
							within(t, func() { line(dst, narrow, &a) })
							within(t, func() { lineGo(dst, narrow, &a) })
						}
					}
				}
			}
		})
	}
}
