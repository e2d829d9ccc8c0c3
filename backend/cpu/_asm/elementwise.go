package main

import "fmt"

// elementwise writes the activations, softmax and layer norm. The portable
// functions of the same names explain the formulas.
func elementwise(f *file) {
	for _, s := range []isa{avx512, avx2} {
		rounded(f, s, false)
		rmsNorm(f, s)
		add(f, s)
		fetch(f, s)
		transpose(f, s)
		rotate(f, s)
	}
}

// rounded are the functions that there are for results in float32 and bf16.
func rounded(f *file, s isa, to sink) {
	activation(f, s, "gelu", (*fn).gelu, to)
	activation(f, s, "geluTanh", (*fn).geluTanh, to)
	activation(f, s, "quickGELU", (*fn).quickGELU, to)
	swiglu(f, s, to)
	softmax(f, s, to)
	layerNorm(f, s, to)
}

// tail holds the lanes of a last, partial vector.
type tail struct {
	*fn
	mask string
}

// split divides the count in a register into whole vectors, in full, and the
// lanes of a last vector, of which there is at least one. AVX-512 has them
// rounded up to a multiple in K4.
func (w *fn) split(n, full string, multiple int) tail {
	shift := map[int]int{64: 4, 32: 3}[w.size]
	w.i("LEAQ -1(%s), %s\nSHRQ $%d, %s", n, full, shift, full)
	w.i("MOVQ %s, R15\nSHLQ $%d, R15\nSUBQ %s, R15\nNEGQ R15", full, shift, n)
	if w.wide() {
		w.i("MOVL $16, R14\nSUBQ R15, R14\nMOVL $0xffff, R15\nSHRXL R14, R15, R15\nKMOVW R15, K1")
		if multiple > 1 {
			w.i("ANDQ $-%d, R14\nMOVL $0xffff, R15\nSHRXL R14, R15, R15\nKMOVW R15, K4", multiple)
		}
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

// cursor is a register that goes along a row, and its bytes a vector.
type cursor struct {
	reg  string
	step int
}

// along is the cursor of a row of four-byte values.
func (w *fn) along(reg string) cursor { return cursor{reg, w.size} }

// loop writes the body for every whole vector of a row, whose number is in
// full. It leaves the cursors at the tail.
func (w *fn) loop(label, full string, body func(), cursors ...cursor) {
	w.i("MOVQ %s, R10\nTESTQ R10, R10\nJZ %sTail\n%s:", full, label, label)
	body()
	for _, c := range cursors {
		w.i("ADDQ $%d, %s", c.step, c.reg)
	}
	w.i("DECQ R10\nJNZ %s\n%sTail:", label, label)
}

// exp2 puts 2ʸ into p, for y of at most about zero, and zero where it would
// not be a normal number. It uses n, f and q and leaves y as it is.
//
// In AVX-512 y = k + f where k is a multiple of 1/32 whose fraction chooses
// from a table; else k is an integer. Either way a polynomial does the rest.
func (w *fn) exp2(y, n, f, q, p string) {
	if w.wide() {
		t, factor := p, p
		w.i("VCMPPS $0x15, %s, %s, K2", w.k("exp2Lowest"), y) // not less than, or NaN
		w.i("VADDPS %s, %s, %s", w.k("fraction"), y, t)       // k·32 is in the lowest bits
		w.i("VSUBPS %s, %s, %s\nVSUBPS %s, %s, %s", w.k("fraction"), t, n, n, y, f)
		w.lookup(exp2Table, t)
		w.i("VMOVAPS %s, %s", w.k("exp2Square"), q)
		w.i("VFMADD213PS %s, %s, %s\nVMULPS %s, %s, %s", w.k("exp2Linear"), f, q, q, f, f)
		w.i("VFMADD213PS %s, %s, %s\nVSCALEFPS.Z %s, %s, K2, %s", factor, factor, f, n, f, p)
		return
	}
	w.i("VROUNDPS $8, %s, %s\nVSUBPS %s, %s, %s", y, n, n, y, f)
	w.horner(p, f, "exp2c6", "exp2c5", "exp2c4", "exp2c3", "exp2c2", "exp2c1", "one")
	w.i("VCVTPS2DQ %s, %s\nVPSLLD $23, %s, %s\nVPADDD %s, %s, %s", n, n, n, n, n, p, p)
	w.i("VCMPPS $0x15, %s, %s, %s\nVANDPS %s, %s, %s", w.k("exp2Lowest"), y, n, n, p, p)
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

// timesSigmoid puts x·σ(z) into z; it uses v(2) to v(6).
func (w *fn) timesSigmoid(x, z string) {
	a, f, e := w.v(2), w.v(3), w.v(4)
	w.i("VORPS %s, %s, %s\nVMULPS %s, %s, %s", w.k("signBit"), z, a, w.k("log2e"), a, a)
	w.exp2(a, w.v(5), f, w.v(6), e)
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

// gelu is max(x, 0) - |x|·Φ(-|x|). In AVX-512 the last factor is a cubic
// about the nearest of 32 points.
func (w *fn) gelu(x, z string) {
	if w.wide() {
		a, t, d, p, c := w.v(2), w.v(3), w.v(4), w.v(5), w.v(6)
		w.i("VRANGEPS $0xa, %s, %s, %s", w.k("phiFar"), x, a) // the lesser magnitude, positive
		w.i("VMOVAPS %s, %s\nVFMADD231PS %s, %s, %s", w.k("integer"), t, w.k("phiPerStep"), a, t)
		w.i("VSUBPS %s, %s, %s\nVFNMADD213PS %s, %s, %s", w.k("integer"), t, d, a, w.k("phiStep"), d)
		for i, table := range phiTables {
			if i == 0 {
				w.i("VMOVAPS %s, %s", t, p)
				w.lookup(table, p)
				continue
			}
			w.i("VMOVAPS %s, %s", t, c)
			w.lookup(table, c)
			w.i("VFMADD213PS %s, %s, %s", c, d, p)
		}
		w.i("VMAXPS %s, %s, %s\nVFNMADD231PS %s, %s, %s", x, w.k("zero"), z, p, a, z) // x second: NaN stays
		return
	}
	a, n, f, e, t := w.v(2), w.v(3), w.v(4), w.v(5), w.v(6)
	w.i("VANDPS %s, %s, %s\nVMINPS %s, %s, %s", w.k("notSign"), x, a, w.k("geluFar"), a, a)
	w.i("VMULPS %s, %s, %s\nVMULPS %s, %s, %s", a, a, z, w.k("halfLog2e"), z, z)
	w.exp2(z, n, f, "", e)
	w.i("VMOVUPS %s, %s\nVFMADD213PS %s, %s, %s", w.k("erfP"), f, w.k("one"), a, f)
	w.i("VDIVPS %s, %s, %s", f, w.pin("one"), t)
	w.horner(f, t, "erfA5", "erfA4", "erfA3", "erfA2", "erfA1")
	w.i("VMULPS %s, %s, %s\nVMULPS %s, %s, %s", t, f, f, e, f, f)
	w.i("VMAXPS %s, %s, %s\nVFMADD231PS %s, %s, %s", x, w.pin("zero"), z, a, f, z)
}

// activation writes kernels.act, in place, or kernels.actBF16.
func activation(f *file, s isa, name string, body func(w *fn, x, z string), to sink) {
	var w *fn
	if to {
		w = to.begin(f, s, name, rowsParams, 48)
		w.rowsArgs()
	} else {
		w = to.begin(f, s, name, "x unsafe.Pointer, ldx uintptr, r, n int", 32)
		w.i("MOVQ x+0(FP), AX\nMOVQ ldx+8(FP), BX\nMOVQ r+16(FP), CX\nMOVQ n+24(FP), DX\nMOVQ AX, R11\nMOVQ BX, R12")
	}
	last := w.split("DX", "R8", 2)
	w.i("row:\nMOVQ AX, SI\nMOVQ R11, DI")
	x, z := w.v(0), w.v(1)
	w.loop("vector", "R8", func() {
		w.i("VMOVUPS (SI), %s", x)
		body(w, x, z)
		to.put(w, z, "(DI)")
	}, w.along("SI"), to.step(w, "DI"))
	last.load("(SI)", x)
	body(w, x, z)
	to.putTail(last, z, "(DI)")
	w.nextRow()
	w.end()
}

// rowsParams are two matrices of r rows; rowsArgs puts y into R11 (R12 apart)
// and x into AX (BX apart), r into CX and n into DX. nextRow goes on to "row".
const rowsParams = "y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int"

func (w *fn) rowsArgs() {
	w.i("MOVQ y+0(FP), R11\nMOVQ ldy+8(FP), R12\nMOVQ x+16(FP), AX\nMOVQ ldx+24(FP), BX\nMOVQ r+32(FP), CX\nMOVQ n+40(FP), DX")
}

func (w *fn) nextRow() { w.i("ADDQ BX, AX\nADDQ R12, R11\nDECQ CX\nJNZ row") }

func swiglu(f *file, s isa, to sink) {
	w := to.begin(f, s, "swiglu", rowsParams, 48)
	w.rowsArgs()
	last := w.split("DX", "R8", 2)
	w.i("row:\nMOVQ AX, SI\nMOVQ R11, DI")
	x, z := w.v(0), w.v(1)
	w.loop("vector", "R8", func() {
		w.i("VMOVUPS (SI), %s\nVMOVAPS %s, %s", x, x, z)
		w.timesSigmoid(x, z)
		w.i("VMULPS (SI)(DX*4), %s, %s", z, z)
		to.put(w, z, "(DI)")
	}, w.along("SI"), to.step(w, "DI"))
	last.load("(SI)", x)
	w.i("VMOVAPS %s, %s", x, z)
	w.timesSigmoid(x, z)
	last.load("(SI)(DX*4)", x)
	w.i("VMULPS %s, %s, %s", x, z, z)
	to.putTail(last, z, "(DI)")
	w.nextRow()
	w.end()
}

func fetch(f *file, s isa) {
	fmt.Fprintf(&f.decl, "\n// fetch%s is kernels.fetch.\n//\n", s.name)
	w := f.begin(s, "fetch"+s.name, "x unsafe.Pointer, ldx uintptr, r, n int", 32)
	w.i("MOVQ x+0(FP), AX\nMOVQ ldx+8(FP), BX\nMOVQ r+16(FP), CX\nMOVQ n+24(FP), DX\nSHLQ $2, DX")
	w.i("row:\nXORL SI, SI\nline:\nPREFETCHT0 (AX)(SI*1)\nADDQ $64, SI\nCMPQ SI, DX\nJLT line\nADDQ BX, AX\nDECQ CX\nJNZ row")
	w.end()
}

func add(f *file, s isa) {
	w := sink(false).begin(f, s, "add", rowsParams, 48)
	w.rowsArgs()
	last := w.split("DX", "R8", 1)
	w.i("row:\nMOVQ AX, SI\nMOVQ R11, DI")
	w.loop("vector", "R8", func() {
		w.i("VMOVUPS (SI), %s\nVADDPS (DI), %s, %s\nVMOVUPS %s, (DI)", w.v(0), w.v(0), w.v(0), w.v(0))
	}, w.along("SI"), w.along("DI"))
	last.load("(SI)", w.v(0))
	last.load("(DI)", w.v(1))
	w.i("VADDPS %s, %s, %s", w.v(1), w.v(0), w.v(0))
	last.store(w.v(0), "(DI)")
	w.nextRow()
	w.end()
}
