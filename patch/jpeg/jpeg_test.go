package jpeg

import (
	"context"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/internal/jpegtest"
)

// drawn is a picture of soft waves and noise.
func drawn(rng *rand.Rand, w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	var f [3][2]float64
	for i := range f {
		f[i] = [2]float64{0.02 + 0.3*rng.Float64(), 0.02 + 0.3*rng.Float64()}
	}
	for i := range m.Pix {
		p := i / 4
		c := f[i%4%3]
		m.Pix[i] = clip(int(128 + 80*math.Sin(c[0]*float64(p%w)+c[1]*float64(p/w)) + 15*rng.NormFloat64()))
	}
	return m
}

// TestScans: the same coefficients in one scan, in many, progressively, with
// and without restarts, are the same pixels at every scale.
func TestScans(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 9))
	bits := []jpegtest.Scan{{Components: []int{0, 1, 2}, Al: 3}}
	for i := range 3 {
		one := []int{i}
		bits = append(bits,
			jpegtest.Scan{Components: one, Ss: 1, Se: 2, Al: 1}, jpegtest.Scan{Components: one, Ss: 3, Se: 40, Al: 4},
			jpegtest.Scan{Components: one, Ss: 41, Se: 63}, jpegtest.Scan{Components: one, Ss: 1, Se: 2, Ah: 1})
		for al := 3; al >= 0; al-- {
			bits = append(bits, jpegtest.Scan{Components: one, Ss: 3, Se: 40, Ah: al + 1, Al: al})
		}
	}
	for al := 2; al >= 0; al-- {
		bits = append(bits, jpegtest.Scan{Components: []int{0, 1, 2}[:1+al%2*2], Ah: al + 1, Al: al})
		if al%2 == 0 {
			bits = append(bits, jpegtest.Scan{Components: []int{1, 2}, Ah: al + 1, Al: al})
		}
	}
	ways := []jpegtest.Options{
		{Scans: []jpegtest.Scan{{Components: []int{0, 1, 2}, Se: 63}}, Restart: 3},
		{Scans: []jpegtest.Scan{{Components: []int{1}, Se: 63}, {Components: []int{0, 2}, Se: 63}}},
		{Scans: []jpegtest.Scan{{Components: []int{2}, Se: 63}, {Components: []int{0}, Se: 63}, {Components: []int{1}, Se: 63}}, Restart: 2},
		{Scans: jpegtest.Progression(3), Progressive: true},
		{Scans: jpegtest.Progression(3), Progressive: true, Restart: 5},
		{Scans: bits, Progressive: true},
		{Scans: bits, Progressive: true, Restart: 1},
	}
	for _, s := range [][2]int{{1, 1}, {2, 1}, {1, 2}, {2, 2}, {4, 1}, {1, 4}, {4, 2}, {2, 4}} {
		w, h := 1+rng.IntN(150), 1+rng.IntN(150)
		p := jpegtest.FromImage(drawn(rng, w, h), s[0], s[1], 1+4*rng.Float64())
		want := planes(t, p.Encode(jpegtest.Options{}))
		for i, o := range ways {
			require.Equal(t, want, planes(t, p.Encode(o)), "%v, way %d", s, i)
		}
	}
}

// planes are what a file is at each scale, and its picture.
func planes(t *testing.T, data []byte) (out [][]byte) {
	for _, size := range []int{8, 4, 2, 1} {
		r, err := Open(t.Context(), data)
		require.NoError(t, err)
		planes, err := r.Planes(size)
		require.NoError(t, err)
		for _, p := range planes {
			for y := range p.Height {
				out = append(out, append([]byte{}, p.Pix[y*p.Stride:][:p.Width]...))
			}
		}
		r.Close()
	}
	m, err := Decode(t.Context(), data)
	require.NoError(t, err)
	return append(out, m.Pix)
}

// TestPicture: what is drawn is what is read, so that the writer and the reader
// are not wrong alike.
func TestPicture(t *testing.T) {
	m := drawn(rand.New(rand.NewPCG(3, 3)), 90, 70)
	got, err := Decode(t.Context(), jpegtest.FromImage(m, 1, 1, 0.1).Encode(jpegtest.Options{Progressive: true, Scans: jpegtest.Progression(3)}))
	require.NoError(t, err)
	sum := 0.0
	for i, v := range m.Pix {
		if i%4 < 3 {
			sum += math.Abs(float64(v) - float64(got.Pix[i]))
		}
	}
	require.Less(t, sum/float64(3*90*70), 1.5)
}

// TestManyScans: scans that say little take little, whatever they are a scan
// of.
func TestManyScans(t *testing.T) {
	for _, name := range []string{
		"progressive_3000_scans", "20_scans_49_megapixels", "500_scans_49_megapixels", "3_components_50_megapixels",
	} {
		data, err := os.ReadFile(filepath.Join("testdata", name+".jpg"))
		require.NoError(t, err)
		r, err := Open(t.Context(), data)
		require.NoError(t, err)
		row := make([]byte, 4*r.Width)
		start := time.Now()
		for y := range 16 { // all scans and a few rows
			r.Row(row, y, 0, r.Width)
		}
		t.Log(name, time.Since(start))
		require.Less(t, time.Since(start), 2*time.Second)
		for _, v := range row {
			require.True(t, v == 128 || v == 255)
		}
		r.Close()
	}
}

// refinements is a picture of which n scans refine a band that holds k
// coefficients of each block that has any, which is each step-th.
func refinements(size, n, step int) []byte {
	p := jpegtest.FromImage(image.NewNRGBA(image.Rect(0, 0, size, size)), 1, 1, 1)
	p.Components = p.Components[:1]
	c := &p.Components[0]
	for i := range c.Blocks {
		c.Blocks[i] = [64]int{}
		if i%step == 0 {
			c.Blocks[i][63] = 1 << 13
		}
	}
	scans := []jpegtest.Scan{{Components: []int{0}}, {Components: []int{0}, Ss: 1, Se: 63, Al: 13}}
	first := p.Encode(jpegtest.Options{Progressive: true, Scans: scans})
	again := p.Encode(jpegtest.Options{Progressive: true, Scans: append(scans, jpegtest.Scan{Components: []int{0}, Ss: 1, Se: 63, Ah: 1})})
	end := len(first) - 2
	out := first[:end]
	for range n {
		out = append(out, again[end:len(again)-2]...)
	}
	return append(out, 0xff, 0xd9)
}

// TestVisits: a file whose scans visit blocks beyond the limit is refused with
// both numbers, and soon; one whose scans pass over the same blocks is not.
func TestVisits(t *testing.T) {
	data := refinements(1600, 1500, 1)
	start := time.Now()
	_, err := Decode(t.Context(), data)
	require.ErrorIs(t, err, ErrWork)
	require.ErrorContains(t, err, fmt.Sprint("the limit is ", MaxVisits))
	require.Regexp(t, `562\d{5} visits`, err.Error())
	require.Less(t, time.Since(start), 10*time.Second)

	_, err = Decode(t.Context(), refinements(1600, 1500, 1000))
	require.NoError(t, err)
}

// TestContext: decoding ends within 100 ms of its context, wherever it is.
func TestContext(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	p := jpegtest.FromImage(drawn(rng, 600, 600), 1, 1, 1)
	var many []jpegtest.Scan
	for range 10 {
		many = append(many, jpegtest.Scan{Components: []int{0}, Se: 63}, jpegtest.Scan{Components: []int{1, 2}, Se: 63})
	}
	blank, err := os.ReadFile("testdata/3_components_50_megapixels.jpg")
	require.NoError(t, err)
	for name, data := range map[string][]byte{
		"sequential": p.Encode(jpegtest.Options{}), "progressive": p.Encode(jpegtest.Options{Progressive: true, Scans: jpegtest.Progression(3)}),
		"many scans": p.Encode(jpegtest.Options{Scans: many}), "refinements": refinements(1600, 700, 2), "blank": blank,
	} {
		t.Run(name, func(t *testing.T) {
			for i := range 6 {
				late := time.Hour
				for range 5 { // other work on a machine only ever makes it later
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*i)*7*time.Millisecond)
					err := read(ctx, data)
					over, _ := ctx.Deadline()
					cancel()
					if err == nil {
						return
					}
					require.ErrorIs(t, err, context.DeadlineExceeded)
					if late = min(late, time.Since(over)); late < 100*time.Millisecond {
						break
					}
				}
				require.Less(t, late, 100*time.Millisecond)
			}
		})
	}
}

// read reads all rows of a file.
func read(ctx context.Context, data []byte) error {
	r, err := Open(ctx, data)
	if err != nil {
		return err
	}
	defer r.Close()
	row := make([]byte, 4*r.Width)
	for y := range r.Height {
		r.Row(row, y, 0, r.Width)
	}
	return r.Finish()
}

// TestCost: decoding takes the memory that the header says.
func TestCost(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for _, sampling := range [][2]int{{1, 1}, {2, 2}, {4, 1}, {1, 4}} {
		p := jpegtest.FromImage(drawn(rng, 1000, 800), sampling[0], sampling[1], 1)
		for _, o := range []jpegtest.Options{{}, {Progressive: true, Scans: jpegtest.Progression(3)}} {
			data := p.Encode(o)
			h, err := ReadHeader(data)
			require.NoError(t, err)
			cost := h.Cost(len(data))
			measure := func(want int64, f func(r *Reader)) {
				var before, after runtime.MemStats
				r := new(Reader) // not one that has memory already
				require.NoError(t, r.open(t.Context(), data))
				runtime.ReadMemStats(&before)
				f(r)
				runtime.ReadMemStats(&after)
				used := int64(after.TotalAlloc - before.TotalAlloc)
				t.Log(sampling, o.Progressive, used, want)
				require.LessOrEqual(t, used, want+32<<10, "beside rows")
				require.Greater(t, used, want/2)
			}
			measure(cost.Rows, func(r *Reader) {
				r.Row(make([]byte, 4*h.Width), 0, 0, h.Width)
				require.NoError(t, r.Finish())
			})
			measure(cost.Planes, func(r *Reader) {
				_, err := r.Planes(8)
				require.NoError(t, err)
			})
			measure(cost.Picture, func(r *Reader) {
				_, err := r.decode()
				require.NoError(t, err)
			})
		}
	}
}
