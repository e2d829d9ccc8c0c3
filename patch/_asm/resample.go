package main

// precisionBits and half are package patch's fixed point.
const (
	precisionBits = 22
	half          = 1 << (precisionBits - 1)
)

// vertical sums rows, 32 bytes at a time in four vectors of 32-bit sums. The
// last vectors overlap those before.
func vertical(f *file) {
	f.begin("verticalAVX2", "dst, src *byte, n, stride int, weight *int32, count int", 48,
		"verticalGo for n bytes, of which there are at least 32.")
	f.i(`MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), R8
	MOVQ stride+24(FP), R9
	MOVQ weight+32(FP), R10
	MOVQ count+40(FP), R11
	XORQ R12, R12
	SUBQ $32, R8
	columns:
	CMPQ R12, R8
	CMOVQGT R8, R12
	LEAQ (SI)(R12*1), AX
	MOVQ R10, BX
	MOVQ R11, CX`)
	for i := range 4 {
		f.i("VMOVDQU %s, Y%d", f.dwords("half", half), i)
	}
	f.i("rows:\nVPBROADCASTD (BX), Y8")
	for i := range 4 {
		f.i("VPMOVZXBD %d(AX), Y%d\nVPMULLD Y8, Y%d, Y%d\nVPADDD Y%d, Y%d, Y%d", 8*i, 4+i, 4+i, 4+i, 4+i, i, i)
	}
	f.i("ADDQ R9, AX\nADDQ $4, BX\nDECQ CX\nJNZ rows")
	for i := range 4 {
		f.i("VPSRAD $%d, Y%d, Y%d", precisionBits, i, i)
	}
	// Packing works on halves of registers; the permutation puts the
	// doublewords back in order.
	f.i(`VPACKSSDW Y1, Y0, Y0
	VPACKSSDW Y3, Y2, Y2
	VPACKUSWB Y2, Y0, Y0
	VMOVDQU %s, Y4
	VPERMD Y0, Y4, Y0
	VMOVDQU Y0, (DI)(R12*1)
	CMPQ R12, R8
	JEQ done
	ADDQ $32, R12
	JMP columns
	done:`, f.dwords("unpack", 0, 4, 1, 5, 2, 6, 3, 7))
	f.end()
}

// horizontal sums four pixels a step: each vector holds two of them as eight
// 32-bit values, their weights spread over four channels.
func horizontal(f *file) {
	f.begin("horizontalAVX2", "dst, src *byte, first *int, weight *int32, n, size, steps int", 56,
		"horizontalGo for n outputs with weights size apart, of which it takes\n4·steps; it reads as many pixels from each first one on.")
	f.i(`MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ first+16(FP), R8
	MOVQ weight+24(FP), R9
	MOVQ n+32(FP), R10
	MOVQ size+40(FP), R11
	MOVQ steps+48(FP), R12
	SHLQ $2, R11
	VMOVDQU %s, Y10
	VMOVDQU %s, Y11
	VMOVDQU %s, X12
	outputs:
	MOVQ (R8), AX
	LEAQ (SI)(AX*4), AX
	MOVQ R9, BX
	MOVQ R12, CX
	VMOVDQA X12, X0
	VPXOR Y1, Y1, Y1
	taps:
	VMOVDQU (BX), X2
	VPERMD Y2, Y10, Y3
	VPERMD Y2, Y11, Y4
	VPMOVZXBD (AX), Y5
	VPMOVZXBD 8(AX), Y6
	VPMULLD Y3, Y5, Y5
	VPMULLD Y4, Y6, Y6
	VPADDD Y5, Y0, Y0
	VPADDD Y6, Y1, Y1
	ADDQ $16, AX
	ADDQ $16, BX
	DECQ CX
	JNZ taps
	VPADDD Y1, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPADDD X1, X0, X0
	VPSRAD $%d, X0, X0
	VPACKSSDW X0, X0, X0
	VPACKUSWB X0, X0, X0
	VMOVD X0, (DI)
	ADDQ $4, DI
	ADDQ $8, R8
	ADDQ R11, R9
	DECQ R10
	JNZ outputs`, f.dwords("spread01", 0, 0, 0, 0, 1, 1, 1, 1), f.dwords("spread23", 2, 2, 2, 2, 3, 3, 3, 3), f.dwords("half", half), precisionBits)
	f.end()
}

// line sums eight bytes a step.
func line(f *file) {
	f.begin("lineAVX2", "dst, src *byte, first *int, weight *int32, n, size, steps int", 56,
		"lineGo for n outputs with weights size apart, of which it takes\n8·steps; it reads as many bytes from each first one on.")
	f.i(`MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ first+16(FP), R8
	MOVQ weight+24(FP), R9
	MOVQ n+32(FP), R10
	MOVQ size+40(FP), R11
	MOVQ steps+48(FP), R12
	SHLQ $2, R11
	outputs:
	MOVQ (R8), AX
	ADDQ SI, AX
	MOVQ R9, BX
	MOVQ R12, CX
	VPXOR Y0, Y0, Y0
	taps:
	VPMOVZXBD (AX), Y1
	VPMULLD (BX), Y1, Y1
	VPADDD Y1, Y0, Y0
	ADDQ $8, AX
	ADDQ $32, BX
	DECQ CX
	JNZ taps
	VEXTRACTI128 $1, Y0, X1
	VPADDD X1, X0, X0
	VPSHUFD $0x4e, X0, X1
	VPADDD X1, X0, X0
	VPSHUFD $0xb1, X0, X1
	VPADDD X1, X0, X0
	VPADDD %s, X0, X0
	VPSRAD $%d, X0, X0
	VPACKSSDW X0, X0, X0
	VPACKUSWB X0, X0, X0
	VPEXTRB $0, X0, (DI)
	INCQ DI
	ADDQ $8, R8
	ADDQ R11, R9
	DECQ R10
	JNZ outputs`, f.dwords("half", half), precisionBits)
	f.end()
}
