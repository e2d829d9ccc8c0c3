package main

import "fmt"

// Offsets of the fields of gemmArgs.
const (
	argA, argLDA, argB, argC, argLDC, argK, argBias, argAcc, argNext = 0, 8, 16, 24, 32, 40, 48, 56, 64
)

// bases point at every third row of a: rows 3i, 3i+1 and 3i+2 are (base),
// (base)(R12*1) and (base)(R12*2).
var bases = []string{"R8", "R9", "R10", "R11", "R13"}

// product is a way to multiply and add vectors of 32-bit elements.
type product struct {
	broadcast string                        // of an element of a
	fma       func(acc, a, b string) string // acc += a·b
	add       string
}

var f32 = product{"VBROADCASTSS", func(acc, a, b string) string {
	return fmt.Sprintf("VFMADD231PS %s, %s, %s", a, b, acc)
}, "VADDPS"}

func strip(table string, rows int) string { return fmt.Sprintf("%s%d", table, rows) }

// gemms writes the micro-kernels. docs/decisions has the measurements behind
// their shapes.
func gemms(f *file) {
	for _, t := range []struct {
		name string
		isa
		rows, vectors int
	}{
		{"gemmAVX512x", avx512, 14, 2},
		{"gemmHalfAVX512x", avx512, 14, 1},
		{"gemmAVX2x", avx2, 6, 2},
		{"gemmHalfAVX2x", avx2, 6, 1},
	} {
		fmt.Fprintf(&f.decl, "\n// %s1 to %d are kernels.gemm or kernels.half; see there.\n", t.name, t.rows)
		for r := 1; r <= t.rows; r++ {
			microkernel(f, t.isa, strip(t.name, r), r, t.vectors, f32)
		}
		f.table(t.name, t.rows)
	}
}

const unroll = 4 // k-steps in the loop, a power of two

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
		MOVQ %d(DI), BX
		MOVQ %d(DI), DX`, argA, argLDA, argB, argK, argBias, argNext)
	groups := (rows + 2) / 3
	for i := 1; i < groups; i++ {
		w.i("LEAQ (%s)(R12*2), %s\nADDQ R12, %s", bases[i-1], bases[i], bases[i])
	}
	acc := func(i, j int) string { return s.v(i*vectors + j) }
	b := func(j int) string { return s.v(s.regs - vectors + j) }
	first, spare := rows*vectors, s.regs-vectors-rows*vectors

	w.i("TESTQ BX, BX\nJZ zero")
	for i := range rows {
		for j := range vectors {
			if i == 0 {
				w.i("VMOVUPS %d(BX), %s", j*s.size, acc(0, j))
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
		}
		for i := range rows {
			element := fmt.Sprintf("%d(%s)", 4*u, bases[i/3])
			if i%3 > 0 {
				element += fmt.Sprintf("(R12*%d)", i%3)
			}
			a := s.v(first + i%min(spare, 4))
			w.i("%s %s, %s", p.broadcast, element, a)
			for j := range vectors {
				w.i(p.fma(acc(i, j), a, b(j)))
			}
		}
	}
	advance := func(steps int) {
		w.i("ADDQ $%d, SI", steps*vectors*s.size)
		for i := range groups {
			w.i("ADDQ $%d, %s", 4*steps, bases[i])
		}
	}
	w.i("start:\nMOVQ CX, AX\nSHRQ $2, AX\nJZ tail\nloop:")
	w.i("PREFETCHT1 (DX)\nADDQ $64, DX")
	for u := range unroll {
		step(u)
	}
	advance(unroll)
	w.i("DECQ AX\nJNZ loop\ntail:\nANDQ $%d, CX\nJZ done\nrest:", unroll-1)
	step(0)
	advance(1)
	w.i("DECQ CX\nJNZ rest\ndone:\nMOVQ %d(DI), AX\nMOVQ %d(DI), BX\nMOVQ %d(DI), CX\nTESTQ CX, CX\nJZ store", argC, argLDC, argAcc)
	w.i("MOVQ AX, DX")
	for i := range rows {
		for j := range vectors {
			w.i("%s %d(DX), %s, %s", p.add, j*s.size, acc(i, j), acc(i, j))
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
