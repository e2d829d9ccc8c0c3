package main

import "fmt"

// Offsets of the fields of gemmArgs.
const (
	argA, argLDA, argB, argC, argLDC, argK, argBias, argAcc, argNext = 0, 8, 16, 24, 32, 40, 48, 56, 64
	argOffset, argRowScale, argColScale                              = 72, 80, 88
)

// asserts writes what ends the build when gemmArgs is laid out otherwise: an
// index of a constant that is not 0.
func asserts(f *file) {
	f.decl.WriteString("\n// The assembly reads gemmArgs by these offsets.\nvar (\n")
	for _, field := range []struct {
		name string
		at   int
	}{
		{"a", argA}, {"lda", argLDA}, {"b", argB}, {"c", argC}, {"ldc", argLDC}, {"k", argK}, {"bias", argBias}, {"acc", argAcc}, {"next", argNext},
		{"offset", argOffset}, {"rowScale", argRowScale}, {"colScale", argColScale},
	} {
		fmt.Fprintf(&f.decl, "_ = [1]struct{}{}[unsafe.Offsetof(gemmArgs{}.%s)-%d]\n", field.name, field.at)
	}
	f.decl.WriteString(")\n")
}

// bases point at every second row of a: rows 2i and 2i+1 are (base) and
// (base)(R12*1).
var bases = []string{"R8", "R9", "R10", "R11", "R13", "BX"}

// product is a way to multiply and add vectors of four-byte elements.
type product struct {
	broadcast string                                        // of an element of a
	fma       func(w *fn, acc, a, b string)                 // acc += a·b
	embedded  func(w *fn, acc, element, b string)           // the same with the element of a in memory, or nil
	init      int                                           // offset of what accumulators begin with
	finish    func(w *fn, rows, vectors int, free []string) // makes float32 of the accumulators, or nil
}

var productF32 = product{broadcast: "VBROADCASTSS", init: argBias, fma: func(w *fn, acc, a, b string) {
	w.i("VFMADD231PS %s, %s, %s", a, b, acc)
}}

// productWideF32 is productF32 in AVX-512.
var productWideF32 = product{broadcast: productF32.broadcast, init: productF32.init, fma: productF32.fma, embedded: func(w *fn, acc, element, b string) {
	w.i("VFMADD231PS.BCST %s, %s, %s", element, b, acc)
}}

// productBF16 multiplies pairs: acc += a₁b₁ + a₀b₀.
var productBF16 = product{broadcast: "VPBROADCASTD", init: argBias, fma: func(w *fn, acc, a, b string) {
	w.evex(0xf3, 0x52, acc, b, a) // VDPBF16PS
}}

// productInt8 multiplies fours, of which a's are unsigned.
var productInt8 = product{broadcast: "VPBROADCASTD", init: argOffset, fma: func(w *fn, acc, a, b string) {
	w.i("VPDPBUSD %s, %s, %s", b, a, acc)
}, finish: dequantize}

// dequantize turns accumulators into acc·rowScale[i]·colScale[j] + bias[j].
func dequantize(w *fn, rows, vectors int, free []string) {
	scale, bias := free[:vectors], free[vectors:2*vectors]
	w.i("MOVQ %d(DI), BX\nMOVQ %d(DI), R8\nMOVQ %d(DI), R9", argBias, argRowScale, argColScale)
	for j := range vectors {
		w.i("VMOVUPS %d(R9), %s\nVPXORD %[3]s, %[3]s, %[3]s", j*w.size, scale[j], bias[j])
	}
	w.i("TESTQ BX, BX\nJZ unbiased")
	for j := range vectors {
		w.i("VMOVUPS %d(BX), %s", j*w.size, bias[j])
	}
	w.i("unbiased:")
	for i := range rows {
		for j := range vectors {
			acc := w.v(i*vectors + j)
			w.i("VCVTDQ2PS %[1]s, %[1]s\nVMULPS.BCST %[2]d(R8), %[1]s, %[1]s\nVFMADD213PS %[3]s, %[4]s, %[1]s", acc, 4*i, bias[j], scale[j])
		}
	}
}

func strip(table string, rows int) string { return fmt.Sprintf("%s%d", table, rows) }

// gemms writes the micro-kernels. docs/decisions has the measurements behind
// their shapes.
func gemms(f *file) {
	for _, t := range []struct {
		name string
		isa
		rows, vectors int
		product
		field string
	}{
		{"gemmAVX512x", avx512, 12, 2, productWideF32, "gemm"},
		{"gemmHalfAVX512x", avx512, 12, 1, productWideF32, "half"},
		{"gemmBF16AVX512x", avx512, 12, 2, productBF16, "gemmBF16"},
		{"gemmHalfBF16AVX512x", avx512, 12, 1, productBF16, "halfBF16"},
		{"gemmInt8AVX512x", avx512, 12, 2, productInt8, "gemmInt8"},
		{"gemmAVX2x", avx2, 6, 2, productF32, "gemm"},
		{"gemmHalfAVX2x", avx2, 6, 1, productF32, "half"},
	} {
		fmt.Fprintf(&f.decl, "\n// %s1 to %d are kernels.%s; see there.\n", t.name, t.rows, t.field)
		for r := 1; r <= t.rows; r++ {
			microkernel(f, t.isa, strip(t.name, r), r, t.vectors, t.product)
		}
		f.table(t.name, t.rows)
	}
	asserts(f)
}

const (
	unroll = 4  // k-steps in the loop, a power of two
	ahead  = 40 // k-steps from the load of a line of b to that which is fetched, in AVX-512
	near   = 12 // turns of the loop that are left when c is fetched, if there are twice as many
)

// microkernel writes a strip of rows times a panel as wide as some vectors.
// Each element of the result has one accumulator, filled in the order of k,
// so that it does not depend on the number of rows.
func microkernel(f *file, s isa, name string, rows, vectors int, p product) {
	w := f.begin(s, name, "args *gemmArgs", 8)
	w.i(`MOVQ args+0(FP), DI
		MOVQ %d(DI), R8
		MOVQ %d(DI), R12
		MOVQ %d(DI), SI
		MOVQ %d(DI), CX
		MOVQ %d(DI), AX
		MOVQ %d(DI), DX`, argA, argLDA, argB, argK, p.init, argNext)
	// DX(R8*4) is what to prefetch, a line for every 16 bytes of a.
	w.i("LEAQ (R8*4), BX\nSUBQ BX, DX")
	groups := (rows + 1) / 2
	for i := 1; i < groups; i++ {
		w.i("LEAQ (%s)(R12*2), %s", bases[i-1], bases[i])
	}
	acc := func(i, j int) string { return s.v(i*vectors + j) }
	b := func(j int) string { return s.v(s.regs - vectors + j) }
	first, spare := rows*vectors, s.regs-vectors-rows*vectors

	w.i("TESTQ AX, AX\nJZ zero")
	for i := range rows {
		for j := range vectors {
			if i == 0 {
				w.i("VMOVUPS %d(AX), %s", j*s.size, acc(0, j))
			} else {
				w.i("VMOVAPS %s, %s", acc(0, j), acc(i, j))
			}
		}
	}
	w.i("JMP start\nzero:")
	for i := range rows * vectors {
		w.i("VXORPS %[1]s, %[1]s, %[1]s", s.v(i))
	}
	step := func(u int) {
		for j := range vectors {
			w.i("VMOVUPS %d(SI), %s", (u*vectors+j)*s.size, b(j))
			if s.size == 64 {
				w.i("PREFETCHT0 %d(SI)", ((u+ahead)*vectors+j)*s.size)
			}
		}
		for i := range rows {
			element := fmt.Sprintf("%d(%s)", 4*u, bases[i/2])
			if i%2 == 0 && p.embedded != nil {
				for j := range vectors {
					p.embedded(w, acc(i, j), element, b(j))
				}
				continue
			}
			if i%2 > 0 {
				element += "(R12*1)"
			}
			a := s.v(first + i%min(spare, 4))
			w.i("%s %s, %s", p.broadcast, element, a)
			for j := range vectors {
				p.fma(w, acc(i, j), a, b(j))
			}
		}
	}
	advance := func(steps int) {
		w.i("ADDQ $%d, SI", steps*vectors*s.size)
		for i := range groups {
			w.i("ADDQ $%d, %s", 4*steps, bases[i])
		}
	}
	// The loop runs to its last turns, c is fetched, and the loop runs on. What
	// has few turns writes to what has just been read.
	w.i("start:\nMOVQ CX, AX\nSHRQ $2, AX\nJZ tail")
	w.i("XORL R14, R14\nCMPQ AX, $%d\nJLT loop\nMOVQ $%d, R14\nSUBQ R14, AX\nJMP loop\nfetch:\nMOVQ %d(DI), AX", 2*near, near, argC)
	for i := range rows {
		for j := 0; j < vectors*s.size; j += 64 {
			w.i("PREFETCHT0 %d(AX)", j)
		}
		if i < rows-1 {
			w.i("ADDQ %d(DI), AX", argLDC)
		}
	}
	w.i("MOVQ R14, AX\nXORL R14, R14\nPCALIGN $64\nloop:")
	w.i("PREFETCHT0 (DX)(R8*4)")
	for u := range unroll {
		step(u)
	}
	advance(unroll)
	w.i("DECQ AX\nJNZ loop\nTESTQ R14, R14\nJNZ fetch\ntail:\nANDQ $%d, CX\nJZ done\nrest:", unroll-1)
	step(0)
	advance(1)
	w.i("DECQ CX\nJNZ rest\ndone:")
	if p.finish != nil {
		var free []string
		for i := first; i < s.regs; i++ {
			free = append(free, s.v(i))
		}
		p.finish(w, rows, vectors, free)
	}
	w.i("MOVQ %d(DI), AX\nMOVQ %d(DI), BX\nMOVQ %d(DI), CX\nTESTQ CX, CX\nJZ store", argC, argLDC, argAcc)
	w.i("MOVQ AX, DX")
	for i := range rows {
		for j := range vectors {
			w.i("VADDPS %d(DX), %s, %s", j*s.size, acc(i, j), acc(i, j))
		}
		if i < rows-1 {
			w.i("ADDQ BX, DX")
		}
	}
	w.i("store:")
	for i := range rows {
		for j := range vectors {
			w.i("VMOVUPS %s, %d(AX)", acc(i, j), j*s.size)
		}
		if i < rows-1 {
			w.i("ADDQ BX, AX")
		}
	}
	w.end()
}

// peaks writes the loops that measure the machine: as many independent
// multiply-adds as hide their latency.
func peaks(f *file) {
	for _, t := range []struct {
		isa
		chains int
	}{{avx512, 24}, {avx2, 12}} {
		fmt.Fprintf(&f.decl, "\n// peak%s does n times %d multiply-adds of vectors.\n//\n", t.name, t.chains)
		w := f.begin(t.isa, "peak"+t.name, "n int", 8)
		w.i("MOVQ n+0(FP), CX")
		for i := range t.chains + 2 {
			w.i("VXORPS %[1]s, %[1]s, %[1]s", t.v(i))
		}
		w.i("loop:")
		for i := range t.chains {
			w.i("VFMADD231PS %s, %s, %s", t.v(t.chains), t.v(t.chains+1), t.v(i))
		}
		w.i("DECQ CX\nJNZ loop")
		w.end()
	}
}
