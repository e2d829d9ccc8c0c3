package jpeg

// The transforms keep to the sixteen bits of libjpeg-turbo's vectors, so that
// coefficients that no encoder writes overflow as they do there.

// flat fills a block that has no more than its mean.
func flat(dst []byte, stride, size int, dc, q int16) {
	v := sample((int32(dc*q<<2) + 1<<4) >> 5)
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
// kept to two more bits, then rows.
func idct8Go(dst []byte, stride int, coef *[64]int16, q *[64]int16) {
	var t [64]int16
	below := int16(0) // all but the first row
	for i, v := range coef[8:] {
		below |= v
		t[8+i] = v * q[8+i]
	}
	for i, v := range coef[:8] {
		if t[i] = v * q[i]; below == 0 {
			t[i] = t[i] << 2 >> 2 // shifted by the two bits without saturation
		}
	}
	for x := range 8 {
		var c [8]int16
		for y := range 8 {
			c[y] = t[8*y+x]
		}
		lines(&c, 11)
		for y := range 8 {
			t[8*y+x] = c[y]
		}
	}
	for y := range 8 {
		r := (*[8]int16)(t[8*y:])
		lines(r, 18)
		out := (*[8]byte)(dst[y*stride:])
		for x, v := range r {
			out[x] = sample(int32(v))
		}
	}
}

// lines transforms eight values in place, and drops shift bits with rounding.
func lines(c *[8]int16, shift int) {
	mul := func(v int16, k int32) int32 { return int32(v) * k }
	round := int32(1) << (shift - 1)
	t2 := mul(c[2], fix0_541196100) + mul(c[6], fix0_541196100-fix1_847759065)
	t3 := mul(c[2], fix0_541196100+fix0_765366865) + mul(c[6], fix0_541196100)
	t0 := int32(c[0]+c[4])<<13 + round
	t1 := int32(c[0]-c[4])<<13 + round
	e0, e3, e1, e2 := t0+t3, t0-t3, t1+t2, t1-t2

	s3, s4 := c[7]+c[3], c[5]+c[1]
	z3 := mul(s3, fix1_175875602-fix1_961570560) + mul(s4, fix1_175875602)
	z4 := mul(s3, fix1_175875602) + mul(s4, fix1_175875602-fix0_390180644)
	o0 := mul(c[7], fix0_298631336-fix0_899976223) - mul(c[1], fix0_899976223) + z3
	o1 := mul(c[5], fix2_053119869-fix2_562915447) - mul(c[3], fix2_562915447) + z4
	o2 := mul(c[3], fix3_072711026-fix2_562915447) - mul(c[5], fix2_562915447) + z3
	o3 := mul(c[1], fix1_501321110-fix0_899976223) - mul(c[7], fix0_899976223) + z4

	out := func(v int32) int16 { return int16(min(max(v>>shift, -1<<15), 1<<15-1)) }
	c[0], c[7] = out(e0+o3), out(e0-o3)
	c[1], c[6] = out(e1+o2), out(e1-o2)
	c[2], c[5] = out(e2+o1), out(e2-o1)
	c[3], c[4] = out(e3+o0), out(e3-o0)
}

// idct4Go makes a block of half the size from its 4 × 4 lowest frequencies: a
// 4-point transform, which leaves out what the smaller block cannot hold.
func idct4Go(dst []byte, stride int, coef *[64]int16, q *[64]int16) {
	var t [16]int32
	for x := range 4 {
		c := [4]int32{}
		for y := range 4 {
			c[y] = int32(coef[8*y+x]) * int32(q[8*y+x])
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
func idct2(dst []byte, stride int, coef *[64]int16, q *[64]int16) {
	at := func(i int) int32 { return int32(coef[i]) * int32(q[i]) }
	a, b, c, d := at(0)+4, at(1), at(8), at(9)
	dst[0], dst[1] = sample((a+b+c+d)>>3), sample((a-b+c-d)>>3)
	dst[stride], dst[stride+1] = sample((a+b-c-d)>>3), sample((a-b-c+d)>>3)
}
