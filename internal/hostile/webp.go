package hostile

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
)

// riff is a WebP file of chunks.
func riff(chunks ...[]byte) []byte {
	body := append([]byte("WEBP"), bytes.Join(chunks, nil)...)
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body))), body...)
}

// chunk is a chunk of a WebP file.
func chunk(kind string, body []byte) []byte {
	out := append(binary.LittleEndian.AppendUint32([]byte(kind), uint32(len(body))), body...)
	if len(body)%2 == 1 {
		out = append(out, 0)
	}
	return out
}

func uint24(v int) []byte { return []byte{byte(v), byte(v >> 8), byte(v >> 16)} }

// vp8x declares a canvas. Flags: 2 animation, 4 XMP, 8 EXIF, 16 alpha, 32 ICC.
func vp8x(flags byte, width, height int) []byte {
	return chunk("VP8X", append(append([]byte{flags, 0, 0, 0}, uint24(width-1)...), uint24(height-1)...))
}

// lowBits are bits that are being written, the lowest of a byte first.
type lowBits struct {
	out  []byte
	acc  uint64
	have int
}

func (b *lowBits) put(v uint64, n int) {
	b.acc, b.have = b.acc|v<<b.have, b.have+n
	for ; b.have >= 8; b.have -= 8 {
		b.out = append(b.out, byte(b.acc))
		b.acc >>= 8
	}
}

func (b *lowBits) done() []byte { return append(b.out, byte(b.acc), 0, 0) }

// single writes a prefix code of one symbol, which takes no bits.
func (b *lowBits) single(symbol uint64) { b.put(1|0<<1|1<<2|symbol<<3, 11) }

// image writes the five codes of an image whose pixels are all the same.
func (b *lowBits) image(red, green, blue, alpha uint64) {
	for _, s := range []uint64{green, red, blue, alpha, 0} {
		b.single(s)
	}
}

// lossless begins VP8L data; what follows are transforms.
func lossless(width, height int) *lowBits {
	b := &lowBits{}
	b.put(0x2f, 8)
	b.put(uint64(width-1), 14)
	b.put(uint64(height-1), 14)
	b.put(1, 1) // alpha
	b.put(0, 3)
	return b
}

// plain ends the transforms and writes a picture of one colour.
func (b *lowBits) plain() []byte {
	b.put(0, 1) // no more transforms
	b.put(0, 2) // no cache of colours, one group of codes
	b.image(200, 100, 50, 255)
	return b.done()
}

// lossy is VP8 data in which every bit that a decoder reads is zero: no block
// has coefficients, each has sixteen predictions of its own.
func lossy(width, height int, tokens []byte) []byte {
	units := ((width + 15) / 16) * ((height + 15) / 16)
	first := make([]byte, min(units+2000, 1<<19-1))
	out := uint24(1<<4 | len(first)<<5)
	out = append(out, 0x9d, 0x01, 0x2a)
	out = binary.LittleEndian.AppendUint16(out, uint16(width))
	out = binary.LittleEndian.AppendUint16(out, uint16(height))
	return append(append(out, first...), tokens...)
}

// gray is lossy with all the tokens that it needs.
func gray(width, height int) []byte {
	return lossy(width, height, make([]byte, ((width+15)/16)*((height+15)/16)*3+1000))
}

// webpStorm is a kind of whole pictures with many chunks behind.
func webpStorm(kind string, flags byte, next func(rng *rand.Rand) []byte) maker {
	return maker{kind, true, func(rng *rand.Rand, b Budget) []byte {
		chunks := [][]byte{vp8x(flags, 16, 16), chunk("VP8L", lossless(16, 16).plain())}
		for n := 0; n < b.Bytes; n += len(chunks[len(chunks)-1]) {
			chunks = append(chunks, next(rng))
		}
		return riff(chunks...)
	}}
}

// webpMakers are the kinds of hostile WebP.
func webpMakers() []maker {
	const edge = 16383
	return []maker{
		{"lossless, one colour", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			return riff(chunk("VP8L", lossless(w, h).plain()))
		}},
		{"lossless, every transform", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			p := lossless(w, h)
			p.put(1|0<<1|0<<3, 6) // predictions by blocks of 4×4
			p.put(0, 1)
			p.image(0, uint64(rng.IntN(14)), 0, 255)
			p.put(1|1<<1|0<<3, 6) // colours by blocks of 4×4
			p.put(0, 1)
			p.image(7, 9, 11, 255)
			p.put(1|2<<1, 3) // green
			return riff(chunk("VP8L", p.plain()))
		}},
		{"lossless, eight pixels a byte", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			p := lossless(w, h)
			p.put(1|3<<1|1<<3, 11) // a palette of two colours
			p.put(0, 1)
			p.image(1, 2, 3, 255)
			return riff(chunk("VP8L", p.plain()))
		}},
		{"lossless, 65,536 groups of codes", true, func(rng *rand.Rand, b Budget) []byte {
			p := lossless(16, 16)
			p.put(0, 1)                               // no transforms
			p.put(0, 1)                               // no cache
			p.put(1|0<<1, 4)                          // groups by blocks of 4×4
			p.put(0, 1)                               // no cache in their image
			high := uint64(min(255, b.Bytes*8/20>>8)) // fewer for small files
			p.single(255)
			p.single(high)
			p.single(0)
			p.single(255)
			p.single(0)
			for range high<<8 + 256 {
				for range 5 {
					p.put(1, 4) // one symbol, zero
				}
			}
			return riff(chunk("VP8L", p.done()))
		}},
		{"lossless noise", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			p := lossless(w, h)
			p.put(0, 1)
			return riff(chunk("VP8L", append(p.done(), noise(rng, b.Bytes)...)))
		}},
		{"lossy, every block predicted", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			return riff(chunk("VP8 ", gray(w, h)))
		}},
		{"lossy noise", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			return riff(chunk("VP8 ", lossy(w, h, noise(rng, b.Bytes))))
		}},
		{"alpha of one value", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			p := &lowBits{}
			alpha := append([]byte{1 | byte(rng.IntN(4))<<2}, p.plain()...)
			return riff(vp8x(16, w, h), chunk("ALPH", alpha), chunk("VP8 ", gray(w, h)))
		}},
		{"raw alpha that is missing", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			return riff(vp8x(16, w, h), chunk("ALPH", []byte{0, 1, 2}), chunk("VP8 ", gray(w, h)))
		}},
		{"huge canvas, a tiny picture", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			return riff(vp8x(0, w, h), chunk("VP8L", lossless(16, 16).plain()))
		}},
		{"canvas of 16 million by 16 million", false, func(rng *rand.Rand, b Budget) []byte {
			return riff(vp8x(0, 1<<24, 1<<24), chunk("VP8L", lossless(16, 16).plain()))
		}},
		{"many huge frames", true, func(rng *rand.Rand, b Budget) []byte {
			return animation(rng, b, b.Pixels)
		}},
		{"many tiny frames", true, func(rng *rand.Rand, b Budget) []byte {
			return animation(rng, b, 64)
		}},
		webpStorm("storm of EXIF", 8, func(rng *rand.Rand) []byte { return chunk("EXIF", exif(rng, 1+rng.IntN(3000))) }),
		webpStorm("storm of XMP", 4, func(rng *rand.Rand) []byte { return chunk("XMP ", bytes.Repeat([]byte("<a:b tiff:Orientation="), 200)) }),
		webpStorm("storm of unknown chunks", 0, func(rng *rand.Rand) []byte { return chunk("abcd", nil) }),
		{"declared, nothing there", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			return riff(chunk("VP8 ", lossy(w, h, nil)[:12]))
		}},
	}
}

// animation has as many frames as the budget takes, up to 20,000.
func animation(rng *rand.Rand, b Budget, pixels int) []byte {
	w, h := size(rng, pixels, 16383)
	chunks := [][]byte{vp8x(2, w, h), chunk("ANIM", make([]byte, 6))}
	frame := bytes.Join([][]byte{uint24(0), uint24(0), uint24(w - 1), uint24(h - 1), uint24(10), {0}, chunk("VP8L", lossless(w, h).plain())}, nil)
	one := chunk("ANMF", frame)
	for range min(20_000, b.Bytes/len(one)) {
		chunks = append(chunks, one)
	}
	return riff(chunks...)
}
