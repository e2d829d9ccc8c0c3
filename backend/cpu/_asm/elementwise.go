package main

import "fmt"

// elementwise writes the activations, softmax and layer norm. The portable
// functions of the same names explain the formulas.
func elementwise(f *file) {
	for _, s := range []isa{avx512, avx2} {
		activation(f, s, "gelu", (*fn).gelu)
		activation(f, s, "geluTanh", (*fn).geluTanh)
		activation(f, s, "quickGELU", (*fn).quickGELU)
		swiglu(f, s)
		add(f, s)
		softmax(f, s)
		layerNorm(f, s)
		transpose(f, s)
	}
}

// tail holds the lanes of a last, partial vector.
type tail struct {
	*fn
	mask string
}

// split divides the count in a register into whole vectors, in full, and the
// lanes of a last vector, of which there is at least one.
func (w *fn) split(n, full string) tail {
	shift := map[int]int{64: 4, 32: 3}[w.size]
	w.i("LEAQ -1(%s), %s\nSHRQ $%d, %s", n, full, shift, full)
	w.i("MOVQ %s, R15\nSHLQ $%d, R15\nSUBQ %s, R15\nNEGQ R15", full, shift, n)
	if w.wide() {
		w.i("MOVL $16, R14\nSUBQ R15, R14\nMOVL $0xffff, R15\nSHRXL R14, R15, R15\nKMOVW R15, K1")
		return tail{w, "K1"}
	}
	w.f.lanes()
	mask := w.reserve()
	w.i("NEGQ R15\nLEAQ lanes<>+32(SB), R14\nVMOVUPS (R14)(R15*4), %s", mask)
	return tail{w, mask}
}

// load reads the lanes of the tail and puts zeros into the others.
func (t tail) load(address, to string) {
	if t.wide() {
		t.i("VMOVUPS.Z %s, %s, %s", address, t.mask, to)
	} else {
		t.i("VMASKMOVPS %s, %s, %s", address, t.mask, to)
	}
}

// store writes the lanes of the tail.
func (t tail) store(from, address string) {
	if t.wide() {
		t.i("VMOVUPS %s, %s, %s", from, t.mask, address)
	} else {
		t.i("VMASKMOVPS %s, %s, %s", from, t.mask, address)
	}
}

// clear puts zeros into the lanes outside the tail.
func (t tail) clear(x string) {
	if t.wide() {
		t.i("VMOVAPS.Z %s, %s, %s", x, t.mask, x)
	} else {
		t.i("VANDPS %s, %s, %s", x, t.mask, x)
	}
}

// loop writes the body for every whole vector of a row, whose number is in
// full; SI and, where it is used, DI go along. It leaves them at the tail.
func (w *fn) loop(label, full string, body func(), cursors ...string) {
	w.i("MOVQ %s, R10\nTESTQ R10, R10\nJZ %sTail\n%s:", full, label, label)
	body()
	for _, c := range cursors {
		w.i("ADDQ $%d, %s", w.size, c)
	}
	w.i("DECQ R10\nJNZ %s\n%sTail:", label, label)
}

// expNeg puts eˣ into p for x ≤ 0. It uses n and f and leaves x as it is.
func (w *fn) expNeg(x, n, f, p string) {
	if w.wide() {
		w.i("VCMPPS $0x15, %s, %s, K2", w.k("expLowest"), x) // not less than, or NaN
	}
	w.i("VMULPS %s, %s, %s", w.k("log2e"), x, n)
	if w.wide() {
		w.i("VRNDSCALEPS $8, %s, %s", n, n)
	} else {
		w.i("VROUNDPS $8, %s, %s", n, n)
	}
	w.i("VMOVAPS %s, %s", x, f)
	w.i("VFNMADD231PS %s, %s, %s", w.k("ln2Hi"), n, f)
	w.i("VFNMADD231PS %s, %s, %s", w.k("ln2Lo"), n, f)
	w.horner(p, f, "exp6", "exp5", "exp4", "exp3", "exp2", "exp1", "exp0")
	if w.wide() {
		w.i("VSCALEFPS.Z %s, %s, K2, %s", n, p, p)
		return
	}
	w.i("VCVTPS2DQ %s, %s\nVPSLLD $23, %s, %s\nVPADDD %s, %s, %s", n, n, n, n, n, p, p)
	w.i("VCMPPS $0x15, %s, %s, %s\nVANDPS %s, %s, %s", w.k("expLowest"), x, n, n, p, p)
}

// horner puts a polynomial of x into p, the highest coefficient first.
func (w *fn) horner(p, x string, coefficients ...string) {
	for i, c := range coefficients {
		if i == 0 {
			w.i("VMOVUPS %s, %s", w.k(c), p)
		} else {
			w.i("VFMADD213PS %s, %s, %s", w.k(c), x, p)
		}
	}
}

// timesSigmoid puts x·σ(z) into z; it uses v(2) to v(4).
func (w *fn) timesSigmoid(x, z string) {
	a, f, e := w.v(2), w.v(3), w.v(4)
	n := w.v(5)
	w.i("VORPS %s, %s, %s", w.k("signBit"), z, a)
	w.expNeg(a, n, f, e)
	w.i("VADDPS %s, %s, %s", w.k("one"), e, f)
	if w.wide() {
		w.i("VPMOVD2M %s, K3\nVBLENDMPS %s, %s, K3, %s", z, e, w.pin("one"), z)
	} else {
		w.i("VBLENDVPS %s, %s, %s, %s", z, e, w.pin("one"), z)
	}
	w.i("VDIVPS %s, %s, %s\nVMULPS %s, %s, %s", f, z, z, x, z, z)
}

func (w *fn) geluTanh(x, z string) {
	w.i("VMULPS %s, %s, %s", x, x, z)
	w.i("VMOVUPS %s, %s\nVFMADD213PS %s, %s, %s", w.k("tanhCubic"), w.v(2), w.k("tanhLinear"), z, w.v(2))
	w.i("VMULPS %s, %s, %s", w.v(2), x, z)
	w.timesSigmoid(x, z)
}

func (w *fn) quickGELU(x, z string) {
	w.i("VMULPS %s, %s, %s", w.k("quick"), x, z)
	w.timesSigmoid(x, z)
}

func (w *fn) gelu(x, z string) {
	a, n, f, e, t := w.v(2), w.v(3), w.v(4), w.v(5), w.v(6)
	w.i("VANDPS %s, %s, %s\nVMINPS %s, %s, %s", w.k("notSign"), x, a, w.k("geluFar"), a, a)
	w.i("VMULPS %s, %s, %s\nVMULPS %s, %s, %s", a, a, z, w.k("minusHalf"), z, z)
	w.expNeg(z, n, f, e)
	w.i("VMOVUPS %s, %s\nVFMADD213PS %s, %s, %s", w.k("erfP"), f, w.k("one"), a, f)
	w.i("VDIVPS %s, %s, %s", f, w.pin("one"), t)
	w.horner(f, t, "erfA5", "erfA4", "erfA3", "erfA2", "erfA1")
	w.i("VMULPS %s, %s, %s\nVMULPS %s, %s, %s", t, f, f, e, f, f)
	w.i("VMAXPS %s, %s, %s\nVFMADD231PS %s, %s, %s", x, w.pin("zero"), z, a, f, z) // x second: NaN stays
}

// activation writes a function in place.
func activation(f *file, s isa, name string, body func(w *fn, x, z string)) {
	fmt.Fprintf(&f.decl, "\n// %s%s is kernels.act; see %s.\n//\n", name, s.name, name)
	w := f.begin(s, name+s.name, "c unsafe.Pointer, ldc uintptr, r, n int", 32)
	w.i("MOVQ c+0(FP), AX\nMOVQ ldc+8(FP), BX\nMOVQ r+16(FP), CX\nMOVQ n+24(FP), DX")
	last := w.split("DX", "R8")
	w.i("row:\nMOVQ AX, SI")
	x, z := w.v(0), w.v(1)
	w.loop("vector", "R8", func() {
		w.i("VMOVUPS (SI), %s", x)
		body(w, x, z)
		w.i("VMOVUPS %s, (SI)", z)
	}, "SI")
	last.load("(SI)", x)
	body(w, x, z)
	last.store(z, "(SI)")
	w.i("ADDQ BX, AX\nDECQ CX\nJNZ row")
	w.end()
}

func swiglu(f *file, s isa) {
	fmt.Fprintf(&f.decl, "\n// swiglu%s is kernels.swiglu.\n//\n", s.name)
	w := f.begin(s, "swiglu"+s.name, "y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int", 48)
	w.i("MOVQ y+0(FP), R11\nMOVQ ldy+8(FP), R12\nMOVQ x+16(FP), AX\nMOVQ ldx+24(FP), BX\nMOVQ r+32(FP), CX\nMOVQ n+40(FP), DX")
	last := w.split("DX", "R8")
	w.i("row:\nMOVQ AX, SI\nMOVQ R11, DI")
	x, z := w.v(0), w.v(1)
	w.loop("vector", "R8", func() {
		w.i("VMOVUPS (SI), %s\nVMOVAPS %s, %s", x, x, z)
		w.timesSigmoid(x, z)
		w.i("VMULPS (SI)(DX*4), %s, %s\nVMOVUPS %s, (DI)", z, z, z)
	}, "SI", "DI")
	last.load("(SI)", x)
	w.i("VMOVAPS %s, %s", x, z)
	w.timesSigmoid(x, z)
	last.load("(SI)(DX*4)", x)
	w.i("VMULPS %s, %s, %s", x, z, z)
	last.store(z, "(DI)")
	w.i("ADDQ BX, AX\nADDQ R12, R11\nDECQ CX\nJNZ row")
	w.end()
}

func add(f *file, s isa) {
	fmt.Fprintf(&f.decl, "\n// add%s is kernels.add.\n//\n", s.name)
	w := f.begin(s, "add"+s.name, "y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int", 48)
	w.i("MOVQ y+0(FP), R11\nMOVQ ldy+8(FP), R12\nMOVQ x+16(FP), AX\nMOVQ ldx+24(FP), BX\nMOVQ r+32(FP), CX\nMOVQ n+40(FP), DX")
	last := w.split("DX", "R8")
	w.i("row:\nMOVQ AX, SI\nMOVQ R11, DI")
	w.loop("vector", "R8", func() {
		w.i("VMOVUPS (SI), %s\nVADDPS (DI), %s, %s\nVMOVUPS %s, (DI)", w.v(0), w.v(0), w.v(0), w.v(0))
	}, "SI", "DI")
	last.load("(SI)", w.v(0))
	last.load("(DI)", w.v(1))
	w.i("VADDPS %s, %s, %s", w.v(1), w.v(0), w.v(0))
	last.store(w.v(0), "(DI)")
	w.i("ADDQ BX, AX\nADDQ R12, R11\nDECQ CX\nJNZ row")
	w.end()
}
