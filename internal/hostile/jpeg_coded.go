package hostile

import (
	"bytes"
	"math/rand/v2"
)

// codedMakers are JPEGs in codes of which zeros may come for nothing, and
// lossless ones.
func codedMakers() []maker {
	const sof3, sof9, sof10 = 0xc3, 0xc9, 0xca
	all := []byte{1, 2, 3}
	return []maker{
		{"arithmetic code, nothing in it", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			f := &jpegFile{}
			f.begin(sof9, w, h, 0x11, 0x11, 0x11)
			f.scan(nil, 0, 63, 0, 0, all...)
			return f.end()
		}},
		{"arithmetic code of noise", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			f := &jpegFile{}
			f.begin(sof9, w, h, 0x11, 0x11, 0x11)
			f.scan(bytes.ReplaceAll(noise(rng, b.Bytes/2), []byte{0xff}, []byte{0x7f}), 0, 63, 0, 0, all...)
			return f.end()
		}},
		{"arithmetic code, progressive", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			f := &jpegFile{}
			f.begin(sof10, w, h, 0x22, 0x11, 0x11)
			few := bytes.ReplaceAll(noise(rng, 2000), []byte{0xff}, []byte{0x7f})
			f.scan(few, 0, 0, 0, 0, all...)
			for _, c := range all {
				f.scan(few, 1, 63, 0, 1, c)
				f.scan(few, 1, 63, 1, 0, c)
			}
			return f.end()
		}},
		{"arithmetic code, a thousand scans", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			f := &jpegFile{}
			f.begin(sof10, w, h, 0x11)
			few := bytes.ReplaceAll(noise(rng, 10), []byte{0xff}, []byte{0x7f})
			for range min(1000, b.Bytes/24) {
				f.scan(few, 1, 63, 0, 0, 1)
			}
			return f.end()
		}},
		{"lossless, one difference", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, min(b.Pixels, 8*b.Bytes), 65500)
			f := &jpegFile{}
			f.begin(sof3, w, h, 0x11)
			f.scan(make([]byte, w*h/8+1), 7, 0, 0, 0, 1)
			return f.end()
		}},
		{"lossless, nothing in it", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			f := &jpegFile{}
			f.begin(sof3, w, h, 0x22, 0x11, 0x11)
			f.scan(nil, 4, 0, 0, 0, all...)
			return f.end()
		}},
	}
}
