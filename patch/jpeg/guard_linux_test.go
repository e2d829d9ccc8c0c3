package jpeg

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
		t.Run("idct", func(t *testing.T) {
			coef, q := (*[64]int16)(fence.Of[int16](t, 64, atEnd)), (*[64]int16)(fence.Of[int16](t, 64, atEnd))
			coef[0], q[0], coef[63], q[63] = 100, 3, -5, 7
			for _, stride := range []int{8, 9, 13, 64, 1000} {
				dst := bytes(t, 7*stride+8)
				within(t, func() { idct8(dst, stride, coef, q) })
				within(t, func() { idct8Go(dst, stride, coef, q) })
				half := bytes(t, 3*stride+4)
				within(t, func() { idct4(half, stride, coef, q) })
				within(t, func() { idct4Go(half, stride, coef, q) })
			}
		})
		t.Run("colour", func(t *testing.T) {
			for n := 1; n < 140; n++ {
				near, far, sums := bytes(t, n), bytes(t, n), fence.Of[uint16](t, n, atEnd)
				within(t, func() { addRows(sums, near, far) })
				within(t, func() { addRowsGo(sums, near, far) })
				padded, doubled := fence.Of[uint16](t, n+2, atEnd), bytes(t, 2*n)
				within(t, func() { widen(doubled, padded, n, 7, 8) })
				within(t, func() { widenGo(doubled, padded, n, 7, 8) })
				y, cb, cr, dst := bytes(t, n), bytes(t, n), bytes(t, n), bytes(t, 4*n)
				within(t, func() { YCC(dst, y, cb, cr, n) })
				within(t, func() { yccRowGo(dst, y, cb, cr, n) })
			}
		})
	}
}
