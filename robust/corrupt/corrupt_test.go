package corrupt

import (
	"crypto/sha256"
	"fmt"
	"image"
	"image/color"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/patch"
)

func synthetic(w, h int) *Picture {
	p := New(w, h)
	for y := range h {
		for x := range w {
			for c := range 3 {
				p.Pix[3*(y*w+x)+c] = uint8(127 + 90*math.Sin(float64(x)/float64(9+c)+float64(y)/float64(14-c)) + float64((x*31+y*17)%20))
			}
		}
	}
	return p
}

// TestEverySize: any size from MinSize on, both flavours, all severities; the
// same seed gives the same picture whatever was computed before, another does
// not, and the source stays as it is.
func TestEverySize(t *testing.T) {
	for _, size := range [][2]int{{32, 32}, {33, 47}, {61, 32}, {130, 40}} {
		src := synthetic(size[0], size[1])
		kept := append([]uint8(nil), src.Pix...)
		for _, c := range table {
			for s := 1; s <= Severities; s++ {
				for _, f := range Flavours() {
					if f == Original && c.Name == "elastic_transform" && s == 1 && size[0] > 61 {
						continue // 1025 taps
					}
					file := sha256.Sum256(kept)
					var a, b, other Picture
					require.NoError(t, c.Apply(&a, src, s, f, Seed(file, c.Name, s, 7)))
					require.NoError(t, c.Apply(&b, src, s, f, Seed(file, c.Name, s, 7)))
					require.NoError(t, c.Apply(&other, src, s, f, Seed(file, c.Name, s, 8)))
					require.Equal(t, a.Pix, b.Pix, "%s %d", c.Name, s)
					require.Equal(t, c.Random, string(a.Pix) != string(other.Pix), "%s %d of %v depends on the seed", c.Name, s, size)
					require.Equal(t, kept, src.Pix)
					require.NotEqual(t, kept, a.Pix, "%s %d", c.Name, s)
				}
			}
		}
	}
}

func TestRefused(t *testing.T) {
	c, err := Find("fog")
	require.NoError(t, err)
	var dst Picture
	require.ErrorContains(t, c.Apply(&dst, New(31, 40), 1, Package, nil), "31×40")
	require.ErrorContains(t, c.Apply(&dst, New(40, 40), 0, Package, nil), "severity 0")
	require.ErrorContains(t, c.Apply(&dst, New(40, 40), 6, Package, nil), "severity 6")
	require.ErrorContains(t, c.Apply(&dst, New(40, 40), 1, "mine", nil), "flavour")
	_, err = Find("rain")
	require.ErrorContains(t, err, "gaussian_noise")
}

// TestKinds: gray is three equal channels, alpha is dropped, and of sixteen bits
// the upper eight count, as package patch has it.
func TestKinds(t *testing.T) {
	w, h := 36, 34
	gray, deep, alpha := image.NewGray(image.Rect(0, 0, w, h)), image.NewNRGBA64(image.Rect(0, 0, w, h)), image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			v := uint8(x * 7)
			gray.SetGray(x, y, color.Gray{v})
			deep.SetNRGBA64(x, y, color.NRGBA64{uint16(v)<<8 | 77, uint16(v)<<8 | 3, uint16(v) << 8, 900})
			alpha.SetNRGBA(x, y, color.NRGBA{v, v, v, uint8(y)})
		}
	}
	var want []uint8
	for _, m := range []image.Image{gray, deep, alpha} {
		p, err := patch.FromImage(m, patch.Options{})
		require.NoError(t, err)
		var dst Picture
		c, err := Find("contrast")
		require.NoError(t, err)
		require.NoError(t, c.Apply(&dst, FromImage(p.Image), 2, Package, nil))
		if want == nil {
			want = dst.Pix
			require.Equal(t, want[0], want[1])
		}
		require.Equal(t, want, dst.Pix)
		require.Equal(t, &dst, FromImage(dst.Image()))
	}
}

// TestGenerator holds the distributions to their moments, within five
// deviations of those of so many draws, and Poisson's to its probabilities.
func TestGenerator(t *testing.T) {
	const n = 400_000
	g := Seed(sha256.Sum256(nil), "test", 1, 1)
	near := func(want, got, deviation float64, what string, a ...any) {
		require.InDelta(t, want, got, 5*deviation/math.Sqrt(n), what, fmt.Sprint(a...))
	}
	moments := func(v []float64) (mean, variance, fourth float64) {
		for _, x := range v {
			mean += x / float64(len(v))
		}
		for _, x := range v {
			d := x - mean
			variance += d * d / float64(len(v))
			fourth += d * d * d * d / float64(len(v))
		}
		return mean, variance, fourth
	}
	v := make([]float64, n)
	g.Normal(v)
	mean, variance, fourth := moments(v)
	near(0, mean, 1, "normal mean")
	near(1, variance, math.Sqrt2, "normal variance")
	near(3, fourth, math.Sqrt(96), "normal fourth moment")
	g.Uniform(v)
	mean, variance, _ = moments(v)
	near(0.5, mean, math.Sqrt(1.0/12), "uniform mean")
	near(1.0/12, variance, math.Sqrt(1.0/180), "uniform variance")
	whole := make([]int, n)
	g.Below(whole, -3, 3)
	var counts [6]int
	for _, i := range whole {
		counts[i+3]++
	}
	for _, c := range counts {
		near(1.0/6, float64(c)/n, math.Sqrt(5.0/36), "whole numbers")
	}
	for _, grey := range []uint8{0, 1, 40, 200, 255} {
		for _, scale := range []float64{3, 60} {
			x, drawn := make([]uint8, n), make([]uint16, n)
			for i := range x {
				x[i] = grey
			}
			g.Poisson(drawn, x, scale)
			of := map[int]float64{}
			for _, k := range drawn {
				of[int(k)] += 1.0 / n
			}
			lambda := float64(grey) / 255 * scale
			p := math.Exp(-lambda)
			for k := range 150 {
				near(p, of[k], math.Sqrt(p*(1-p))+1.0/math.Sqrt(n), "Poisson", grey, scale, k)
				p *= lambda / float64(k+1)
			}
		}
	}
	require.NotEqual(t, Seed(sha256.Sum256(nil), "a", 1, 1).rng.Uint64(), Seed(sha256.Sum256(nil), "a", 2, 1).rng.Uint64())
	require.NotEqual(t, Seed(sha256.Sum256(nil), "a", 1, 1).rng.Uint64(), Seed(sha256.Sum256([]byte{1}), "a", 1, 1).rng.Uint64())
	require.NotEqual(t, Seed(sha256.Sum256(nil), "a", 1, 1).rng.Uint64(), Seed(sha256.Sum256(nil), "b", 1, 1).rng.Uint64())
}

// TestTextures: the frost is as bright, as varied and as fine as the
// photographs of the original, whose means differ by a third of their deviation
// from pixel to pixel and more, and no two textures are alike.
func TestTextures(t *testing.T) {
	all := textures()
	require.Len(t, all, 5)
	seen := map[string]bool{}
	for i, p := range all {
		var sum, square, step float64
		n := float64(p.W * p.H)
		for j := 1; j < len(p.Pix); j += 3 { // green
			v := float64(p.Pix[j])
			sum += v / n
			square += v * v / n
			if j > 3 {
				step += math.Abs(v-float64(p.Pix[j-3])) / n
			}
		}
		t.Logf("texture %d: mean %.1f, deviation %.1f, from pixel to pixel %.1f", i, sum, math.Sqrt(square-sum*sum), step)
		require.InDelta(t, icy[i].mean[1], sum, 2)
		require.InDelta(t, icy[i].deviation, math.Sqrt(square-sum*sum), 2)
		require.InDelta(t, 0.4*icy[i].deviation, step, 0.2*icy[i].deviation)
		require.False(t, seen[string(p.Pix)])
		seen[string(p.Pix)] = true
	}
}

// TestKept: a disturbance allocates little once its memory is there.
func TestKept(t *testing.T) {
	src := synthetic(64, 64)
	var dst Picture
	for _, c := range table {
		run := func() { require.NoError(t, c.Apply(&dst, src, 3, Package, Seed(sha256.Sum256(nil), c.Name, 3, 1))) }
		run()
		require.LessOrEqual(t, testing.AllocsPerRun(3, run), 1600.0, c.Name)
	}
}

// BenchmarkCorruptions takes each at every severity on 224 × 224 pixels.
func BenchmarkCorruptions(b *testing.B) {
	src := synthetic(224, 224)
	var dst Picture
	for _, c := range table {
		for s := 1; s <= Severities; s++ {
			b.Run(fmt.Sprintf("%s/%d", c.Name, s), func(b *testing.B) {
				d := Seed(sha256.Sum256(nil), c.Name, s, 1)
				require.NoError(b, c.Apply(&dst, src, s, Package, d))
				start := processorTime()
				for b.Loop() {
					require.NoError(b, c.Apply(&dst, src, s, Package, d))
				}
				b.ReportMetric((processorTime()-start)*1000/float64(b.N), "cpu-ms/op")
			})
		}
	}
}
