package main

import (
	"bytes"
	"compress/lzw"
	"encoding/binary"
	"math/rand/v2"
)

// drawGIF is a GIF of one or two frames with blocks of every kind about them.
func drawGIF(rng *rand.Rand) []byte {
	le := binary.LittleEndian
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	table := func(out []byte, flags byte) ([]byte, byte) { // of colours, or none
		if rng.IntN(3) == 0 {
			return out, flags
		}
		n := rng.IntN(8)
		colors := noise(3 << (n + 1))
		if rng.IntN(8) == 0 { // grays
			for i := range colors {
				colors[i] = byte(i / 3)
			}
		}
		return append(out, colors...), flags | 0x80 | byte(n)
	}
	w, h := rng.IntN(41), rng.IntN(41)
	out := le.AppendUint16([]byte(pick(rng, "GIF87a", "GIF89a")), uint16(w))
	out = le.AppendUint16(out, uint16(h))
	out = append(out, 0, byte(rng.IntN(256)), 0)
	out, out[10] = table(out, 0x70)
	for range 1 + rng.IntN(2) {
		for range rng.IntN(3) {
			switch rng.IntN(5) {
			case 0:
				out = append(out, 0x21, 0xfe, 5)
				out = append(append(out, noise(5)...), 0)
			case 1:
				out = append(append(out, "\x21\xff\x0bNETSCAPE2.0\x03\x01"...), 0, 0, 0)
			case 2:
				out = append(out, 0x21, byte(rng.IntN(256)), 3, 1, 2, 3, 0)
			case 3:
				out = append(out, 0)
			default:
				out = append(out, 0x21, 0xf9, 4, byte(rng.IntN(32)), byte(rng.Uint32()), 0, byte(rng.IntN(256)), 0)
			}
		}
		fw, fh := 1+rng.IntN(40), 1+rng.IntN(40)
		out = append(out, 0x2c)
		for _, v := range []int{rng.IntN(12), rng.IntN(12), fw, fh} {
			out = le.AppendUint16(out, uint16(v))
		}
		at := len(out)
		out = append(out, byte(rng.IntN(2)<<6))
		out, out[at] = table(out, out[at])
		bits := 2 + rng.IntN(7)
		pixels := noise(fw*fh + rng.IntN(2)*rng.IntN(9))
		for i := range pixels {
			pixels[i] &= 1<<bits - 1
		}
		var code bytes.Buffer
		z := lzw.NewWriter(&code, lzw.LSB, bits)
		_, _ = z.Write(pixels) // to memory
		_ = z.Close()
		out = append(out, byte(bits))
		for b := code.Bytes(); len(b) > 0; {
			n := min(len(b), 1+rng.IntN(255))
			out = append(append(out, byte(n)), b[:n]...)
			b = b[n:]
		}
		out = append(out, 0)
	}
	return append(out, ';')
}
