//go:build !purego && amd64

package patch

import "golang.org/x/sys/cpu"

//go:generate go run -C _asm . -out ..

// useAVX2 chooses the assembly. Each function below proves that the vectors
// stay within the slices, which may be longer than what counts, and leaves the
// rest to Go.
var useAVX2 = cpu.X86.HasAVX2

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
