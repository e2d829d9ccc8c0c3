package jpeg

// idct12 is idct8Go for samples of twelve bits, of which it leaves the highest
// eight: libjpeg's jidctint.c of that precision, which keeps one bit between the
// two passes and has no vectors.
func idct12(dst []byte, stride int, coef *[64]int16, q *[64]int16) {
	const pass1 = 1
	var t [64]int64
	for x := range 8 {
		var c [8]int64
		for y := range 8 {
			c[y] = int64(coef[8*y+x]) * int64(uint16(q[8*y+x])) // without vectors its tables are whole
		}
		lines12(&c, 13-pass1)
		for y := range 8 {
			t[8*y+x] = int64(int32(c[y]))
		}
	}
	for y := range 8 {
		r := (*[8]int64)(t[8*y:])
		lines12(r, 13+pass1+3)
		out := (*[8]byte)(dst[y*stride:])
		for x, v := range r {
			const spare = 64 - 14 // libjpeg's table is of fourteen bits
			v = v<<spare>>spare + 1<<11
			out[x] = byte(max(0, min(v, 1<<12-1)) >> 4)
		}
	}
}

// lines12 transforms eight values in place, and drops shift bits with rounding.
func lines12(c *[8]int64, shift int) {
	e := (c[2] + c[6]) * fix0_541196100
	t2, t3 := e-c[6]*fix1_847759065, e+c[2]*fix0_765366865
	t0, t1 := (c[0]+c[4])<<13, (c[0]-c[4])<<13
	e0, e3, e1, e2 := t0+t3, t0-t3, t1+t2, t1-t2

	z1, z2, z3, z4 := c[7]+c[1], c[5]+c[3], c[7]+c[3], c[5]+c[1]
	z5 := (z3 + z4) * fix1_175875602
	z1, z2 = -z1*fix0_899976223, -z2*fix2_562915447
	z3, z4 = z5-z3*fix1_961570560, z5-z4*fix0_390180644
	o0 := c[7]*fix0_298631336 + z1 + z3
	o1 := c[5]*fix2_053119869 + z2 + z4
	o2 := c[3]*fix3_072711026 + z2 + z3
	o3 := c[1]*fix1_501321110 + z1 + z4

	round := int64(1) << (shift - 1)
	c[0], c[7] = (e0+o3+round)>>shift, (e0-o3+round)>>shift
	c[1], c[6] = (e1+o2+round)>>shift, (e1-o2+round)>>shift
	c[2], c[5] = (e2+o1+round)>>shift, (e2-o1+round)>>shift
	c[3], c[4] = (e3+o0+round)>>shift, (e3-o0+round)>>shift
}
