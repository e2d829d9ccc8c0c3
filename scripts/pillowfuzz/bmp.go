package main

import (
	"encoding/binary"
	"math/rand/v2"
)

// bmpMasks are bit fields that decoders know, and others.
var bmpMasks = map[int][][4]uint32{
	16: {{0xf800, 0x7e0, 0x1f, 0}, {0x7c00, 0x3e0, 0x1f, 0}, {0xf00, 0xf0, 0xf, 0xf000}},
	24: {{0xff0000, 0xff00, 0xff, 0}, {0xff, 0xff00, 0xff0000, 0}},
	32: {{0xff0000, 0xff00, 0xff, 0}, {0xff0000, 0xff00, 0xff, 0xff000000}, {0xff, 0xff00, 0xff0000, 0xff000000}, {0xff000000, 0xff0000, 0xff00, 0xff}, {0xff000000, 0xff0000, 0xff00, 0}, {0, 0, 0, 0}, {0x3ff00000, 0xffc00, 0x3ff, 0}},
}

// drawBMP is a BMP of any header, depth, palette and compression.
func drawBMP(rng *rand.Rand) []byte {
	le := binary.LittleEndian
	w, h := 1+rng.IntN(40), 1+rng.IntN(40)
	size := pick(rng, 12, 40, 40, 40, 52, 56, 64, 108, 124)
	bits := pick(rng, 1, 4, 4, 8, 8, 8, 16, 24, 32)
	compression := uint32(0)
	switch {
	case size == 12:
	case bits == 8 && rng.IntN(2) == 0:
		compression = 1
	case bits == 4 && rng.IntN(2) == 0:
		compression = 2
	case bits >= 16 && rng.IntN(2) == 0:
		compression = 3
	}
	header := le.AppendUint32(nil, uint32(size))
	if size == 12 {
		header = le.AppendUint16(header, uint16(w))
		header = le.AppendUint16(header, uint16(h))
	} else {
		header = le.AppendUint32(header, uint32(w))
		high := uint32(h)
		if compression != 1 && compression != 2 && rng.IntN(3) == 0 {
			high = -high
		}
		header = le.AppendUint32(header, high)
	}
	header = le.AppendUint16(header, 1)
	header = le.AppendUint16(header, uint16(bits))
	colors, entry := 0, 4
	if bits <= 8 {
		colors = 1 << bits
	}
	if size == 12 {
		entry = 3
	} else {
		header = le.AppendUint32(header, compression)
		header = le.AppendUint32(header, 0)
		header = append(header, make([]byte, 8)...)
		said := uint32(0)
		if colors > 0 && rng.IntN(2) == 0 {
			colors = 1 + rng.IntN(colors)
			said = uint32(colors)
		}
		header = le.AppendUint32(header, said)
		header = le.AppendUint32(header, 0)
	}
	var masks []byte
	if compression == 3 {
		m := pick(rng, bmpMasks[bits]...)
		n := 3
		if size >= 56 {
			n = 4
		}
		for _, v := range m[:n] {
			masks = le.AppendUint32(masks, v)
		}
		if size >= 52 {
			header = append(header, masks...)
			masks = nil
		}
	}
	for len(header) < size {
		header = append(header, 0)
	}
	gray := rng.IntN(4) == 0
	palette := masks
	for i := range colors {
		c := [4]byte{byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())}
		if v := byte(i); gray {
			if colors == 2 {
				v *= 255
			}
			c = [4]byte{v, v, v}
		}
		palette = append(palette, c[:entry]...)
	}
	if rng.IntN(4) == 0 { // a gap before the pixels
		palette = append(palette, make([]byte, rng.IntN(20))...)
	}
	var pixels []byte
	if compression == 1 || compression == 2 {
		pixels = bmpRuns(rng, w, h, compression == 2)
	} else {
		pixels = make([]byte, (w*bits+31)/32*4*h)
		for i := range pixels {
			pixels[i] = byte(rng.Uint32())
		}
	}
	out := le.AppendUint32([]byte("BM"), uint32(14+size+len(palette)+len(pixels)))
	out = append(out, 0, 0, 0, 0)
	out = le.AppendUint32(out, uint32(14+size+len(palette)))
	out = append(append(out, header...), palette...)
	return append(out, pixels...)
}

// bmpRuns is run-length code of every kind.
func bmpRuns(rng *rand.Rand, w, h int, four bool) []byte {
	var out []byte
	x, y := 0, 0
	for y < h {
		switch k := rng.IntN(20); {
		case k == 0:
			dx, dy := rng.IntN(max(1, w-x)), rng.IntN(2)
			out = append(out, 0, 2, byte(dx), byte(dy))
			x, y = x+dx, y+dy
		case k == 1:
			out = append(out, 0, 0)
			x, y = 0, y+1
		case k < 9 && w-x >= 3:
			n := 3 + rng.IntN(min(250, w-x-2))
			out = append(out, 0, byte(n))
			size := n
			if four {
				size = (n + 1) / 2
			}
			for range size {
				out = append(out, byte(rng.Uint32()))
			}
			if size%2 == 1 {
				out = append(out, 0)
			}
			x += n
		default:
			n := 1 + rng.IntN(min(254, max(1, w-x)))
			out = append(out, byte(n), byte(rng.Uint32()))
			x += n
		}
		if x >= w {
			if rng.IntN(8) > 0 {
				out = append(out, 0, 0)
			}
			x, y = 0, y+1
		}
	}
	return append(out, 0, 1)
}
