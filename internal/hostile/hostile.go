// Package hostile makes the files that tests throw at decoders and at the
// server: spoilt pictures, pictures of every format that are small as files and
// cost much (Bombs), bodies that are not what they seem (Bodies), and weights
// that are numbers and whose sums are not.
package hostile

import (
	"bytes"
	"math/rand/v2"
)

// Mutate returns a copy of data, which is not empty, spoilt in up to four
// places: bytes changed, most of them near the front where headers lie, the
// end cut off, a piece repeated or taken out. The copy is never empty.
func Mutate(rng *rand.Rand, data []byte) []byte {
	data = bytes.Clone(data)
	for range 1 + rng.IntN(4) {
		at := rng.IntN(len(data))
		switch rng.IntN(6) {
		case 0:
			data[at] = byte(rng.Uint32())
		case 1:
			data[rng.IntN(min(len(data), 64))] ^= 1 << rng.IntN(8)
		case 2:
			data[at] = []byte{0, 0xff, 0x7f, 0x80}[rng.IntN(4)]
		case 3:
			data = data[:max(at, 1)]
		case 4: // a piece again
			end := min(at+1+rng.IntN(64), len(data))
			data = append(data[:end:end], data[at:]...)
		case 5: // a piece gone
			data = append(data[:at:at], data[min(at+1+rng.IntN(16), len(data)):]...)
			if len(data) == 0 {
				return []byte{0}
			}
		}
	}
	return data
}

// Overflow returns a copy of a file of float32 weights whose latter half is
// 1.7e38: a model of them computes Inf and NaN.
func Overflow(weights []byte) []byte {
	weights = bytes.Clone(weights)
	for i := len(weights) - len(weights)/8*4; i < len(weights); i += 4 {
		copy(weights[i:], "\x00\x00\x00\x7f")
	}
	return weights
}
