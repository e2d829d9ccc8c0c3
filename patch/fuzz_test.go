package patch

import (
	"bytes"
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzDecode throws any bytes at whichever decoder they are for.
func FuzzDecode(f *testing.F) {
	for _, data := range fixtures(f) {
		f.Add(data)
	}
	f.Fuzz(decodes)
}

// One target for each decoder finds more than one for all of them.
func FuzzJPEG(f *testing.F) { fuzzFormat(f, "jpeg") }
func FuzzPNG(f *testing.F)  { fuzzFormat(f, "png") }
func FuzzWebP(f *testing.F) { fuzzFormat(f, "webp") }
func FuzzGIF(f *testing.F)  { fuzzFormat(f, "gif") }
func FuzzBMP(f *testing.F)  { fuzzFormat(f, "bmp") }
func FuzzDIB(f *testing.F)  { fuzzFormat(f, "dib") }
func FuzzICO(f *testing.F)  { fuzzFormat(f, "ico") }
func FuzzTIFF(f *testing.F) { fuzzFormat(f, "tiff") }

// fuzzFormat starts from the files of one format and leaves
// out what has become of another.
func fuzzFormat(f *testing.F, format string) {
	for _, data := range fixtures(f) {
		if found, err := sniff(data); err == nil && found.name == format {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if found, err := sniff(data); err == nil && found.name == format {
			decodes(t, data)
		}
	})
}

// FuzzLZMA reads any bytes as LZMA2, with windows of any size, to at most so many
// bytes as a code can become, and the same in one piece as in many.
func FuzzLZMA(f *testing.F) {
	for name, data := range fixtures(f) {
		if strings.HasPrefix(name, "lzma") {
			f.Add(data[bytes.Index(data, []byte("\xfd7zXZ")):], uint16(0), uint8(7))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, window uint16, piece uint8) {
		if b, err := openXZ(data); err == nil {
			data = b.code
		}
		size := int64(window) + 1<<12
		most := 1 << 16
		whole := make([]byte, most)
		n, _ := newLZMA(t.Context(), data, size).Read(whole)
		r := newLZMA(t.Context(), data, size)
		part := make([]byte, int(piece)+1)
		for at := 0; at < n; {
			k, _ := r.Read(part[:min(len(part), n-at)])
			require.Positive(t, k)
			require.Equal(t, whole[at:at+k], part[:k])
			at += k
		}
	})
}

// FuzzHEIF reads any boxes: what is found is within the file, and a still picture
// is not longer than it.
func FuzzHEIF(f *testing.F) {
	paths, err := filepath.Glob("external/testdata/pictures/*.*")
	require.NoError(f, err)
	for _, p := range paths {
		if strings.HasSuffix(p, ".heic") || strings.HasSuffix(p, ".avif") {
			data, err := os.ReadFile(p)
			require.NoError(f, err)
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		used := allocated(func() {
			kind := NamesKind(data)
			if kind != HEIC && kind != AVIF {
				return
			}
			if c, err := outsideFormats[kind].config(data); err == nil {
				require.GreaterOrEqual(t, c.Width, 0)
				require.GreaterOrEqual(t, c.Height, 0)
			}
			o := heifOrientation(data)
			require.True(t, o >= 1 && o <= 8, o)
			before := bytes.Clone(data)
			if still, err := stillHEIF(data); err == nil {
				require.LessOrEqual(t, len(still), len(data))
			}
			require.Equal(t, before, data, "the file is not changed")
		})
		require.Less(t, used, uint64(16*len(data)+1<<20))
	})
}

// decodes: whatever the bytes are, they become a picture of the declared size
// or one of the package's errors, within a bound on memory.
func decodes(t *testing.T, data []byte) {
	const maxPixels = 1 << 18
	o := Options{MaxPixels: maxPixels}
	var p *Photo
	var err error
	used := allocated(func() { p, err = Decode(t.Context(), data, o) })
	// Pixels as in TestMutated, and what a file's own length makes of it.
	require.Less(t, used, uint64(64*maxPixels+4<<20+16*len(data)))
	if err != nil {
		require.True(t, wraps(err, ErrFormat, ErrImage, ErrSize), err)
		return
	}
	d, err := Declared(data, o)
	require.NoError(t, err)
	w, h := d.Width, d.Height
	got := p.Image.Rect
	require.Equal(t, image.Point{}, got.Min)
	if storage[p.Orientation].transposed {
		w, h = h, w
	}
	require.Equal(t, [2]int{w, h}, [2]int{got.Dx(), got.Dy()})
}
