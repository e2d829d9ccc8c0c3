//go:build !purego && amd64

package patch

import "golang.org/x/sys/cpu"

//go:generate go run -C _asm . -out ..

// useAVX2 chooses the assembly. Each function below proves that the vectors
// stay within the slices, which may be longer than what counts, and leaves the
// rest to Go.
var useAVX2 = cpu.X86.HasAVX2

func idct8(dst []byte, stride int, coef *coefficients, q *[64]int32) {
	if !useAVX2 {
		idct8Go(dst, stride, coef, q)
		return
	}
	_ = dst[7*stride+7]
	idct8AVX2(&dst[0], stride, &coef[0], &q[0])
}

func idct4(dst []byte, stride int, coef *coefficients, q *[64]int32) {
	if !useAVX2 {
		idct4Go(dst, stride, coef, q)
		return
	}
	_ = dst[3*stride+3]
	idct4AVX2(&dst[0], stride, &coef[0], &q[0])
}

func vertical(dst, src []byte, stride int, w []int32) {
	n := len(dst)
	if !useAVX2 || n < 32 || len(w) == 0 {
		verticalGo(dst, src, stride, w)
		return
	}
	_ = src[(len(w)-1)*stride+n-1]
	verticalAVX2(&dst[0], &src[0], n, stride, &w[0], len(w))
}

func horizontal(dst, src []byte, a *axis) {
	steps, ok := a.steps(4, len(src)/4)
	if !useAVX2 || !ok {
		horizontalGo(dst, src, a)
		return
	}
	_ = dst[4*len(a.first)-1]
	horizontalAVX2(&dst[0], &src[0], &a.first[0], &a.weight[0], len(a.first), a.size, steps)
}

func line(dst, src []byte, a *axis) {
	steps, ok := a.steps(8, len(src))
	if !useAVX2 || !ok {
		lineGo(dst, src, a)
		return
	}
	_ = dst[len(a.first)-1]
	lineAVX2(&dst[0], &src[0], &a.first[0], &a.weight[0], len(a.first), a.size, steps)
}

// steps is how many vectors of width inputs cover every output's inputs, and
// whether n inputs are enough to read them whole.
func (a *axis) steps(width, n int) (steps int, ok bool) {
	steps = (a.longest + width - 1) / width
	return steps, len(a.first) > 0 && a.far+steps*width <= n && steps*width <= a.size
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

func yccRow(dst, y, cb, cr []byte, n int) {
	whole := 0
	if useAVX2 {
		if whole = n &^ 7; whole > 0 {
			_, _, _, _ = dst[4*whole-1], y[whole-1], cb[whole-1], cr[whole-1]
			yccRowAVX2(&dst[0], &y[0], &cb[0], &cr[0], whole)
		}
	}
	yccRowGo(dst[4*whole:], y[whole:], cb[whole:], cr[whole:], n-whole)
}
