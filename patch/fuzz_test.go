package patch

import (
	"image"
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
