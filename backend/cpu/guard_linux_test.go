package cpu

import (
	"fmt"
	"testing"
	"unsafe"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/internal/fence"
)

// guarded gives out memory beside pages that can be neither read nor written:
// with their ends before one, or with their beginnings behind one.
type guarded struct {
	t     *testing.T
	atEnd bool
}

// bytes is memory of so many bytes at the fence.
func (f guarded) bytes(n int) unsafe.Pointer { return unsafe.Pointer(&fence.Bytes(f.t, n, f.atEnd)[0]) }

// rows is memory for r rows of n values of some bytes, with a gap between one
// row and the next but none behind the last, filled with ones.
func (f guarded) rows(r, n, size int) rows {
	ld := n*size + 12
	p := f.bytes((r-1)*ld + n*size)
	for i := range r {
		line := unsafe.Slice((*byte)(unsafe.Add(p, i*ld)), n*size)
		for j := 0; j+4 <= len(line); j += 4 {
			*(*float32)(unsafe.Pointer(&line[j])) = 1
		}
	}
	return rows{p, uintptr(ld)}
}

func (f guarded) floats(r, n int) rows { return f.rows(r, n, 4) }

// within calls a kernel and fails when it touches what is not its own.
func (f guarded) within(what string, call func()) {
	f.t.Helper()
	if touched := fence.Touches(call); touched != nil {
		f.t.Errorf("%s: touches memory beside its own: %v", what, touched)
	}
}

// TestGuardPages runs every kernel on memory beside unreadable pages: none
// reads or writes a value outside the ones named.
func TestGuardPages(t *testing.T) {
	each(t, func(t *testing.T, k *kernels) {
		for _, atEnd := range []bool{true, false} {
			t.Run(map[bool]string{true: "before", false: "behind"}[atEnd], func(t *testing.T) {
				f := guarded{t, atEnd}
				for _, n := range []int{1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17, 24, 31, 32, 33, 47, 63, 64, 65, 100, 197, 257} {
					for _, r := range []int{1, 2, 3, 5} {
						f.values(k, r, n)
						f.lowPrecision(k, r, n)
					}
				}
				f.products("gemm", k.gemm, k.cols, 4)
				f.products("half", k.half, k.cols/2, 4)
				f.products("gemmBF16", k.gemmBF16, k.cols, 4)
				f.products("halfBF16", k.halfBF16, k.cols/2, 4)
				f.products("gemmInt8", k.gemmInt8, k.cols, 4)
			})
		}
	})
}

// values runs the kernels of r rows of n float32.
func (f guarded) values(k *kernels, r, n int) {
	f.t.Helper()
	run := func(name string, call func()) { f.within(fmt.Sprintf("%s of %d rows of %d", name, r, n), call) }
	whole := (n + 15) / 16 * 16
	for act := range k.act {
		if k.act[act] == nil {
			continue
		}
		name := backend.Activation(act).String()
		x, y := f.floats(r, n), f.floats(r, n)
		run(name, func() { k.act[act](y.p, y.ld, r, n) })
		run(name+" derived", func() { k.actGrad[act](y.p, y.ld, x.p, x.ld, r, n) })
	}
	x, y, z, wide := f.floats(r, n), f.floats(r, n), f.floats(r, n), f.floats(r, 2*n)
	run("swiglu", func() { k.swiglu(y.p, y.ld, wide.p, wide.ld, r, n) })
	run("swiglu in place", func() { k.swiglu(wide.p, wide.ld, wide.p, wide.ld, r, n) })
	run("swigluGrad", func() { k.swigluGrad(y.p, z.p, y.ld, x.p, f.floats(r, n).p, x.ld, r, n) })
	scores := f.floats(r, whole)
	run("softmax", func() { k.softmax(scores.p, scores.ld, r, n, 0.5) })
	run("softmaxGrad", func() { k.softmaxGrad(y.p, y.ld, x.p, x.ld, r, n) })
	run("relevance", func() { k.relevance(y.p, y.ld, x.p, z.p, x.ld, r, n) })
	run("add", func() { k.add(y.p, y.ld, x.p, x.ld, r, n) })
	if k.fetch != nil {
		run("fetch", func() { k.fetch(x.p, x.ld, r, n) })
	}
	turned := f.floats(n, r)
	run("transpose", func() { k.transpose(turned.p, turned.ld, x.p, x.ld, r, n) })
	if n%2 == 0 {
		cos, sin := f.floats(r, n), f.floats(r, n)
		run("rotate", func() { k.rotate(y.p, y.ld, x.p, x.ld, cos.p, cos.ld, sin.p, sin.ld, r, n, 2) })
		run("rotatePairs", func() { k.rotatePairs(y.p, y.ld, x.p, x.ld, cos.p, cos.ld, sin.p, sin.ld, r, n, 2) })
	}
	if r > 1 {
		return
	}
	w, b := f.floats(1, n), f.floats(1, n)
	run("layerNorm", func() { k.layerNorm(y.p, x.p, w.p, b.p, n, 1e-6) })
	run("rmsNorm", func() { k.rmsNorm(y.p, x.p, w.p, n, 1e-6) })
	run("layerNormGrad", func() { k.layerNormGrad(y.p, z.p, x.p, w.p, b.p, n, 1e-6) })
	run("layerNormGrad without a residual", func() { k.layerNormGrad(y.p, z.p, x.p, w.p, nil, n, 1e-6) })
	run("rmsNormGrad", func() { k.rmsNormGrad(y.p, z.p, x.p, w.p, b.p, n, 1e-6) })
}

// lowPrecision runs the kernels of r rows of n values whose result is bf16 or
// u8, as far as k has them.
func (f guarded) lowPrecision(k *kernels, r, n int) {
	f.t.Helper()
	run := func(name string, call func()) { f.within(fmt.Sprintf("%s of %d rows of %d", name, r, n), call) }
	even, fours := (n+1)/2*2, (n+3)/4*4
	low := func() rows { return f.rows(r, even, 2) }
	if k.toBF16 != nil {
		x, y := f.floats(r, n), low()
		run("toBF16", func() { k.toBF16(y.p, y.ld, x.p, x.ld, r, n) })
		paired := f.floats((r+1)/2, n)
		run("pairs", func() { k.pairs(paired.p, paired.ld, x.p, x.ld, r, n) })
		for act := range k.actBF16 {
			if k.actBF16[act] != nil {
				run(backend.Activation(act).String()+" in bf16", func() { k.actBF16[act](y.p, y.ld, x.p, x.ld, r, n) })
			}
		}
		wide := f.floats(r, 2*n)
		run("swigluBF16", func() { k.swigluBF16(y.p, y.ld, wide.p, wide.ld, r, n) })
		scores := f.floats(r, (n+15)/16*16)
		run("softmaxBF16", func() { k.softmaxBF16(y.p, y.ld, scores.p, scores.ld, r, n, 0.5) })
		if r == 1 {
			w, b := f.floats(1, n), f.floats(1, n)
			run("layerNormBF16", func() { k.layerNormBF16(y.p, x.p, w.p, b.p, n, 1e-6) })
		}
	}
	if k.toU8 != nil {
		x, y, scales := f.floats(r, n), f.rows(r, fours, 1), f.floats(1, r)
		run("toU8", func() { k.toU8(y.p, y.ld, x.p, x.ld, r, n, scales.p) })
	}
}

// products runs strips of every height with a panel.
func (f guarded) products(name string, gemm []func(*gemmArgs), cols, size int) {
	f.t.Helper()
	for r := 1; r < len(gemm); r++ {
		for _, depth := range []int{1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 63, 64, 65, 192} {
			a, c := f.rows(r, depth, size), f.floats(r, cols)
			b := f.bytes(depth * cols * size)
			bias, offset, rowScale, colScale := f.floats(1, cols), f.floats(1, cols), f.floats(1, r), f.floats(1, cols)
			for mode := range 4 {
				g := gemmArgs{a: a.p, lda: a.ld, b: b, c: c.p, ldc: c.ld, k: uintptr(depth), next: b, offset: offset.p, rowScale: rowScale.p, colScale: colScale.p}
				if mode&1 != 0 {
					g.bias = bias.p
				}
				if mode&2 != 0 {
					g.acc = 1
				}
				f.within(fmt.Sprintf("%s of %d rows, %d values, mode %d", name, r, depth, mode), func() { gemm[r](&g) })
			}
		}
	}
}
