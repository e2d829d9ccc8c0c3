package patch

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// fixtures are the files of testdata/formats, by name.
func fixtures(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/formats/*")
	require.NoError(t, err)
	files := map[string][]byte{}
	for _, p := range paths {
		if strings.HasSuffix(p, ".golden.png") {
			continue
		}
		files[filepath.Base(p)], err = os.ReadFile(p)
		require.NoError(t, err)
	}
	require.NotEmpty(t, files)
	return files
}

func golden(t testing.TB, name string) *image.NRGBA {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata/formats", name+".golden.png"))
	require.NoError(t, err)
	m, err := png.Decode(bytes.NewReader(data))
	require.NoError(t, err)
	n, err := opaque(m)
	require.NoError(t, err)
	return n
}

// difference is the mean and the greatest difference of two pictures' bytes.
func difference(t testing.TB, want, got *image.NRGBA) (mean float64, greatest int) {
	t.Helper()
	require.Equal(t, want.Rect, got.Rect)
	sum := 0
	for i, v := range want.Pix {
		d := int(v) - int(got.Pix[i])
		d = max(d, -d)
		sum += d
		greatest = max(greatest, d)
	}
	return float64(sum) / float64(len(want.Pix)/4*3), greatest
}

// TestDecode compares every format and mode with Pillow: the same
// pixels.
func TestDecode(t *testing.T) {
	for name, data := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			p, err := Decode(t.Context(), data, Options{})
			require.NoError(t, err)
			ext := strings.NewReplacer("jpg", "jpeg", "tif", "tiff").Replace(strings.TrimPrefix(filepath.Ext(name), "."))
			require.Equal(t, ext, p.Format)
			for i := 3; i < len(p.Image.Pix); i += 4 {
				require.EqualValues(t, 255, p.Image.Pix[i])
			}
			_, greatest := difference(t, golden(t, name), p.Image)
			require.Zero(t, greatest)
		})
	}
}

func TestDecodeErrors(t *testing.T) {
	files := fixtures(t)
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"nothing", nil, ErrFormat},
		{"text", []byte("just a few words that are called photo.png"), ErrFormat},
		{"html", []byte("<!DOCTYPE html>"), ErrFormat},
		{"heic", []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00"), ErrFormat},
		{"png cut in its signature", files["rgb8.png"][:6], ErrFormat},
		{"png cut in its header", files["rgb8.png"][:20], ErrImage},
		{"png cut in its data", files["rgb8.png"][:len(files["rgb8.png"])/2], ErrImage},
		{"jpeg cut in its header", files["420.jpg"][:100], ErrImage},
		{"jpeg cut in its scan", files["420.jpg"][:len(files["420.jpg"])*3/4], ErrImage},
		{"webp cut", files["lossy67x45.webp"][:200], ErrImage},
		{"gif cut", files["plain.gif"][:len(files["plain.gif"])-200], ErrImage},
		{"bmp cut", files["rgb.bmp"][:300], ErrImage},
		{"tiff cut", files["rgb_lzw.tif"][:100], ErrImage},
		{"png of no width", patched(files["rgb8.png"], 16, 0, 0, 0, 0), ErrImage},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Decode(t.Context(), c.data, Options{})
			require.ErrorIs(t, err, c.want)
		})
	}
}

// patched returns a copy of data with some bytes at an offset changed.
func patched(data []byte, at int, b ...byte) []byte {
	data = bytes.Clone(data)
	copy(data[at:], b)
	return data
}

func TestDecodeLimit(t *testing.T) {
	data := fixtures(t)["420.jpg"] // 67×45
	_, err := Decode(t.Context(), data, Options{MaxPixels: 67*45 - 1})
	require.ErrorIs(t, err, ErrSize)
	require.ErrorContains(t, err, "67×45")
	_, err = Decode(t.Context(), data, Options{MaxPixels: 67 * 45})
	require.NoError(t, err)
}

func TestDecodeTrailingData(t *testing.T) {
	for _, name := range []string{"420.jpg", "rgb8.png", "plain.gif", "lossy67x45.webp", "rgb.bmp", "rgb_lzw.tif"} {
		data := append(bytes.Clone(fixtures(t)[name]), "and more"...)
		p, err := Decode(t.Context(), data, Options{})
		require.NoError(t, err, name)
		want, err := Decode(t.Context(), fixtures(t)[name], Options{})
		require.NoError(t, err)
		require.Equal(t, want.Image.Pix, p.Image.Pix, name)
	}
}

// TestOpaque has a random picture of every type the decoders may return
// converted through its own rows and through At.
func TestOpaque(t *testing.T) {
	r := image.Rect(3, 2, 20, 11)
	rng := rand.New(rand.NewPCG(1, 2))
	fill := func(p []byte) {
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
	}
	gray, gray16 := image.NewGray(r), image.NewGray16(r)
	fill(gray.Pix)
	fill(gray16.Pix)
	nrgba, nrgba64, rgba, rgba64 := image.NewNRGBA(r), image.NewNRGBA64(r), image.NewRGBA(r), image.NewRGBA64(r)
	fill(nrgba.Pix)
	fill(nrgba64.Pix)
	for i := 0; i < len(rgba.Pix); i += 4 {
		fill(rgba.Pix[i : i+3])
		rgba.Pix[i+3] = 255
		fill(rgba64.Pix[2*i : 2*i+6])
		rgba64.Pix[2*i+6], rgba64.Pix[2*i+7] = 255, 255
	}
	paletted := image.NewPaletted(r, color.Palette{color.NRGBA{1, 2, 3, 0}, color.NRGBA{4, 5, 6, 128}, color.RGBA{7, 8, 9, 255}, color.Gray{77}})
	for i := range paletted.Pix {
		paletted.Pix[i] = byte(i % 4)
	}
	for _, m := range []image.Image{gray, gray16, nrgba, nrgba64, rgba, rgba64, paletted} {
		got, err := opaque(m)
		require.NoError(t, err)
		require.Equal(t, image.Rect(0, 0, 17, 9), got.Rect)
		for y := range 9 {
			for x := range 17 {
				var want color.NRGBA
				switch c := m.At(x+3, y+2).(type) {
				case color.NRGBA:
					want = c
				case color.NRGBA64:
					want = color.NRGBA{uint8(c.R >> 8), uint8(c.G >> 8), uint8(c.B >> 8), 0}
				default:
					want = color.NRGBAModel.Convert(c).(color.NRGBA)
				}
				want.A = 255
				require.Equal(t, want, got.NRGBAAt(x, y), "%T", m)
			}
		}
	}
	// An index beyond the palette must not panic.
	paletted.Pix[0] = 200
	got, err := opaque(paletted)
	require.NoError(t, err)
	require.Equal(t, color.NRGBA{0, 0, 0, 255}, got.NRGBAAt(0, 0))

	_, err = opaque(image.NewAlpha(r))
	require.Error(t, err)
	_, err = opaque(image.NewNRGBA(image.Rectangle{}))
	require.Error(t, err)
}

// TestDecodeGray16 holds the one difference from Pillow: it clips 16-bit gray
// at 255, which turns almost every such picture white; the high byte is what
// its sender means.
func TestDecodeGray16(t *testing.T) {
	m := image.NewGray16(image.Rect(0, 0, 2, 1))
	m.SetGray16(0, 0, color.Gray16{0x1234})
	m.SetGray16(1, 0, color.Gray16{0xfeff})
	var buf bytes.Buffer
	require.NoError(t, png.Encode(&buf, m))
	p, err := Decode(t.Context(), buf.Bytes(), Options{})
	require.NoError(t, err)
	require.Equal(t, []byte{0x12, 0x12, 0x12, 255, 0xfe, 0xfe, 0xfe, 255}, p.Image.Pix)
}
