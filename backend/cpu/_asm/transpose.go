package main

import "fmt"

// transpose moves blocks as wide as a register. Rows behind the last are
// read as the last one again, and what came of them is not stored.
func transpose(f *file, s isa) {
	fmt.Fprintf(&f.decl, "\n// transpose%s is kernels.transpose.\n//\n", s.name)
	w := f.begin(s, "transpose"+s.name, "y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, r, n int", 48)
	side := s.size / 4
	if !s.wide() {
		f.lanes()
	}
	// R10 = min(count, side), and where a mask of as many lanes is.
	lanes := func(count, mask string) {
		w.i("MOVQ $%d, R10\nCMPQ %s, R10\nCMOVQLT %s, R10", side, count, count)
		if s.wide() {
			w.i("MOVL $0xffff, R15\nBZHIL R10, R15, R15\nKMOVW R15, %s", mask)
		} else {
			w.i("MOVQ R10, %[1]s\nNEGQ %[1]s\nLEAQ lanes<>+32(SB), R15\nLEAQ (R15)(%[1]s*4), %[1]s", mask)
		}
	}
	loadMask, storeMask := "K1", "K2"
	if !s.wide() {
		loadMask, storeMask = "R13", "R14"
	}
	spare := s.v(2*side - 1)

	w.i("MOVQ y+0(FP), R11\nMOVQ ldy+8(FP), R9\nMOVQ x+16(FP), R8\nMOVQ ldx+24(FP), BX\nMOVQ r+32(FP), CX")
	w.i("rows:\nMOVQ n+40(FP), DX\nMOVQ R8, AX\nMOVQ R11, DI")
	lanes("CX", storeMask)
	w.i("block:")
	lanes("DX", loadMask)
	w.i("MOVQ $%d, R10\nCMPQ CX, R10\nCMOVQLT CX, R10\nMOVQ AX, SI\nMOVQ BX, R12\nXORQ R15, R15", side)
	if !s.wide() {
		w.i("VMOVUPS (%s), %s", loadMask, spare)
	}
	for i := range side {
		if s.wide() {
			w.i("VMOVUPS.Z (SI), K1, %s", s.v(i))
		} else {
			w.i("VMASKMOVPS (SI), %s, %s", spare, s.v(i))
		}
		if i < side-1 {
			w.i("DECQ R10\nCMOVQEQ R15, R12\nADDQ R12, SI")
		}
	}
	out := w.square(side)
	w.i("MOVQ $%d, R10\nCMPQ DX, R10\nCMOVQLT DX, R10", side)
	if !s.wide() {
		spare = s.v(0)
		w.i("VMOVUPS (%s), %s", storeMask, spare)
	}
	for j, r := range out {
		if s.wide() {
			w.i("VMOVUPS %s, K2, (DI)", r)
		} else {
			w.i("VMASKMOVPS %s, %s, (DI)", r, spare)
		}
		w.i("ADDQ R9, DI")
		if j < side-1 {
			w.i("DECQ R10\nJZ stored")
		}
	}
	w.i("stored:\nADDQ $%d, AX\nSUBQ $%d, DX\nJG block", s.size, side)
	w.i("ADDQ $%d, R11\nIMUL3Q $%d, BX, R12\nADDQ R12, R8\nSUBQ $%d, CX\nJG rows", s.size, side, side)
	w.end()
}

// square transposes the square in v(0) to v(side-1) and says where its rows
// are then. Pairs of elements change places first, then pairs of pairs, then
// quarters of the registers.
func (w *fn) square(side int) []string {
	in, out := 0, side // first register
	stage := func(low, high string, distance int) {
		for i := range side {
			if i&distance == 0 {
				a, b := w.v(in+i), w.v(in+i+distance)
				w.i("%s %s, %s, %s", low, b, a, w.v(out+i))
				w.i("%s %s, %s, %s", high, b, a, w.v(out+i+distance))
			}
		}
		in, out = out, in
	}
	stage("VUNPCKLPS", "VUNPCKHPS", 1)
	stage("VUNPCKLPD", "VUNPCKHPD", 2)
	// Register 4g+p now holds rows 4g to 4g+3 of column c of every quarter; the
	// two bits of c are those of p swapped.
	if w.wide() {
		stage("VSHUFF32X4 $0x88,", "VSHUFF32X4 $0xdd,", 4)
		stage("VSHUFF32X4 $0x88,", "VSHUFF32X4 $0xdd,", 8)
	} else {
		stage("VPERM2F128 $0x20,", "VPERM2F128 $0x31,", 4)
	}
	rows := make([]string, side)
	for i := range side {
		c := i&^3 | i&1<<1 | i>>1&1
		rows[c] = w.v(in + i)
	}
	return rows
}
