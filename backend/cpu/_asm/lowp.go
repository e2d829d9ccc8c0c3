package main

// lowPrecision writes what stands around the bf16 and int8 micro-kernels.
func lowPrecision(f *file) {
	rounded(f, avx512, true)
	toBF16(f)
	pairs(f)
	toU8(f)
}

func toBF16(f *file) {
	w := sink(false).begin(f, avx512, "toBF16", rowsParams, 48)
	w.rowsArgs()
	last := w.split("DX", "R8", 2)
	w.i("row:\nMOVQ AX, SI\nMOVQ R11, DI")
	x, to := w.v(0), sink(true)
	w.loop("vector", "R8", func() {
		w.i("VMOVUPS (SI), %s", x)
		to.put(w, x, "(DI)")
	}, w.along("SI"), to.step(w, "DI"))
	last.load("(SI)", x)
	to.putTail(last, x, "(DI)")
	w.nextRow()
	w.end()
}

// pairs takes two rows at a time; for the one behind an odd last row there
// are zeros.
func pairs(f *file) {
	w := sink(false).begin(f, avx512, "pairs", rowsParams, 48)
	w.rowsArgs()
	last := w.split("DX", "R8", 1)
	even, odd := w.v(0), w.v(1)
	join := func() {
		w.i("VPMOVZXWD %s, Z0", w.round(even))
		w.i("VPMOVZXWD %s, Z1\nVPSLLD $16, Z1, Z1\nVPORD Z1, Z0, Z0", w.round(odd))
	}
	w.i("row:\nMOVQ AX, SI\nMOVQ R11, DI\nCMPQ CX, $1\nJEQ single")
	w.loop("vector", "R8", func() {
		w.i("VMOVUPS (SI), %s\nVMOVUPS (SI)(BX*1), %s", even, odd)
		join()
		w.i("VMOVUPS Z0, (DI)")
	}, w.along("SI"), w.along("DI"))
	last.load("(SI)", even)
	last.load("(SI)(BX*1)", odd)
	join()
	last.store("Z0", "(DI)")
	w.i("LEAQ (AX)(BX*2), AX\nADDQ R12, R11\nSUBQ $2, CX\nJNZ row\nJMP done\nsingle:")
	alone := func() { w.i("VPMOVZXWD %s, Z0", w.round(even)) }
	w.loop("lone", "R8", func() {
		w.i("VMOVUPS (SI), %s", even)
		alone()
		w.i("VMOVUPS Z0, (DI)")
	}, w.along("SI"), w.along("DI"))
	last.load("(SI)", even)
	alone()
	last.store("Z0", "(DI)")
	w.i("done:")
	w.end()
}

// toU8 finds the largest magnitude by comparing bits as integers, for which
// NaN is the largest. Four whole vectors at a time become one of bytes.
func toU8(f *file) {
	w := sink(false).begin(f, avx512, "toU8", rowsParams+", scales unsafe.Pointer", 56)
	w.rowsArgs()
	w.i("MOVQ scales+48(FP), R9")
	last := w.split("DX", "R8", 4)
	w.i("MOVQ R8, R13\nSHRQ $2, R13\nANDQ $3, R8")
	x, largest, inverse := w.v(0), w.v(7), w.v(6)
	quarters := w.vector("quarters", func(i int) int { return i%4*4 + i/4 })
	magnitude := func() { w.i("VPANDD %s, %s, %s\nVPMAXUD %s, %s, %s", w.k("notSign"), x, x, x, largest, largest) }
	w.i("row:\nMOVQ AX, SI\nMOVQ R11, DI\nVMOVAPS %s, %s", w.k("u8Least"), largest)
	w.loop("maxFours", "R13", func() {
		for j := range 4 {
			w.i("VMOVUPS %d(SI), %s", j*w.size, x)
			magnitude()
		}
	}, cursor{"SI", 4 * w.size})
	w.loop("max", "R8", func() {
		w.i("VMOVUPS (SI), %s", x)
		magnitude()
	}, w.along("SI"))
	last.load("(SI)", x)
	magnitude()
	w.across("VPMAXUD", 7, 0)
	w.i("VDIVPS %s, %s, %s", largest, w.k("u8Range"), inverse)
	w.i("VDIVPS %s, %s, %s\nVMOVSS X7, (R9)\nADDQ $4, R9", w.k("u8Range"), largest, largest)

	w.i("MOVQ AX, SI")
	w.loop("fours", "R13", func() {
		for j := range 4 {
			w.i("VMULPS %d(SI), %s, %[3]s\nVCVTPS2DQ %[3]s, %[3]s", j*w.size, inverse, w.v(j))
		}
		// Packing goes on within quarters of a register, so that the four
		// bytes of quarter q of vector v are word 4q+v.
		w.i("VPACKSSDW %s, %s, %s\nVPACKSSDW %s, %s, %s", w.v(1), w.v(0), w.v(0), w.v(3), w.v(2), w.v(2))
		w.i("VPACKSSWB %s, %s, %s", w.v(2), w.v(0), w.v(0))
		w.i("VPERMD %s, %s, %s", w.v(0), quarters, w.v(0))
		w.i("VPXORD %s, %s, %s\nVMOVUPS %[2]s, (DI)", w.k("u8Zeros"), w.v(0), w.v(0))
	}, cursor{"SI", 4 * w.size}, cursor{"DI", w.size})
	quantize := func() {
		w.i("VMULPS %[1]s, %[2]s, %[2]s\nVCVTPS2DQ %[2]s, %[2]s\nVPADDD %[3]s, %[2]s, %[2]s", inverse, x, w.k("u8Zero"))
	}
	w.loop("ones", "R8", func() {
		w.i("VMOVUPS (SI), %s", x)
		quantize()
		w.i("VPMOVUSDB %s, (DI)", x)
	}, w.along("SI"), cursor{"DI", 16})
	last.load("(SI)", x)
	quantize()
	w.i("VPMOVUSDB %s, K4, (DI)", x)
	w.nextRow()
	w.end()
}
