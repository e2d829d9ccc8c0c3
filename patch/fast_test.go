package patch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/patch/jpeg"
	"gorgonia.org/tensor"
)

// apart is the mean and the greatest difference of two tensors, in grey
// levels.
func apart(a, b *tensor.Dense) (mean, greatest float64) {
	y := b.Float32s()
	for i, v := range a.Float32s() {
		d := 255 * math.Abs(float64(v)-float64(y[i]))
		mean += d
		greatest = max(greatest, d)
	}
	return mean / float64(len(y)), greatest
}

// TestFast: less than a grey level from the exact way on average, whatever
// the size, the subsampling and the orientation.
func TestFast(t *testing.T) {
	files := map[string][]byte{}
	for _, s := range [][2]int{{300, 225}, {641, 479}, {1201, 800}, {1100, 1400}, {2100, 2060}} {
		files[fmt.Sprint(s)] = photo(t, s[0], s[1])
	}
	for n := 2; n <= 8; n++ {
		files[fmt.Sprint("orientation ", n)] = oriented(photo(t, 1201, 800), byte(n))
	}
	for _, name := range []string{"444.jpg", "422.jpg", "440.jpg", "411.jpg", "gray.jpg", "1x1.jpg", "17x16.jpg"} {
		files[name] = fixtures(t)[name]
	}
	exact := tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(3, 224, 224))
	fast := exact.Clone().(*tensor.Dense)
	for name, data := range files {
		t.Run(name, func(t *testing.T) {
			for _, how := range []Interpolation{Bilinear, Bicubic, Lanczos} {
				tr := good()
				tr.Interpolation = how
				g1, err := tr.Pixels(t.Context(), exact, data, Options{})
				require.NoError(t, err)
				g2, err := tr.Pixels(t.Context(), fast, data, Options{Resize: ResizeFast})
				require.NoError(t, err)
				require.Equal(t, g1, g2)
				mean, greatest := apart(exact, fast)
				t.Logf("%s: mean %.3f, greatest %.0f", how, mean, greatest)
				require.Less(t, mean, 1.0)
			}
		})
	}
}

// oriented puts an EXIF orientation into a JPEG.
func oriented(data []byte, n byte) []byte {
	exif := "\xff\xe1\x00\x22Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00" + string(n) + "\x00\x00\x00\x00\x00\x00"
	return append([]byte("\xff\xd8"+exif), data[2:]...)
}

func TestBlockSize(t *testing.T) {
	for _, c := range []struct{ w, h, want int }{
		{640, 480, 8}, {1023, 1023, 8}, {1024, 1024, 4}, {2048, 3000, 2}, {4000, 3000, 2}, {4096, 4096, 1}, {100, 100, 8},
	} {
		p, err := good().plan(c.w, c.h)
		require.NoError(t, err)
		require.Equal(t, c.want, p.blockSize(c.w, c.h), "%d×%d", c.w, c.h)
	}
}

func TestParseResize(t *testing.T) {
	for s, want := range map[string]Resize{"": ResizeExact, "exact": ResizeExact, "fast": ResizeFast} {
		r, err := ParseResize(s)
		require.NoError(t, err)
		require.Equal(t, want, r)
	}
	_, err := ParseResize("nice")
	require.Error(t, err)
}

// TestFastSees: the samples outside of what the window depends on do not
// matter, in any orientation.
func TestFastSees(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 1))
	whole, other := photo(t, 700, 523), photo(t, 1100, 1400)
	scrap := tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(3, 224, 224))
	for range 60 {
		tr := good()
		tr.Interpolation = []Interpolation{Nearest, Bilinear, Bicubic, Lanczos}[rng.IntN(4)]
		tr.Fit = []Fit{FitShort, FitSquash, FitCrop}[rng.IntN(3)]
		tr.Size = [2]int{1 + rng.IntN(60), 1 + rng.IntN(60)}
		tr.Resize = [2]int{tr.Size[0] + rng.IntN(100), tr.Size[1] + rng.IntN(100)}
		n := 1 + rng.IntN(8)
		data := oriented(whole, byte(n))
		want, got := make([]float32, 3*tr.Size[0]*tr.Size[1]), make([]float32, 3*tr.Size[0]*tr.Size[1])
		w, h := 700, 523
		if storage[n].transposed {
			w, h = h, w
		}
		p, err := tr.plan(w, h)
		require.NoError(t, err)
		for _, size := range []int{8, 4, 2, 1} {
			sample := func(out []float32, crop bool) {
				// The reader's memory is most likely the one that holds
				// another picture.
				_, err := good().Pixels(t.Context(), scrap, other, Options{Resize: ResizeFast})
				require.NoError(t, err)
				r, err := jpeg.Open(t.Context(), data)
				require.NoError(t, err)
				defer r.Close()
				if crop {
					r.Crop(p.sees(w, h, 8/size*2, storage[n]))
				}
				planes, err := r.Planes(size)
				require.NoError(t, err)
				require.NoError(t, p.sampleFast(t.Context(), out, planes, n))
			}
			sample(want, false)
			sample(got, true)
			require.Equal(t, want, got, "orientation %d, blocks of %d", n, size)
		}
	}
}
