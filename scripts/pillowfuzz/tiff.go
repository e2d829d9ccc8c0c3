package main

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/vitserve/vitserve/internal/hostile"
)

// tiffKind is what the pixels of a TIFF are.
type tiffKind struct {
	photometric, bits, format, samples int
	extra                              []int
}

// tiffKinds are those that Pillow knows, and some that it does not.
var tiffKinds = []tiffKind{
	{0, 1, 1, 1, nil}, {1, 1, 1, 1, nil}, {0, 2, 1, 1, nil}, {1, 2, 1, 1, nil}, {0, 4, 1, 1, nil}, {1, 4, 1, 1, nil},
	{0, 8, 1, 1, nil}, {1, 8, 1, 1, nil}, {1, 8, 2, 1, nil}, {1, 12, 1, 1, nil}, {0, 16, 1, 1, nil}, {1, 16, 1, 1, nil}, {1, 16, 2, 1, nil},
	{0, 32, 3, 1, nil}, {1, 32, 1, 1, nil}, {1, 32, 2, 1, nil}, {1, 32, 3, 1, nil}, {1, 64, 3, 1, nil},
	{1, 8, 1, 2, []int{0}}, {1, 8, 1, 2, []int{1}}, {1, 8, 1, 2, []int{2}},
	{2, 8, 1, 3, nil}, {2, 8, 1, 4, nil}, {2, 8, 1, 4, []int{0}}, {2, 8, 1, 4, []int{1}}, {2, 8, 1, 4, []int{2}},
	{2, 8, 1, 5, []int{0, 0}}, {2, 8, 1, 5, []int{1, 0}}, {2, 8, 1, 6, []int{2, 0, 0}},
	{2, 16, 1, 3, nil}, {2, 16, 1, 4, nil}, {2, 16, 1, 4, []int{0}}, {2, 16, 1, 4, []int{1}}, {2, 16, 1, 4, []int{2}},
	{3, 1, 1, 1, nil}, {3, 2, 1, 1, nil}, {3, 4, 1, 1, nil}, {3, 8, 1, 1, nil}, {3, 8, 1, 2, []int{0}}, {3, 8, 1, 2, []int{2}},
	{5, 8, 1, 4, nil}, {5, 8, 1, 5, []int{0}}, {5, 16, 1, 4, nil}, {6, 8, 1, 3, nil}, {6, 8, 1, 1, nil}, {8, 8, 1, 3, nil}, {4, 1, 1, 1, nil},
}

// tiffDrawn is a TIFF being drawn.
type tiffDrawn struct {
	tiffKind
	rng           *rand.Rand
	order         binary.AppendByteOrder
	w, h          int
	blockW        int
	blockH        int
	tiled         bool
	planes        int
	compression   int
	predictor     int
	mirrored      bool
	hs, vs        int // subsampling
	offsets, size []int
	file          []byte
}

// drawTIFF is a TIFF of any kind of pixels, order, code, differences, planes,
// strips or tiles.
func drawTIFF(rng *rand.Rand) []byte {
	t := &tiffDrawn{tiffKind: pick(rng, tiffKinds...), rng: rng, order: binary.LittleEndian, w: 1 + rng.IntN(40), h: 1 + rng.IntN(40), planes: 1, predictor: 1, hs: 1, vs: 1}
	t.file = []byte("II*\x00\x00\x00\x00\x00")
	if rng.IntN(3) == 0 {
		t.order, t.file = binary.BigEndian, []byte("MM\x00*\x00\x00\x00\x00")
	}
	t.tiled = rng.IntN(3) == 0
	t.compression = pick(rng, 1, 1, 5, 5, 8, 8, 32773, 50000, 32946)
	if t.bits == 1 && t.samples == 1 && rng.IntN(2) == 0 && !t.tiled {
		t.compression = pick(rng, 2, 3, 4, 32771) // of noise
	}
	if t.bits == 4 && rng.IntN(6) == 0 {
		t.compression = 32809
	}
	if slices.Contains([]int{5, 8, 32946, 50000}, t.compression) {
		t.predictor = pick(rng, 1, 1, 2, 2, 3)
	}
	if t.samples > 1 && rng.IntN(4) == 0 {
		t.planes = t.samples
	}
	t.mirrored = rng.IntN(8) == 0
	if t.photometric == 6 && t.samples == 3 && t.planes == 1 && t.compression != 1 && rng.IntN(2) == 0 {
		t.hs, t.vs = pick(rng, 1, 2, 4), pick(rng, 1, 2, 4)
		t.predictor = 1
	}
	t.blockW, t.blockH = t.w, t.h
	switch {
	case !t.tiled && rng.IntN(2) == 0:
		t.blockH = 1 + rng.IntN(t.h)
		t.blockH = (t.blockH + t.vs - 1) / t.vs * t.vs
	case t.tiled:
		t.blockW, t.blockH = 16*(1+rng.IntN(3)), 16*(1+rng.IntN(3))
		if rng.IntN(6) == 0 && t.hs*t.vs == 1 {
			t.blockW, t.blockH = 1+rng.IntN(20), 1+rng.IntN(20)
		}
	}
	t.writeBlocks()
	return t.writeTags()
}

// writeBlocks writes tiles or strips, plane by plane.
func (t *tiffDrawn) writeBlocks() {
	for range t.planes {
		for y := 0; y < t.h; y += t.blockH {
			for x := 0; x < t.w; x += t.blockW {
				h := t.blockH
				if !t.tiled {
					h = min(h, t.h-y)
				}
				code := t.code(t.block(h))
				if t.mirrored {
					for i := range code {
						code[i] = bits.Reverse8(code[i])
					}
				}
				t.offsets = append(t.offsets, len(t.file))
				t.size = append(t.size, len(code))
				t.file = append(t.file, code...)
				if len(t.file)%2 == 1 {
					t.file = append(t.file, 0)
				}
			}
		}
	}
}

// block is the samples of a block.
func (t *tiffDrawn) block(h int) []byte {
	row := (t.blockW*t.bits*t.samples/t.planes + 7) / 8
	if t.hs*t.vs > 1 {
		row = (t.blockW + t.hs - 1) / t.hs * (t.hs*t.vs + 2)
		h = (h + t.vs - 1) / t.vs
	}
	out := make([]byte, row*h)
	v := byte(t.rng.Uint32())
	for i := range out {
		if t.rng.IntN(3) == 0 {
			v = byte(t.rng.Uint32())
		}
		out[i] = v
	}
	if t.bits == 32 && t.format == 3 { // of floats most are between 0 and 255
		for i := 0; i+4 <= len(out); i += 4 {
			if t.rng.IntN(8) > 0 {
				copy(out[i:], t.order.AppendUint32(nil, 0x41000000+t.rng.Uint32()&0x3ffffff))
			}
		}
	}
	return out
}

// code is a block in the file's code.
func (t *tiffDrawn) code(data []byte) []byte {
	switch t.compression {
	case 5:
		return lzwTIFF(data)
	case 8, 32946:
		return zlibbed(t.rng, data)
	case 32773:
		return packed(t.rng, data)
	case 50000:
		w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<15))
		if err != nil {
			panic(err)
		}
		return w.EncodeAll(data, nil)
	}
	return data
}

// lzwTIFF is LZW (TIFF 6.0, section 13).
func lzwTIFF(data []byte) (out []byte) {
	acc, have, width := uint32(0), 0, 9
	put := func(v int) {
		acc, have = acc<<width|uint32(v), have+width
		for ; have >= 8; have -= 8 {
			out = append(out, byte(acc>>(have-8)))
		}
	}
	codes := map[string]int{}
	next := 258
	put(256)
	var last []byte
	code := func(s []byte) int {
		if len(s) == 1 {
			return int(s[0])
		}
		return codes[string(s)]
	}
	for _, b := range data {
		s := append(bytes.Clone(last), b)
		if _, ok := codes[string(s)]; ok || len(s) == 1 {
			last = s
			continue
		}
		put(code(last))
		codes[string(s)] = next
		if next++; next == 1<<width {
			width++
		}
		if next == 4094 {
			put(256)
			clear(codes)
			width, next = 9, 258
		}
		last = []byte{b}
	}
	if len(last) > 0 {
		put(code(last))
		if next++; next == 1<<width && width < 12 {
			width++
		}
	}
	put(257)
	width = 8
	put(0)
	return out
}

// packed is PackBits, with what does nothing here and there.
func packed(rng *rand.Rand, data []byte) (out []byte) {
	for len(data) > 0 {
		n := 1
		for n < len(data) && n < 128 && data[n] == data[0] {
			n++
		}
		switch {
		case n > 2:
			out = append(out, byte(1-n), data[0])
		default:
			n = min(len(data), 1+rng.IntN(128))
			out = append(append(out, byte(n-1)), data[:n]...)
		}
		data = data[n:]
		if rng.IntN(20) == 0 {
			out = append(out, 0x80)
		}
	}
	return out
}

// writeTags writes the directory behind the blocks.
func (t *tiffDrawn) writeTags() []byte {
	type tag struct {
		id, kind int
		values   []int
	}
	all := func(v, n int) (out []int) {
		for range n {
			out = append(out, v)
		}
		return out
	}
	tags := []tag{{256, 4, []int{t.w}}, {257, 4, []int{t.h}}, {258, 3, all(t.bits, t.samples)}, {259, 3, []int{t.compression}}, {262, 3, []int{t.photometric}}}
	if t.mirrored {
		tags = append(tags, tag{266, 3, []int{2}})
	}
	offsets, sizes := 273, 279
	if t.tiled {
		offsets, sizes = 324, 325
		tags = append(tags, tag{322, 4, []int{t.blockW}}, tag{323, 4, []int{t.blockH}})
	} else {
		tags = append(tags, tag{278, 4, []int{t.blockH}})
	}
	if t.rng.IntN(20) == 0 && len(t.offsets) > 1 && t.compression == 1 {
		t.offsets = t.offsets[:1+t.rng.IntN(len(t.offsets))] // the others have no place
	}
	tags = append(tags, tag{offsets, 4, t.offsets}, tag{sizes, 4, t.size}, tag{277, 3, []int{t.samples}})
	if t.planes > 1 {
		tags = append(tags, tag{284, 3, []int{2}})
	}
	if t.compression == 3 {
		tags = append(tags, tag{292, 4, []int{t.rng.IntN(8)}})
	}
	if t.predictor > 1 {
		tags = append(tags, tag{317, 3, []int{t.predictor}})
	}
	if t.photometric == 3 {
		colors := make([]int, 3<<t.bits)
		for i := range colors {
			colors[i] = int(t.rng.Uint32() & 0xffff)
		}
		tags = append(tags, tag{320, 3, colors})
	}
	if len(t.extra) > 0 {
		tags = append(tags, tag{338, 3, t.extra})
	}
	if t.format > 1 {
		tags = append(tags, tag{339, 3, all(t.format, t.samples)})
	}
	if t.photometric == 6 {
		if t.hs*t.vs > 1 || t.rng.IntN(4) > 0 {
			tags = append(tags, tag{530, 3, []int{t.hs, t.vs}})
		}
		if t.rng.IntN(3) == 0 {
			tags = append(tags, tag{532, 4, []int{16, 235, 128, 240, 128, 240}})
		}
	}
	slices.SortFunc(tags, func(a, b tag) int { return a.id - b.id })
	var entries []byte
	for _, g := range tags {
		var v []byte
		for _, n := range g.values {
			if g.kind == 3 {
				v = t.order.AppendUint16(v, uint16(n))
			} else {
				v = t.order.AppendUint32(v, uint32(n))
			}
		}
		if len(v) > 4 {
			at := len(t.file)
			t.file = append(t.file, v...)
			v = t.order.AppendUint32(nil, uint32(at))
		}
		v = append(v, 0, 0, 0, 0)[:4]
		entries = t.order.AppendUint16(entries, uint16(g.id))
		entries = t.order.AppendUint16(entries, uint16(g.kind))
		entries = t.order.AppendUint32(entries, uint32(len(g.values)))
		entries = append(entries, v...)
	}
	if len(t.file)%2 == 1 {
		t.file = append(t.file, 0)
	}
	head := t.order.AppendUint32(bytes.Clone(t.file[:4]), uint32(len(t.file)))
	copy(t.file, head)
	out := t.order.AppendUint16(t.file, uint16(len(tags)))
	return append(append(out, entries...), 0, 0, 0, 0)
}

// mutateTIFF spoils a TIFF in a tag's numbers, or anywhere.
func mutateTIFF(rng *rand.Rand, file []byte) []byte {
	var order binary.ByteOrder = binary.LittleEndian
	if len(file) > 8 && file[0] == 'M' {
		order = binary.BigEndian
	}
	if len(file) < 10 || rng.IntN(3) > 0 {
		return hostile.Mutate(rng, file)
	}
	at := int(order.Uint32(file[4:]))
	if at < 8 || at+2 > len(file) {
		return hostile.Mutate(rng, file)
	}
	n := int(order.Uint16(file[at:]))
	i := at + 2 + 12*rng.IntN(max(n, 1))
	if i+12 > len(file) {
		return hostile.Mutate(rng, file)
	}
	file = bytes.Clone(file)
	small := []uint16{0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 32, uint16(rng.IntN(64)), uint16(rng.Uint32())}
	switch rng.IntN(4) {
	case 0:
		order.PutUint16(file[i+8:], pick(rng, small...))
	case 1:
		order.PutUint32(file[i+8:], uint32(pick(rng, small...)))
	case 2:
		order.PutUint32(file[i+4:], uint32(pick(rng, small...)))
	default: // the tag gone
		copy(file[i:], []byte{0xfe, 0xfe})
	}
	return file
}
