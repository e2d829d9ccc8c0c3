package jpeg

import (
	"encoding/binary"
	"fmt"
)

// zigzag is the row-major place of each coefficient in the file's order. A run
// that leads beyond the block means its last coefficient, as in libjpeg; what
// lies beyond every run is a place that nobody reads, so that the end of a
// block needs no test.
var zigzag = func() (t [256]uint8) {
	x, y := 0, 0
	for i := range t {
		if t[i] = 64; i < endOfBlock {
			t[i] = 63
		}
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
	// badCode is how many bits libjpeg takes for a code that does not exist;
	// it goes on with symbol 0.
	badCode = 17
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
	counts  [16]byte  // of codes of each length
	symbols [256]uint8
	isAC    bool
	wide    bool // of differences of sixteen bits
	state   tableState
	longest int // bits of a symbol and its value
}

type tableState uint8

const (
	absent tableState = iota
	given             // counts and symbols are there
	ready             // and the tables for them
)

// readHuffman reads Huffman tables (B.2.4.2). As in libjpeg, what is wrong
// with their codes matters once a scan uses them.
func (r *Reader) readHuffman(b []byte) error {
	for len(b) > 16 {
		id, isAC := b[0]&^0x10, b[0]&0x10 != 0
		n := 0
		for _, c := range b[1:17] {
			n += int(c)
		}
		if id > 3 || n > 256 || n > len(b)-17 {
			return fmt.Errorf("a Huffman table %d of %d codes in %d bytes", id, n, len(b)-17)
		}
		h := &r.dc[id]
		if isAC {
			h = &r.ac[id]
		}
		h.give(b[1:17], b[17:17+n], isAC)
		b = b[17+n:]
	}
	if len(b) > 0 {
		return fmt.Errorf("%d bytes after the Huffman tables", len(b))
	}
	return nil
}

func (h *huffman) give(counts, symbols []byte, isAC bool) {
	h.isAC, h.wide, h.state = isAC, false, given
	copy(h.counts[:], counts)
	clear(h.symbols[copy(h.symbols[:], symbols):])
}

// prepare builds the tables from the number of codes of each length and their
// symbols (C.2).
func (h *huffman) prepare() error {
	switch h.state {
	case absent:
		return fmt.Errorf("a scan uses a Huffman table that is not there")
	case ready:
		return nil
	}
	clear(h.look[:])
	code, k := int32(0), 0
	h.longest = badCode
	for n := 1; n <= 16; n++ {
		h.offset[n] = int32(k) - code
		for range h.counts[n-1] {
			s := h.symbols[k]
			if !h.isAC && s > 15 && (!h.wide || s > 16) {
				return fmt.Errorf("a DC difference of %d bits", s)
			}
			h.longest = max(h.longest, n+int(s&15))
			if n <= lookBits {
				spare := lookBits - n
				for low := range uint32(1) << spare {
					if at := uint32(code)<<spare | low; at < 1<<lookBits {
						h.look[at] = h.entry(s, n)
					}
				}
			}
			code++
			k++
		}
		// No code consists of ones only.
		if h.counts[n-1] > 0 && code >= 1<<n {
			return fmt.Errorf("too many Huffman codes of %d bits", n)
		}
		h.limit[n] = code << (16 - n)
		code <<= 1
	}
	h.state = ready
	return nil
}

// advance is how far a symbol moves on in the block.
func (h *huffman) advance(s uint8) uint32 {
	switch {
	case !h.isAC && s == 16:
		return oddDifference
	case !h.isAC:
		return 1
	case s == 0xf0: // sixteen zeros
		return 16
	case s&15 == 0:
		return endOfBlock + uint32(s>>4)
	}
	return uint32(s>>4) + 1
}

// oddDifference is the advance of a lossless difference that has no bits: 32768.
const oddDifference = 2

// runLength is how many bits of a run of blocks follow a symbol of no value
// (G.1.2.2).
func runLength(entry uint32) uint32 { return entry>>24 - endOfBlock }

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

// refill makes at least 56 bits ready.
func (r *bitReader) refill() {
	r.acc |= binary.BigEndian.Uint64(r.data[r.at:]) >> (r.n & 63)
	r.at += int(63-r.n) >> 3
	r.n |= 56
}

// take removes size bits.
func (r *bitReader) take(size uint32) {
	r.acc <<= size & 63
	r.n -= uint(size)
}

// symbol decodes a code and returns its entry.
func (r *bitReader) symbol(h *huffman) uint32 {
	if e := h.look[r.acc>>(64-lookBits)]; e != 0 {
		return e
	}
	return h.long(r.acc)
}

// value returns the signed value of size bits at the upper end of acc
// (F.2.2.1, figure F.12): if its first bit is 0 it is negative.
func value(acc uint64, size uint32) int16 {
	v := int32(acc >> 1 >> (63 - size&63))
	negative := int32(^int64(acc) >> 63)
	return int16(v + (-1<<(size&31)+1)&negative)
}

// block reads the coefficients of one block into coef, which is zero, in
// row-major order and not yet multiplied, and returns the last place in the
// file's order that may hold a value. Coefficient 0 is the difference to the
// block before.
func (r *bitReader) block(coef *coefficients, dc, ac *huffman) (last int) {
	if ac.longest > 28 {
		return r.blockOfLongCodes(coef, dc, ac)
	}
	data, at, acc, n := r.data, r.at, r.acc, r.n

	acc |= binary.BigEndian.Uint64(data[at:]) >> (n & 63)
	at += int(63-n) >> 3
	n |= 56
	e := dc.look[acc>>(64-lookBits)]
	if e == 0 {
		e = dc.long(acc)
	}
	coef[0] = value(acc<<(e&63), e>>8&15)
	acc <<= e >> 16 & 63
	n -= uint(e >> 16 & 63)

	// A refill is good for two symbols of at most 28 bits.
	k := uint32(1)
	for {
		acc |= binary.BigEndian.Uint64(data[at:]) >> (n & 63)
		at += int(63-n) >> 3
		n |= 56
		if e = ac.look[acc>>(64-lookBits)]; e == 0 {
			e = ac.long(acc)
		}
		k += e >> 24
		coef[zigzag[(k-1)&255]&127] = value(acc<<(e&63), e>>8&15)
		acc <<= e >> 16 & 63
		n -= uint(e >> 16 & 63)
		if k >= 64 {
			break
		}
		if e = ac.look[acc>>(64-lookBits)]; e == 0 {
			e = ac.long(acc)
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
	return lastPlace(k)
}

// blockOfLongCodes is block for symbols that take up to 31 bits with their
// values, of which a refill is good for one.
func (r *bitReader) blockOfLongCodes(coef *coefficients, dc, ac *huffman) (last int) {
	r.refill()
	e := r.symbol(dc)
	coef[0] = value(r.acc<<(e&63), e>>8&15)
	r.take(e >> 16 & 63)
	k := uint32(1)
	for k < 64 {
		r.refill()
		e = r.symbol(ac)
		k += e >> 24
		coef[zigzag[(k-1)&255]&127] = value(r.acc<<(e&63), e>>8&15)
		r.take(e >> 16 & 63)
	}
	return lastPlace(k)
}

// lastPlace is where a value may stand at most, k being one beyond the last
// symbol's.
func lastPlace(k uint32) int {
	if k > endOfBlock {
		return min(int(k)-endOfBlock-1, 63)
	}
	return 63
}

// long decodes a code of more than lookBits bits at the upper end of acc.
func (h *huffman) long(acc uint64) uint32 {
	code := int32(acc >> 48)
	for n := lookBits + 1; n <= 16; n++ {
		if code < h.limit[n] {
			return h.entry(h.symbols[(h.offset[n]+code>>(16-n))&255], n)
		}
	}
	return h.entry(0, badCode)
}

// coefficients are one block's, row-major, and room for what lies beyond it.
type coefficients [128]int16

// standardTables gives the tables of K.3 where a file has none, as the frames
// of Motion JPEG do not.
func (r *Reader) standardTables() {
	for i, t := range standard {
		for j, h := range []*huffman{&r.dc[i], &r.ac[i]} {
			if h.state == absent {
				h.give([]byte(t[j].counts), []byte(t[j].symbols), j == 1)
			}
		}
	}
}
