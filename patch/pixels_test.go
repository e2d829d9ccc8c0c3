package patch

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/tensor"
	"pgregory.net/rapid"
)

// TestPixelsJPEG: rows that go straight from planes into the resize, only
// those and only as wide as the model sees, give what the whole picture gives.
func TestPixelsJPEG(t *testing.T) {
	files := fixtures(t)
	files["photo.jpg"] = photo(t, 333, 251)
	var names []string
	for name, data := range files {
		if f, err := sniff(data); err == nil && f.name == "jpeg" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	require.Greater(t, len(names), 15)
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(names).Draw(t, "file")
		data := files[name]
		if n := rapid.IntRange(1, 8).Draw(t, "orientation"); name[:4] != "exif" {
			data = oriented(data, byte(n))
		}
		edge := func(name string) int { return rapid.IntRange(1, 70).Draw(t, name) }
		tr := good()
		tr.Size, tr.Resize = [2]int{edge("H"), edge("W")}, [2]int{edge("rh"), edge("rw")}
		tr.Interpolation = rapid.SampledFrom([]Interpolation{Nearest, Bilinear, Bicubic, Lanczos}).Draw(t, "how")
		tr.Fit = rapid.SampledFrom([]Fit{FitShort, FitSquash, FitLong, FitCrop}).Draw(t, "fit")
		want := tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(3, tr.Size[0], tr.Size[1]))
		got := want.Clone().(*tensor.Dense)
		p, err := Decode(t.Context(), data, Options{})
		require.NoError(t, err)
		g1, err := tr.PhotoPixels(t.Context(), want, p)
		require.NoError(t, err)
		g2, err := tr.Pixels(t.Context(), got, data, Options{})
		require.NoError(t, err)
		require.Equal(t, g1, g2)
		require.Equal(t, want.Float32s(), got.Float32s())
		_, err = tr.Pixels(t.Context(), got, data, Options{Resize: ResizeFast}) // no panic, whatever the sizes
		require.NoError(t, err)
	})
}

// TestPixelsConcurrent: requests beside each other share pools and nothing
// else.
func TestPixelsConcurrent(t *testing.T) {
	files := [][]byte{photo(t, 333, 251), photo(t, 640, 480), fixtures(t)["422.jpg"], fixtures(t)["rgb8.png"]}
	pixels := func(i int) ([]float32, error) {
		dst := tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(3, 224, 224))
		o := Options{Resize: []Resize{ResizeExact, ResizeFast}[i/len(files)%2]}
		_, err := good().Pixels(t.Context(), dst, files[i%len(files)], o)
		return dst.Float32s(), err
	}
	want := make([][]float32, 2*len(files))
	for i := range want {
		var err error
		want[i], err = pixels(i)
		require.NoError(t, err)
	}
	t.Run("group", func(t *testing.T) {
		for worker := range 4 {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for i := range 24 {
					i := (i*5 + worker) % len(want)
					got, err := pixels(i)
					require.NoError(t, err)
					require.Equal(t, want[i], got)
				}
			})
		}
	})
}
