package patch

// flat fills a block that has no more than its mean.
func flat(dst []byte, stride, size int, dc int32) {
	v := sample((dc + 4) >> 3)
	for range size {
		row := dst[:size]
		for i := range row {
			row[i] = v
		}
		dst = dst[min(stride, len(dst)):]
	}
}

func sample(v int32) uint8 { return clip(int(v) + 128) }

// Constants of the transform, scaled by 2¹³.
const (
	fix0_298631336 = 2446
	fix0_390180644 = 3196
	fix0_541196100 = 4433
	fix0_765366865 = 6270
	fix0_899976223 = 7373
	fix1_175875602 = 9633
	fix1_306562965 = 10703
	fix1_501321110 = 12299
	fix1_847759065 = 15137
	fix1_961570560 = 16069
	fix2_053119869 = 16819
	fix2_562915447 = 20995
	fix3_072711026 = 25172
)

// idct8Go is the inverse transform of Loeffler, Ligtenberg and Moschytz,
// "Practical Fast 1-D DCT Algorithms with 11 Multiplications" (1989), in the
// fixed-point form of libjpeg's jidctint.c, with its roundings: columns first,
// kept to two more bits, then rows, with the
// samples' middle of 128 added in the rounding.
func idct8Go(dst []byte, stride int, coef *coefficients, q *[64]int32) {
	var t [64]int32
	for x := range 8 {
		var c [8]int32
		for y := range 8 {
			c[y] = int32(coef[8*y+x]) * q[8*y+x]
		}
		lines(&c, 11, 1<<10)
		for y := range 8 {
			t[8*y+x] = c[y]
		}
	}
	for y := range 8 {
		r := (*[8]int32)(t[8*y:])
		lines(r, 18, 1<<17+128<<18)
		out := (*[8]byte)(dst[y*stride:])
		for x, v := range r {
			out[x] = clip(int(v))
		}
	}
}

// lines transforms eight values in place, adds round and drops shift bits.
func lines(c *[8]int32, shift int, round int32) {
	z1 := (c[2] + c[6]) * fix0_541196100
	t2 := z1 - c[6]*fix1_847759065
	t3 := z1 + c[2]*fix0_765366865
	t0 := (c[0] + c[4]) << 13
	t1 := (c[0] - c[4]) << 13
	e0, e3, e1, e2 := t0+t3, t0-t3, t1+t2, t1-t2

	t0, t1, t2, t3 = c[7], c[5], c[3], c[1]
	z1, z2, z3, z4 := t0+t3, t1+t2, t0+t2, t1+t3
	z5 := (z3 + z4) * fix1_175875602
	z1, z2 = -z1*fix0_899976223, -z2*fix2_562915447
	z3, z4 = z5-z3*fix1_961570560, z5-z4*fix0_390180644
	t0 = t0*fix0_298631336 + z1 + z3
	t1 = t1*fix2_053119869 + z2 + z4
	t2 = t2*fix3_072711026 + z2 + z3
	t3 = t3*fix1_501321110 + z1 + z4

	e0, e1, e2, e3 = e0+round, e1+round, e2+round, e3+round
	c[0], c[7] = (e0+t3)>>shift, (e0-t3)>>shift
	c[1], c[6] = (e1+t2)>>shift, (e1-t2)>>shift
	c[2], c[5] = (e2+t1)>>shift, (e2-t1)>>shift
	c[3], c[4] = (e3+t0)>>shift, (e3-t0)>>shift
}

// idct4Go makes a block of half the size from its 4 × 4 lowest frequencies: a
// 4-point transform, which leaves out what the smaller block cannot hold.
func idct4Go(dst []byte, stride int, coef *coefficients, q *[64]int32) {
	var t [16]int32
	for x := range 4 {
		c := [4]int32{}
		for y := range 4 {
			c[y] = int32(coef[8*y+x]) * q[8*y+x]
		}
		lines4(&c, 11, 1<<10)
		for y := range 4 {
			t[4*y+x] = c[y]
		}
	}
	for y := range 4 {
		r := (*[4]int32)(t[4*y:])
		lines4(r, 18, 1<<17+128<<18)
		out := (*[4]byte)(dst[y*stride:])
		for x, v := range r {
			out[x] = clip(int(v))
		}
	}
}

func lines4(c *[4]int32, shift int, round int32) {
	e0, e1 := (c[0]+c[2])<<13+round, (c[0]-c[2])<<13+round
	o0 := c[1]*fix1_306562965 + c[3]*fix0_541196100
	o1 := c[1]*fix0_541196100 - c[3]*fix1_306562965
	c[0], c[1], c[2], c[3] = (e0+o0)>>shift, (e1+o1)>>shift, (e1-o1)>>shift, (e0-o0)>>shift
}

// idct2 is idct4Go for a quarter.
func idct2(dst []byte, stride int, coef *coefficients, q *[64]int32) {
	a, b := int32(coef[0])*q[0]+4, int32(coef[1])*q[1]
	c, d := int32(coef[8])*q[8], int32(coef[9])*q[9]
	dst[0], dst[1] = sample((a+b+c+d)>>3), sample((a-b+c-d)>>3)
	dst[stride], dst[stride+1] = sample((a+b-c-d)>>3), sample((a-b-c+d)>>3)
}
