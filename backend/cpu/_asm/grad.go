package main

// gradients writes the arithmetic of kernels.gradKernels that takes time. The
// portable functions of the same names explain the formulas.
func gradients(f *file) {
	for _, s := range []isa{avx512, avx2} {
		activationGrad(f, s, "geluGrad", (*fn).geluGrad)
		activationGrad(f, s, "geluTanhGrad", (*fn).geluTanhGrad)
		activationGrad(f, s, "quickGELUGrad", (*fn).quickGELUGrad)
		softmaxGrad(f, s)
		relevance(f, s)
	}
}

// geluGrad is 1 + r for positive x and -r for the others, with
// r = (a·φ(0) - t·poly(t)/2)·e^(-a²/2), a = |x|.
func (w *fn) geluGrad(x, z string) {
	a, n, f, e, t := w.v(2), w.v(3), w.v(4), w.v(5), w.v(6)
	w.i("VANDPS %s, %s, %s\nVMINPS %s, %s, %s", w.k("notSign"), x, a, a, w.pin("geluFar"), a) // a second: NaN stays
	w.i("VMULPS %s, %s, %s\nVMULPS %s, %s, %s", a, a, z, w.k("halfLog2e"), z, z)
	w.exp2(z, n, f, w.v(7), e)
	w.i("VMOVUPS %s, %s\nVFMADD213PS %s, %s, %s", w.k("erfP"), f, w.k("one"), a, f)
	w.i("VDIVPS %s, %s, %s", f, w.pin("one"), t)
	w.horner(f, t, "erfA5", "erfA4", "erfA3", "erfA2", "erfA1")
	w.i("VMULPS %s, %s, %s\nVFMADD231PS %s, %s, %s\nVMULPS %s, %s, %s", t, f, f, w.k("density"), a, f, e, f, f)
	w.i("VANDPS %s, %s, %s\nVXORPS %s, %s, %s", w.k("signBit"), x, t, t, f, f)
	w.negative(x, w.pin("zero"), w.pin("one"), z)
	w.i("VADDPS %s, %s, %s", f, z, z)
}

// negative puts yes where z has its sign bit set, and else no, into to. In
// AVX-512 it uses K3.
func (w *fn) negative(z, yes, no, to string) {
	if w.wide() {
		w.i("VPMOVD2M %s, K3\nVBLENDMPS %s, %s, K3, %s", z, yes, no, to)
	} else {
		w.i("VBLENDVPS %s, %s, %s, %s", z, yes, no, to)
	}
}

// sigmoidGrad puts σ(z)(1 + q·σ(-z)) into z. q is v(7), and v(2) to v(6) are
// used.
func (w *fn) sigmoidGrad(z string) {
	a, f, e, s, q := w.v(2), w.v(4), w.v(5), w.v(6), w.v(7)
	w.i("VORPS %s, %s, %s\nVMULPS %s, %s, %s", w.k("signBit"), z, a, w.k("log2e"), a, a)
	w.exp2(a, w.v(3), f, s, e)
	w.i("VADDPS %s, %s, %s\nVDIVPS %s, %s, %s\nVMULPS %s, %s, %s", w.k("one"), e, f, f, w.pin("one"), f, f, e, e)
	w.negative(z, e, f, s)
	w.negative(z, f, e, a)
	w.i("VFMADD213PS %s, %s, %s\nVMULPS %s, %s, %s", w.k("one"), a, q, s, q, z)
}

// near holds x to where the derivative is neither 0 nor 1, so that no
// infinity meets a zero; NaN stays.
func (w *fn) near(x string) {
	w.i("VMINPS %s, %s, %s\nVMAXPS %s, %s, %s", x, w.pin("gradFar"), x, x, w.pin("gradNear"), x)
}

func (w *fn) geluTanhGrad(x, z string) {
	w.near(x)
	w.i("VMULPS %s, %s, %s", x, x, z)
	w.i("VMOVUPS %s, %s\nVFMADD213PS %s, %s, %s\nVMULPS %s, %s, %s", w.k("tanhCubic3"), w.v(7), w.k("tanhLinear"), z, w.v(7), x, w.v(7), w.v(7))
	w.i("VMOVUPS %s, %s\nVFMADD213PS %s, %s, %s\nVMULPS %s, %s, %s", w.k("tanhCubic"), w.v(2), w.k("tanhLinear"), z, w.v(2), w.v(2), x, z)
	w.sigmoidGrad(z)
}

func (w *fn) quickGELUGrad(x, z string) {
	w.near(x)
	w.i("VMULPS %s, %s, %s\nVMOVAPS %s, %s", w.k("quick"), x, z, z, w.v(7))
	w.sigmoidGrad(z)
}

// activationGrad writes kernels.actGrad.
func activationGrad(f *file, s isa, name string, body func(w *fn, x, z string)) {
	w := sink(false).begin(f, s, name, rowsParams, 48)
	w.rowsArgs()
	last := w.split("DX", "R8", 1)
	w.i("row:\nMOVQ AX, SI\nMOVQ R11, DI")
	x, z := w.v(0), w.v(1)
	w.loop("vector", "R8", func() {
		w.i("VMOVUPS (SI), %s", x)
		body(w, x, z)
		w.i("VMULPS (DI), %s, %s\nVMOVUPS %s, (DI)", z, z, z)
	}, w.along("SI"), w.along("DI"))
	last.load("(SI)", x)
	body(w, x, z)
	last.load("(DI)", x)
	w.i("VMULPS %s, %s, %s", x, z, z)
	last.store(z, "(DI)")
	w.nextRow()
	w.end()
}

func softmaxGrad(f *file, s isa) {
	w := sink(false).begin(f, s, "softmaxGrad", rowsParams, 48)
	w.rowsArgs()
	last := w.split("DX", "R8", 1)
	p, y, sum := w.v(0), w.v(1), w.v(6)
	w.i("row:\nMOVQ AX, SI\nMOVQ R11, DI\nVXORPS %[1]s, %[1]s, %[1]s", sum)
	w.loop("dot", "R8", func() {
		w.i("VMOVUPS (SI), %s\nVFMADD231PS (DI), %s, %s", p, p, sum)
	}, w.along("SI"), w.along("DI"))
	last.load("(SI)", p)
	last.load("(DI)", y)
	w.i("VFMADD231PS %s, %s, %s", y, p, sum)
	w.across("VADDPS", 6, 1)
	w.i("MOVQ AX, SI\nMOVQ R11, DI")
	w.loop("each", "R8", func() {
		w.i("VMOVUPS (DI), %s\nVSUBPS %s, %s, %s\nVMULPS (SI), %s, %s\nVMOVUPS %s, (DI)", y, sum, y, y, y, y, y)
	}, w.along("SI"), w.along("DI"))
	last.load("(SI)", p)
	last.load("(DI)", y)
	w.i("VSUBPS %s, %s, %s\nVMULPS %s, %s, %s", sum, y, y, p, y, y)
	last.store(y, "(DI)")
	w.nextRow()
	w.end()
}

func relevance(f *file, s isa) {
	w := sink(false).begin(f, s, "relevance", "y unsafe.Pointer, ldy uintptr, p, d unsafe.Pointer, ld uintptr, r, n int", 56)
	w.i("MOVQ y+0(FP), R11\nMOVQ ldy+8(FP), R12\nMOVQ p+16(FP), AX\nMOVQ d+24(FP), R13\nMOVQ ld+32(FP), BX\nMOVQ r+40(FP), CX\nMOVQ n+48(FP), DX")
	last := w.split("DX", "R8", 1)
	x, y := w.v(0), w.v(1)
	w.i("row:\nMOVQ AX, SI\nMOVQ R13, R9\nMOVQ R11, DI")
	w.loop("vector", "R8", func() {
		w.i("VMOVUPS (SI), %s\nVMULPS (R9), %s, %s\nVMAXPS %s, %s, %s", x, x, x, x, w.pin("zero"), x) // x second: NaN stays
		w.i("VADDPS (DI), %s, %s\nVMOVUPS %s, (DI)", x, x, x)
	}, w.along("SI"), w.along("R9"), w.along("DI"))
	last.load("(SI)", x)
	last.load("(R9)", y)
	w.i("VMULPS %s, %s, %s\nVMAXPS %s, %s, %s", y, x, x, x, w.pin("zero"), x)
	last.load("(DI)", y)
	w.i("VADDPS %s, %s, %s", y, x, x)
	last.store(x, "(DI)")
	w.i("ADDQ BX, R13")
	w.nextRow()
	w.end()
}
