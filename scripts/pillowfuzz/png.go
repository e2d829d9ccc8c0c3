package main

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
)

// pngChunk is a chunk with its sum.
func pngChunk(name string, body []byte) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	out = append(append(out, name...), body...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[4:]))
}

// zlibbed is data in a zlib stream of any level.
func zlibbed(rng *rand.Rand, data []byte) []byte {
	var b bytes.Buffer
	w, _ := zlib.NewWriterLevel(&b, rng.IntN(10)) // of a level that there is
	_, _ = w.Write(data)                          // to memory
	_ = w.Close()
	return b.Bytes()
}

// pngRows is the filtered rows of a picture, of any filters.
func pngRows(rng *rand.Rand, w, h, bits int, interlaced bool) []byte {
	var out []byte
	pass := func(w, h int) {
		for range h {
			if w == 0 {
				return
			}
			out = append(out, byte(rng.IntN(5)))
			step := byte(rng.Uint32())
			v := byte(rng.Uint32())
			for range (w*bits + 7) / 8 {
				if v += step; rng.IntN(4) == 0 {
					v = byte(rng.Uint32())
				}
				out = append(out, v)
			}
		}
	}
	if !interlaced {
		pass(w, h)
		return out
	}
	for _, p := range [7][4]int{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}} {
		pass((w-p[0]+p[2]-1)/p[2], (h-p[1]+p[3]-1)/p[3])
	}
	return out
}

// drawPNG is a PNG of any kind with chunks of every kind about it.
func drawPNG(rng *rand.Rand) []byte {
	kinds := [][2]int{{1, 0}, {2, 0}, {4, 0}, {8, 0}, {16, 0}, {8, 2}, {16, 2}, {1, 3}, {2, 3}, {4, 3}, {8, 3}, {8, 4}, {16, 4}, {8, 6}, {16, 6}}
	kind := kinds[rng.IntN(len(kinds))]
	depth, color := kind[0], kind[1]
	samples := map[int]int{0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
	w, h := 1+rng.IntN(40), 1+rng.IntN(40)
	interlaced := rng.IntN(3) == 0
	header := binary.BigEndian.AppendUint32(nil, uint32(w))
	header = binary.BigEndian.AppendUint32(header, uint32(h))
	header = append(header, byte(depth), byte(color), 0, 0, byte(0))
	if interlaced {
		header[12] = 1
	}
	var before, after [][]byte
	add := func(name string, body []byte) {
		to := &before
		if rng.IntN(4) == 0 {
			to = &after
		}
		*to = append(*to, pngChunk(name, body))
	}
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	if color == 3 || rng.IntN(12) == 0 {
		before = append(before, pngChunk("PLTE", noise(3*pick(rng, 1<<min(depth, 8), 1+rng.IntN(256)))))
	}
	if rng.IntN(3) == 0 {
		n := map[int]int{0: 2, 2: 6, 3: 1 + rng.IntN(256)}[color]
		add("tRNS", noise(n))
	}
	for range rng.IntN(3) {
		switch rng.IntN(9) {
		case 0:
			add("iCCP", append([]byte("name\x00\x00"), zlibbed(rng, noise(rng.IntN(300)))...))
		case 1:
			add("zTXt", append([]byte("Comment\x00"+pick(rng, "\x00", "\x00", "\x01")), zlibbed(rng, bytes.Repeat([]byte("text "), rng.IntN(30)))...))
		case 2:
			add("iTXt", append([]byte("Comment\x00"+pick(rng, "\x00\x00", "\x01\x00", "\x01\x01")+"en\x00\x00"), zlibbed(rng, noise(40))...))
		case 3:
			add("tEXt", append([]byte("Comment\x00"), noise(rng.IntN(40))...))
		case 4:
			add("gAMA", noise(4))
		case 5:
			add("pHYs", noise(9))
		case 6:
			add("eXIf", noise(rng.IntN(60)))
		case 7:
			add(pick(rng, "bKGD", "sBIT", "cHRM", "sRGB", "tIME", "hIST", "abCd", "cICP"), noise(rng.IntN(33)))
		default:
			before = append(before, apng(rng, w, h)...)
		}
	}
	rng.Shuffle(len(before), func(i, j int) {
		if rng.IntN(3) == 0 {
			before[i], before[j] = before[j], before[i]
		}
	})
	out := append([]byte("\x89PNG\r\n\x1a\n"), pngChunk("IHDR", header)...)
	out = append(out, bytes.Join(before, nil)...)
	data := zlibbed(rng, pngRows(rng, w, h, depth*samples, interlaced))
	for len(data) > 0 {
		n := len(data)
		if rng.IntN(3) == 0 {
			n = rng.IntN(len(data) + 1)
		}
		out = append(out, pngChunk("IDAT", data[:n])...)
		data = data[n:]
	}
	out = append(out, bytes.Join(after, nil)...)
	return append(out, pngChunk("IEND", nil)...)
}

// apng is the chunks that make a picture the first frame of some, which may be
// smaller than the canvas.
func apng(rng *rand.Rand, w, h int) [][]byte {
	be := binary.BigEndian
	control := be.AppendUint32(be.AppendUint32(nil, uint32(1+rng.IntN(3))), uint32(rng.IntN(3)))
	chunks := [][]byte{pngChunk("acTL", control)}
	if rng.IntN(3) == 0 {
		return chunks
	}
	fw, fh := w, h
	x, y := 0, 0
	if rng.IntN(2) == 0 {
		fw, fh = 1+rng.IntN(w), 1+rng.IntN(h)
		x, y = rng.IntN(w-fw+1), rng.IntN(h-fh+1)
	}
	frame := be.AppendUint32(nil, 0)
	for _, v := range []int{fw, fh, x, y} {
		frame = be.AppendUint32(frame, uint32(v))
	}
	frame = append(frame, 0, 1, 0, 10, byte(rng.IntN(3)), byte(rng.IntN(2)))
	return append(chunks, pngChunk("fcTL", frame))
}
