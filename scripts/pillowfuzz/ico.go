package main

import (
	"encoding/binary"
	"math/rand/v2"
)

// drawDIB is a BMP without its file header.
func drawDIB(rng *rand.Rand) []byte { return drawBMP(rng)[14:] }

// drawICO is an icon of up to four pictures, with the directory right or not.
func drawICO(rng *rand.Rand) []byte {
	le := binary.LittleEndian
	n := 1 + rng.IntN(4)
	entries, frames := make([]byte, 0, 16*n), []byte(nil)
	for range n {
		frame, bits := iconFrame(rng)
		entry := []byte{byte(rng.IntN(40)), byte(rng.IntN(40)), 0, 0, 1, 0}
		if rng.IntN(4) == 0 {
			entry[2], bits = byte(rng.IntN(256)), 0
		}
		entry = le.AppendUint16(entry, uint16(bits))
		entry = le.AppendUint32(entry, uint32(len(frame)))
		entries = append(entries, le.AppendUint32(entry, uint32(6+16*n+len(frames)))...)
		frames = append(frames, frame...)
	}
	return append(append([]byte{0, 0, 1, 0, byte(n), 0}, entries...), frames...)
}

// iconFrame is a PNG, or a BMP of twice the rows with a mask behind the pixels.
func iconFrame(rng *rand.Rand) (frame []byte, bits int) {
	if rng.IntN(3) == 0 {
		return drawPNG(rng), 32
	}
	le := binary.LittleEndian
	frame = drawDIB(rng)
	w, h := 0, 0
	if frame[0] == 12 {
		w, h = int(le.Uint16(frame[4:])), int(le.Uint16(frame[6:]))
		bits = int(le.Uint16(frame[10:]))
		le.PutUint16(frame[6:], uint16(2*h))
	} else {
		w, h = int(le.Uint32(frame[4:])), int(int32(le.Uint32(frame[8:])))
		bits = int(le.Uint16(frame[14:]))
		le.PutUint32(frame[8:], uint32(int32(2*h+rng.IntN(2))))
	}
	if bits != 32 || rng.IntN(3) == 0 {
		frame = append(frame, make([]byte, (w+31)/32*4*max(h, -h))...)
	}
	return frame, bits
}
