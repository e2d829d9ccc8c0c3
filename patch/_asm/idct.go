package main

import "fmt"

// idct transforms a block. The first pass works on columns, that is across
// rows; after a transposition the second does the same to rows.
func idct(f *file) {
	f.begin("idct8AVX2", "dst *byte, stride int, coef, q *int16", 32, "idct8Go.")
	f.i("MOVQ dst+0(FP), DI\nMOVQ stride+8(FP), R8\nMOVQ coef+16(FP), SI\nMOVQ q+24(FP), DX")
	f.i("VMOVDQU 16(SI), Y8\nVPOR 48(SI), Y8, Y8\nVMOVDQU 112(SI), X9\nVPOR 80(SI), Y9, Y9\nVPOR Y9, Y8, Y8")
	for i := range 4 { // two rows each
		f.i("VMOVDQU %d(SI), Y%d\nVPMULLW %d(DX), Y%d, Y%d", 32*i, i, 32*i, i, i)
	}
	// Without a value below the first row its two bits do not saturate.
	f.i("VPTEST Y8, Y8\nJNZ columns\nVPSLLW $2, Y0, Y0\nVPSRAW $2, Y0, Y0\ncolumns:")
	for i := range 4 {
		f.i("VPERMQ $0xd8, Y%d, Y%d", i, i)
	}
	pass(f, 11)
	turn(f)
	f.i(`VPERM2I128 $0x20, Y6, Y4, Y0
	VPERM2I128 $0x20, Y7, Y5, Y1
	VPERM2I128 $0x31, Y6, Y4, Y2
	VPERM2I128 $0x31, Y7, Y5, Y3`)
	pass(f, 18)
	turn(f)
	// Registers i of 0 to 3 hold rows i and i+4; packed, two of each.
	f.i(`VPUNPCKLQDQ Y6, Y4, Y0
	VPUNPCKHQDQ Y6, Y4, Y1
	VPUNPCKLQDQ Y7, Y5, Y2
	VPUNPCKHQDQ Y7, Y5, Y3`)
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

// pass is lines of package jpeg on eight columns. Lines 2i and 2i+1 are in
// register i of Y0 to Y3, four columns of each in each lane, so that one
// instruction makes pairs of two lines for all columns, whose products
// VPMADDWD adds up. The results are in Y0 to Y7, 32 bits each and not yet
// saturated.
func pass(f *file, shift int) {
	round := f.dwords(fmt.Sprintf("round%d", shift), 1<<(shift-1))
	madd := func(from, to int, a, b int32) { f.i("VPMADDWD %s, Y%d, Y%d", f.pairs(a, b), from, to) }
	f.i("VPUNPCKLWD Y3, Y1, Y8") // 2 and 6
	madd(8, 9, 10703, 4433)      // t3
	madd(8, 8, 4433, -10704)     // t2
	// 0 + 4 beside 1 + 5, and 0 - 4, times 2¹³.
	f.i("VPADDW Y2, Y0, Y10\nVPSUBW Y2, Y0, Y11\nVPXOR Y12, Y12, Y12")
	f.i("VPUNPCKLWD Y10, Y12, Y4\nVPUNPCKLWD Y11, Y12, Y5")
	for _, r := range []int{4, 5} {
		f.i("VPSRAD $3, Y%d, Y%d\nVPADDD %s, Y%d, Y%d", r, r, round, r, r)
	}
	f.i("VPADDW Y3, Y1, Y13\nVPUNPCKHWD Y10, Y13, Y14") // 3 + 7 and 1 + 5
	madd(14, 15, -6436, 9633)                           // z3
	madd(14, 14, 9633, 6437)                            // z4
	f.i("VPUNPCKHWD Y0, Y3, Y10\nVPUNPCKHWD Y1, Y2, Y11")
	madd(10, 12, -4927, -7373)  // of 7 and 1
	madd(10, 10, -7373, 4926)   //
	madd(11, 13, -4176, -20995) // of 5 and 3
	madd(11, 11, -20995, 4177)  //
	// e0 to e3 and o0 to o3.
	f.i(`VPADDD Y9, Y4, Y0
	VPADDD Y8, Y5, Y1
	VPSUBD Y8, Y5, Y2
	VPSUBD Y9, Y4, Y3
	VPADDD Y15, Y12, Y12
	VPADDD Y14, Y13, Y13
	VPADDD Y15, Y11, Y11
	VPADDD Y14, Y10, Y10`)
	for i, odd := range []int{10, 11, 13, 12} {
		f.i("VPSUBD Y%d, Y%d, Y%d\nVPADDD Y%d, Y%d, Y%d", odd, i, 7-i, odd, i, i)
	}
	for i := range 8 {
		f.i("VPSRAD $%d, Y%d, Y%d", shift, i, i)
	}
}

// turn saturates Y0 to Y7, a line each, to 16 bits. Y4 has four lines of columns
// 0 and 1 in its lower lane and of 4 and 5 in its upper one, Y6 the other four;
// Y5 and Y7 have those of columns 2, 3, 6 and 7.
func turn(f *file) {
	for i := range 4 {
		f.i("VPACKSSDW Y%d, Y%d, Y%d", 2*i+1, 2*i, 8+i)
	}
	f.i(`VPUNPCKLWD Y9, Y8, Y0
	VPUNPCKHWD Y9, Y8, Y1
	VPUNPCKLWD Y11, Y10, Y2
	VPUNPCKHWD Y11, Y10, Y3
	VPUNPCKLWD Y1, Y0, Y4
	VPUNPCKHWD Y1, Y0, Y5
	VPUNPCKLWD Y3, Y2, Y6
	VPUNPCKHWD Y3, Y2, Y7`)
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
