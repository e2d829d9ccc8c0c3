package patch

// Kinds of blocks, as vp8Probs has them (13.3).
const (
	vp8LumaAC = iota // without the first coefficient
	vp8LumaDC
	vp8Chroma
	vp8Luma
)

// macroblock reads and reconstructs one of 16×16 pixels.
func (f *vp8Frame) macroblock(x, y int, table *[4][2]vp8Limits) vp8Limits {
	b, above := &f.modes, &f.above[x]
	segment := 0
	if f.segmentMap {
		one := b.bit(f.segmentTree[0])
		segment = 2*one + b.bit(f.segmentTree[1+one])
	}
	empty := f.mayskip && b.bit(f.skip) == 1
	whole := b.bit(145) == 1 // luma is predicted as one block
	var mode uint8
	var modes [16]uint8
	if whole {
		mode = readMode(b, 156, 163, 128)
		for i := range 4 {
			above.modes[i], f.left.modes[i] = mode, mode
		}
	} else {
		f.readModes(&modes, above)
	}
	chroma := readChromaMode(b)
	clear(f.coef[:])
	filled := uint32(0)
	if !empty {
		filled = f.readCoefficients(&f.tokens[y&(len(f.tokens)-1)], &f.quant[segment], above, whole)
	} else {
		dc, aboveDC := f.left.filled[8], above.filled[8]
		f.left.filled, above.filled = [9]uint8{}, [9]uint8{}
		if !whole { // which has no say in this
			f.left.filled[8], above.filled[8] = dc, aboveDC
		}
	}
	p := &f.y
	at := p.at(16*x, 16*y)
	if whole {
		p.predict(at, 16, mode, x > 0, y > 0)
		for i := range 16 {
			if filled>>i&1 != 0 {
				inverseDCT(p.pix[at+i/4*4*p.stride+i%4*4:], p.stride, &f.coef[i])
			}
		}
	} else {
		f.predictBlocks(x, y, at, &modes, filled)
	}
	for c, p := range []*vp8Plane{&f.u, &f.v} {
		at := p.at(8*x, 8*y)
		p.predict(at, 8, chroma, x > 0, y > 0)
		for i := range 4 {
			if n := 16 + 4*c + i; filled>>n&1 != 0 {
				inverseDCT(p.pix[at+i/2*4*p.stride+i%2*4:], p.stride, &f.coef[n])
			}
		}
	}
	l := table[segment][0]
	if !whole {
		l = table[segment][1]
	}
	l.inner = l.inner || filled != 0
	return l
}

// predictBlocks predicts and completes the blocks of luma one by one. The four
// samples above on the right of the last column are the macroblock's for all
// of its rows (12.3).
func (f *vp8Frame) predictBlocks(x, y, at int, modes *[16]uint8, filled uint32) {
	p := &f.y
	var right [4]byte
	switch {
	case y == 0:
		right = [4]byte{127, 127, 127, 127}
	case x == f.across-1:
		last := p.pix[at-p.stride+15]
		right = [4]byte{last, last, last, last}
	default:
		copy(right[:], p.pix[at-p.stride+16:])
	}
	for i, mode := range modes {
		at := at + i/4*4*p.stride + i%4*4
		var e blockEdge
		for k := range 4 {
			e[k] = int(p.pix[at+(3-k)*p.stride-1])
		}
		row := p.pix[at-p.stride-1:][:9]
		for k, v := range row[:5] {
			e[4+k] = int(v)
		}
		beyond := right[:]
		if i%4 < 3 {
			beyond = row[5:9]
		}
		for k, v := range beyond {
			e[9+k] = int(v)
		}
		e[13] = e[12]
		e.predict(p.pix[at:], p.stride, mode)
		if filled>>i&1 != 0 {
			inverseDCT(p.pix[at:], p.stride, &f.coef[i])
		}
	}
}

// readMode reads a mode of a whole block (11.2).
func readMode(b *boolReader, first, second, third uint8) uint8 {
	if b.bit(first) == 0 {
		if b.bit(second) == 0 {
			return predictDC
		}
		return predictAbove
	}
	if b.bit(third) == 0 {
		return predictLeft
	}
	return predictTrue
}

// readChromaMode reads that of both chroma blocks (11.4).
func readChromaMode(b *boolReader) uint8 {
	switch {
	case b.bit(142) == 0:
		return predictDC
	case b.bit(114) == 0:
		return predictAbove
	case b.bit(183) == 0:
		return predictLeft
	}
	return predictTrue
}

// readModes reads those of the sixteen blocks of luma (11.3).
func (f *vp8Frame) readModes(modes *[16]uint8, above *vp8Edge) {
	b := &f.modes
	for j := range 4 {
		mode := f.left.modes[j]
		for i := range 4 {
			mode = readBlockMode(b, &vp8Modes[above.modes[i]][mode])
			modes[4*j+i], above.modes[i] = mode, mode
		}
		f.left.modes[j] = mode
	}
}

func readBlockMode(b *boolReader, p *[9]uint8) uint8 {
	switch {
	case b.bit(p[0]) == 0:
		return predictDC
	case b.bit(p[1]) == 0:
		return predictTrue
	case b.bit(p[2]) == 0:
		return predictAbove
	case b.bit(p[3]) == 0:
		switch {
		case b.bit(p[4]) == 0:
			return predictLeft
		case b.bit(p[5]) == 0:
			return predictRightDown
		}
		return predictVerticalRight
	case b.bit(p[6]) == 0:
		return predictLeftDown
	case b.bit(p[7]) == 0:
		return predictVerticalLeft
	case b.bit(p[8]) == 0:
		return predictHorizontalDown
	}
	return predictHorizontalUp
}

// readCoefficients reads those of a macroblock, multiplied by their steps, and
// returns which blocks have any, a bit each.
func (f *vp8Frame) readCoefficients(b *boolReader, q *vp8Quant, above *vp8Edge, whole bool) (filled uint32) {
	left := &f.left
	kind, from := vp8Luma, 0
	if whole {
		n := f.readBlock(b, vp8LumaDC, int(left.filled[8]+above.filled[8]), &q.y2, 0, &f.coef[24])
		left.filled[8], above.filled[8] = n, n
		f.spreadDC()
		kind, from = vp8LumaAC, 1
	}
	one := func(i, l, a, kind, from int, step *[2]int32) {
		n := f.readBlock(b, kind, int(left.filled[l]+above.filled[a]), step, from, &f.coef[i])
		left.filled[l], above.filled[a] = n, n
		if n != 0 || f.coef[i][0] != 0 {
			filled |= 1 << i
		}
	}
	for i := range 16 {
		one(i, i/4, i%4, kind, from, &q.y)
	}
	for i := range 8 {
		c := 4 + i/4*2
		one(16+i, c+i%4/2, c+i%2, vp8Chroma, 0, &q.uv)
	}
	return filled
}

// vp8Band is the band of each coefficient (13.3), and of none after the last.
var vp8Band = [17]uint8{0, 1, 2, 3, 6, 4, 5, 6, 6, 6, 6, 6, 6, 6, 6, 7, 0}

// vp8Zigzag is the order of coefficients (13).
var vp8Zigzag = [16]uint8{0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15}

// vp8Large are the probabilities of the bits of the four largest categories of
// values, which begin at 11, 19, 35 and 67 (13.2).
var vp8Large = [4][]uint8{
	{173, 148, 140},
	{176, 155, 140, 135},
	{180, 157, 141, 134, 130},
	{254, 254, 243, 230, 196, 177, 153, 140, 133, 130, 129},
}

// readBlock reads the coefficients of a block from number n on and returns 1 if
// it has tokens, else 0 (13).
func (f *vp8Frame) readBlock(b *boolReader, kind, context int, step *[2]int32, n int, coef *[16]int16) uint8 {
	bands := &f.probs[kind]
	p := &bands[vp8Band[n]][context]
	if b.bit(p[0]) == 0 { // no more coefficients
		return 0
	}
	for n < 16 {
		n++
		if b.bit(p[1]) == 0 { // this one is zero, and another follows
			p = &bands[vp8Band[n]][0]
			continue
		}
		v := int32(1)
		if b.bit(p[2]) == 0 {
			p = &bands[vp8Band[n]][1]
		} else {
			v = readValue(b, p)
			p = &bands[vp8Band[n]][2]
		}
		at := vp8Zigzag[n-1]
		v *= step[min(at, 1)]
		if b.bit(even) == 1 {
			v = -v
		}
		coef[at] = int16(v)
		if n == 16 || b.bit(p[0]) == 0 {
			break
		}
	}
	return 1
}

// readValue reads one from 2 on.
func readValue(b *boolReader, p *[11]uint8) int32 {
	if b.bit(p[3]) == 0 {
		if b.bit(p[4]) == 0 {
			return 2
		}
		return int32(3 + b.bit(p[5]))
	}
	if b.bit(p[6]) == 0 {
		if b.bit(p[7]) == 0 {
			return int32(5 + b.bit(159))
		}
		high := b.bit(165)
		return int32(7 + 2*high + b.bit(145))
	}
	high := b.bit(p[8])
	category := 2*high + b.bit(p[9+high])
	v := 0
	for _, q := range vp8Large[category] {
		v = v<<1 | b.bit(q)
	}
	return int32(v + 3 + 8<<category)
}
