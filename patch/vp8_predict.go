package patch

// Modes of prediction, in the order of vp8Modes (RFC 6386, section 12). Whole
// blocks know the first four only.
const (
	predictDC   = iota // the mean of the edges
	predictTrue        // left + above - corner
	predictAbove
	predictLeft
	predictRightDown
	predictVerticalRight
	predictLeftDown
	predictVerticalLeft
	predictHorizontalDown
	predictHorizontalUp
)

// predict fills a block of n × n whose corner is at from its edges. The mean
// leaves out an edge that is the frame's (12.2).
func (p *vp8Plane) predict(at, n int, mode uint8, haveLeft, haveAbove bool) {
	above := p.pix[at-p.stride:][:n]
	switch mode {
	case predictDC:
		sum, count := 0, 0
		if haveAbove {
			for _, v := range above {
				sum += int(v)
			}
			count += n
		}
		if haveLeft {
			for y := range n {
				sum += int(p.pix[at+y*p.stride-1])
			}
			count += n
		}
		v := uint8(128)
		if count > 0 {
			v = uint8((sum + count/2) / count)
		}
		for y := range n {
			fill(p.pix[at+y*p.stride:][:n], v)
		}
	case predictAbove:
		for y := range n {
			copy(p.pix[at+y*p.stride:][:n], above)
		}
	case predictLeft:
		for y := range n {
			fill(p.pix[at+y*p.stride:][:n], p.pix[at+y*p.stride-1])
		}
	default:
		corner := int(p.pix[at-p.stride-1])
		for y := range n {
			row := p.pix[at+y*p.stride-1:][:n+1]
			d := int(row[0]) - corner
			for x, v := range above {
				row[x+1] = clip(int(v) + d)
			}
		}
	}
}

func fill(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}

// blockEdge is what a block of 4×4 is predicted from: its left neighbours from
// below, the corner, eight above, and the last once more.
type blockEdge [14]int

// two and three are means of neighbouring samples, from i on and around i.
func (e *blockEdge) two(i int) uint8   { return uint8((e[i] + e[i+1] + 1) >> 1) }
func (e *blockEdge) three(i int) uint8 { return uint8((e[i-1] + 2*e[i] + e[i+1] + 2) >> 2) }

// predict fills a block (12.3).
func (e *blockEdge) predict(dst []byte, stride int, mode uint8) {
	r0, r1, r2, r3 := dst[:4], dst[stride:][:4], dst[2*stride:][:4], dst[3*stride:][:4]
	set := func(r []byte, a, b, c, d uint8) { r[0], r[1], r[2], r[3] = a, b, c, d }
	last := uint8((e[1] + 3*e[0] + 2) >> 2) // around the lowest on the left
	switch mode {
	case predictDC:
		sum := 4
		for i := range 4 {
			sum += e[i] + e[5+i]
		}
		v := uint8(sum >> 3)
		set(r0, v, v, v, v)
		set(r1, v, v, v, v)
		set(r2, v, v, v, v)
		set(r3, v, v, v, v)
	case predictTrue:
		for y, r := range [][]byte{r0, r1, r2, r3} {
			d := e[3-y] - e[4]
			set(r, clip(e[5]+d), clip(e[6]+d), clip(e[7]+d), clip(e[8]+d))
		}
	case predictAbove:
		a, b, c, d := e.three(5), e.three(6), e.three(7), e.three(8)
		set(r0, a, b, c, d)
		set(r1, a, b, c, d)
		set(r2, a, b, c, d)
		set(r3, a, b, c, d)
	case predictLeft:
		a, b, c := e.three(3), e.three(2), e.three(1)
		set(r0, a, a, a, a)
		set(r1, b, b, b, b)
		set(r2, c, c, c, c)
		set(r3, last, last, last, last)
	case predictRightDown:
		set(r0, e.three(4), e.three(5), e.three(6), e.three(7))
		set(r1, e.three(3), r0[0], r0[1], r0[2])
		set(r2, e.three(2), r1[0], r1[1], r1[2])
		set(r3, e.three(1), r2[0], r2[1], r2[2])
	case predictVerticalRight:
		set(r0, e.two(4), e.two(5), e.two(6), e.two(7))
		set(r1, e.three(4), e.three(5), e.three(6), e.three(7))
		set(r2, e.three(3), r0[0], r0[1], r0[2])
		set(r3, e.three(2), r1[0], r1[1], r1[2])
	case predictLeftDown:
		set(r0, e.three(6), e.three(7), e.three(8), e.three(9))
		set(r1, r0[1], r0[2], r0[3], e.three(10))
		set(r2, r1[1], r1[2], r1[3], e.three(11))
		set(r3, r2[1], r2[2], r2[3], e.three(12))
	case predictVerticalLeft:
		set(r0, e.two(5), e.two(6), e.two(7), e.two(8))
		set(r1, e.three(6), e.three(7), e.three(8), e.three(9))
		set(r2, r0[1], r0[2], r0[3], e.three(10))
		set(r3, r1[1], r1[2], r1[3], e.three(11))
	case predictHorizontalDown:
		set(r0, e.two(3), e.three(4), e.three(5), e.three(6))
		set(r1, e.two(2), e.three(3), r0[0], r0[1])
		set(r2, e.two(1), e.three(2), r1[0], r1[1])
		set(r3, e.two(0), e.three(1), r2[0], r2[1])
	case predictHorizontalUp:
		s := uint8(e[0])
		set(r0, e.two(2), e.three(2), e.two(1), e.three(1))
		set(r1, r0[2], r0[3], e.two(0), last)
		set(r2, r1[2], r1[3], s, s)
		set(r3, s, s, s, s)
	}
}

// spreadDC makes the first coefficients of luma's blocks of those that are
// coded together, by the inverse Walsh-Hadamard transform (14.3).
func (f *vp8Frame) spreadDC() {
	in := &f.coef[24]
	var m [16]int32
	for i := range 4 {
		a, d := int32(in[i])+int32(in[12+i]), int32(in[i])-int32(in[12+i])
		b, c := int32(in[4+i])+int32(in[8+i]), int32(in[4+i])-int32(in[8+i])
		m[i], m[8+i], m[4+i], m[12+i] = a+b, a-b, d+c, d-c
	}
	for i := range 4 {
		r := m[4*i : 4*i+4]
		a, d := r[0]+r[3]+3, r[0]-r[3]+3
		b, c := r[1]+r[2], r[1]-r[2]
		f.coef[4*i][0], f.coef[4*i+1][0] = int16((a+b)>>3), int16((d+c)>>3)
		f.coef[4*i+2][0], f.coef[4*i+3][0] = int16((a-b)>>3), int16((d-c)>>3)
	}
}

// inverseDCT adds a block's coefficients, transformed, to its prediction
// (14.4). The factors are √2·cos(π/8) and √2·sin(π/8) in 16-bit fixed point.
func inverseDCT(dst []byte, stride int, coef *[16]int16) {
	const cos, sin = 85627, 35468
	var m [16]int32
	for i := range 4 {
		c0, c1, c2, c3 := int32(coef[i]), int32(coef[4+i]), int32(coef[8+i]), int32(coef[12+i])
		a, b := c0+c2, c0-c2
		c := c1*sin>>16 - c3*cos>>16
		d := c1*cos>>16 + c3*sin>>16
		m[4*i], m[4*i+1], m[4*i+2], m[4*i+3] = a+d, b+c, b-c, a-d
	}
	for y := range 4 {
		dc := m[y] + 4
		a, b := dc+m[8+y], dc-m[8+y]
		c := m[4+y]*sin>>16 - m[12+y]*cos>>16
		d := m[4+y]*cos>>16 + m[12+y]*sin>>16
		r := dst[y*stride:][:4]
		r[0] = clip(int(r[0]) + int((a+d)>>3))
		r[1] = clip(int(r[1]) + int((b+c)>>3))
		r[2] = clip(int(r[2]) + int((b-c)>>3))
		r[3] = clip(int(r[3]) + int((a-d)>>3))
	}
}
