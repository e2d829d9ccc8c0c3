package patch

import "encoding/binary"

// zigzag is the row-major place of each coefficient in the file's order.
// Beyond 64 it points at a place that nobody reads, so that the end of a block
// and a run over it need no test.
var zigzag = func() (t [256]uint8) {
	x, y := 0, 0
	for i := range t {
		t[i] = 64
		if i >= 64 {
			continue
		}
		t[i] = uint8(8*y + x)
		switch {
		case (x+y)%2 == 0 && x == 7:
			y++
		case (x+y)%2 == 0 && y == 0:
			x++
		case (x+y)%2 == 0:
			x, y = x+1, y-1
		case y == 7:
			x++
		case x == 0:
			y++
		default:
			x, y = x-1, y+1
		}
	}
	return t
}()

const (
	// lookBits is the length of a code that one lookup decodes.
	lookBits = 10
	// bitSlack is more than a whole MCU can read beyond its segment: ten
	// blocks of 64 symbols of at most 31 bits, and one refill.
	bitSlack = 10*64*4 + 16
	// endOfBlock moves past every coefficient, further than a run can.
	endOfBlock = 80
)

// huffman decodes one table's symbols.
//
// An entry of look says what the next bits mean:
//
//	bits 0–7   length of the code
//	bits 8–15  how many bits of value follow
//	bits 16–23 both together
//	bits 24–30 how many coefficients to move on by, the value's own included
//
// 0 is a code of more than lookBits bits.
type huffman struct {
	look    [1 << lookBits]uint32
	limit   [17]int32 // the first code of a length that is too great, left-aligned to 16 bits
	offset  [17]int32 // of a length's symbols in symbols, less its first code
	symbols [256]uint8
	isAC    bool
}

// set builds a table from the number of codes of each length and their
// symbols (C.2).
func (h *huffman) set(counts, symbols []byte, isAC bool) bool {
	h.isAC = isAC
	copy(h.symbols[:], symbols)
	clear(h.look[:])
	code, k := int32(0), 0
	for n := 1; n <= 16; n++ {
		h.offset[n] = int32(k) - code
		for range counts[n-1] {
			if code >= 1<<n {
				return false
			}
			s := symbols[k]
			// F.1.2, for eight-bit samples; of the runs without a value only
			// the end of the block and sixteen zeros are sequential.
			if isAC && (s&15 > 10 || s&15 == 0 && s != 0 && s != 0xf0) || !isAC && s > 11 {
				return false
			}
			if n <= lookBits {
				spare := lookBits - n
				for low := range uint32(1) << spare {
					h.look[uint32(code)<<spare|low] = h.entry(s, n)
				}
			}
			code++
			k++
		}
		h.limit[n] = code << (16 - n)
		code <<= 1
	}
	return true
}

// advance is how far a symbol moves on in the block.
func (h *huffman) advance(s uint8) uint32 {
	switch {
	case !h.isAC:
		return 1
	case s == 0xf0: // sixteen zeros
		return 16
	case s == 0:
		return endOfBlock
	}
	return uint32(s>>4) + 1
}

// entry describes symbol s with a code of n bits.
func (h *huffman) entry(s uint8, n int) uint32 {
	size := uint32(s & 15)
	return uint32(n) | size<<8 | (uint32(n)+size)<<16 | h.advance(s)<<24
}

// bitReader reads a segment from its first bit. acc holds the next n bits at
// its upper end; at is the next byte to take.
type bitReader struct {
	data []byte
	at   int
	acc  uint64
	n    uint
}

// consumed is the number of bits read so far.
func (r *bitReader) consumed() int { return 8*r.at - int(r.n) }

// value returns the signed value of size bits at the upper end of acc
// (F.2.2.1, figure F.12): if its first bit is 0 it is negative.
func value(acc uint64, size uint32) int16 {
	v := int32(acc >> 1 >> (63 - size&63))
	negative := int32(^int64(acc) >> 63)
	return int16(v + (-1<<(size&31)+1)&negative)
}

// block reads the coefficients of one block into coef, which is zero, in
// row-major order and not yet multiplied. It reports the last place in the
// file's order that may hold a value, and whether the codes were good.
// Coefficient 0 is the difference to the block before.
func (r *bitReader) block(coef *coefficients, dc, ac *huffman) (last int, ok bool) {
	data, at, acc, n := r.data, r.at, r.acc, r.n

	acc |= binary.BigEndian.Uint64(data[at:]) >> (n & 63)
	at += int(63-n) >> 3
	n |= 56
	e := dc.look[acc>>(64-lookBits)]
	if e == 0 {
		if e = dc.long(acc); e == 0 {
			return 0, false
		}
	}
	coef[0] = value(acc<<(e&63), e>>8&15)
	acc <<= e >> 16 & 63
	n -= uint(e >> 16 & 63)

	// A refill is good for two symbols of at most 26 bits.
	k := uint32(1)
	for {
		acc |= binary.BigEndian.Uint64(data[at:]) >> (n & 63)
		at += int(63-n) >> 3
		n |= 56
		if e = ac.look[acc>>(64-lookBits)]; e == 0 {
			if e = ac.long(acc); e == 0 {
				return 0, false
			}
		}
		k += e >> 24
		coef[zigzag[(k-1)&255]&127] = value(acc<<(e&63), e>>8&15)
		acc <<= e >> 16 & 63
		n -= uint(e >> 16 & 63)
		if k >= 64 {
			break
		}
		if e = ac.look[acc>>(64-lookBits)]; e == 0 {
			if e = ac.long(acc); e == 0 {
				return 0, false
			}
		}
		k += e >> 24
		coef[zigzag[(k-1)&255]&127] = value(acc<<(e&63), e>>8&15)
		acc <<= e >> 16 & 63
		n -= uint(e >> 16 & 63)
		if k >= 64 {
			break
		}
	}
	r.at, r.acc, r.n = at, acc, n
	if k > endOfBlock {
		return int(k) - endOfBlock - 1, true
	}
	// A run beyond the block: libjpeg and image/jpeg go on differently.
	return 63, k == 64
}

// long decodes a code of more than lookBits bits at the upper end of acc; 0 is
// no code.
func (h *huffman) long(acc uint64) uint32 {
	code := int32(acc >> 48)
	for n := lookBits + 1; n <= 16; n++ {
		if code < h.limit[n] {
			return h.entry(h.symbols[(h.offset[n]+code>>(16-n))&255], n)
		}
	}
	return 0
}

// coefficients are one block's, row-major, and room for what lies beyond it.
type coefficients [128]int16
