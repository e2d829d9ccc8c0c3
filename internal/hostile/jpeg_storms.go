package hostile

import (
	"bytes"
	"math/rand/v2"
)

// tiny is a whole JPEG of 16×16 pixels in two halves, between which a storm of
// segments goes.
func tiny() (before, after []byte) {
	f := sequential(16, 16, 3)
	data := f.Bytes()
	at := bytes.LastIndex(data, []byte{0xff, sos})
	return data[:at:at], append(bytes.Clone(data[at:]), 0xff, eoi)
}

// storm is a whole small JPEG with as many of the segments that next writes as
// the budget takes.
func storm(b Budget, next func(f *jpegFile, i int)) []byte {
	before, after := tiny()
	f := &jpegFile{}
	f.Write(before)
	for i := 0; f.Len()+len(after) < b.Bytes; i++ {
		next(f, i)
	}
	f.Write(after)
	return f.Bytes()
}

// stormMakers are JPEGs of many segments.
func stormMakers() []maker {
	return []maker{
		{"storm of Huffman tables", true, func(_ *rand.Rand, b Budget) []byte {
			return storm(b, func(f *jpegFile, i int) { f.huffman(byte(i%2), 0, [][]byte{dcSymbols, acSymbols}[i%2]) })
		}},
		{"storm of quantisation tables", true, func(rng *rand.Rand, b Budget) []byte {
			return storm(b, func(f *jpegFile, _ int) {
				f.segment(dqt, append([]byte{byte(rng.IntN(4))}, bytes.Repeat([]byte{byte(1 + rng.IntN(255))}, 64)...)...)
			})
		}},
		{"storm of empty application segments", true, func(rng *rand.Rand, b Budget) []byte {
			return storm(b, func(f *jpegFile, _ int) { f.segment(byte(app0 + rng.IntN(16))) })
		}},
		{"storm of comments", true, func(rng *rand.Rand, b Budget) []byte {
			return storm(b, func(f *jpegFile, _ int) { f.segment(com, noise(rng, rng.IntN(4))...) })
		}},
		{"storm of restart intervals", true, func(rng *rand.Rand, b Budget) []byte {
			// Longer than the picture, so that none is due.
			return storm(b, func(f *jpegFile, _ int) { f.segment(dri, byte(1+rng.IntN(255)), byte(rng.IntN(256))) })
		}},
		{"EXIF in every segment", true, func(rng *rand.Rand, b Budget) []byte {
			return storm(b, func(f *jpegFile, _ int) {
				f.segment(app1, append([]byte("Exif\x00\x00"), exif(rng, 1+rng.IntN(5000))...)...)
			})
		}},
		{"tiny EXIF in every segment", true, func(rng *rand.Rand, b Budget) []byte {
			return storm(b, func(f *jpegFile, _ int) {
				f.segment(app1, append([]byte("Exif\x00\x00"), exif(rng, rng.IntN(2))...)...)
			})
		}},
		{"XMP in every segment", true, func(_ *rand.Rand, b Budget) []byte {
			return storm(b, func(f *jpegFile, _ int) {
				f.segment(app1, append([]byte("http://ns.adobe.com/xap/1.0/\x00"), bytes.Repeat([]byte("<a:b tiff:Orientation="), 200)...)...)
			})
		}},
		{"profile in many pieces", true, func(rng *rand.Rand, b Budget) []byte {
			return storm(b, func(f *jpegFile, i int) {
				f.segment(app2, append([]byte("ICC_PROFILE\x00"), append([]byte{byte(i), 255}, noise(rng, 40)...)...)...)
			})
		}},
		{"fill bytes", true, func(_ *rand.Rand, b Budget) []byte {
			return storm(b, func(f *jpegFile, _ int) {
				f.Write(bytes.Repeat([]byte{0xff}, 4096))
				f.segment(com)
			})
		}},
		{"bytes between segments", true, func(_ *rand.Rand, b Budget) []byte {
			return storm(b, func(f *jpegFile, _ int) {
				f.Write(bytes.Repeat([]byte{0x55}, 4096))
				f.segment(com)
			})
		}},
		{"restart markers and nothing else", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			f := &jpegFile{}
			f.begin(sof0, w, h, 0x11, 0x11, 0x11)
			f.segment(dri, 0, 1)
			var data []byte
			for i := range b.Bytes / 2 {
				data = append(data, 0xff, byte(rst0+i%8))
			}
			f.scan(data, 0, 63, 0, 0, 1, 2, 3)
			return f.end()
		}},
		{"a restart in every unit", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, min(b.Pixels, 20*b.Bytes), 65500)
			f := &jpegFile{}
			f.begin(sof0, w, h, 0x11)
			f.segment(dri, 0, 1)
			f.scan(restarts(blocks(w, h), 0x3f), 0, 63, 0, 0, 1)
			return f.end()
		}},
		{"restarts in the wrong order", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, min(b.Pixels, 20*b.Bytes), 65500)
			f := &jpegFile{}
			f.begin(sof0, w, h, 0x11)
			f.segment(dri, 0, 1)
			data := restarts(blocks(w, h), 0x3f)
			for i := range data {
				if data[i] >= rst0 && data[i] < rst0+8 {
					data[i] = byte(rst0 + rng.IntN(8))
				}
			}
			f.scan(data, 0, 63, 0, 0, 1)
			return f.end()
		}},
		{"lines declared afterwards", false, func(rng *rand.Rand, b Budget) []byte {
			f := &jpegFile{}
			f.begin(sof0, 8+rng.IntN(65000), 0, 0x11)
			f.scan(make([]byte, b.Bytes), 0, 63, 0, 0, 1)
			f.segment(dnl, 0xff, 0xff)
			return f.end()
		}},
		{"frames again and again", false, func(rng *rand.Rand, b Budget) []byte {
			return storm(b, func(f *jpegFile, _ int) {
				f.segment(sof0, 8, byte(rng.IntN(256)), 16, byte(rng.IntN(256)), 16, 1, 1, 0x11, 0)
			})
		}},
	}
}
