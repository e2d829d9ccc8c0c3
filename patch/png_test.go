package patch

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"image"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// pngKind is a PNG of one colour type.
type pngKind struct {
	w, h, depth, color int
	interlaced         bool
}

func (k pngKind) file() *pngFile {
	return &pngFile{width: k.w, height: k.h, depth: k.depth, color: k.color, interlaced: k.interlaced, frame: image.Rect(0, 0, k.w, k.h)}
}

// write makes a file whose inflated rows are what fill makes of them; extra is
// put behind the palette.
func (k pngKind) write(level int, fill func(row []byte), extra ...[]byte) []byte {
	var z bytes.Buffer
	deflate, err := zlib.NewWriterLevel(&z, level)
	if err != nil {
		panic(err)
	}
	for _, s := range k.file().passes() {
		w, h, n := k.file().size(s)
		if w <= 0 {
			continue
		}
		row := make([]byte, n)
		for range h {
			fill(row)
			deflate.Write(row)
		}
	}
	deflate.Close()
	be := binary.BigEndian
	header := be.AppendUint32(be.AppendUint32(nil, uint32(k.w)), uint32(k.h))
	header = append(header, byte(k.depth), byte(k.color), 0, 0, 0)
	if k.interlaced {
		header[12] = 1
	}
	out := append([]byte("\x89PNG\r\n\x1a\n"), pngChunk("IHDR", header)...)
	if k.color == pngPalette {
		colors := make([]byte, 3<<k.depth-3) // one is lacking
		for i := range colors {
			colors[i] = byte(i * 7)
		}
		out = append(out, pngChunk("PLTE", colors)...)
	}
	for _, e := range extra {
		out = append(out, e...)
	}
	for data := z.Bytes(); len(data) > 0; { // parts of odd sizes
		n := min(len(data), 5003)
		out = append(out, pngChunk("IDAT", data[:n])...)
		data = data[n:]
	}
	return append(out, pngChunk("IEND", nil)...)
}

func pngChunk(name string, body []byte) []byte {
	out := append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), name...)
	out = append(out, body...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[4:]))
}

// pngKinds are all that exist, at an odd size.
func pngKinds(w, h int) (kinds []pngKind) {
	for _, depth := range []int{1, 2, 4, 8, 16} {
		for color, samples := range pngSamples {
			if samples == 0 || depth < 8 && color != pngGray && color != pngPalette || depth == 16 && color == pngPalette {
				continue
			}
			kinds = append(kinds, pngKind{w, h, depth, color, false}, pngKind{w, h, depth, color, true})
		}
	}
	return kinds
}

func TestPNGLikeStandard(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 5))
	noise := func(row []byte) {
		for i := range row {
			row[i] = byte(rng.Uint32())
		}
		row[0] %= 5
	}
	var files [][]byte
	for _, size := range [][2]int{{1, 1}, {3, 9}, {37, 21}, {64, 3}} {
		for _, k := range pngKinds(size[0], size[1]) {
			files = append(files, k.write(6, noise))
			for _, n := range []int{2, 6, 3} {
				files = append(files, k.write(0, noise, pngChunk("tRNS", make([]byte, n))))
			}
		}
	}
	k := pngKind{9, 9, 8, pngRGB, false}
	whole := k.write(6, noise)
	end := len(whole) - 12
	files = append(files,
		k.write(6, noise, pngChunk("PLTE", make([]byte, 9)), pngChunk("tRNS", make([]byte, 6))),
		k.write(6, noise, pngChunk("tRNS", make([]byte, 6)), pngChunk("PLTE", make([]byte, 9))),
		k.write(6, noise, pngChunk("IHDR", whole[16:29])),
		k.write(6, noise, pngChunk("IEND", nil)),
		k.write(6, func(row []byte) { row[0] = 5 }),
		k.write(6, noise, pngChunk("IDAT", nil)),
		append(bytes.Clone(whole[:end]), pngChunk("IDAT", []byte("more"))...),
		append(append(bytes.Clone(whole[:end]), pngChunk("IDAT", []byte("more"))...), whole[end:]...),
		append(append(bytes.Clone(whole[:end]), pngChunk("tEXt", nil)...), pngChunk("IEND", []byte{1})...),
		whole[:end], whole[:end+4],
	)
	for _, data := range files {
		likeStandard(t, "png", data)
	}
	mutatedLikeStandard(t, "png", files)
}

// TestPNGRefusedByLength: what no data of its length can become is refused
// before there is memory for it.
func TestPNGRefusedByLength(t *testing.T) {
	k := pngKind{2000, 2000, 16, pngRGBA, true}
	data := k.write(9, func([]byte) {})
	_, err := Declared(data, Options{})
	require.NoError(t, err)
	first := bytes.Index(data, []byte("IDAT"))
	second := first + 5003 + 12
	short := append(bytes.Clone(data[:second-4]), pngChunk("IEND", nil)...)
	used := allocated(func() {
		_, err = Decode(t.Context(), short, Options{})
	})
	require.ErrorIs(t, err, ErrImage)
	require.ErrorContains(t, err, "5003 bytes of IDAT inflate to 5163096 at most, 2000×2000 pixels need 32")
	require.Less(t, used, uint64(1<<20))
}

// TestPNGFrame: pixels before which a frame's header stands are its part of the
// canvas; the rest has the first colour of the palette, or is black.
func TestPNGFrame(t *testing.T) {
	be := binary.BigEndian
	frame := func(number, w, h, x, y uint32) []byte {
		b := be.AppendUint32(nil, number)
		for _, v := range []uint32{w, h, x, y} {
			b = be.AppendUint32(b, v)
		}
		return pngChunk("fcTL", append(b, 0, 1, 0, 1, 0, 0))
	}
	header := func(depth, color byte) []byte {
		return pngChunk("IHDR", []byte{0, 0, 0, 4, 0, 0, 0, 3, depth, color, 0, 0, 0})
	}
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	_, err := w.Write([]byte{0, 1, 2, 0, 1, 0}) // two rows of two
	require.NoError(t, err)
	require.NoError(t, w.Close())
	pixels := pngChunk("IDAT", z.Bytes())
	file := func(chunks ...[]byte) []byte {
		return append([]byte("\x89PNG\r\n\x1a\n"), bytes.Join(append(chunks, pixels, pngChunk("IEND", nil)), nil)...)
	}
	reds := func(data []byte) (out []byte) {
		p, err := Decode(t.Context(), data, Options{})
		require.NoError(t, err)
		for i := 0; i < len(p.Image.Pix); i += 4 {
			require.Equal(t, byte(255), p.Image.Pix[i+3])
			out = append(out, p.Image.Pix[i])
		}
		return out
	}
	palette := pngChunk("PLTE", []byte{7, 0, 0, 8, 0, 0, 9, 0, 0})
	require.Equal(t, []byte{0, 0, 0, 0, 0, 1, 2, 0, 0, 1, 0, 0}, reds(file(header(8, 0), frame(0, 2, 2, 1, 1))))
	require.Equal(t, []byte{7, 7, 7, 7, 7, 7, 8, 9, 7, 7, 8, 7}, reds(file(header(8, 3), palette, frame(0, 2, 2, 2, 1))))
	// What is no frame of this canvas, or not the next one, is passed over.
	short := file(header(8, 0), frame(1, 2, 2, 1, 1), frame(0, 2, 2, 3, 1))
	_, err = Decode(t.Context(), short, Options{})
	require.ErrorContains(t, err, "not enough pixel data")
}
