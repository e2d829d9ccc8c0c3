package main

import "fmt"

// across combines the lanes of a register with an operation of two operands
// and puts the result into every lane. It uses another register.
func (w *fn) across(op string, r, other int) {
	x := func(reg string, i int) string { return fmt.Sprintf("%s%d", reg, i) }
	if w.wide() {
		w.i("VEXTRACTF64X4 $1, Z%d, Y%d\n%s Y%d, Y%d, Y%d", r, other, op, other, r, r)
	}
	w.i("VEXTRACTF128 $1, Y%d, X%d\n%s X%d, X%d, X%d", r, other, op, other, r, r)
	for _, swap := range []int{0x4e, 0xb1} {
		w.i("VPERMILPS $%#x, X%d, X%d\n%s X%d, X%d, X%d", swap, r, other, op, other, r, r)
	}
	w.i("VBROADCASTSS X%d, %s", r, x(w.reg, r))
}

func softmax(f *file, s isa, to sink) {
	var w *fn
	if to {
		w = to.begin(f, s, "softmax", rowsParams+", scale float32", 52)
	} else {
		w = to.begin(f, s, "softmax", "x unsafe.Pointer, ldx uintptr, r, n int, scale float32", 36)
	}
	scale, largest, sum, x, p := w.v(8), w.v(7), w.v(6), w.v(0), w.v(3)
	if to {
		w.rowsArgs()
		w.i("VBROADCASTSS scale+48(FP), %s", scale)
	} else {
		w.i("MOVQ x+0(FP), AX\nMOVQ ldx+8(FP), BX\nMOVQ r+16(FP), CX\nMOVQ n+24(FP), DX\nVBROADCASTSS scale+32(FP), %s", scale)
	}
	w.i("VMULPS %[1]s, %[2]s, %[2]s", w.k("log2e"), scale)
	last := w.split("DX", "R8", 2)
	exp := func() {
		w.i("VFMSUB213PS %s, %s, %s", largest, scale, x)
		w.exp2(x, w.v(1), w.v(2), w.v(4), p)
	}
	// Lanes outside the tail are -Inf.
	load := func(to string) {
		if w.wide() {
			w.i("VMOVAPS %s, %s\nVMOVUPS (SI), %s, %s", w.k("minusInf"), to, last.mask, to)
		} else {
			last.load("(SI)", to)
			w.i("VBLENDVPS %s, %s, %s, %s", last.mask, to, w.pin("minusInf"), to)
		}
	}

	// Up to 16 rows go through each of three passes together, so that one
	// row's sums across lanes wait beside the next row's work. What a pass
	// finds of a row is on the stack.
	w.frame = 64
	w.i("chunk:\nMOVQ $16, R9\nCMPQ CX, R9\nCMOVQLT CX, R9")
	pass := func(label string, body func()) {
		w.i("MOVQ AX, R14\nXORQ R13, R13\n%sRow:\nMOVQ R14, SI", label)
		body()
		w.i("ADDQ BX, R14\nINCQ R13\nCMPQ R13, R9\nJLT %sRow", label)
	}
	pass("max", func() {
		w.i("VMOVUPS %s, %s", w.k("minusInf"), largest)
		w.loop("max", "R8", func() { w.i("VMAXPS (SI), %s, %s", largest, largest) }, w.along("SI"))
		load(x)
		w.i("VMAXPS %s, %s, %s", x, largest, largest)
		w.across("VMAXPS", 7, 0)
		w.i("VMULPS %s, %s, %s\nVMOVSS X7, 0(SP)(R13*4)", scale, largest, largest)
	})
	pass("exp", func() {
		w.i("VBROADCASTSS 0(SP)(R13*4), %s\nVXORPS %[2]s, %[2]s, %[2]s", largest, sum)
		w.loop("exp", "R8", func() {
			w.i("VMOVUPS (SI), %s", x)
			exp()
			w.i("VADDPS %s, %s, %s\nVMOVUPS %s, (SI)", p, sum, sum, p)
		}, w.along("SI"))
		load(x)
		exp()
		last.clear(p)
		w.i("VADDPS %s, %s, %s", p, sum, sum)
		last.store(p, "(SI)")
		w.across("VADDPS", 6, 0)
		w.i("VDIVPS %s, %s, %s\nVMOVSS X6, 0(SP)(R13*4)", sum, w.pin("one"), sum)
	})
	pass("scale", func() {
		w.i("VBROADCASTSS 0(SP)(R13*4), %s", sum)
		if to {
			w.i("MOVQ R11, DI\nADDQ R12, R11")
		} else {
			w.i("MOVQ SI, DI")
		}
		w.loop("scale", "R8", func() {
			w.i("VMULPS (SI), %s, %s", sum, x)
			to.put(w, x, "(DI)")
		}, w.along("SI"), to.step(w, "DI"))
		last.load("(SI)", p)
		w.i("VMULPS %s, %s, %s", sum, p, p)
		last.clear(p) // for 0·NaN
		switch {
		case bool(to):
			to.putTail(last, p, "(DI)")
		case w.wide():
			w.i("VMOVUPS %s, (SI)", p)
		default: // to the next multiple of 16
			w.i("VMOVUPS %s, (SI)\nTESTQ $1, R8\nJNZ padded\nVXORPS %[2]s, %[2]s, %[2]s\nVMOVUPS %[2]s, 32(SI)\npadded:", p, x)
		}
	})
	w.i("MOVQ R14, AX\nSUBQ R9, CX\nJNZ chunk")
	w.end()
}

// layerNorm needs the number of values as a vector, to divide by.
func layerNorm(f *file, s isa, to sink) {
	w := to.begin(f, s, "layerNorm", "y, x, w, b unsafe.Pointer, n int, eps float32", 44)
	w.i("MOVQ y+0(FP), DI\nMOVQ x+8(FP), AX\nMOVQ w+16(FP), R11\nMOVQ b+24(FP), R12\nMOVQ n+32(FP), DX")
	last := w.split("DX", "R8", 2)
	count, mean, x := w.v(10), w.v(9), w.v(8)
	w.i("VCVTSI2SSQ DX, X10, X10\nVBROADCASTSS X10, %s", count)
	w.i("MOVQ R8, R9\nSHRQ $2, R9\nANDQ $3, R8") // four whole vectors at a time, and one
	// pass applies each to every vector of the row, four in turn.
	pass := func(label string, each func(j int, address string), end func()) {
		w.i("MOVQ AX, SI\nMOVQ R9, R10\nTESTQ R10, R10\nJZ %sOnes\n%sFours:", label, label)
		for j := range 4 {
			each(j, fmt.Sprintf("%d(SI)", j*w.size))
		}
		w.i("ADDQ $%d, SI\nDECQ R10\nJNZ %sFours\n%sOnes:", 4*w.size, label, label)
		w.loop(label, "R8", func() { each(0, "(SI)") }, w.along("SI"))
		last.load("(SI)", x)
		end()
	}
	zero := func(first, n int) {
		for j := first; j < first+n; j++ {
			w.i("VXORPS %[1]s, %[1]s, %[1]s", w.v(j))
		}
	}
	total := func(first int) {
		w.i("VADDPS %s, %s, %s\nVADDPS %s, %s, %s\nVADDPS %s, %s, %s", w.v(first+1), w.v(first), w.v(first),
			w.v(first+3), w.v(first+2), w.v(first+2), w.v(first+2), w.v(first), w.v(first))
		w.across("VADDPS", first, 8)
		w.i("VDIVPS %s, %s, %s", count, w.v(first), w.v(first))
	}

	zero(0, 4)
	pass("mean", func(j int, address string) {
		w.i("VADDPS %s, %s, %s", address, w.v(j), w.v(j))
	}, func() { w.i("VADDPS %s, %s, %s", x, w.v(1), w.v(1)) })
	total(0)
	w.i("VMOVAPS %s, %s", w.v(0), mean)

	zero(0, 8)
	deviation := func(j int) {
		w.i("VADDPS %s, %s, %s\nVFMADD231PS %s, %s, %s", x, w.v(j), w.v(j), x, x, w.v(4+j))
	}
	pass("var", func(j int, address string) {
		w.i("VMOVUPS %s, %s\nVSUBPS %s, %s, %s", address, x, mean, x, x)
		deviation(j)
	}, func() {
		w.i("VSUBPS %s, %s, %s", mean, x, x)
		last.clear(x)
		deviation(1)
	})
	total(0)
	total(4)

	left, scale := w.v(0), w.v(4)
	w.i("VFNMADD231PS %s, %s, %s", left, left, scale)
	w.i("VXORPS %[1]s, %[1]s, %[1]s\nVMAXPS %[2]s, %[1]s, %[2]s", w.v(1), scale) // the variance second: NaN stays
	w.i("VBROADCASTSS eps+40(FP), %[1]s\nVADDPS %[1]s, %[2]s, %[2]s\nVSQRTPS %[2]s, %[2]s", w.v(1), scale)
	w.i("VDIVPS %s, %s, %s", scale, w.pin("one"), scale)
	w.i("VMULPS %[2]s, %[1]s, %[1]s", left, scale)
	w.i("MOVQ AX, SI\nSHLQ $2, R9\nADDQ R9, R8")
	normal := func() { w.i("VSUBPS %s, %s, %s\nVFMSUB213PS %s, %s, %s", mean, x, x, left, scale, x) }
	w.loop("norm", "R8", func() {
		w.i("VMOVUPS (SI), %s", x)
		normal()
		w.i("VMOVUPS (R11), %[1]s\nVFMADD213PS (R12), %[1]s, %[2]s", w.v(1), x)
		to.put(w, x, "(DI)")
	}, w.along("SI"), to.step(w, "DI"), w.along("R11"), w.along("R12"))
	last.load("(SI)", x)
	normal()
	last.load("(R11)", w.v(1))
	last.load("(R12)", w.v(2))
	w.i("VFMADD213PS %s, %s, %s", w.v(2), w.v(1), x)
	to.putTail(last, x, "(DI)")
	w.end()
}

// rmsNorm adds up four vectors of squares in turn.
func rmsNorm(f *file, s isa) {
	w := sink(false).begin(f, s, "rmsNorm", "y, x, w unsafe.Pointer, n int, eps float32", 36)
	w.i("MOVQ y+0(FP), DI\nMOVQ x+8(FP), AX\nMOVQ w+16(FP), R11\nMOVQ n+24(FP), DX")
	last := w.split("DX", "R8", 1)
	count, x := w.v(9), w.v(8)
	w.i("VCVTSI2SSQ DX, X9, X9\nVBROADCASTSS X9, %s", count)
	for j := range 4 {
		w.i("VXORPS %[1]s, %[1]s, %[1]s", w.v(j))
	}
	w.i("MOVQ AX, SI\nMOVQ R8, R9\nSHRQ $2, R9\nANDQ $3, R8\nTESTQ R9, R9\nJZ ones\nfours:")
	for j := range 4 {
		w.i("VMOVUPS %d(SI), %s\nVFMADD231PS %[2]s, %[2]s, %[3]s", j*w.size, w.v(4+j), w.v(j))
	}
	w.i("ADDQ $%d, SI\nDECQ R9\nJNZ fours\nones:", 4*w.size)
	w.loop("squares", "R8", func() { w.i("VMOVUPS (SI), %[1]s\nVFMADD231PS %[1]s, %[1]s, %[2]s", x, w.v(0)) }, w.along("SI"))
	last.load("(SI)", x)
	w.i("VFMADD231PS %[1]s, %[1]s, %[2]s", x, w.v(1))
	w.i("VADDPS %s, %s, %s\nVADDPS %s, %s, %s\nVADDPS %s, %s, %s", w.v(1), w.v(0), w.v(0), w.v(3), w.v(2), w.v(2), w.v(2), w.v(0), w.v(0))
	w.across("VADDPS", 0, 8)
	scale := w.v(0)
	w.i("VDIVPS %s, %s, %s", count, scale, scale)
	w.i("VBROADCASTSS eps+32(FP), %[1]s\nVADDPS %[1]s, %[2]s, %[2]s\nVSQRTPS %[2]s, %[2]s\nVDIVPS %[2]s, %[3]s, %[2]s", w.v(1), scale, w.pin("one"))
	// The count of whole vectors again.
	w.i("MOVQ SI, R8\nSUBQ AX, R8\nSHRQ $%d, R8\nMOVQ AX, SI", map[int]int{64: 6, 32: 5}[w.size])
	w.loop("norm", "R8", func() {
		w.i("VMULPS (SI), %s, %s\nVMULPS (R11), %[2]s, %[2]s\nVMOVUPS %[2]s, (DI)", scale, x)
	}, w.along("SI"), w.along("DI"), w.along("R11"))
	last.load("(SI)", x)
	last.load("(R11)", w.v(1))
	w.i("VMULPS %[1]s, %[2]s, %[2]s\nVMULPS %[3]s, %[2]s, %[2]s", scale, x, w.v(1))
	last.store(x, "(DI)")
	w.end()
}
