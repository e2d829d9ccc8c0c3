package patch

import (
	"encoding/binary"
	"math/bits"
)

// boolReader undoes the arithmetic code of a partition (RFC 6386, section 7).
// Behind the data it reads zeros and says so.
type boolReader struct {
	data  []byte
	at    int
	value uint64 // what was loaded, less what was decided
	n     int    // bits of value beyond the eight that decide next
	most  uint32 // range - 1, from 127 to 254
	ended bool
}

func newBoolReader(data []byte) boolReader { return boolReader{data: data, n: -8, most: 254} }

func (b *boolReader) load() {
	switch {
	case b.at+8 <= len(b.data):
		b.value = b.value<<56 | binary.BigEndian.Uint64(b.data[b.at:])>>8
		b.at += 7
		b.n += 56
	case b.at < len(b.data):
		b.value = b.value<<8 | uint64(b.data[b.at])
		b.at++
		b.n += 8
	default:
		b.value <<= 8
		b.n += 8
		b.ended = true
	}
}

// bit reads one that is 0 with probability p/256.
func (b *boolReader) bit(p uint8) int {
	if b.n < 0 {
		b.load()
	}
	split := b.most * uint32(p) >> 8
	one := 0
	if uint32(b.value>>b.n) > split {
		b.most -= split + 1
		b.value -= uint64(split+1) << b.n
		one = 1
	} else {
		b.most = split
	}
	shift := bits.LeadingZeros8(uint8(b.most + 1))
	b.most = (b.most+1)<<shift - 1
	b.n -= shift
	return one
}

// even are probabilities of one half.
const even = 128

func (b *boolReader) flag() bool { return b.bit(even) == 1 }

// number reads n bits, the highest first.
func (b *boolReader) number(n int) (v int) {
	for range n {
		v = v<<1 | b.bit(even)
	}
	return v
}

// signed reads n bits and a sign.
func (b *boolReader) signed(n int) int {
	v := b.number(n)
	if b.flag() {
		return -v
	}
	return v
}

// optional reads a flag, and a signed number if it is set.
func (b *boolReader) optional(n int) int {
	if b.flag() {
		return b.signed(n)
	}
	return 0
}
