package main

import "fmt"

// idct transforms a block with each row in a register of eight 32-bit values.
// The first pass works on columns, that is across registers; after a
// transposition the second does the same to rows.
func idct(f *file) {
	f.begin("idct8AVX2", "dst *byte, stride int, coef *int16, q *int32", 32, "idct8Go.")
	f.i("MOVQ dst+0(FP), DI\nMOVQ stride+8(FP), R8\nMOVQ coef+16(FP), SI\nMOVQ q+24(FP), DX")
	c := regs(0, 1, 2, 3, 4, 5, 6, 7)
	for i, r := range c {
		f.i("VPMOVSXWD %d(SI), %s\nVPMULLD %d(DX), %s, %s", 16*i, r, 32*i, r, r)
	}
	c = lines(f, c, 11, f.dwords("round11", 1<<10))
	c = transpose(f, c)
	// The samples' middle, 128, is added with the rounding.
	c = lines(f, c, 18, f.dwords("round18", 1<<17+128<<18))

	// Register x holds column x. Packed to bytes and shuffled, each half of
	// a register has four rows of four columns.
	free := rest(c)[5:] // beyond the registers that are stored
	a, b, m := free[0], free[1], free[2]
	f.i("VPACKSSDW %s, %s, %s\nVPACKSSDW %s, %s, %s\nVPACKUSWB %s, %s, %s", c[1], c[0], c[0], c[3], c[2], c[2], c[2], c[0], a)
	f.i("VPACKSSDW %s, %s, %s\nVPACKSSDW %s, %s, %s\nVPACKUSWB %s, %s, %s", c[5], c[4], c[4], c[7], c[6], c[6], c[6], c[4], b)
	f.i("VMOVDQU %s, %s", f.bytes16("byRow", byRow), m)
	f.i("VPSHUFB %s, %s, %s\nVPSHUFB %s, %s, %s", m, a, a, m, b, b)
	f.i("VPUNPCKLDQ %s, %s, Y0\nVPUNPCKHDQ %s, %s, Y1\nVEXTRACTI128 $1, Y0, X2\nVEXTRACTI128 $1, Y1, X3", b, a, b, a)
	f.i("LEAQ (R8)(R8*2), R9\nLEAQ (DI)(R8*4), R10")
	for i, at := range []string{"(DI)", "(DI)(R8*2)", "(R10)", "(R10)(R8*2)"} {
		f.i("VMOVQ X%d, %s", []int{0, 1, 2, 3}[i], at)
	}
	for i, at := range []string{"(DI)(R8*1)", "(DI)(R9*1)", "(R10)(R8*1)", "(R10)(R9*1)"} {
		f.i("VMOVHPS X%d, %s", []int{0, 1, 2, 3}[i], at)
	}
	f.end()
}

// idct4 is the same with 4 × 4 values in four registers.
func idct4(f *file) {
	f.begin("idct4AVX2", "dst *byte, stride int, coef *int16, q *int32", 32, "idct4Go.")
	f.i("MOVQ dst+0(FP), DI\nMOVQ stride+8(FP), R8\nMOVQ coef+16(FP), SI\nMOVQ q+24(FP), DX")
	for i := range 4 {
		f.i("VPMOVSXWD %d(SI), X%d\nVPMULLD %d(DX), X%d, X%d", 16*i, i, 32*i, i, i)
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
	lines4(f, 18, f.dwords("round18", 1<<17+128<<18))
	f.i("VPACKSSDW X1, X0, X0\nVPACKSSDW X3, X2, X2\nVPACKUSWB X2, X0, X0")
	f.i("VPSHUFB %s, X0, X0", f.bytes16("byRow", byRow))
	f.i("LEAQ (R8)(R8*2), R9\nVMOVD X0, (DI)")
	for i, at := range []string{"(DI)(R8*1)", "(DI)(R8*2)", "(DI)(R9*1)"} {
		f.i("VPEXTRD $%d, X0, %s", i+1, at)
	}
	f.end()
}

// lines4 is lines4 of package patch on four lanes, X0 to X3.
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

func regs(n ...int) (out []string) {
	for _, i := range n {
		out = append(out, fmt.Sprintf("Y%d", i))
	}
	return out
}

// rest are the registers that are not among used.
func rest(used []string) (out []string) {
	for i := range 16 {
		r := fmt.Sprintf("Y%d", i)
		taken := false
		for _, u := range used {
			taken = taken || u == r
		}
		if !taken {
			out = append(out, r)
		}
	}
	return out
}

// lines is lines of package patch on eight lanes; it returns where the results are. The names
// are those of the Go function.
func lines(f *file, c []string, shift int, round string) []string {
	op := func(name, a, b, to string) { f.i("%s %s, %s, %s", name, b, a, to) }
	add := func(a, b, to string) { op("VPADDD", a, b, to) }
	sub := func(a, b, to string) { op("VPSUBD", a, b, to) }
	mul := func(a, to string, k int32) {
		name := fmt.Sprintf("k%d", k)
		if k < 0 {
			name = fmt.Sprintf("m%d", -k)
		}
		f.i("VPMULLD %s, %s, %s", f.dwords(name, k), a, to)
	}
	t := rest(c)
	z1, t2, t3 := t[0], t[1], t[2]
	add(c[2], c[6], z1)
	mul(z1, z1, 4433)
	mul(c[6], t2, -15137)
	add(z1, t2, t2)
	mul(c[2], t3, 6270)
	add(z1, t3, t3)
	t0, t1 := c[2], c[6]
	add(c[0], c[4], t0)
	sub(c[0], c[4], t1)
	for _, r := range []string{t0, t1} {
		f.i("VPSLLD $13, %s, %s\nVPADDD %s, %s, %s", r, r, round, r, r)
	}
	e0, e3, e1, e2 := c[0], c[4], z1, t1
	add(t0, t3, e0)
	sub(t0, t3, e3)
	add(t1, t2, e1)
	sub(t1, t2, e2)

	free := rest([]string{e0, e1, e2, e3, c[1], c[3], c[5], c[7]})
	o0, o1, o2, o3 := c[7], c[5], c[3], c[1]
	z1, z2, z3, z4, z5 := free[0], free[1], free[2], free[3], free[4]
	add(o0, o3, z1)
	add(o1, o2, z2)
	add(o0, o2, z3)
	add(o1, o3, z4)
	add(z3, z4, z5)
	mul(z5, z5, 9633)
	mul(z1, z1, -7373)
	mul(z2, z2, -20995)
	mul(z3, z3, -16069)
	mul(z4, z4, -3196)
	add(z3, z5, z3)
	add(z4, z5, z4)
	for _, s := range []struct {
		o    string
		k    int32
		a, b string
	}{{o0, 2446, z1, z3}, {o1, 16819, z2, z4}, {o2, 25172, z2, z3}, {o3, 12299, z1, z4}} {
		mul(s.o, s.o, s.k)
		add(s.o, s.a, s.o)
		add(s.o, s.b, s.o)
	}
	free = rest([]string{e0, e1, e2, e3, o0, o1, o2, o3})
	out := free[:8]
	for i, p := range [][2]string{{e0, o3}, {e1, o2}, {e2, o1}, {e3, o0}} {
		add(p[0], p[1], out[i])
		sub(p[0], p[1], out[7-i])
	}
	for _, r := range out {
		f.i("VPSRAD $%d, %s, %s", shift, r, r)
	}
	return out
}

// transpose exchanges rows and columns of eight registers of eight lanes.
func transpose(f *file, r []string) []string {
	t := rest(r)
	for i := range 4 {
		f.i("VPUNPCKLDQ %s, %s, %s\nVPUNPCKHDQ %s, %s, %s", r[2*i+1], r[2*i], t[2*i], r[2*i+1], r[2*i], t[2*i+1])
	}
	// t: pairs of rows; low and high quadwords of rows 0–3 and 4–7.
	for i, p := range [][2]int{{0, 2}, {1, 3}, {4, 6}, {5, 7}} {
		f.i("VPUNPCKLQDQ %s, %s, %s\nVPUNPCKHQDQ %s, %s, %s", t[p[1]], t[p[0]], r[2*i], t[p[1]], t[p[0]], r[2*i+1])
	}
	for i := range 4 {
		f.i("VPERM2I128 $0x20, %s, %s, %s\nVPERM2I128 $0x31, %s, %s, %s", r[4+i], r[i], t[i], r[4+i], r[i], t[4+i])
	}
	return t
}
