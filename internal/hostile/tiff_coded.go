package hostile

import (
	"encoding/binary"
	"math/rand/v2"
)

// Further tags and values of TIFF.
const (
	tagPlanar, tagJPEG, tagJPEGLength, tagShared = 284, 513, 514, 530
	colors, lab                                  = 6, 8
)

// photometric says what the samples are.
func (f *tiffFile) photometric(v uint32) {
	binary.LittleEndian.PutUint32(f.entries[4*12+8:], v)
}

// zstdZeros is n zero bytes in Zstandard: blocks of one byte that comes 128 kB
// times.
func zstdZeros(n int) []byte {
	const most = 1 << 17
	out := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3}
	for n > 0 {
		m := min(n, most)
		n -= m
		last := 0
		if n == 0 {
			last = 1
		}
		head := last | 1<<1 | m<<3
		out = append(out, byte(head), byte(head>>8), byte(head>>16), 0)
	}
	return out
}

// codedTIFFMakers are TIFFs in codes that libtiff reads.
func codedTIFFMakers() []maker {
	const oldJPEG, rows, group3, deflate, thunder, lzma, zstd = 6, 2, 3, 8, 32809, 34925, 50000
	return []maker{
		tiffZeros("zeros, Zstandard, four samples of 16 bits", 16, 4, zstd, zstdZeros),
		{"Zstandard with a window of four gigabytes", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			f := tiff(w, h, 8, 1, zstd)
			data := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 22 << 3}, noise(rng, b.Pixels/4096)...)
			f.strips(h, h, 1, f.data(data), uint32(len(data)))
			return f.end(false)
		}},
		{"LZMA with a dictionary of four gigabytes", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			f := tiff(w, h, 8, 3, lzma)
			data := append([]byte("\xfd7zXZ\x00\x00\x00\x00\x00\x00\x00\x02\x00\x21\x01\x28\x00\x00\x00\x00\x00\x00\x00"), noise(rng, b.Bytes/2)...)
			f.strips(h, h, 3, f.data(data), uint32(len(data)))
			return f.end(false)
		}},
		{"white, fax without ends of lines", true, func(rng *rand.Rand, b Budget) []byte {
			// A row of 64 white pixels is 11011 and 00110101 (ITU-T T.4).
			h := max(1, min(b.Pixels/64, b.Bytes/2, 65500))
			f := tiff(64, h, 1, 1, rows)
			data := make([]byte, 0, 2*h)
			for range h {
				data = append(data, 0xd9, 0xa8)
			}
			f.strips(h, h, 1, f.data(data), uint32(len(data)))
			return f.end(false)
		}},
		{"fax of zeros before an end of line", false, func(rng *rand.Rand, b Budget) []byte {
			f := tiff(64, 64, 1, 1, group3)
			data := append(make([]byte, b.Bytes), 1)
			f.strips(64, 64, 1, f.data(data), uint32(len(data)))
			return f.end(false)
		}},
		{"colors that sixteen pixels share", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			f := tiff(w, h, 8, 3, deflate)
			f.photometric(colors)
			data := deflated((w + 3) / 4 * ((h + 3) / 4) * 18)
			f.strips(h, h, 3, f.data(data), uint32(len(data)))
			f.entry(tagShared, 4, 4)
			return f.end(false)
		}},
		{"CIELab", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			f := tiff(w, h, 8, 3, deflate)
			f.photometric(lab)
			data := deflated(3 * w * h)
			f.strips(h, h, 3, f.data(data), uint32(len(data)))
			return f.end(false)
		}},
		{"planes", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			f := tiff(w, h, 16, 4, deflate)
			data := deflated(2 * w * h)
			f.entry(tagStrips, slicesOf(4, f.data(data))...)
			f.entry(tagSamples, 4)
			f.entry(tagRows, uint32(h))
			f.entry(tagCounts, slicesOf(4, uint32(len(data)))...)
			f.entry(tagPlanar, 2)
			f.entry(tagExtra, 1) // alpha, multiplied
			return f.end(false)
		}},
		{"ThunderScan of one pixel", true, func(rng *rand.Rand, b Budget) []byte {
			w := 63 * min(1000, max(1, b.Pixels/63))
			h := max(1, min(b.Pixels/w, 63*b.Bytes/w))
			f := tiff(w, h, 4, 1, thunder)
			data := make([]byte, w/63*h)
			for i := range data {
				data[i] = 63
			}
			f.strips(h, h, 1, f.data(data), uint32(len(data)))
			return f.end(false)
		}},
		{"JPEG of the old kind in strips that are all of the file", false, func(rng *rand.Rand, b Budget) []byte {
			h := min(60_000, b.Bytes/8)
			f := tiff(8, h, 8, 3, oldJPEG)
			f.photometric(colors)
			f.strips(h, 1, 3, 8, uint32(b.Bytes))
			f.entry(tagJPEG, 8)
			f.entry(tagJPEGLength, uint32(b.Bytes))
			return f.end(false)
		}},
	}
}
