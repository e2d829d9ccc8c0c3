package patch

import (
	"bytes"
	"image"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/tensor"
)

// TestJPEGOurs: which files this package decodes itself, so that no change
// quietly leaves them all to image/jpeg.
func TestJPEGOurs(t *testing.T) {
	for name, data := range fixtures(t) {
		if f, err := sniff(data); err != nil || f.name != "jpeg" {
			continue
		}
		err := new(jpegImage).decode(data, 8)
		require.Equal(t, plain(name), err == nil, "%s: %v", name, err)
	}
}

// TestIDCT compares the inverse transform with the definition (A.3.3).
func TestIDCT(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		var coef coefficients
		var q [64]int32
		for i := range 64 {
			q[i] = int32(1 + rng.IntN(20))
			if rng.IntN(4) == 0 {
				coef[i] = int16(rng.IntN(21) - 10)
			}
		}
		for _, size := range []int{8, 4, 2} {
			got := make([]byte, size*size)
			block := coef
			switch size {
			case 8:
				idct8(got, 8, &block, &q)
			case 4:
				idct4(got, 4, &block, &q)
			case 2:
				idct2(got, 2, &block, &q)
			}
			for i, v := range got {
				want := 128 + definition(&coef, &q, size, i%size, i/size)
				require.InDelta(t, min(max(want, 0), 255), float64(v), 1)
			}
		}
	}
}

// definition is the inverse transform of a block's size × size lowest
// frequencies at (x, y); the factor of size/8 keeps the mean.
func definition(coef *coefficients, q *[64]int32, size, x, y int) float64 {
	sum, n := 0.0, float64(size)
	basis := func(u, x int) float64 {
		if u == 0 {
			return math.Sqrt(1 / n)
		}
		return math.Sqrt(2/n) * math.Cos(float64(2*x+1)*float64(u)*math.Pi/(2*n))
	}
	for v := range size {
		for u := range size {
			sum += basis(u, x) * basis(v, y) * float64(int32(coef[8*v+u])*q[8*v+u])
		}
	}
	return sum * n / 8
}

// TestScaledJPEG compares smaller blocks with the means of the whole ones'
// samples: as near as two ways to leave frequencies out are.
func TestScaledJPEG(t *testing.T) {
	data := photo(t, 640, 480)
	var whole jpegImage
	require.NoError(t, whole.decode(data, 8))
	for _, size := range []int{4, 2, 1} {
		var small jpegImage
		require.NoError(t, small.decode(data, size))
		for i := range 3 {
			a, b := &whole.comps[i], &small.comps[i]
			n := 8 / size
			require.Equal(t, ceilDiv(a.width, n), b.width)
			require.Equal(t, ceilDiv(a.height, n), b.height)
			sum := 0.0
			for y := range a.height / n {
				for x := range a.width / n {
					mean := 0
					for j := range n * n {
						mean += int(a.plane[(y*n+j/n)*a.stride+x*n+j%n])
					}
					sum += math.Abs(float64(mean)/float64(n*n) - float64(b.plane[y*b.stride+x]))
				}
			}
			require.Less(t, sum/float64(b.width*b.height), 3.0, "component %d at 1/%d", i, n)
		}
	}
}

// TestPixelsAllocate: a request in the steady state allocates next to
// nothing; the planes of 640×480 would be 460 kB.
func TestPixelsAllocate(t *testing.T) {
	data := photo(t, 640, 480)
	dst := tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(3, 224, 224))
	for _, r := range []Resize{ResizeExact, ResizeFast} {
		ask := func() {
			_, err := good().Pixels(t.Context(), dst, data, Options{Resize: r})
			require.NoError(t, err)
		}
		ask()
		best := uint64(math.MaxUint64)
		for range 10 { // a garbage collection may empty the pools
			best = min(best, allocated(ask))
		}
		require.Less(t, best, uint64(16<<10))
	}
}

// FuzzJPEG: where both this package and image/jpeg decode a file, the pixels
// are the same within four grey levels. That holds for what an encoder can
// write; coefficients beyond it overflow differently.
func FuzzJPEG(f *testing.F) {
	for name, data := range fixtures(f) {
		if plain(name) && bytes.HasPrefix(data, []byte("\xff\xd8\xff")) {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, d, err := check(data, Options{MaxPixels: 1 << 18})
		if err != nil {
			return
		}
		if c, err := jpeg.DecodeConfig(bytes.NewReader(data)); err == nil {
			require.Equal(t, [2]int{c.Width, c.Height}, [2]int{d.Width, d.Height}, "the size that was checked is not the size that is decoded")
		}
		for _, size := range []int{1, 2, 4} {
			_ = new(jpegImage).decode(data, size) // no panic
		}
		var m jpegImage
		if m.decode(data, 8) != nil {
			return
		}
		std, err := jpeg.Decode(bytes.NewReader(data))
		if err != nil || m.wild(data) {
			return
		}
		for i := range m.color {
			c := &m.comps[i]
			plane, stride := c.plane, 0
			switch s := std.(type) {
			case *image.Gray:
				plane, stride = s.Pix, s.Stride
			case *image.YCbCr:
				plane, stride = [][]byte{s.Y, s.Cb, s.Cr}[i], s.YStride
				if i > 0 {
					stride = s.CStride
				}
			}
			for y := range c.height {
				for x := range c.width {
					require.InDelta(t, plane[y*stride+x], c.plane[y*c.stride+x], 4, "component %d at (%d, %d)", i, x, y)
				}
			}
		}
	})
}

// wild reports whether a block holds more than samples of eight bits can give:
// the transform keeps the length of a block, which is at most 8·128, and
// quantization is given as much again.
func (m *jpegImage) wild(data []byte) bool {
	scan, err := m.readHeader(data)
	if err != nil {
		return true
	}
	m.allocate(8)
	n, _, _ := m.segment(scan)
	r := bitReader{data: m.bits}
	var predicted [3]int32
	for mcu := 0; r.consumed() <= 8*n; mcu++ {
		if m.restart > 0 && mcu >= m.restart {
			return true // not followed; few seeds have it
		}
		for i := range m.color {
			c := &m.comps[i]
			for range c.h * c.v {
				var coef coefficients
				if _, ok := r.block(&coef, &m.dc[c.td], &m.ac[c.ta]); !ok {
					return false // beyond the last block
				}
				predicted[i] += int32(coef[0])
				square := func(v int32, j int) float64 { d := float64(v) * float64(m.quant[c.tq][j]); return d * d }
				sum := square(predicted[i], 0)
				for j := 1; j < 64; j++ {
					sum += square(int32(coef[j]), j)
				}
				if math.Sqrt(sum) > 2*8*128 {
					return true
				}
			}
		}
	}
	return false
}
