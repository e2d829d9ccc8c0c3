//go:build !purego && amd64

package jpeg

import "golang.org/x/sys/cpu"

// useAVX2 chooses the assembly. Each function below proves that the vectors
// stay within the slices, which may be longer than what counts, and leaves the
// rest to Go.
var useAVX2 = cpu.X86.HasAVX2

func idct8(dst []byte, stride int, coef *[64]int16, q *[64]int16) {
	if !useAVX2 {
		idct8Go(dst, stride, coef, q)
		return
	}
	_ = dst[7*stride+7]
	idct8AVX2(&dst[0], stride, &coef[0], &q[0])
}

func idct4(dst []byte, stride int, coef *[64]int16, q *[64]int16) {
	if !useAVX2 {
		idct4Go(dst, stride, coef, q)
		return
	}
	_ = dst[3*stride+3]
	idct4AVX2(&dst[0], stride, &coef[0], &q[0])
}

func addRows(sums []uint16, near, far []byte) {
	n := len(sums)
	whole := 0
	if useAVX2 {
		if whole = n &^ 15; whole > 0 {
			addRowsAVX2(&sums[0], &near[:whole][0], &far[:whole][0], whole)
		}
	}
	addRowsGo(sums[whole:], near[whole:], far[whole:])
}

func widen(dst []byte, sums []uint16, n int, left, right uint16) {
	whole := 0
	if useAVX2 {
		if whole = n &^ 15; whole > 0 {
			_, _ = dst[2*whole-1], sums[whole+1]
			widenAVX2(&dst[0], &sums[0], whole, left, right)
		}
	}
	widenGo(dst[2*whole:], sums[whole:], n-whole, left, right)
}

// YCC converts n pixels of YCbCr to RGBA.
func YCC(dst, y, cb, cr []byte, n int) {
	whole := 0
	if useAVX2 {
		if whole = n &^ 7; whole > 0 {
			_, _, _, _ = dst[4*whole-1], y[whole-1], cb[whole-1], cr[whole-1]
			yccRowAVX2(&dst[0], &y[0], &cb[0], &cr[0], whole)
		}
	}
	yccRowGo(dst[4*whole:], y[whole:], cb[whole:], cr[whole:], n-whole)
}
