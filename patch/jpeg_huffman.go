package patch

import "encoding/binary"

// zigzag is the row-major place of each coefficient in the file's order.
// Beyond 64 it points at a place that nobody reads, so that the end of a block
// and a run over it need no test.
var zigzag = func() (t [128]uint8) {
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
	// fits is the bit of an entry that holds its value.
	fits = 1 << 5
	// endOfBlock moves past every coefficient.
	endOfBlock = 64
)

// huffman decodes one table's symbols.
//
// An entry of look says what the next bits mean:
//
//	bits 0–4   length of the code, with the value's bits if those fit too
//	bit  5     the value's bits fit
//	bits 8–14  how many coefficients to move on by, the value's own included
//	bits 16–31 the value if it fits, otherwise its number of bits
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
					h.look[uint32(code)<<spare|low] = h.entry(s, n, low, spare)
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

// entry describes symbol s with a code of n bits, followed by spare bits low
// of a lookup.
func (h *huffman) entry(s uint8, n int, low uint32, spare int) uint32 {
	size := int(s & 15)
	e := h.advance(s) << 8
	if size > spare {
		return e | uint32(n) | uint32(size)<<16
	}
	v := extend(int32(low>>(spare-size)), size)
	return e | uint32(n+size) | fits | uint32(uint16(int16(v)))<<16
}

// extend makes a signed value of size bits (F.2.2.1, figure F.12).
func extend(v int32, size int) int32 {
	if size > 0 && v < 1<<(size-1) {
		return v - 1<<size + 1
	}
	return v
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

// block reads the coefficients of one block into coef, which is zero, in
// row-major order and not yet multiplied. It reports the last place in the
// file's order that may hold a value, and whether the codes were good.
// Coefficient 0 is the difference to the block before.
func (r *bitReader) block(coef *coefficients, dc, ac *huffman) (last int, ok bool) {
	data, at, acc, n := r.data, r.at, r.acc, r.n
	table := dc
	for k := 0; k < 64; {
		if n < 32 {
			acc |= binary.BigEndian.Uint64(data[at:]) >> (n & 63)
			at += int(63-n) >> 3
			n |= 56
		}
		e := table.look[acc>>(64-lookBits)]
		table = ac
		if e&fits != 0 {
			acc <<= e & 31
			n -= uint(e & 31)
			k += int(e >> 8 & 127)
			coef[zigzag[(k-1)&127]&127] = int16(e >> 16)
			if k <= 64 {
				last = k - 1
			}
			continue
		}
		if e == 0 {
			t := ac
			if k == 0 {
				t = dc
			}
			if e = t.long(acc); e == 0 {
				return 0, false
			}
		}
		size := uint(e>>16) & 15
		acc <<= e & 31
		v := extend(int32(acc>>1>>(63-size)), int(size))
		acc <<= size
		n -= uint(e&31) + size
		k += int(e >> 8 & 127)
		coef[zigzag[(k-1)&127]&127] = int16(v)
		if k <= 64 {
			last = k - 1
		}
	}
	r.at, r.acc, r.n = at, acc, n
	return last, true
}

// long decodes a code of more than lookBits bits at the upper end of acc, as
// an entry of look whose value does not fit; 0 is no code.
func (h *huffman) long(acc uint64) uint32 {
	code := int32(acc >> 48)
	for n := lookBits + 1; n <= 16; n++ {
		if code < h.limit[n] {
			s := h.symbols[(h.offset[n]+code>>(16-n))&255]
			return h.advance(s)<<8 | uint32(n) | uint32(s&15)<<16
		}
	}
	return 0
}

// coefficients are one block's, row-major, and room for what lies beyond it.
type coefficients [128]int16
