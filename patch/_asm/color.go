package main

// addRows works on sixteen samples a step.
func addRows(f *file) {
	f.begin("addRowsAVX2", "sums *uint16, near, far *byte, n int", 32, "addRowsGo for n samples, rounded up to sixteen.")
	f.i(`MOVQ sums+0(FP), DI
	MOVQ near+8(FP), SI
	MOVQ far+16(FP), DX
	MOVQ n+24(FP), CX
	loop:
	VPMOVZXBW (SI), Y0
	VPMOVZXBW (DX), Y1
	VPADDW Y0, Y0, Y2
	VPADDW Y1, Y0, Y0
	VPADDW Y2, Y0, Y0
	VMOVDQU Y0, (DI)
	ADDQ $32, DI
	ADDQ $16, SI
	ADDQ $16, DX
	SUBQ $16, CX
	JG loop`)
	f.end()
}

// widen makes 32 bytes of sixteen sums: left outputs in the low bytes of
// 16-bit lanes, right ones in the high bytes, which is their order.
func widen(f *file) {
	f.begin("widenAVX2", "dst *byte, sums *uint16, n int, left, right uint16", 28, "widenGo for n sums, rounded up to sixteen.")
	f.i(`MOVQ dst+0(FP), DI
	MOVQ sums+8(FP), SI
	MOVQ n+16(FP), CX
	VPBROADCASTW left+24(FP), Y6
	VPBROADCASTW right+26(FP), Y7
	loop:
	VMOVDQU 2(SI), Y0
	VPADDW Y0, Y0, Y1
	VPADDW Y1, Y0, Y0
	VPADDW Y6, Y0, Y1
	VPADDW (SI), Y1, Y1
	VPADDW Y7, Y0, Y2
	VPADDW 4(SI), Y2, Y2
	VPSRLW $4, Y1, Y1
	VPSRLW $4, Y2, Y2
	VPSLLW $8, Y2, Y2
	VPOR Y1, Y2, Y1
	VMOVDQU Y1, (DI)
	ADDQ $32, SI
	ADDQ $32, DI
	SUBQ $16, CX
	JG loop`)
	f.end()
}

// ycc makes eight RGBA pixels a step in 32-bit lanes.
func ycc(f *file) {
	f.begin("yccRowAVX2", "dst, y, cb, cr *byte, n int", 40, "yccRowGo for n pixels, rounded up to eight.")
	f.i(`MOVQ dst+0(FP), DI
	MOVQ y+8(FP), SI
	MOVQ cb+16(FP), BX
	MOVQ cr+24(FP), DX
	MOVQ n+32(FP), CX
	VMOVDQU %s, Y8
	VMOVDQU %s, Y9
	VMOVDQU %s, Y10
	VMOVDQU %s, Y11
	VMOVDQU %s, Y12
	VMOVDQU %s, Y13
	VMOVDQU %s, Y14
	VMOVDQU %s, Y15
	VPXOR Y7, Y7, Y7
	loop:
	VPMOVZXBD (SI), Y0
	VPMOVZXBD (BX), Y1
	VPMOVZXBD (DX), Y2
	VPSUBD Y8, Y1, Y1
	VPSUBD Y8, Y2, Y2
	VPMULLD Y10, Y2, Y3
	VPMULLD Y11, Y1, Y4
	VPMULLD Y12, Y1, Y1
	VPMULLD Y13, Y2, Y2
	VPADDD Y9, Y3, Y3
	VPADDD Y9, Y4, Y4
	VPADDD Y9, Y1, Y1
	VPADDD Y2, Y1, Y1
	VPSRAD $16, Y3, Y3
	VPSRAD $16, Y4, Y4
	VPSRAD $16, Y1, Y1
	VPADDD Y0, Y3, Y3
	VPADDD Y0, Y4, Y4
	VPADDD Y0, Y1, Y1
	VPMAXSD Y7, Y3, Y3
	VPMAXSD Y7, Y4, Y4
	VPMAXSD Y7, Y1, Y1
	VPMINSD Y14, Y3, Y3
	VPMINSD Y14, Y4, Y4
	VPMINSD Y14, Y1, Y1
	VPSLLD $8, Y1, Y1
	VPSLLD $16, Y4, Y4
	VPOR Y15, Y3, Y3
	VPOR Y1, Y4, Y4
	VPOR Y4, Y3, Y3
	VMOVDQU Y3, (DI)
	ADDQ $32, DI
	ADDQ $8, SI
	ADDQ $8, BX
	ADDQ $8, DX
	SUBQ $8, CX
	JG loop`,
		f.dwords("c128", 128), f.dwords("half16", 1<<15), f.dwords("crR", 91881), f.dwords("cbB", 116130),
		f.dwords("cbG", -22554), f.dwords("crG", -46802), f.dwords("c255", 255), f.dwords("opaque", -1<<24))
	f.end()
}
