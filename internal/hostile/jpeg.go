package hostile

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
)

// Markers of JPEG (ITU-T T.81, table B.1).
const (
	sof0, sof2, dht, rst0, soi, eoi, sos, dqt, dnl, dri, app0, app1, app2, com = 0xc0, 0xc2, 0xc4, 0xd0, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xe0, 0xe1, 0xe2, 0xfe
)

// Symbols of the Huffman tables that every file here has. The codes are unary:
// symbol i is i ones and a zero, so that zero bytes are pictures.
var (
	dcSymbols = []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
	acSymbols = []byte{0x00, 0x01, 0xe0, 0xf0, 0x11, 0x02, 0x10, 0xd0, 0x21, 0x31, 0x03}
)

// jpegFile is a JPEG that is being written.
type jpegFile struct{ bytes.Buffer }

// segment appends a marker with its length and body.
func (f *jpegFile) segment(marker byte, body ...byte) {
	f.Write([]byte{0xff, marker, byte((len(body) + 2) >> 8), byte(len(body) + 2)})
	f.Write(body)
}

func (f *jpegFile) mark(marker byte) { f.Write([]byte{0xff, marker}) }

// huffman defines table id of a class (0: DC, 1: AC) with unary codes.
func (f *jpegFile) huffman(class, id byte, symbols []byte) {
	body := make([]byte, 17, 17+len(symbols))
	body[0] = class<<4 | id
	for i := range symbols {
		body[1+i] = 1
	}
	f.segment(dht, append(body, symbols...)...)
}

// begin writes all that comes before the first scan: one byte of sampling for
// each component.
func (f *jpegFile) begin(sof byte, width, height int, sampling ...byte) {
	f.mark(soi)
	f.segment(dqt, append([]byte{0}, bytes.Repeat([]byte{3}, 64)...)...)
	body := []byte{8, byte(height >> 8), byte(height), byte(width >> 8), byte(width), byte(len(sampling))}
	for i, s := range sampling {
		body = append(body, byte(i+1), s, 0)
	}
	f.segment(sof, body...)
	f.huffman(0, 0, dcSymbols)
	f.huffman(1, 0, acSymbols)
}

// scan writes the header of a scan over components and its entropy-coded data.
func (f *jpegFile) scan(data []byte, ss, se, ah, al byte, components ...byte) {
	body := []byte{byte(len(components))}
	for _, c := range components {
		body = append(body, c, 0)
	}
	f.segment(sos, append(body, ss, se, ah<<4|al)...)
	f.Write(data)
}

// end ends the file.
func (f *jpegFile) end() []byte {
	f.mark(eoi)
	return f.Bytes()
}

// bits are entropy-coded data that are being written.
type bits struct {
	out  []byte
	acc  uint32
	have int
}

// put appends the n ≤ 16 low bits of v.
func (b *bits) put(v uint32, n int) {
	b.acc, b.have = b.acc<<n|v&(1<<n-1), b.have+n
	for b.have >= 8 {
		c := byte(b.acc >> (b.have - 8))
		b.out = append(b.out, c)
		if c == 0xff {
			b.out = append(b.out, 0)
		}
		b.have -= 8
	}
}

// symbol appends the code of the i-th symbol of a table.
func (b *bits) symbol(i int) { b.put(1<<(i+1)-2, i+1) }

// done fills the last byte with ones and returns the data.
func (b *bits) done() []byte {
	if b.have > 0 {
		b.put(0xff, 8-b.have)
	}
	return b.out
}

// zeros are n bits that are zero.
func zeros(n int) []byte {
	out := make([]byte, n/8+1)
	out[n/8] = 0xff >> (n % 8)
	if n%8 == 0 {
		return out[:n/8]
	}
	return out
}

// blocks returns how many blocks of 8×8 a component of one sample a pixel has.
func blocks(width, height int) int { return ((width + 7) / 8) * ((height + 7) / 8) }

// emptyRuns are a scan's data in which no block has anything: runs of 32,767.
func emptyRuns(n int) []byte {
	var b bits
	for ; n > 0; n -= 32767 {
		b.symbol(2) // 0xe0
		b.put(1<<14-1, 14)
	}
	return b.done()
}

// sequential is a whole picture of nothing: two bits a block. Sampling is that
// of equal components.
func sequential(width, height, components int) *jpegFile {
	f := &jpegFile{}
	f.begin(sof0, width, height, bytes.Repeat([]byte{0x11}, components)...)
	f.scan(zeros(2*components*blocks(width, height)), 0, 63, 0, 0, []byte{1, 2, 3, 4}[:components]...)
	return f
}

// progressive is a picture whose first scan, of all DC coefficients, is whole.
func progressive(width, height, components int) *jpegFile {
	f := &jpegFile{}
	f.begin(sof2, width, height, bytes.Repeat([]byte{0x11}, components)...)
	f.scan(zeros(components*blocks(width, height)), 0, 0, 0, 0, []byte{1, 2, 3, 4}[:components]...)
	return f
}

// fill returns how many pieces of n bytes fill what a budget leaves.
func (f *jpegFile) fill(b Budget, n int) int { return max(1, (b.Bytes-f.Len())/max(n, 1)) }

// jpegMakers are the kinds of hostile JPEG.
func jpegMakers() []maker {
	const edge = 65500
	return append([]maker{
		{"declared, nothing there", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			f := &jpegFile{}
			f.begin(sof2, w, h, 0x11, 0x11, 0x11)
			f.scan(noise(rng, 20), 0, 0, 0, 0, 1, 2, 3)
			return f.end()
		}},
		{"sequential, all gray", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			return sequential(w, h, 3).end()
		}},
		{"sequential, four inks", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			return sequential(w, h, 4).end()
		}},
		{"one row of pixels", true, func(rng *rand.Rand, b Budget) []byte {
			return sequential(min(edge, b.Pixels)-rng.IntN(8), 1+rng.IntN(8), 3).end()
		}},
		{"one column of pixels", true, func(rng *rand.Rand, b Budget) []byte {
			return sequential(1+rng.IntN(8), min(edge, b.Pixels)-rng.IntN(8), 3).end()
		}},
		{"sampling that makes blocks of nothing", true, func(rng *rand.Rand, b Budget) []byte {
			// Units of 4×4 blocks of one component beside one block of the others.
			w, h := size(rng, b.Pixels, edge)
			f := &jpegFile{}
			f.begin(sof0, w, h, 0x42, 0x11, 0x11)
			units := ((w + 31) / 32) * ((h + 15) / 16)
			f.scan(zeros(2*10*units), 0, 63, 0, 0, 1, 2, 3)
			return f.end()
		}},
		{"sequential noise", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, edge)
			f := &jpegFile{}
			f.begin(sof0, w, h, 0x22, 0x11, 0x11)
			f.scan(bytes.ReplaceAll(noise(rng, b.Bytes), []byte{0xff}, []byte{0xff, 0}), 0, 63, 0, 0, 1, 2, 3)
			return f.end()
		}},
		{"a scan of each component again and again", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels/16, edge)
			f := &jpegFile{}
			f.begin(sof0, w, h, 0x11, 0x11, 0x11)
			one := zeros(2 * blocks(w, h))
			for i := range f.fill(b, len(one)+12) {
				f.scan(one, 0, 63, 0, 0, byte(1+i%3))
			}
			return f.end()
		}},
	}, append(progressiveMakers(edge), stormMakers()...)...)
}

// exif is a TIFF of one folder whose entries point at each other and at
// themselves, as a body of APP1, eXIf or EXIF.
func exif(rng *rand.Rand, entries int) []byte {
	out := []byte("II*\x00\x08\x00\x00\x00")
	out = binary.LittleEndian.AppendUint16(out, uint16(entries))
	for range entries {
		out = binary.LittleEndian.AppendUint16(out, []uint16{0x8769, 0x8825, 0xa005, 0x010e, 0x0111}[rng.IntN(5)])
		out = binary.LittleEndian.AppendUint16(out, uint16(rng.IntN(14)))
		out = binary.LittleEndian.AppendUint32(out, []uint32{1, 0xffffffff, 0x7fffffff, 0}[rng.IntN(4)])
		out = binary.LittleEndian.AppendUint32(out, []uint32{8, 0, 0xfffffff0, 10}[rng.IntN(4)])
	}
	return binary.LittleEndian.AppendUint32(out, 8) // the next folder is this one
}
