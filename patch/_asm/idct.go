package main

import "fmt"

// idct transforms a block whose rows are eight registers of eight 16-bit
// values. The first pass works on columns, that is across registers; after a
// transposition the second does the same to rows.
func idct(f *file) {
	f.begin("idct8AVX2", "dst *byte, stride int, coef, q *int16", 32, "idct8Go.")
	f.i("MOVQ dst+0(FP), DI\nMOVQ stride+8(FP), R8\nMOVQ coef+16(FP), SI\nMOVQ q+24(FP), DX")
	for i := range 8 {
		f.i("VMOVDQU %d(SI), X%d", 16*i, i)
	}
	f.i("VPOR X1, X2, X8\nVPOR X3, X4, X9\nVPOR X5, X6, X10\nVPOR X7, X8, X8\nVPOR X9, X10, X9\nVPOR X8, X9, X8")
	for i := range 8 {
		f.i("VPMULLW %d(DX), X%d, X%d", 16*i, i, i)
	}
	// Without a value below the first row its two bits do not saturate.
	f.i("VPTEST X8, X8\nJNZ columns\nVPSLLW $2, X0, X0\nVPSRAW $2, X0, X0\ncolumns:")
	pass(f, 11)
	transpose(f)
	for i := range 4 {
		f.i("VEXTRACTI128 $1, Y%d, X%d", i, 4+i)
	}
	pass(f, 18)
	transpose(f)

	// Registers i of 0 to 3 hold rows i and i+4; packed, two of each.
	f.i("VPACKSSWB Y1, Y0, Y0\nVPACKSSWB Y3, Y2, Y2")
	f.i("VMOVDQU %s, Y4\nVPADDB Y4, Y0, Y0\nVPADDB Y4, Y2, Y2", f.dwords("middle", -0x7f7f7f80))
	f.i("VEXTRACTI128 $1, Y0, X1\nVEXTRACTI128 $1, Y2, X3")
	f.i("LEAQ (R8)(R8*2), R9\nLEAQ (DI)(R8*4), R10")
	for i, at := range []string{"(DI)", "(R10)", "(DI)(R8*2)", "(R10)(R8*2)"} {
		f.i("VMOVQ X%d, %s", i, at)
	}
	for i, at := range []string{"(DI)(R8*1)", "(R10)(R8*1)", "(DI)(R9*1)", "(R10)(R9*1)"} {
		f.i("VMOVHPS X%d, %s", i, at)
	}
	f.end()
}

// pass is lines of package jpeg on eight lanes: from X0 to X7, 16-bit values,
// to Y0 to Y7, 32-bit values that are not yet saturated. Products of pairs of
// lines are added up by VPMADDWD.
func pass(f *file, shift int) {
	round := f.dwords(fmt.Sprintf("round%d", shift), 1<<(shift-1))
	// zip makes pairs of lines a and b in register to, for all eight lanes.
	zip := func(a, b, to, spare int) {
		f.i("VPUNPCKHWD X%d, X%d, X%d\nVPUNPCKLWD X%d, X%d, X%d\nVINSERTI128 $1, X%d, Y%d, Y%d", b, a, spare, b, a, to, spare, to, to)
	}
	madd := func(from, to int, a, b int32) { f.i("VPMADDWD %s, Y%d, Y%d", f.pairs(a, b), from, to) }
	zip(2, 6, 8, 9)
	madd(8, 9, 10703, 4433)  // t3
	madd(8, 8, 4433, -10704) // t2
	f.i("VPADDW X4, X0, X2\nVPSUBW X4, X0, X6")
	for _, r := range []int{2, 6} {
		f.i("VPMOVSXWD X%d, Y%d\nVPSLLD $13, Y%d, Y%d\nVPADDD %s, Y%d, Y%d", r, r, r, r, round, r, r)
	}
	// Even part: e0 to e3 in Y0, Y4, Y6, Y2.
	f.i("VPADDD Y9, Y2, Y0\nVPSUBD Y9, Y2, Y2\nVPADDD Y8, Y6, Y4\nVPSUBD Y8, Y6, Y6")
	f.i("VPADDW X3, X7, X8\nVPADDW X1, X5, X9")
	zip(8, 9, 10, 11)
	madd(10, 8, -6436, 9633) // z3
	madd(10, 9, 9633, 6437)  // z4
	zip(7, 1, 10, 11)
	zip(5, 3, 11, 12)
	madd(10, 12, -4927, -7373)
	madd(10, 13, -7373, 4926)
	madd(11, 14, -4176, -20995)
	madd(11, 15, -20995, 4177)
	f.i("VPADDD Y8, Y12, Y12\nVPADDD Y9, Y13, Y13\nVPADDD Y9, Y14, Y14\nVPADDD Y8, Y15, Y15")
	// Odd part: o0, o3, o1, o2 in Y12 to Y15. Results may use Y0 to Y11.
	f.i(`VPSUBD Y13, Y0, Y7
	VPADDD Y13, Y0, Y0
	VPADDD Y15, Y4, Y1
	VPSUBD Y15, Y4, Y8
	VPSUBD Y12, Y2, Y4
	VPADDD Y12, Y2, Y3
	VPADDD Y14, Y6, Y2
	VPSUBD Y14, Y6, Y5
	VMOVDQA Y8, Y6`)
	for i := range 8 {
		f.i("VPSRAD $%d, Y%d, Y%d", shift, i, i)
	}
}

// transpose saturates Y0 to Y7, a row each, to 16 bits and leaves columns i and
// i+4 in register i of Y0 to Y3.
func transpose(f *file) {
	for i := range 4 { // rows 2i and 2i+1, four columns in each lane
		f.i("VPACKSSDW Y%d, Y%d, Y%d", 2*i+1, 2*i, 8+i)
	}
	f.i(`VPUNPCKLWD Y9, Y8, Y0
	VPUNPCKHWD Y9, Y8, Y1
	VPUNPCKLWD Y11, Y10, Y2
	VPUNPCKHWD Y11, Y10, Y3
	VPUNPCKLWD Y1, Y0, Y4
	VPUNPCKHWD Y1, Y0, Y5
	VPUNPCKLWD Y3, Y2, Y6
	VPUNPCKHWD Y3, Y2, Y7
	VPUNPCKLQDQ Y6, Y4, Y0
	VPUNPCKHQDQ Y6, Y4, Y1
	VPUNPCKLQDQ Y7, Y5, Y2
	VPUNPCKHQDQ Y7, Y5, Y3`)
}

// idct4 is the same with 4 × 4 values in four registers.
func idct4(f *file) {
	f.begin("idct4AVX2", "dst *byte, stride int, coef, q *int16", 32, "idct4Go.")
	f.i("MOVQ dst+0(FP), DI\nMOVQ stride+8(FP), R8\nMOVQ coef+16(FP), SI\nMOVQ q+24(FP), DX")
	for i := range 4 {
		f.i("VPMOVSXWD %d(SI), X%d\nVPMOVSXWD %d(DX), X4\nVPMULLD X4, X%d, X%d", 16*i, i, 16*i, i, i)
	}
	lines4(f, 11, f.dwords("round11", 1<<10))
	f.i(`VPUNPCKLDQ X1, X0, X4
	VPUNPCKHDQ X1, X0, X5
	VPUNPCKLDQ X3, X2, X6
	VPUNPCKHDQ X3, X2, X7
	VPUNPCKLQDQ X6, X4, X0
	VPUNPCKHQDQ X6, X4, X1
	VPUNPCKLQDQ X7, X5, X2
	VPUNPCKHQDQ X7, X5, X3`)
	lines4(f, 18, f.dwords("middle18", 1<<17+128<<18))
	f.i("VPACKSSDW X1, X0, X0\nVPACKSSDW X3, X2, X2\nVPACKUSWB X2, X0, X0")
	f.i("VPSHUFB %s, X0, X0", f.bytes16("byRow", byRow))
	f.i("LEAQ (R8)(R8*2), R9\nVMOVD X0, (DI)")
	for i, at := range []string{"(DI)(R8*1)", "(DI)(R8*2)", "(DI)(R9*1)"} {
		f.i("VPEXTRD $%d, X0, %s", i+1, at)
	}
	f.end()
}

// lines4 is lines4 of package jpeg on four lanes, X0 to X3.
func lines4(f *file, shift int, round string) {
	k1, k3 := f.dwords("k10703", 10703), f.dwords("k4433", 4433)
	f.i(`VPADDD X2, X0, X4
	VPSUBD X2, X0, X5
	VPSLLD $13, X4, X4
	VPSLLD $13, X5, X5
	VPADDD %[1]s, X4, X4
	VPADDD %[1]s, X5, X5
	VPMULLD %[2]s, X1, X6
	VPMULLD %[3]s, X3, X7
	VPADDD X7, X6, X6
	VPMULLD %[3]s, X1, X7
	VPMULLD %[2]s, X3, X8
	VPSUBD X8, X7, X7
	VPADDD X6, X4, X0
	VPSUBD X6, X4, X3
	VPADDD X7, X5, X1
	VPSUBD X7, X5, X2`, round, k1, k3)
	for i := range 4 {
		f.i("VPSRAD $%d, X%d, X%d", shift, i, i)
	}
}

// byRow turns four columns of four bytes into rows.
var byRow = [16]byte{0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15}
