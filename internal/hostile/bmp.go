package hostile

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
)

// bmp is a BMP of one header of 40 bytes, a palette and data.
func bmp(width, height int32, bits uint16, compression, colours uint32, palette, data []byte) []byte {
	offset := 14 + 40 + len(palette)
	out := []byte("BM")
	out = binary.LittleEndian.AppendUint32(out, uint32(offset+len(data)))
	out = binary.LittleEndian.AppendUint32(out, 0)
	out = binary.LittleEndian.AppendUint32(out, uint32(offset))
	out = binary.LittleEndian.AppendUint32(out, 40)
	out = binary.LittleEndian.AppendUint32(out, uint32(width))
	out = binary.LittleEndian.AppendUint32(out, uint32(height))
	out = binary.LittleEndian.AppendUint16(out, 1)
	out = binary.LittleEndian.AppendUint16(out, bits)
	out = binary.LittleEndian.AppendUint32(out, compression)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(data)))
	out = append(out, make([]byte, 8)...)
	out = binary.LittleEndian.AppendUint32(out, colours)
	out = binary.LittleEndian.AppendUint32(out, 0)
	return append(append(out, palette...), data...)
}

// bmpDeclared is a kind of files that declare much and hold a few bytes.
func bmpDeclared(kind string, bits uint16, compression uint32) maker {
	return maker{kind, false, func(rng *rand.Rand, b Budget) []byte {
		w, h := size(rng, b.Pixels, 65500)
		return bmp(int32(w), int32(h), bits, compression, 0, make([]byte, 4<<min(bits, 8)), noise(rng, 100))
	}}
}

// bmpMakers are the kinds of hostile BMP.
func bmpMakers() []maker {
	const rle8, rle4, bitfields = 1, 2, 3
	return []maker{
		bmpDeclared("declared, nothing there", 24, 0),
		bmpDeclared("declared, nothing there, with alpha", 32, 0),
		bmpDeclared("declared, nothing there, a palette", 8, 0),
		bmpDeclared("declared, nothing there, one bit", 1, 0),
		bmpDeclared("declared, nothing there, fields", 16, bitfields),
		{"upside down", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			return bmp(int32(w), -int32(h), 24, 0, 0, nil, noise(rng, 100))
		}},
		{"the most negative height", false, func(rng *rand.Rand, b Budget) []byte {
			return bmp(1+rng.Int32N(100), -1<<31, 24, 0, 0, nil, noise(rng, 100))
		}},
		{"the largest width", false, func(rng *rand.Rand, b Budget) []byte {
			return bmp(1<<31-1, 1<<31-1, 32, 0, 0, nil, noise(rng, 100))
		}},
		{"a palette of four thousand million colours", false, func(rng *rand.Rand, b Budget) []byte {
			return bmp(100, 100, 8, 0, 1<<32-1, noise(rng, 1024), noise(rng, 100*100))
		}},
		{"one bit, whole", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, min(b.Pixels, 7*b.Bytes), 65500)
			return bmp(int32(w), int32(h), 1, 0, 2, make([]byte, 8), noise(rng, (w+31)/32*4*h))
		}},
		{"runs that end at once", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			return bmp(int32(w), int32(h), 8, rle8, 0, make([]byte, 1024), []byte{0, 1})
		}},
		{"runs of nothing", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			return bmp(int32(w), int32(h), 8, rle8, 0, make([]byte, 1024), bytes.Repeat([]byte{0, 2, 0, 0}, b.Bytes/4))
		}},
		{"runs that fill the picture", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			var data []byte
			for range h {
				for left := w; left > 0; left -= 255 {
					data = append(data, byte(min(left, 255)), byte(rng.IntN(4)))
				}
				data = append(data, 0, 0)
			}
			return bmp(int32(w), int32(h), 8, rle8, 0, make([]byte, 1024), append(data, 0, 1))
		}},
		{"runs of four bits, noise", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			return bmp(int32(w), int32(h), 4, rle4, 0, make([]byte, 64), noise(rng, b.Bytes))
		}},
	}
}
