// Package hostile makes the files that tests throw at decoders and at the
// server: spoilt pictures, one that is small as a file and huge as a picture,
// and weights that are numbers and whose sums are not.
package hostile

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
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

// Bomb is a PNG of about 300 kB that declares edge × edge pixels of three
// bytes and whose data, as far as they go, are 300 MB of zeros.
func Bomb(edge uint32) []byte {
	var packed bytes.Buffer
	z, err := zlib.NewWriterLevel(&packed, zlib.BestCompression)
	if err != nil {
		panic(err) // no such level
	}
	zeros := make([]byte, 1<<20)
	for range 300 {
		_, _ = z.Write(zeros) // to memory
	}
	_ = z.Close()
	chunk := func(kind string, body []byte) []byte {
		out := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
		out = append(append(out, kind...), body...)
		return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[4:]))
	}
	header := binary.BigEndian.AppendUint32(nil, edge)
	header = append(binary.BigEndian.AppendUint32(header, edge), 8, 2, 0, 0, 0)
	return bytes.Join([][]byte{[]byte("\x89PNG\r\n\x1a\n"), chunk("IHDR", header), chunk("IDAT", packed.Bytes()), chunk("IEND", nil)}, nil)
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
