package jpeg

import (
	"encoding/binary"
	"math/bits"
)

// refine reads one more bit of AC coefficients (G.1.2.3). Bits for those that
// are known already stand between the symbols for those that are not.
func (r *Reader) refine(from, to, wide int) error {
	s := &r.scan
	c := &r.comps[s.comps[0]]
	band := ^uint64(0) << s.ss & (^uint64(0) >> (63 - s.se))
	blocks := cursor{c: c, wide: wide}
	for at := from; at < to; at++ {
		if s.run > 0 {
			// Blocks in a run that have nothing to refine are passed over.
			n := c.masks.find(at, min(at+s.run, to), band) - at
			at += n
			if s.run -= n; s.run == 0 || at == to {
				r.good(at - 1)
				at--
				continue
			}
		}
		r.visits++
		r.good(at)
		b := blocks.block(r, at)
		if mask := r.refineBlock(b, c.masks.leaf[at], &r.ac[c.ta]); mask != c.masks.leaf[at] {
			c.masks.set(at, mask)
		}
		if over, err := r.over(); over {
			return err
		}
	}
	return nil
}

// refineBlock is refine for one block, of which mask says which coefficients
// are not zero; it returns what it is afterwards. The bits of those stand in
// their order, so that they are collected first and spent at the end.
func (r *Reader) refineBlock(b *[64]int16, mask uint64, table *huffman) uint64 {
	s := &r.scan
	data, at, acc, n := s.r.data, s.r.at, s.r.acc, s.r.n
	k, se := s.ss, s.se
	one := int16(1) << (s.al & 15)
	run := s.run
	was := mask
	bitsOf := uint64(0) // collected, the last at the lower end
	var late int16      // a value beyond the band, which libjpeg writes, too
	for {
		acc |= binary.BigEndian.Uint64(data[at:]) >> (n & 63)
		at += int(63-n) >> 3
		n |= 56
		zeros, fresh := 64, int16(0)
		if run == 0 {
			e := table.look[acc>>(64-lookBits)]
			if e == 0 {
				e = table.long(acc)
			}
			acc <<= e & 63
			n -= uint(e & 63)
			switch {
			case e>>8&15 != 0: // a value of one bit, whatever its size says
				zeros = int(e>>24) - 1
				fresh = one - 2*one&^int16(int64(acc)>>63)
				acc <<= 1
				n--
			case e>>24 == 16:
				zeros = 15
			default: // no more values in a run of blocks
				length := runLength(e)
				run = int(1)<<length + int(acc>>1>>(63-length))
				acc <<= length & 63
				n -= uint(length)
			}
			acc |= binary.BigEndian.Uint64(data[at:]) >> (n & 63)
			at += int(63-n) >> 3
			n |= 56
		}
		// Move over the zeros before the place that is meant, and collect
		// bits of what lies between them.
		end := se + 1
		if zeros < 64 {
			end = min(k+nth(^mask>>k, zeros), end)
		}
		between := mask >> k << k & (1<<end - 1)
		count := bits.OnesCount64(between)
		if count > 32 {
			bitsOf = bitsOf<<32 | acc>>32
			acc <<= 32
			n -= 32
			count -= 32
			acc |= binary.BigEndian.Uint64(data[at:]) >> (n & 63)
			at += int(63-n) >> 3
			n |= 56
		}
		bitsOf = bitsOf<<(count&63) | acc>>1>>(63-count&63)
		acc <<= count & 63
		n -= uint(count)
		k = end
		if fresh != 0 && k <= se {
			b[zigzag[k&63]] = fresh
			mask |= 1 << (k & 63)
		} else {
			late = fresh
		}
		if k++; k > se {
			break
		}
	}
	if m := was >> s.ss << s.ss << (63 - se) >> (63 - se); m != 0 {
		for bitsOf <<= 64 - bits.OnesCount64(m); m != 0; m &= m - 1 {
			correct(&b[zigzag[bits.TrailingZeros64(m)]], one, int16(int64(bitsOf)>>63))
			bitsOf <<= 1
		}
	}
	if late != 0 {
		b[zigzag[k-1]] = late
		mask |= 1 << min(k-1, 63)
	}
	if run > 0 {
		run--
	}
	s.run = run
	s.r.at, s.r.acc, s.r.n = at, acc, n
	return mask
}

// places[b][i] is where bit i of those that are set in b stands.
var places = func() (t [256][8]uint8) {
	for b := range t {
		i := 0
		for at := range 8 {
			if b>>at&1 != 0 {
				t[b][i] = uint8(at)
				i++
			}
		}
	}
	return t
}()

// nth is where bit i of those that are set in v stands, 64 if there are fewer.
func nth(v uint64, i int) int {
	at := 0
	for v != 0 {
		n := bits.OnesCount8(uint8(v))
		if i < n {
			return at + int(places[uint8(v)][i&7])
		}
		i -= n
		at += 8
		v >>= 8
	}
	return 64
}

// correct moves a coefficient away from zero by the value of one bit, if set
// is -1 and it has not that bit.
func correct(v *int16, one, set int16) {
	sign := *v >> 15
	has := -(*v & one) >> 15 // -1 if it has it
	*v += (one ^ sign - sign) & set &^ has
}
