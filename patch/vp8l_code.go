package patch

import (
	"encoding/binary"
	"errors"
)

// vp8lBits reads bits, the lowest of a byte first. Behind the data it reads
// zeros.
type vp8lBits struct {
	data []byte
	at   int    // bytes that were read, beyond the data, too
	acc  uint64 // bits that are next
	n    int    // how many
}

// fill makes at least 56 bits ready.
func (b *vp8lBits) fill() {
	if b.at+8 <= len(b.data) {
		b.acc |= binary.LittleEndian.Uint64(b.data[b.at:]) << b.n
		b.at += (63 - b.n) >> 3
		b.n |= 56
		return
	}
	for b.n < 56 {
		if b.at < len(b.data) {
			b.acc |= uint64(b.data[b.at]) << b.n
		}
		b.at++
		b.n += 8
	}
}

// read returns the next n bits, at most 32.
func (b *vp8lBits) read(n int) int {
	if b.n < n {
		b.fill()
	}
	v := b.acc & (1<<n - 1)
	b.acc >>= n
	b.n -= n
	return int(v)
}

// prefixCode is a canonical Huffman code of at most 15 bits.
type prefixCode struct {
	fast    [1 << fastBits]uint16 // of codes that are no longer: symbol<<4 | length + 1; 0 of longer ones
	counts  [16]uint16            // codes of each length
	symbols []uint16              // in the order of their codes
}

const fastBits = 8

var errPrefixCode = errors.New("invalid prefix code")

// symbol reads one.
func (b *vp8lBits) symbol(c *prefixCode) int {
	if b.n < 15 {
		b.fill()
	}
	if e := c.fast[b.acc&(1<<fastBits-1)]; e != 0 {
		n := int(e&15) - 1
		b.acc >>= n
		b.n -= n
		return int(e >> 4)
	}
	return b.longSymbol(c)
}

// longSymbol walks over the lengths: codes of one are consecutive numbers.
func (b *vp8lBits) longSymbol(c *prefixCode) int {
	code, first, at := 0, 0, 0
	for n := 1; n < 16; n++ {
		code |= int(b.acc>>(n-1)) & 1
		count := int(c.counts[n])
		if code-first < count {
			b.acc >>= n
			b.n -= n
			return int(c.symbols[at+code-first])
		}
		at, first, code = at+count, (first+count)<<1, code<<1
	}
	return 0 // not in a complete code
}

// set makes the code in which symbol i has lengths[i] bits, 0: none. It must
// be complete; one symbol alone takes no bits.
func (c *prefixCode) set(lengths []uint8) error {
	clear(c.fast[:])
	clear(c.counts[:])
	used, last := 0, 0
	for i, n := range lengths {
		if n > 0 {
			c.counts[n]++
			used, last = used+1, i
		}
	}
	if used == 0 {
		return errPrefixCode
	}
	if used == 1 {
		c.only(last)
		return nil
	}
	var next [16]int
	room, at := 1, 0
	for n := 1; n < 16; n++ {
		next[n] = at
		at += int(c.counts[n])
		if room = room<<1 - int(c.counts[n]); room < 0 {
			return errPrefixCode
		}
	}
	if room != 0 {
		return errPrefixCode
	}
	c.symbols = make([]uint16, used)
	for i, n := range lengths {
		if n > 0 {
			c.symbols[next[n]] = uint16(i)
			next[n]++
		}
	}
	c.tabulate()
	return nil
}

// tabulate fills the table of short codes.
func (c *prefixCode) tabulate() {
	code, at := 0, 0
	for n := 1; n <= fastBits; n++ {
		for range c.counts[n] {
			reversed := 0
			for i := range n {
				reversed |= code >> i & 1 << (n - 1 - i)
			}
			for i := reversed; i < len(c.fast); i += 1 << n {
				c.fast[i] = c.symbols[at]<<4 | uint16(n+1)
			}
			code++
			at++
		}
		code <<= 1
	}
}

// bare reports whether it is one symbol, which takes no bits.
func (c *prefixCode) bare() bool { return c.fast[0]&15 == 1 }

func (c *prefixCode) only(symbol int) {
	for i := range c.fast {
		c.fast[i] = uint16(symbol)<<4 | 1
	}
}

// readCode reads the code of len(lengths) symbols into c (RFC 9649, 3.7.2.1).
func (b *vp8lBits) readCode(c *prefixCode, lengths []uint8) error {
	if b.read(1) == 1 { // one or two symbols; those that are none, or twice the same, do not count
		two := b.read(1) == 1
		clear(lengths)
		for i := range 2 {
			n := 8
			if i == 0 {
				n = 1 + 7*b.read(1)
			} else if !two {
				break
			}
			if s := b.read(n); s < len(lengths) {
				lengths[s] = 1
			}
		}
		return c.set(lengths)
	}
	order := [19]uint8{17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	var ofLengths [19]uint8
	n := b.read(4) + 4
	if n > len(order) {
		return errPrefixCode
	}
	for _, i := range order[:n] {
		ofLengths[i] = uint8(b.read(3))
	}
	var code prefixCode
	if err := code.set(ofLengths[:]); err != nil {
		return err
	}
	if err := b.readLengths(lengths, &code); err != nil {
		return err
	}
	return c.set(lengths)
}

// readLengths reads lengths in a code of their own, in which 16 repeats the
// last that was not zero, and 17 and 18 repeat zero.
func (b *vp8lBits) readLengths(lengths []uint8, code *prefixCode) error {
	clear(lengths)
	todo := len(lengths)
	if b.read(1) == 1 {
		if todo = b.read(2+2*b.read(3)) + 2; todo > len(lengths) {
			return errPrefixCode
		}
	}
	last := uint8(8)
	for i := 0; i < len(lengths) && todo > 0; todo-- {
		s := b.symbol(code)
		if s < 16 {
			lengths[i] = uint8(s)
			i++
			if s != 0 {
				last = uint8(s)
			}
			continue
		}
		bits, least, v := [3]int{2, 3, 7}, [3]int{3, 3, 11}, uint8(0)
		n := b.read(bits[s-16]) + least[s-16]
		if s == 16 {
			v = last
		}
		if n > len(lengths)-i {
			return errPrefixCode
		}
		for range n {
			lengths[i] = v
			i++
		}
	}
	return nil
}

// number reads a length or a distance whose size a symbol tells.
func (b *vp8lBits) number(symbol int) int {
	if symbol < 4 {
		return symbol + 1
	}
	extra := (symbol - 2) >> 1
	return (2+symbol&1)<<extra + b.read(extra) + 1
}

// near are the 120 pixels that have short distances: xi, yi left and up of the
// pixel, in the order of x² + y² (RFC 9649, 3.5.2.1). The high half is y, the
// low half 8 - x.
var near = [120]uint8{
	0x18, 0x07, 0x17, 0x19, 0x28, 0x06, 0x27, 0x29, 0x16, 0x1a,
	0x26, 0x2a, 0x38, 0x05, 0x37, 0x39, 0x15, 0x1b, 0x36, 0x3a,
	0x25, 0x2b, 0x48, 0x04, 0x47, 0x49, 0x14, 0x1c, 0x35, 0x3b,
	0x46, 0x4a, 0x24, 0x2c, 0x58, 0x45, 0x4b, 0x34, 0x3c, 0x03,
	0x57, 0x59, 0x13, 0x1d, 0x56, 0x5a, 0x23, 0x2d, 0x44, 0x4c,
	0x55, 0x5b, 0x33, 0x3d, 0x68, 0x02, 0x67, 0x69, 0x12, 0x1e,
	0x66, 0x6a, 0x22, 0x2e, 0x54, 0x5c, 0x43, 0x4d, 0x65, 0x6b,
	0x32, 0x3e, 0x78, 0x01, 0x77, 0x79, 0x53, 0x5d, 0x11, 0x1f,
	0x64, 0x6c, 0x42, 0x4e, 0x76, 0x7a, 0x21, 0x2f, 0x75, 0x7b,
	0x31, 0x3f, 0x63, 0x6d, 0x52, 0x5e, 0x00, 0x74, 0x7c, 0x41,
	0x4f, 0x10, 0x20, 0x62, 0x6e, 0x30, 0x73, 0x7d, 0x51, 0x5f,
	0x40, 0x72, 0x7e, 0x61, 0x6f, 0x50, 0x71, 0x7f, 0x60, 0x70,
}

// distance is how many pixels back a code for it leads in rows of w.
func distance(w, code int) int {
	if code > len(near) {
		return code - len(near)
	}
	c := int(near[code-1])
	return max(c>>4*w+8-c&15, 1)
}
