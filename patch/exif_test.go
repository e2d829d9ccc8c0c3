package patch

import (
	"context"
	"errors"
	"fmt"
	"image"
	"testing"

	"github.com/disintegration/imaging"
	"github.com/stretchr/testify/require"
)

func wraps(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// TestOrientation relies on TestDecode for the pixels: the goldens of these
// files are upright.
func TestOrientation(t *testing.T) {
	files := fixtures(t)
	for n := 1; n <= 8; n++ {
		name := fmt.Sprintf("exif%d.png", n)
		p, err := Decode(t.Context(), files[name], Options{})
		require.NoError(t, err)
		require.Equal(t, n, p.Orientation)
		asIs, err := Decode(t.Context(), files[name], Options{IgnoreEXIF: true})
		require.NoError(t, err)
		require.Equal(t, 1, asIs.Orientation)
		require.Equal(t, 7, asIs.Image.Rect.Dx())
		require.Equal(t, turned(asIs.Image, n).Pix, p.Image.Pix)
	}
	for _, name := range []string{"exif6.jpg", "exif6.webp", "exif6.tif"} {
		p, err := Decode(t.Context(), files[name], Options{})
		require.NoError(t, err)
		require.Equal(t, 6, p.Orientation, name)
		require.Equal(t, 30, p.Image.Rect.Dx(), name)
	}
	require.Equal(t, 1, orientation("jpeg", files["420.jpg"]))
}

func TestEXIFOrientation(t *testing.T) {
	for _, c := range []struct {
		tiff string
		want int
	}{
		{"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x08\x00\x00\x00", 8},
		{"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x05\x00\x00", 5},
		{"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x05\x00\x00", 5},
		{"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x09\x00\x00\x00", 1}, // no such orientation
		{"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x04\x00\x01\x00\x00\x00\x06\x00\x00\x00", 6}, // 32 bits, which Pillow takes, too
		{"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x01\x00\x01\x00\x00\x00\x06\x00\x00\x00", 1}, // a byte
		{"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x02\x00\x00\x00\x06\x00\x00\x00", 6}, // two of them
		{"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x08\x00\x01\x00\x00\x00\x06\x00\x00\x00", 6}, // signed
		{"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x0b\x00\x01\x00\x00\x00\x00\x00\xc0\x40", 6}, // a float
		{"Exif\x00\x00Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x08\x00\x00\x00", 8},
		{"II\x00*\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x07\x00\x00\x00", 7},
		{"II*\x00\x08\x00\x00\x00\xff\xff\x11\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00", 1}, // entries beyond the end
		{"II*\x00\xff\xff\xff\xff\x01\x00", 1},
		{"II*\x00\x08\x00", 1},
		{"XX*\x00\x08\x00\x00\x00\x01\x00", 1},
		{"", 1},
	} {
		require.Equal(t, c.want, undone([]byte(c.tiff), nil), "%q", c.tiff)
	}
}

func FuzzOrientation(f *testing.F) {
	for name, data := range fixtures(f) {
		if name[:4] == "exif" {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if format, err := sniff(data); err == nil {
			n := orientation(format.name, data)
			require.True(t, n >= 1 && n <= 8)
		}
	})
}

// turned undoes an orientation with imaging.
func turned(m *image.NRGBA, orientation int) *image.NRGBA {
	turn := map[int]func(image.Image) *image.NRGBA{
		2: imaging.FlipH, 3: imaging.Rotate180, 4: imaging.FlipV,
		5: imaging.Transpose, 6: imaging.Rotate270, 7: imaging.Transverse, 8: imaging.Rotate90,
	}[orientation]
	if turn == nil {
		return imaging.Clone(m)
	}
	return turn(m)
}

// TestUpright turns pictures of odd sizes as imaging does.
func TestUpright(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {1, 9}, {9, 1}, {31, 33}, {32, 64}, {70, 45}} {
		for n := range 9 {
			m := noise(size[0], size[1])
			want := turned(m, n)
			got, err := upright(t.Context(), m, n)
			require.NoError(t, err)
			require.Equal(t, want, got, "%v, orientation %d", size, n)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for n := 2; n < 9; n++ {
		_, err := upright(ctx, noise(40, 40), n)
		require.ErrorIs(t, err, context.Canceled)
	}
}
