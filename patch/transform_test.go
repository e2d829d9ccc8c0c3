package patch

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/json"
	"image"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/disintegration/imaging"
	"github.com/stretchr/testify/require"
	"gorgonia.org/tensor"
	"pgregory.net/rapid"
)

func noise(w, h int) *image.NRGBA {
	rng := rand.New(rand.NewPCG(uint64(w), uint64(h)))
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = byte(rng.Uint32())
		if i%4 == 3 {
			m.Pix[i] = 255
		}
	}
	return m
}

// resample brings m to rw × rh and keeps win of it.
func resample(m *image.NRGBA, rw, rh int, win window, how Interpolation) []float32 {
	out := make([]float32, 3*win.w*win.h)
	err := plan{rw: rw, rh: rh, how: resize{how: how}, crop: win, inside: win}.sample(context.Background(), out, picture{m}, m.Rect.Dx(), m.Rect.Dy(), 1)
	if err != nil {
		panic(err)
	}
	return out
}

// TestTransform holds every fit, interpolation and rounding against timm,
// torchvision and transformers, all with Pillow below them: not one grey
// level's difference.
func TestTransform(t *testing.T) {
	var cases []struct {
		Name, Photo string
		Transform   Transform
	}
	text, err := os.ReadFile("testdata/transforms.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &cases))
	packed, err := os.ReadFile("testdata/transforms.bin.z")
	require.NoError(t, err)
	z, err := zlib.NewReader(bytes.NewReader(packed))
	require.NoError(t, err)
	pixels, err := io.ReadAll(z)
	require.NoError(t, err)
	require.Greater(t, len(cases), 80)

	for _, c := range cases {
		h, w := c.Transform.Size[0], c.Transform.Size[1]
		want := pixels[:3*h*w]
		pixels = pixels[3*h*w:]
		t.Run(c.Name, func(t *testing.T) {
			require.NoError(t, c.Transform.Validate())
			data, err := os.ReadFile(filepath.Join("testdata/photos", c.Photo))
			require.NoError(t, err)
			dst := tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(3, h, w))
			_, err = c.Transform.Pixels(t.Context(), dst, data, Options{})
			require.NoError(t, err)
			for i, v := range dst.Float32s() {
				require.Equal(t, float32(want[i])/255, v, "value %d", i)
			}
		})
	}
	require.Empty(t, pixels)
}

// TestResampleImaging is a second opinion on large sizes, where the goldens
// are small: imaging's kernels in floating point, at most one grey level off.
func TestResampleImaging(t *testing.T) {
	for _, c := range []struct {
		how    Interpolation
		filter imaging.ResampleFilter
	}{{Bilinear, imaging.Linear}, {Bicubic, imaging.CatmullRom}, {Lanczos, imaging.Lanczos}} {
		for _, size := range [][4]int{{643, 480, 299, 224}, {120, 90, 341, 256}, {1000, 37, 64, 64}, {50, 50, 50, 20}, {50, 50, 20, 50}} {
			m := noise(size[0], size[1])
			want := imaging.Resize(m, size[2], size[3], c.filter)
			n := size[2] * size[3]
			got := resample(m, size[2], size[3], window{0, 0, size[2], size[3]}, c.how)
			for i := range n {
				for j := range 3 {
					require.InDelta(t, unit[want.Pix[4*i+j]], got[j*n+i], 1.01/255, "%v %v", c.how, size)
				}
			}
		}
	}
}

// TestResampleWindow: a part computed alone is that part of the whole.
func TestResampleWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		edge := func(name string) int { return rapid.IntRange(1, 60).Draw(t, name) }
		sw, sh, rw, rh := edge("sw"), edge("sh"), edge("rw"), edge("rh")
		how := rapid.SampledFrom([]Interpolation{Nearest, Bilinear, Bicubic, Lanczos}).Draw(t, "how")
		x, y := rapid.IntRange(0, rw-1).Draw(t, "x"), rapid.IntRange(0, rh-1).Draw(t, "y")
		win := window{x, y, rapid.IntRange(1, rw-x).Draw(t, "w"), rapid.IntRange(1, rh-y).Draw(t, "h")}
		m := noise(sw, sh)
		whole := resample(m, rw, rh, window{0, 0, rw, rh}, how)
		part := resample(m, rw, rh, win, how)
		for i, v := range part {
			c, r, x := i/(win.w*win.h), i/win.w%win.h, i%win.w
			require.Equal(t, whole[c*rw*rh+(win.y+r)*rw+win.x+x], v)
		}
	})
}

// TestSampleOrientation: reading a stored photo in its orientation is reading
// the upright one.
func TestSampleOrientation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		edge := func(name string) int { return rapid.IntRange(1, 50).Draw(t, name) }
		m := noise(edge("w"), edge("h"))
		n := rapid.IntRange(1, 8).Draw(t, "orientation")
		tr := good()
		tr.Size, tr.Resize = [2]int{edge("H"), edge("W")}, [2]int{edge("rh"), edge("rw")}
		tr.Interpolation = rapid.SampledFrom([]Interpolation{Nearest, Bilinear, Bicubic, Lanczos}).Draw(t, "how")
		tr.Fit = rapid.SampledFrom([]Fit{FitShort, FitSquash, FitLong, FitCrop}).Draw(t, "fit")
		want := tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(3, tr.Size[0], tr.Size[1]))
		got := want.Clone().(*tensor.Dense)
		up := turned(m, n)
		g1, err := tr.source(t.Context(), want, picture{up}, up.Rect.Dx(), up.Rect.Dy(), 1)
		require.NoError(t, err)
		g2, err := tr.source(t.Context(), got, picture{m}, m.Rect.Dx(), m.Rect.Dy(), n)
		require.NoError(t, err)
		require.Equal(t, want.Float32s(), got.Float32s())
		g1.Orientation = n
		require.Equal(t, g1, g2)
	})
}

func good() Transform {
	return Transform{
		Size: [2]int{224, 224}, Fit: FitShort, Resize: [2]int{256, 256}, Interpolation: Bicubic, Rounding: RoundTorchvision,
		Mean: [3]float32{0.5, 0.5, 0.5}, Std: [3]float32{0.5, 0.5, 0.5},
	}
}

func TestValidate(t *testing.T) {
	require.NoError(t, good().Validate())
	for name, spoil := range map[string]func(*Transform){
		"size 0":         func(t *Transform) { t.Size[0] = 0 },
		"size":           func(t *Transform) { t.Size[1] = 1 << 20 },
		"resize":         func(t *Transform) { t.Resize[0] = -1 },
		"fit":            func(t *Transform) { t.Fit = "loose" },
		"interpolation":  func(t *Transform) { t.Interpolation = "mitchell" },
		"interpolation ": func(t *Transform) { t.Interpolation = "" },
		"resampler":      func(t *Transform) { t.Resampler = "opencv" },
		"rescale":        func(t *Transform) { t.Rescale = -1 },
		"rescale NaN":    func(t *Transform) { t.Rescale = math.NaN() },
		"rounding":       func(t *Transform) { t.Rounding = "" },
		"mean":           func(t *Transform) { t.Mean[0] = float32(math.NaN()) },
		"std":            func(t *Transform) { t.Std[2] = 0 },
	} {
		tr := good()
		spoil(&tr)
		require.Error(t, tr.Validate(), name)
	}
	require.ErrorContains(t, Transform{}.Validate(), "rounding")
}

func TestWith(t *testing.T) {
	for p, want := range map[Preprocess]Fit{"": FitShort, PreprocessModel: FitShort, PreprocessCrop: FitCrop, PreprocessNone: FitNone} {
		tr, err := good().With(p)
		require.NoError(t, err)
		require.Equal(t, want, tr.Fit)
		require.NoError(t, tr.Validate())
	}
	_, err := good().With("all")
	require.Error(t, err)

	none, err := good().With(PreprocessNone)
	require.NoError(t, err)
	dst := tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(3, 224, 224))
	_, err = none.PhotoPixels(t.Context(), dst, &Photo{Image: noise(224, 223), Orientation: 1})
	require.ErrorIs(t, err, ErrShape)
	m := noise(224, 224)
	g, err := none.PhotoPixels(t.Context(), dst, &Photo{Image: m, Orientation: 1})
	require.NoError(t, err)
	require.Equal(t, Rect{0, 0, 224, 224}, g.Seen)
	require.Equal(t, float32(m.Pix[4*777+1])/255, dst.Float32s()[224*224+777])
}

func TestPixelsShape(t *testing.T) {
	p := &Photo{Image: noise(30, 30), Orientation: 1}
	require.Panics(t, func() {
		good().PhotoPixels(t.Context(), tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(3, 224, 225)), p)
	})
	require.Panics(t, func() {
		good().PhotoPixels(t.Context(), tensor.New(tensor.Of(tensor.Float64), tensor.WithShape(3, 224, 224)), p)
	})
}
