package hostile

import (
	"bytes"
	"compress/lzw"
	"encoding/binary"
	"math/rand/v2"
)

// gifFile is a GIF that is being written.
type gifFile struct{ bytes.Buffer }

// gif begins a file with a palette of two colours.
func gif(width, height int) *gifFile {
	f := &gifFile{}
	f.WriteString("GIF89a")
	f.Write(binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, uint16(width)), uint16(height)))
	f.Write([]byte{0x80, 0, 0, 10, 20, 30, 200, 210, 220})
	return f
}

// frame appends a frame whose data are in blocks of up to most bytes.
func (f *gifFile) frame(left, top, width, height int, flags byte, data []byte, most int) {
	out := []byte{0x2c}
	for _, v := range []int{left, top, width, height} {
		out = binary.LittleEndian.AppendUint16(out, uint16(v))
	}
	f.Write(append(out, flags))
	if flags&0x80 != 0 {
		f.Write(make([]byte, 3<<(1+flags&7)))
	}
	f.WriteByte(2)
	f.blocks(data, most)
}

// blocks appends data as blocks with their lengths.
func (f *gifFile) blocks(data []byte, most int) {
	for len(data) > 0 {
		n := min(most, len(data))
		f.WriteByte(byte(n))
		f.Write(data[:n])
		data = data[n:]
	}
	f.WriteByte(0)
}

func (f *gifFile) end() []byte {
	f.WriteByte(0x3b)
	return f.Bytes()
}

// packed is n zero pixels as GIF packs them.
func packed(n int) []byte {
	var out bytes.Buffer
	w := lzw.NewWriter(&out, lzw.LSB, 2)
	nothing := make([]byte, 1<<16)
	for ; n > 0; n -= len(nothing) {
		_, _ = w.Write(nothing[:min(n, len(nothing))]) // to memory
	}
	_ = w.Close()
	return out.Bytes()
}

// gifMakers are the kinds of hostile GIF.
func gifMakers() []maker {
	const edge = 65500
	return []maker{
		{"zeros", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			f := gif(w, h)
			f.frame(0, 0, w, h, 0, packed(w*h), 255)
			return f.end()
		}},
		{"zeros, interlaced", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			f := gif(w, h)
			f.frame(0, 0, w, h, 0x40, packed(w*h), 255)
			return f.end()
		}},
		{"huge canvas, a frame of one pixel", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			f := gif(w, h)
			f.frame(w-1, h-1, 1, 1, 0, packed(1), 255)
			return f.end()
		}},
		{"tiny canvas, a huge frame", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			f := gif(1, 1)
			f.frame(0, 0, w, h, 0, packed(w*h), 255)
			return f.end()
		}},
		{"many huge frames", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			f := gif(w, h)
			for one := packed(w * h); f.Len() < b.Bytes; {
				f.frame(0, 0, w, h, 0, one, 255)
			}
			return f.end()
		}},
		{"many frames of one pixel", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			f := gif(w, h)
			for one := packed(1); f.Len() < b.Bytes; {
				f.frame(rng.IntN(w), rng.IntN(h), 1, 1, 0, one, 255)
			}
			return f.end()
		}},
		{"many palettes", true, func(rng *rand.Rand, b Budget) []byte {
			f := gif(16, 16)
			for one := packed(256); f.Len() < b.Bytes; {
				f.frame(0, 0, 16, 16, 0x87, one, 255)
			}
			return f.end()
		}},
		{"blocks of one byte", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			f := gif(w, h)
			f.frame(0, 0, w, h, 0, packed(w*h), 1)
			return f.end()
		}},
		{"a table that is cleared at every pixel", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, min(b.Pixels, b.Bytes), edge)
			// Codes of three bits, the lowest first: clear is 4, end is 5.
			var data []byte
			acc, have := uint32(0), 0
			put := func(v uint32) {
				acc, have = acc|v<<have, have+3
				for ; have >= 8; have -= 8 {
					data = append(data, byte(acc))
					acc >>= 8
				}
			}
			for range w * h {
				put(4)
				put(0)
			}
			put(5)
			put(0)
			put(0)
			f := gif(w, h)
			f.frame(0, 0, w, h, 0, data, 255)
			return f.end()
		}},
		{"data far beyond the frame", true, func(rng *rand.Rand, b Budget) []byte {
			f := gif(16, 16)
			f.frame(0, 0, 16, 16, 0, packed(b.Pixels), 255)
			return f.end()
		}},
		{"storm of comments", true, func(rng *rand.Rand, b Budget) []byte {
			f := gif(16, 16)
			for f.Len() < b.Bytes {
				f.Write([]byte{0x21, 0xfe})
				f.blocks(noise(rng, rng.IntN(3)), 1)
			}
			f.frame(0, 0, 16, 16, 0, packed(256), 255)
			return f.end()
		}},
		{"storm of graphic controls", true, func(rng *rand.Rand, b Budget) []byte {
			f := gif(16, 16)
			for f.Len() < b.Bytes {
				f.Write([]byte{0x21, 0xf9, 4, byte(rng.IntN(2)), 0, 0, byte(rng.IntN(256)), 0})
			}
			f.frame(0, 0, 16, 16, 0, packed(256), 255)
			return f.end()
		}},
		{"declared, nothing there", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			f := gif(w, h)
			f.frame(0, 0, w, h, 0x40, packed(w), 255)
			return f.end()
		}},
		{"noise", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			f := gif(w, h)
			f.frame(0, 0, w, h, 0x40, noise(rng, b.Bytes), 255)
			return f.end()
		}},
	}
}
