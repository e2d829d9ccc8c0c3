package patch

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// tagged returns a copy of a little-endian TIFF in which a tag of one 16-bit
// number has another value. A tag that is not there takes the place of another
// one, so that the order stays.
func tagged(t *testing.T, data []byte, tag, at, value uint16) []byte {
	data = bytes.Clone(data)
	le := binary.LittleEndian
	entries := data[le.Uint32(data[4:])+2:]
	for range le.Uint16(data[le.Uint32(data[4:]):]) {
		if le.Uint16(entries) == at {
			le.PutUint16(entries, tag)
			le.PutUint16(entries[2:], 3)
			le.PutUint32(entries[4:], 1)
			le.PutUint32(entries[8:], uint32(value))
			return data
		}
		entries = entries[12:]
	}
	require.Fail(t, "no such tag", "%d", at)
	return nil
}

// TestKinds: a file of a kind that the decoders lack is told from a broken
// one, and the error says what is lacking.
func TestKinds(t *testing.T) {
	files := fixtures(t)
	lzw, gray, rgba := files["rgb_lzw.tif"], files["gray.tif"], files["rgba.tif"]
	bmp, palette := files["rgb.bmp"], files["palette.bmp"]
	frame := bytes.Index(files["420.jpg"], []byte("\xff\xc0"))
	for _, c := range []struct {
		name string
		data []byte
		want error
		says string
	}{
		{"tiff in old JPEG that is none", tagged(t, lzw, tiffCompression, tiffCompression, 6), ErrImage, "JPEG of the old kind"},
		{"tiff in WebP", tagged(t, lzw, tiffCompression, tiffCompression, 50001), ErrFormat, "compression value 50001"},
		{"tiff in LZMA that is none", tagged(t, lzw, tiffCompression, tiffCompression, 34925), ErrImage, "no LZMA data"},
		{"tiff whose JPEG is none", tagged(t, lzw, tiffCompression, tiffCompression, 7), ErrImage, "no start of an image"},
		{"tiff of 5 bits", tagged(t, gray, 258, 258, 5), ErrFormat, "BitsPerSample of 5"},
		{"tiff of Lab", tagged(t, gray, tiffPhotometric, tiffPhotometric, 8), ErrImage, "1 samples a pixel in color model 8, want 3"},
		{"tiff of too few inks", tagged(t, gray, tiffPhotometric, tiffPhotometric, 5), ErrImage, "1 samples a pixel in color model 5, want 4"},
		{"tiff with a sample that is no number", tagged(t, rgba, tiffSampleFormat, tiffExtra, 4), ErrFormat, "sample format"},
		{"big tiff", []byte("II+\x00\x08\x00\x00\x00"), ErrImage, "no TIFF header"},
		{"tiff of no width", tagged(t, lzw, 256, 256, 0), ErrImage, "zero-size"},
		{"tiff without its strip", gray[:len(gray)-100], ErrImage, "the file ends too early"},
		{"bmp with a JPEG", patched(bmp, 30, 4), ErrFormat, "compression 4"},
		{"bmp of other fields", patched(bmp, 30, 3), ErrFormat, "bit fields"},
		{"bmp of runs of colours", patched(bmp, 30, 1), ErrImage, "run-length coding needs 4 or 8 bits a pixel, found 24"},
		{"bmp of short runs", patched(palette, 30, 1), ErrImage, "truncated BMP: runs of"},
		{"bmp of 23 bits", patched(bmp, 28, 23, 0), ErrImage, "23 bits a pixel"},
		{"bmp with a header of 41 bytes", patched(bmp, 14, 41), ErrImage, "header of 41 bytes"},
		{"bmp of negative width", patched(bmp, 21, 0x80), ErrImage, "-2147483608×30 pixels"},
		{"jpeg of 12 bits", patched(files["420.jpg"], frame+4, 12), ErrFormat, "precision"},
		{"jpeg in lossless arithmetic code", patched(files["420.jpg"], frame+1, 0xcb), ErrFormat, "marker"},
		{"jpeg of no such sampling", patched(files["420.jpg"], frame+11, 0x55), ErrImage, "subsampling"},
		{"png of no such depth", patched(files["gray8.png"], 24, 3), ErrImage, "bit depth 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Decode(t.Context(), c.data, Options{})
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, c.says)
		})
	}
}
