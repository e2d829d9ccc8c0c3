package hostile

import "math/rand/v2"

// twelve megapixels are what a limit on scans is judged by.
const twelve = 12_000_000

// progressiveMakers are the kinds of hostile progressive JPEG.
func progressiveMakers(edge int) []maker {
	return []maker{
		{"progressive, all gray", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			return progressive(w, h, 3).end()
		}},
		{"progressive, four inks", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			return progressive(w, h, 4).end()
		}},
		{"refinement scans of nothing", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, min(b.Pixels, twelve), edge)
			return refined(b, w, h, 1, emptyRuns(blocks(w, h)))
		}},
		{"refinement scans of one long run each", false, func(rng *rand.Rand, b Budget) []byte {
			// A band of one coefficient after the other, each in all its bits.
			w, h := size(rng, b.Pixels, edge)
			f := progressive(w, h, 3)
			run := emptyRuns(blocks(w, h))
			for i := 0; f.Len() < b.Bytes/2; i++ {
				k, al := byte(1+i/10%63), byte(9-i%10)
				ah := al + 1
				if al == 9 {
					ah = 0
				}
				f.scan(run, k, k, ah, al, byte(1+i/630%3))
			}
			return f.end()
		}},
		{"refinement of a coefficient in every block", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, min(b.Pixels, twelve), edge)
			n := blocks(w, h)
			var first, again bits
			for range n {
				first.symbol(1)
				first.put(rng.Uint32(), 1)
				first.symbol(0)
			}
			for left := n; left > 0; left -= 32767 {
				again.symbol(2)
				again.put(1<<14-1, 14)
				for range min(left, 32767) {
					again.put(rng.Uint32(), 1)
				}
			}
			f := progressive(w, h, 1)
			f.scan(first.done(), 1, 63, 0, 1, 1)
			data := again.done()
			for range f.fill(b, len(data)+10) {
				f.scan(data, 1, 63, 1, 0, 1)
			}
			return f.end()
		}},
		{"dense coefficients, every scan", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, min(b.Pixels, 4*b.Bytes), edge)
			n := blocks(w, h)
			var first bits
			for range n {
				for range 63 {
					first.symbol(1)
					first.put(rng.Uint32(), 1)
				}
			}
			f := progressive(w, h, 1)
			f.scan(first.done(), 1, 63, 0, 1, 1)
			var again bits
			for range n {
				again.symbol(0)
				for range 63 {
					again.put(rng.Uint32(), 1)
				}
			}
			data := again.done()
			for range f.fill(b, len(data)+10) {
				f.scan(data, 1, 63, 1, 0, 1)
			}
			return f.end()
		}},
		{"runs of sixteen zeros", true, func(rng *rand.Rand, b Budget) []byte {
			// Blocks that end at 0xf0 three times and an end of block.
			w, h := size(rng, min(b.Pixels, 20*b.Bytes), edge)
			var data bits
			for range blocks(w, h) {
				data.symbol(3)
				data.symbol(3)
				data.symbol(3)
				data.symbol(0)
			}
			f := progressive(w, h, 1)
			f.scan(data.done(), 1, 63, 0, 0, 1)
			return f.end()
		}},
		{"headers of scans without data", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			f := progressive(w, h, 3)
			for i := range f.fill(b, 10) {
				f.scan(nil, byte(1+rng.IntN(63)), 63, 1, 0, byte(1+i%3))
			}
			return f.end()
		}},
		{"DC scans again and again", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels/8, edge)
			f := progressive(w, h, 3)
			data := zeros(3 * blocks(w, h))
			for i := range f.fill(b, len(data)+14) {
				al := byte(12 - i%13)
				f.scan(data, 0, 0, al+1, al, 1, 2, 3)
			}
			return f.end()
		}},
		{"progressive with a restart in every unit", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, min(b.Pixels, 10*b.Bytes), edge)
			f := &jpegFile{}
			f.begin(sof2, w, h, 0x11)
			f.segment(dri, 0, 1)
			f.scan(restarts(blocks(w, h), 0x7f), 0, 0, 0, 0, 1)
			f.scan(restarts(blocks(w, h), 0x7f), 1, 63, 0, 0, 1)
			return f.end()
		}},
		{"progressive noise", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, min(b.Pixels, 8*b.Bytes), edge)
			f := progressive(w, h, 3)
			for i := range f.fill(b, 40_010) {
				f.scan(noise(rng, 40_000), 1, 63, 0, 0, byte(1+i%3))
			}
			return f.end()
		}},
	}
}

// refined is a progressive picture with as many refinement scans of its
// components as the budget takes.
func refined(b Budget, width, height, components int, scan []byte) []byte {
	f := progressive(width, height, components)
	for c := range components {
		f.scan(scan, 1, 63, 0, 1, byte(c+1))
	}
	for i := range max(1, (b.Bytes/4-f.Len())/(len(scan)+10)) {
		f.scan(scan, 1, 63, 1, 0, byte(i%components+1))
	}
	return f.end()
}

// restarts are n units of one byte each, with a restart marker between.
func restarts(n int, unit byte) []byte {
	out := make([]byte, 0, 3*n)
	for i := range n {
		out = append(out, unit)
		if i < n-1 {
			out = append(out, 0xff, byte(rst0+i%8))
		}
	}
	return out
}
