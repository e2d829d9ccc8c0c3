package hostile

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
)

// pngFile is a PNG that is being written.
type pngFile struct{ bytes.Buffer }

// png begins a file: depth in bits, colour type (0 gray, 2 RGB, 3 palette,
// 4 gray and alpha, 6 RGBA), interlace 0 or 1.
func png(width, height int, depth, colour, interlace byte) *pngFile {
	f := &pngFile{}
	f.WriteString("\x89PNG\r\n\x1a\n")
	header := binary.BigEndian.AppendUint32(nil, uint32(width))
	header = binary.BigEndian.AppendUint32(header, uint32(height))
	f.chunk("IHDR", append(header, depth, colour, 0, 0, interlace))
	return f
}

func (f *pngFile) chunk(kind string, body []byte) {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	out = append(append(out, kind...), body...)
	f.Write(binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[4:])))
}

// end ends the file.
func (f *pngFile) end() []byte {
	f.chunk("IEND", nil)
	return f.Bytes()
}

// deflated is n zero bytes in zlib's format, about a thousandth as long.
func deflated(n int) []byte {
	var out bytes.Buffer
	z, err := zlib.NewWriterLevel(&out, zlib.BestSpeed)
	if err != nil {
		panic(err) // no such level
	}
	nothing := make([]byte, 1<<16)
	for ; n > 0; n -= len(nothing) {
		_, _ = z.Write(nothing[:min(n, len(nothing))]) // to memory
	}
	_ = z.Close()
	return out.Bytes()
}

// Bomb is a PNG of about 300 kB that declares edge × edge pixels of three
// bytes and whose data, as far as they go, are 300 MB of zeros.
func Bomb(edge uint32) []byte {
	var packed bytes.Buffer
	z, err := zlib.NewWriterLevel(&packed, zlib.BestCompression)
	if err != nil {
		panic(err) // no such level
	}
	zeros := make([]byte, 1<<20)
	for range 300 {
		_, _ = z.Write(zeros) // to memory
	}
	_ = z.Close()
	f := png(int(edge), int(edge), 8, 2, 0)
	f.chunk("IDAT", packed.Bytes())
	return f.end()
}

// passes is how many bytes Adam7's seven passes have (PNG specification, 8.2),
// bits a pixel.
func passes(width, height, bits int) (n int) {
	for _, p := range [7][4]int{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}} {
		w, h := (width-p[0]+p[2]-1)/p[2], (height-p[1]+p[3]-1)/p[3]
		if w > 0 && h > 0 {
			n += h * (1 + (w*bits+7)/8)
		}
	}
	return n
}

// pngWhole is a kind of whole pictures of zeros.
func pngWhole(kind string, depth, colour, interlace byte, channels int) maker {
	return maker{kind, true, func(rng *rand.Rand, b Budget) []byte {
		w, h := size(rng, b.Pixels, 65500)
		f := png(w, h, depth, colour, interlace)
		if colour == 3 {
			f.chunk("PLTE", []byte{1, 2, 3, 4, 5, 6})
		}
		n := h * (1 + (w*channels*int(depth)+7)/8)
		if interlace == 1 {
			n = passes(w, h, channels*int(depth))
		}
		f.chunk("IDAT", deflated(n))
		return f.end()
	}}
}

// pngStorm is a kind of small whole pictures with many chunks before the data.
func pngStorm(kind string, next func(f *pngFile, rng *rand.Rand, b Budget)) maker {
	return maker{kind, true, func(rng *rand.Rand, b Budget) []byte {
		f := png(16, 16, 8, 2, 0)
		for f.Len() < b.Bytes {
			next(f, rng, b)
		}
		f.chunk("IDAT", deflated(16*49))
		return f.end()
	}}
}

// pngMakers are the kinds of hostile PNG.
func pngMakers() []maker {
	return []maker{
		pngWhole("zeros", 8, 2, 0, 3),
		pngWhole("zeros of 16 bits with alpha", 16, 6, 0, 4),
		pngWhole("zeros of 16 bits with alpha, interlaced", 16, 6, 1, 4),
		pngWhole("zeros of one bit", 1, 0, 0, 1),
		pngWhole("zeros of a palette, interlaced", 1, 3, 1, 1),
		{"zeros far beyond the picture", true, func(rng *rand.Rand, b Budget) []byte {
			f := png(16, 16, 8, 2, 0)
			f.chunk("IDAT", deflated(8*b.Pixels))
			return f.end()
		}},
		{"declared, nothing there", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			f := png(w, h, 16, 6, 1)
			f.chunk("IDAT", deflated(100))
			return f.end()
		}},
		{"declared, no data at all", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			return png(w, h, 16, 6, 0).end()
		}},
		{"data one byte a chunk", true, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, min(b.Pixels, 25*b.Bytes), 65500)
			f := png(w, h, 8, 2, 0)
			for _, c := range deflated(h * (1 + 3*w)) {
				f.chunk("IDAT", []byte{c})
			}
			return f.end()
		}},
		{"empty chunks of data", true, func(_ *rand.Rand, b Budget) []byte {
			f := png(16, 16, 8, 2, 0)
			data := deflated(16 * 49)
			f.chunk("IDAT", data[:4])
			for f.Len() < b.Bytes {
				f.chunk("IDAT", nil)
			}
			f.chunk("IDAT", data[4:])
			return f.end()
		}},
		pngStorm("texts that unpack to much", func(f *pngFile, rng *rand.Rand, b Budget) {
			f.chunk("zTXt", append([]byte("Comment\x00\x00"), deflated(b.Pixels)...))
			f.chunk("iTXt", append([]byte("XML:com.adobe.xmp\x00\x01\x00\x00\x00"), deflated(b.Pixels)...))
		}),
		pngStorm("profiles that unpack to much", func(f *pngFile, rng *rand.Rand, b Budget) {
			f.chunk("iCCP", append([]byte("p\x00\x00"), deflated(b.Pixels)...))
		}),
		pngStorm("raw profiles in texts", func(f *pngFile, rng *rand.Rand, b Budget) {
			f.chunk("tEXt", append([]byte("Raw profile type exif\x00\nexif\n  99999999\n"), bytes.Repeat([]byte("4949"), 500)...))
		}),
		pngStorm("storm of empty texts", func(f *pngFile, rng *rand.Rand, b Budget) {
			f.chunk("tEXt", []byte("a\x00"))
		}),
		pngStorm("storm of EXIF", func(f *pngFile, rng *rand.Rand, b Budget) {
			f.chunk("eXIf", exif(rng, 1+rng.IntN(3000)))
		}),
		pngStorm("storm of frames of an animation", func(f *pngFile, rng *rand.Rand, b Budget) {
			f.chunk("acTL", []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})
			f.chunk("fcTL", noise(rng, 26))
			f.chunk("fdAT", append([]byte{0, 0, 0, 1}, deflated(1<<20)...))
		}),
		{"interlaced noise", false, func(rng *rand.Rand, b Budget) []byte {
			w, h := size(rng, b.Pixels, 65500)
			f := png(w, h, 16, 6, 1)
			var packed bytes.Buffer
			z := zlib.NewWriter(&packed)
			_, _ = z.Write(noise(rng, b.Bytes)) // to memory
			_ = z.Close()
			f.chunk("IDAT", packed.Bytes())
			return f.end()
		}},
	}
}
