package hostile

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
)

// Tags of TIFF 6.0.
const (
	tagWidth, tagHeight, tagBits, tagCompression, tagPhotometric, tagStrips, tagSamples, tagRows, tagCounts = 256, 257, 258, 259, 262, 273, 277, 278, 279
	tagPredictor, tagTileWidth, tagTileHeight, tagTiles, tagTileCounts, tagExtra                            = 317, 322, 323, 324, 325, 338
)

// tiffFile is a TIFF that is being written: data first, then the folder.
type tiffFile struct {
	bytes.Buffer
	entries []byte
	count   int
}

// tiff begins a file of equal samples.
func tiff(width, height, depth, samples, compression int) *tiffFile {
	f := &tiffFile{}
	f.WriteString("II*\x00\x00\x00\x00\x00")
	f.entry(tagWidth, uint32(width))
	f.entry(tagHeight, uint32(height))
	f.entry(tagBits, slicesOf(samples, uint32(depth))...)
	f.entry(tagCompression, uint32(compression))
	photometric := 1
	if samples > 1 {
		photometric = 2
	}
	f.entry(tagPhotometric, uint32(photometric))
	return f
}

func slicesOf(n int, v uint32) []uint32 {
	out := make([]uint32, n)
	for i := range out {
		out[i] = v
	}
	return out
}

// data appends bytes and returns where they lie.
func (f *tiffFile) data(b []byte) uint32 {
	at := f.Len()
	f.Write(b)
	return uint32(at)
}

// entry appends an entry of 32-bit numbers, which lie apart if they are many.
func (f *tiffFile) entry(tag uint16, values ...uint32) {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	at := binary.LittleEndian.Uint32(append(b, 0, 0, 0, 0))
	if len(values) != 1 {
		at = f.data(b)
	}
	f.raw(tag, uint32(len(values)), at)
}

// raw appends an entry whatever it says.
func (f *tiffFile) raw(tag uint16, count, value uint32) {
	const long = 4
	f.entries = binary.LittleEndian.AppendUint16(f.entries, tag)
	f.entries = binary.LittleEndian.AppendUint16(f.entries, long)
	f.entries = binary.LittleEndian.AppendUint32(f.entries, count)
	f.entries = binary.LittleEndian.AppendUint32(f.entries, value)
	f.count++
}

// end writes the folder, whose next is itself if loop is set.
func (f *tiffFile) end(loop bool) []byte {
	at := f.Len()
	f.Write(binary.LittleEndian.AppendUint16(nil, uint16(f.count)))
	f.Write(f.entries)
	next := 0
	if loop {
		next = at
	}
	f.Write(binary.LittleEndian.AppendUint32(nil, uint32(next)))
	out := f.Bytes()
	binary.LittleEndian.PutUint32(out[4:], uint32(at))
	return out
}

// strips writes the entries of strips of some rows that all lie at one place.
func (f *tiffFile) strips(height, rows, samples int, at, length uint32) {
	n := (height + rows - 1) / rows
	f.entry(tagStrips, slicesOf(n, at)...)
	f.entry(tagSamples, uint32(samples))
	f.entry(tagRows, uint32(rows))
	f.entry(tagCounts, slicesOf(n, length)...)
}

// lzwZeros is about n zero bytes in TIFF's LZW, never fewer: the table is
// cleared before codes grow to ten bits.
func lzwZeros(n int) []byte {
	var out []byte
	acc, have := uint32(0), 0
	put := func(v uint32) {
		acc, have = acc<<9|v, have+9
		for ; have >= 8; have -= 8 {
			out = append(out, byte(acc>>(have-8)))
		}
	}
	for n > 0 {
		put(256)
		put(0)
		n--
		for code, length := uint32(258), 2; code < 500 && n > 0; code, length = code+1, length+1 {
			put(code)
			n -= length
		}
	}
	put(257)
	put(0)
	return out
}

// tiffZeros is a kind of whole pictures of zeros in one strip.
func tiffZeros(kind string, depth, samples, compression int, pack func(n int) []byte) maker {
	return maker{kind, true, func(rng *rand.Rand, b Budget) []byte {
		w, h := size(rng, b.Pixels, 65500)
		f := tiff(w, h, depth, samples, compression)
		data := pack((w*depth*samples + 7) / 8 * h)
		f.strips(h, h, samples, f.data(data), uint32(len(data)))
		if samples == 4 {
			f.entry(tagExtra, 2) // alpha
		}
		return f.end(false)
	}}
}

// tiffMakers are the kinds of hostile TIFF.
func tiffMakers() []maker {
	const none, g4, lzw, deflate, packBits = 1, 4, 5, 8, 32773
	return []maker{
		tiffZeros("zeros, deflated", 8, 3, deflate, deflated),
		tiffZeros("zeros, deflated, four samples of 16 bits", 16, 4, deflate, deflated),
		tiffZeros("zeros, LZW", 8, 1, lzw, lzwZeros),
		tiffZeros("zeros, PackBits", 8, 1, packBits, func(n int) []byte { return bytes.Repeat([]byte{0x81, 0}, n/128+1) }),
		{"white, fax", true, func(rng *rand.Rand, b Budget) []byte {
			// A row like the one before is the bit 1 (ITU-T T.6).
			w, h := size(rng, b.Pixels, 65500)
			f := tiff(w, h, 1, 1, g4)
			data := append(bytes.Repeat([]byte{0xff}, h/8+1), 0, 0x10, 0x01)
			f.strips(h, h, 1, f.data(data), uint32(len(data)))
			return f.end(false)
		}},
		{"strips that all lie at one place", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			f := tiff(w, h, 8, 3, none)
			f.strips(h, 1, 3, f.data(noise(rng, 3*w)), uint32(3*w))
			return f.end(false)
		}},
		{"strips that all unpack from one place", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			f := tiff(w, h, 8, 3, deflate)
			data := deflated(3 * w)
			f.strips(h, 1, 3, f.data(data), uint32(len(data)))
			return f.end(false)
		}},
		{"strips that unpack to far more", true, func(rng *rand.Rand, b Budget) []byte {
			f := tiff(64, 2000, 8, 3, deflate)
			data := deflated(b.Pixels)
			f.strips(2000, 1, 3, f.data(data), uint32(len(data)))
			return f.end(false)
		}},
		{"tiles of one pixel", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, min(b.Pixels, b.Bytes/8), 65500)
			return tiled(w, h, 1, noise(rng, 3))
		}},
		{"tiles of 16×16", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			return tiled(w, h, 16, noise(rng, 768))
		}},
		{"one tile far larger than the picture", false, func(rng *rand.Rand, b Budget) []byte {
			return tiled(10, 10, 65520, noise(rng, 100))
		}},
		{"a folder that is its own next", true, func(rng *rand.Rand, b Budget) []byte {
			f := tiff(100, 100, 8, 1, none)
			f.strips(100, 100, 1, f.data(noise(rng, 10_000)), 10_000)
			return f.end(true)
		}},
		{"counts of four thousand million", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			f := tiff(w, h, 8, 1, none)
			for _, tag := range []uint16{tagStrips, tagRows, tagCounts, 34665, 34675} {
				f.raw(tag, 1<<32-1, 8)
			}
			return f.end(false)
		}},
		{"more samples than there are", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			f := tiff(w, h, 16, 60_000, none)
			f.strips(h, h, 65535, 8, 1<<31)
			return f.end(false)
		}},
		{"declared, nothing there", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			f := tiff(w, h, 16, 4, none)
			f.strips(h, h, 4, 8, uint32(w*h*8))
			return f.end(false)
		}},
		{"LZW noise with a predictor", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			f := tiff(w, h, 8, 3, lzw)
			f.strips(h, h, 3, f.data(noise(rng, b.Bytes)), uint32(b.Bytes))
			f.entry(tagPredictor, 2)
			return f.end(false)
		}},
		{"storm of tags", false, func(rng *rand.Rand, b Budget) []byte {
			f := tiff(16, 16, 8, 1, none)
			f.strips(16, 16, 1, f.data(noise(rng, 256)), 256)
			for range min(65_000, b.Bytes/12) {
				f.raw(uint16(rng.IntN(65536)), rng.Uint32(), rng.Uint32())
			}
			return f.end(false)
		}},
	}
}

// tiled is a picture of raw RGB tiles that all lie at one place.
func tiled(width, height, edge int, data []byte) []byte {
	f := tiff(width, height, 8, 3, 1)
	n := ((width + edge - 1) / edge) * ((height + edge - 1) / edge)
	f.entry(tagSamples, 3)
	f.entry(tagTileWidth, uint32(edge))
	f.entry(tagTileHeight, uint32(edge))
	at := f.data(data)
	f.entry(tagTiles, slicesOf(n, at)...)
	f.entry(tagTileCounts, slicesOf(n, uint32(len(data)))...)
	return f.end(false)
}
