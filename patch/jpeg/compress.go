package jpeg

import (
	"fmt"
	"sync"
)

// Compressed writes to dst what is left of src, a picture (h, w, 3) of bytes, in
// a JPEG file: what libjpeg-turbo decodes of the file that it writes of src at
// quality (1 to 100) with its defaults, which are Pillow's: chroma of half the
// size, the tables of T.81's annex K, the accurate transform. No file is made;
// entropy coding loses nothing.
func Compressed(dst, src []byte, w, h, quality int) {
	if n := 3 * w * h; w < 1 || h < 1 || len(src) != n || len(dst) != n {
		panic(fmt.Sprintf("jpeg: compressed: %d×%d pixels: want %d bytes, found %d of src and %d of dst", w, h, n, len(src), len(dst)))
	}
	if quality < 1 || quality > 100 {
		panic(fmt.Sprintf("jpeg: compressed: quality %d, want 1 to 100", quality))
	}
	c := compressors.Get().(*compressor)
	defer compressors.Put(c)
	c.run(dst, src, w, h, quality)
}

var compressors = sync.Pool{New: func() any { return new(compressor) }}

// compressor is the memory of one picture, kept for the next.
type compressor struct {
	comps [3]component
	up    upsampler
	row   []byte // RGBA
}

func (c *compressor) run(dst, src []byte, w, h, quality int) {
	for i := range c.comps {
		p := &c.comps[i]
		p.hs, p.vs, p.v = 1, 1, 1
		if i > 0 {
			p.hs, p.vs = 2, 2
		}
		p.width, p.height = ceilDiv(w, p.hs), ceilDiv(h, p.vs)
		p.wide, p.high = ceilDiv(p.width, 8), ceilDiv(p.height, 8)
		p.stride = 8 * p.wide
		p.plane = grow(p.plane, p.stride*8*p.high+planeSlack)
	}
	c.split(src, w, h)
	var tables [2]quantization
	for i, base := range [2]*[64]uint8{&luminance, &chrominance} {
		tables[i].set(base, quality)
	}
	for i := range c.comps {
		p := &c.comps[i]
		p.expand()
		p.requantise(&tables[min(i, 1)])
	}
	const whole = 1 << 24 // rows of MCUs that the planes keep: all
	var lines [3][]byte
	c.row = grow(c.row, 4*w+rowSlack)
	for y := range h {
		for i := range lines {
			lines[i] = c.up.line(&c.up.lines[i], &c.comps[i], 8, whole, y, 0, w)
		}
		YCC(c.row, lines[0], lines[1], lines[2], w)
		to := dst[3*y*w:][:3*w]
		for from := c.row[:4*w]; len(to) >= 3; from, to = from[4:], to[3:] {
			to[0], to[1], to[2] = from[0], from[1], from[2]
		}
	}
}

// split makes the planes of the picture's colours, by the fixed point of
// libjpeg's jccolor.c, and averages chroma over 2 × 2 pixels, with the
// alternating rounding of its jcsample.c. Beyond the right and lower edge
// pixels are repeated.
func (c *compressor) split(src []byte, w, h int) {
	luma, cb, cr := &c.comps[0], &c.comps[1], &c.comps[2]
	for cy := range cb.height {
		y0 := 2 * cy
		y1 := min(y0+1, h-1)
		above, below := src[3*y0*w:][:3*w], src[3*y1*w:][:3*w]
		first, second := luma.plane[y0*luma.stride:][:luma.stride], luma.plane[y1*luma.stride:][:luma.stride]
		us, vs := cb.plane[cy*cb.stride:][:cb.stride], cr.plane[cy*cr.stride:][:cb.stride]
		for cx := range us {
			x0, x1 := min(2*cx, w-1), min(2*cx+1, w-1)
			y, u, v := toYCC(above[3*x0:])
			first[x0] = y
			bias := int32(1 + cx&1)
			us0, vs0 := u+bias, v+bias
			y, u, v = toYCC(above[3*x1:])
			first[x1] = y
			us0, vs0 = us0+u, vs0+v
			y, u, v = toYCC(below[3*x0:])
			second[x0] = y
			us0, vs0 = us0+u, vs0+v
			y, u, v = toYCC(below[3*x1:])
			second[x1] = y
			us[cx], vs[cx] = uint8((us0+u)>>2), uint8((vs0+v)>>2)
		}
		for x := w; x < luma.stride; x++ {
			first[x], second[x] = first[w-1], second[w-1]
		}
	}
}

// toYCC is JFIF's conversion of a pixel.
func toYCC(px []byte) (y uint8, u, v int32) {
	const one, half = 1 << 16, 1 << 15
	_ = px[2]
	r, g, b := int32(px[0]), int32(px[1]), int32(px[2])
	y = uint8((19595*r + 38470*g + 7471*b + half) >> 16)
	u = (-11059*r - 21709*g + half*b + 128*one + half - 1) >> 16
	v = (half*r - 27439*g - 5329*b + 128*one + half - 1) >> 16
	return y, u, v
}

// expand repeats the last row to the end of its blocks.
func (c *component) expand() {
	last := c.plane[(c.height-1)*c.stride:][:c.stride]
	for y := c.height; y < 8*c.high; y++ {
		copy(c.plane[y*c.stride:][:c.stride], last)
	}
}

// requantise transforms each block, rounds its coefficients to multiples of
// the table's, and transforms them back.
func (c *component) requantise(q *quantization) {
	var coef [64]int16
	for by := range c.high {
		for bx := range c.wide {
			block := c.plane[8*by*c.stride+8*bx:]
			forward(&coef, block, c.stride)
			last := q.round(&coef)
			inverse(block, c.stride, 8, &coef, &q.quantizer, last)
		}
	}
}

// quantization is a table with what divides by it.
type quantization struct {
	quantizer
	half       [64]int32
	reciprocal [64]uint64
}

// set scales a table of annex K as libjpeg's jcparam.c does.
func (q *quantization) set(base *[64]uint8, quality int) {
	scale := 200 - 2*quality
	if quality < 50 {
		scale = 5000 / quality
	}
	for i, v := range base {
		n := min(max((int(v)*scale+50)/100, 1), 255)
		q.v[i] = int16(n)
		q.half[i] = int32(4 * n) // the transform's results are eight times too large
		q.reciprocal[i] = (1<<32 + uint64(8*n) - 1) / uint64(8*n)
	}
}

// round divides the coefficients, half away from zero, and returns the place
// of the last that is not zero; row by row.
func (q *quantization) round(coef *[64]int16) (last int) {
	for i := range coef {
		n, half := int32(coef[i]), q.half[i]
		if uint32(n+half-1) < uint32(2*half-1) { // most are nearer to zero
			coef[i] = 0
			continue
		}
		sign := n >> 31
		n = (n ^ sign) - sign + half
		n = int32(uint64(n) * q.reciprocal[i] >> 32)
		coef[i] = int16((n ^ sign) - sign)
		last = i
	}
	return last
}

// forward is the transform of idct8Go the other way, in the fixed point of
// libjpeg's jfdctint.c: rows first, kept to two more bits, then columns. The
// coefficients are eight times too large.
func forward(coef *[64]int16, src []byte, stride int) {
	var t [64]int32
	for y := range 8 {
		in, out := (*[8]byte)(src[y*stride:]), (*[8]int32)(t[8*y:])
		a, b, c, d, e, f, g, h := analyse(
			int32(in[0])-128, int32(in[1])-128, int32(in[2])-128, int32(in[3])-128,
			int32(in[4])-128, int32(in[5])-128, int32(in[6])-128, int32(in[7])-128)
		const round = 1 << 10
		out[0], out[4] = a<<2, e<<2
		out[1], out[2], out[3] = (b+round)>>11, (c+round)>>11, (d+round)>>11
		out[5], out[6], out[7] = (f+round)>>11, (g+round)>>11, (h+round)>>11
	}
	for x := range 8 {
		in, out := t[x:x+57], coef[x:x+57]
		a, b, c, d, e, f, g, h := analyse(in[0], in[8], in[16], in[24], in[32], in[40], in[48], in[56])
		const round = 1 << 14
		out[0], out[32] = int16((a+2)>>2), int16((e+2)>>2)
		out[8], out[16], out[24] = int16((b+round)>>15), int16((c+round)>>15), int16((d+round)>>15)
		out[40], out[48], out[56] = int16((f+round)>>15), int16((g+round)>>15), int16((h+round)>>15)
	}
}

// analyse transforms eight values. Results 0 and 4 are as they are, the others
// times 2¹³.
func analyse(v0, v1, v2, v3, v4, v5, v6, v7 int32) (r0, r1, r2, r3, r4, r5, r6, r7 int32) {
	t0, t1, t2, t3 := v0+v7, v1+v6, v2+v5, v3+v4
	t7, t6, t5, t4 := v0-v7, v1-v6, v2-v5, v3-v4
	e0, e3, e1, e2 := t0+t3, t0-t3, t1+t2, t1-t2
	z := (e2 + e3) * fix0_541196100
	r0, r4 = e0+e1, e0-e1
	r2, r6 = z+e3*fix0_765366865, z-e2*fix1_847759065

	z5 := (t4 + t6 + t5 + t7) * fix1_175875602
	z1, z2 := -(t4+t7)*fix0_899976223, -(t5+t6)*fix2_562915447
	z3, z4 := z5-(t4+t6)*fix1_961570560, z5-(t5+t7)*fix0_390180644
	r7 = t4*fix0_298631336 + z1 + z3
	r5 = t5*fix2_053119869 + z2 + z4
	r3 = t6*fix3_072711026 + z2 + z3
	r1 = t7*fix1_501321110 + z1 + z4
	return r0, r1, r2, r3, r4, r5, r6, r7
}

// Tables K.1 and K.2, row by row.
var luminance = [64]uint8{
	16, 11, 10, 16, 24, 40, 51, 61,
	12, 12, 14, 19, 26, 58, 60, 55,
	14, 13, 16, 24, 40, 57, 69, 56,
	14, 17, 22, 29, 51, 87, 80, 62,
	18, 22, 37, 56, 68, 109, 103, 77,
	24, 35, 55, 64, 81, 104, 113, 92,
	49, 64, 78, 87, 103, 121, 120, 101,
	72, 92, 95, 98, 112, 100, 103, 99,
}

var chrominance = [64]uint8{
	17, 18, 24, 47, 99, 99, 99, 99,
	18, 21, 26, 66, 99, 99, 99, 99,
	24, 26, 56, 99, 99, 99, 99, 99,
	47, 66, 99, 99, 99, 99, 99, 99,
	99, 99, 99, 99, 99, 99, 99, 99,
	99, 99, 99, 99, 99, 99, 99, 99,
	99, 99, 99, 99, 99, 99, 99, 99,
	99, 99, 99, 99, 99, 99, 99, 99,
}
