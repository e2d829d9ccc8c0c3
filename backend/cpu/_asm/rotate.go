package main

// rotateParams are two matrices of r rows and the cosines and sines of each row.
const rotateParams = "y unsafe.Pointer, ldy uintptr, x unsafe.Pointer, ldx uintptr, cos unsafe.Pointer, ldc uintptr, sin unsafe.Pointer, lds uintptr, r, n int, scale float32"

// rotation begins a function whose rows have count values to go through in
// vectors; body computes one of them.
func rotation(f *file, s isa, name, count string, body func(w *fn, load func(address, to string), store func(from, address string))) {
	w := sink(false).begin(f, s, name, rotateParams, 84)
	w.i("MOVQ y+0(FP), R11\nMOVQ ldy+8(FP), R12\nMOVQ x+16(FP), AX\nMOVQ ldx+24(FP), BX\nMOVQ cos+32(FP), R9\nMOVQ sin+48(FP), R13")
	w.i("MOVQ r+64(FP), CX\nMOVQ n+72(FP), DX\n" + count)
	w.i("VBROADCASTSS scale+80(FP), %s", w.v(7))
	last := w.split("DX", "R8", 1)
	w.i("row:\nMOVQ AX, SI\nMOVQ R11, DI\nMOVQ R9, R14\nMOVQ R13, R15")
	w.loop("vector", "R8", func() {
		body(w, func(address, to string) { w.i("VMOVUPS %s, %s", address, to) }, func(from, address string) { w.i("VMOVUPS %s, %s", from, address) })
	}, w.along("SI"), w.along("DI"), w.along("R14"), w.along("R15"))
	body(w, last.load, last.store)
	w.i("ADDQ ldc+40(FP), R9\nADDQ lds+56(FP), R13")
	w.nextRow()
	w.end()
}

func rotate(f *file, s isa) {
	rotation(f, s, "rotate", "SHRQ $1, DX", func(w *fn, load func(address, to string), store func(from, address string)) {
		a, b, c, t := w.v(0), w.v(1), w.v(2), w.v(3)
		load("(SI)", a)
		load("(SI)(DX*4)", b)
		load("(R15)", t)
		load("(R14)", c)
		w.i("VMULPS %[1]s, %[2]s, %[1]s\nVFMSUB231PS %[3]s, %[4]s, %[1]s\nVMULPS %[5]s, %[1]s, %[6]s", t, b, c, a, w.v(7), w.v(4))
		load("(R15)(DX*4)", t)
		load("(R14)(DX*4)", c)
		w.i("VMULPS %[1]s, %[2]s, %[1]s\nVFMADD231PS %[3]s, %[4]s, %[1]s\nVMULPS %[5]s, %[1]s, %[1]s", t, a, c, b, w.v(7))
		store(w.v(4), "(DI)")
		store(t, "(DI)(DX*4)")
	})
	rotation(f, s, "rotatePairs", "", func(w *fn, load func(address, to string), store func(from, address string)) {
		x, c, t := w.v(0), w.v(2), w.v(3)
		load("(SI)", x)
		load("(R15)", t)
		load("(R14)", c)
		w.i("VPERMILPS $0xb1, %[1]s, %[2]s\nVMULPS %[2]s, %[3]s, %[3]s", x, w.v(1), t)
		w.i("VFMADDSUB213PS %[1]s, %[2]s, %[3]s\nVMULPS %[4]s, %[3]s, %[3]s", t, c, x, w.v(7)) // less in even places, more in odd
		store(x, "(DI)")
	})
}
