package patch

import (
	"bytes"
	"fmt"
	"image"
	std "image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/disintegration/imaging"
	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/internal/jpegtest"
	"github.com/vitserve/vitserve/patch/jpeg"
	"gorgonia.org/tensor"
)

// drawn makes a picture with the statistics of a photo: large shapes, soft
// shading, fine texture and a sensor's noise.
func drawn(w, h int) *image.NRGBA {
	rng := rand.New(rand.NewPCG(7, 7))
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	type blob struct{ x, y, r, cr, cg, cb float64 }
	blobs := make([]blob, 40)
	for i := range blobs {
		blobs[i] = blob{rng.Float64(), rng.Float64(), 0.03 + 0.15*rng.Float64(), 255 * rng.Float64(), 255 * rng.Float64(), 255 * rng.Float64()}
	}
	put := func(x, y int, r, g, b float64) {
		p := m.Pix[m.PixOffset(x, y):]
		p[0], p[1], p[2], p[3] = clip(int(r)), clip(int(g)), clip(int(b)), 255
	}
	size := float64(w)
	for y := range h {
		for x := range w {
			u, v := float64(x)/size, float64(y)/size
			put(x, y, 90+120*v, 120+60*u, 200-150*v)
		}
	}
	for _, k := range blobs {
		cx, cy, r := k.x*size, k.y*float64(h), k.r*size
		for y := max(0, int(cy-r)); y < min(h, int(cy+r)); y++ {
			for x := max(0, int(cx-r)); x < min(w, int(cx+r)); x++ {
				dx, dy := float64(x)-cx, float64(y)-cy
				if d := (dx*dx + dy*dy) / (r * r); d < 1 {
					light := 0.4 + 0.6*math.Sqrt(1-d)
					put(x, y, k.cr*light, k.cg*light, k.cb*light)
				}
			}
		}
	}
	for y := range h {
		for x := range w {
			n := 12*math.Sin(float64(x)*0.9+8*float64(y)/size)*math.Sin(float64(y)*0.7+11*float64(x)/size) + 11.5*rng.NormFloat64()
			p := m.Pix[m.PixOffset(x, y):]
			put(x, y, float64(p[0])+n, float64(p[1])+n, float64(p[2])+n)
		}
	}
	return m
}

// kind is how a photo is stored.
type kind struct {
	w, h        int
	progressive bool
}

func (k kind) String() string {
	if k.progressive {
		return fmt.Sprintf("%dx%d-progressive", k.w, k.h)
	}
	return fmt.Sprintf("%dx%d", k.w, k.h)
}

var photos = map[kind][]byte{}

// photo is drawn as a JPEG of quality 90 with 4:2:0 chroma.
func photo(tb testing.TB, w, h int) []byte { return filed(tb, kind{w, h, false}) }

func filed(tb testing.TB, k kind) []byte {
	if photos[k] == nil {
		m := drawn(k.w, k.h)
		if k.progressive { // tables of about the same quality
			photos[k] = jpegtest.FromImage(m, 2, 2, 1.5).Encode(jpegtest.Options{Progressive: true, Scans: jpegtest.Progression(3)})
		} else {
			var b bytes.Buffer
			require.NoError(tb, std.Encode(&b, m, &std.Options{Quality: 90}))
			photos[k] = b.Bytes()
		}
	}
	return photos[k]
}

var benchKinds = []kind{{640, 480, false}, {640, 480, true}, {4000, 3000, false}, {4000, 3000, true}}

// TestWritePhotos leaves the benchmarks' photos in a folder, for
// testdata/bench_pillow.py.
func TestWritePhotos(t *testing.T) {
	dir := os.Getenv("VITSERVE_BENCH_PHOTOS")
	if dir == "" {
		t.Skip("VITSERVE_BENCH_PHOTOS names no folder to write to")
	}
	for _, k := range benchKinds {
		data := filed(t, k)
		name := filepath.Join(dir, k.String()+".jpg")
		require.NoError(t, os.WriteFile(name, data, 0o644))
		t.Logf("%s: %d bytes", name, len(data))
	}
}

func eachPhoto(b *testing.B, f func(b *testing.B, data []byte)) {
	for _, k := range benchKinds {
		data := filed(b, k)
		b.Run(k.String(), func(b *testing.B) { f(b, data) })
	}
}

// best runs f for the benchmark's time and reports the best of its runs beside
// the mean: other work on a machine only ever makes a run slower.
func best(b *testing.B, f func()) {
	b.ReportAllocs()
	least := time.Hour
	for b.Loop() {
		start := time.Now()
		f()
		least = min(least, time.Since(start))
	}
	b.ReportMetric(least.Seconds()*1000, "best-ms")
}

// BenchmarkPixels is the whole way from bytes to a tensor.
func BenchmarkPixels(b *testing.B) {
	eachPhoto(b, func(b *testing.B, data []byte) {
		dst := tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(3, 224, 224))
		for _, resize := range []Resize{ResizeExact, ResizeFast} {
			b.Run(string(resize), func(b *testing.B) {
				best(b, func() {
					_, err := good().Pixels(b.Context(), dst, data, Options{Resize: resize})
					require.NoError(b, err)
				})
			})
		}
	})
}

// BenchmarkPixelsParallel has every core at it: the time of one photo should
// fall with their number.
func BenchmarkPixelsParallel(b *testing.B) {
	eachPhoto(b, func(b *testing.B, data []byte) {
		b.RunParallel(func(pb *testing.PB) {
			dst := tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(3, 224, 224))
			for pb.Next() {
				if _, err := good().Pixels(b.Context(), dst, data, Options{}); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkStandard is the same with image/jpeg and imaging, the path before.
func BenchmarkStandard(b *testing.B) {
	eachPhoto(b, func(b *testing.B, data []byte) {
		dst := make([]float32, 3*224*224)
		best(b, func() {
			m, err := std.Decode(bytes.NewReader(data))
			require.NoError(b, err)
			n := imaging.Fill(imaging.Clone(m), 224, 224, imaging.Center, imaging.CatmullRom)
			plan{crop: window{0, 0, 224, 224}, inside: window{0, 0, 224, 224}}.write(dst, n.Pix, false)
		})
	})
}

// BenchmarkDecodeJPEG is the decoder alone, to planes.
func BenchmarkDecodeJPEG(b *testing.B) {
	eachPhoto(b, func(b *testing.B, data []byte) {
		for _, size := range []int{8, 4, 2, 1} {
			b.Run(fmt.Sprintf("1of%d", 8/size), func(b *testing.B) {
				best(b, func() {
					r, err := jpeg.Open(b.Context(), data)
					require.NoError(b, err)
					_, err = r.Planes(size)
					require.NoError(b, err)
					r.Close()
				})
			})
		}
	})
}
