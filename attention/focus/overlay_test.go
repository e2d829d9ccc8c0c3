package focus

import (
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/disintegration/imaging"
	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/patch"
	"gorgonia.org/tensor"
)

func newTestMap(rows, cols int, values ...float32) *Map {
	return &Map{Values: tensor.New(tensor.WithShape(rows, cols), tensor.WithBacking(values))}
}

// noise returns a photo of random pixels.
func noise(w, h int) *patch.Photo {
	rng := rand.New(rand.NewPCG(7, 7))
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = uint8(rng.UintN(256))
		if i%4 == 3 {
			m.Pix[i] = 255
		}
	}
	return &patch.Photo{Image: m, Orientation: 1}
}

// cropped is the geometry of a square input out of the middle of a photo.
func cropped(w, h int, seen patch.Rect) patch.Geometry {
	inside := (min(seen.X+seen.W, float64(w)) - max(seen.X, 0)) * (min(seen.Y+seen.H, float64(h)) - max(seen.Y, 0))
	return patch.Geometry{
		Photo: [2]int{w, h}, Orientation: 1, Input: [2]int{32, 32}, Seen: seen, Coverage: inside / float64(w*h),
	}
}

func TestColorTables(t *testing.T) {
	require.Equal(t, []string{"turbo", "viridis", "inferno", "jet", "gray", "diverging"}, Colors())
	ends := map[string][3][3]uint8{ // lowest, middle, highest, as matplotlib and OpenCV give them
		"turbo":     {{48, 18, 59}, {164, 252, 60}, {122, 4, 3}},
		"viridis":   {{68, 1, 84}, {33, 145, 140}, {253, 231, 37}},
		"inferno":   {{0, 0, 4}, {188, 55, 84}, {252, 255, 164}},
		"jet":       {{0, 0, 128}, {130, 255, 126}, {128, 0, 0}},
		"gray":      {{0, 0, 0}, {128, 128, 128}, {255, 255, 255}},
		"diverging": {{5, 48, 97}, {247, 246, 246}, {103, 0, 31}}, // of ColorBrewer
	}
	for _, name := range Colors() {
		table, err := findColors(name)
		require.NoError(t, err)
		require.Equal(t, ends[name], [3][3]uint8{table[0], table[128], table[255]}, name)
	}
	// The piecewise line that jet is: Matlab's, with a slope of 4 a step.
	for i, c := range jet {
		require.InDelta(t, max(0, min(255, 382.5-math.Abs(4*float64(i)-765))), c[0], 0.51)
		require.InDelta(t, max(0, min(255, 382.5-math.Abs(4*float64(i)-510))), c[1], 2.51)
		require.InDelta(t, max(0, min(255, 382.5-math.Abs(4*float64(i)-255))), c[2], 0.51)
	}
	_, err := findColors("rainbow")
	require.ErrorIs(t, err, ErrOption)
	require.ErrorContains(t, err, "turbo, viridis, inferno, jet, gray")
}

// A map stretched to pixels must equal what imaging makes of it as a picture,
// to its rounding.
func TestUpsampling(t *testing.T) {
	const rows, cols, w, h = 5, 7, 67, 41
	rng := rand.New(rand.NewPCG(2, 2))
	small := image.NewNRGBA(image.Rect(0, 0, cols, rows))
	values := make([]float32, rows*cols)
	for i := range values {
		v := uint8(rng.UintN(256))
		values[i] = float32(v)
		small.SetNRGBA(i%cols, i/cols, color.NRGBA{R: v, G: v, B: v, A: 255})
	}
	for up, filter := range map[Upsampling]imaging.ResampleFilter{
		Bilinear: imaging.Linear, Bicubic: imaging.CatmullRom, Nearest: imaging.NearestNeighbor,
	} {
		want := imaging.Resize(small, w, h, filter)
		f := newField(values, rows, cols, up, w, func(x int) float64 { return (float64(x) + 0.5) * cols / w }, 255)
		row := make([]float32, w)
		for y := range h {
			f.row(row, (float64(y)+0.5)*rows/h)
			for x, v := range row {
				// imaging rounds after the columns and after the rows, and
				// cuts the border off where we repeat it.
				limit := 1.01
				if up == Bicubic && (x < 2*w/cols || x >= w-2*w/cols || y < 2*h/rows || y >= h-2*h/rows) {
					continue
				}
				require.InDelta(t, want.NRGBAAt(x, y).R, v, limit, "%s at %d,%d", up, x, y)
			}
		}
	}
}

func TestOverlayBlends(t *testing.T) {
	p := noise(40, 30)
	g := cropped(40, 30, patch.Rect{X: 5, Y: 0, W: 30, H: 30})
	m := newTestMap(2, 3, 0.1, 0.5, 0.3, 0.9, 0.2, 0.4)
	for _, s := range []Style{{}, {Colors: "viridis", Alpha: 1, Upsample: Nearest}, {Colors: "jet", Alpha: 0.3}} {
		got, err := Overlay(p, g, m, s)
		require.NoError(t, err)
		require.Equal(t, p.Image.Bounds(), got.Bounds())
		table, err := findColors(s.Colors)
		require.NoError(t, err)
		alpha := s.Alpha
		if alpha == 0 {
			alpha = DefaultAlpha
		}
		for y := range 30 {
			for x := range 40 {
				have, photo := got.NRGBAAt(x, y), p.Image.NRGBAAt(x, y)
				require.EqualValues(t, 255, have.A)
				if x < 5 || x >= 35 {
					require.Equal(t, have.R, have.G, "unseen is grey")
					require.Equal(t, have.R, have.B, "unseen is grey")
					require.LessOrEqual(t, have.R, uint8(255*2/5+48), "unseen is dark")
					continue
				}
				v := stretch(m, (float64(x-5)+0.5)/10, (float64(y)+0.5)/15, s.Upsample == Nearest)
				v = math.Floor((v-0.1)/0.8*255 + 0.5)
				a := alpha * (faint + (1-faint)*v/255)
				for c, channel := range [3][2]uint8{{photo.R, have.R}, {photo.G, have.G}, {photo.B, have.B}} {
					want := (1-a)*float64(channel[0]) + a*float64(table[int(v)][c])
					// One step of the table, where v is on the edge between two.
					require.InDelta(t, want, channel[1], 6, "%d,%d channel %d", x, y, c)
				}
			}
		}
	}
}

// Zero of a map with signs is neither: it has the middle colour, and leaves the
// photo as it is.
func TestOverlaySigned(t *testing.T) {
	p, g := noise(30, 10), cropped(30, 10, patch.Rect{W: 30, H: 10})
	for _, values := range [][]float32{{-2, 0, 1}, {-0.5, 0, 2}} {
		m := newTestMap(1, 3, values...)
		got, err := Overlay(p, g, m, Style{Colors: "gray", Alpha: 1, Upsample: Nearest})
		require.NoError(t, err)
		most := max(-values[0], values[2])
		for i, v := range values {
			a := math.Abs(float64(v / most))
			grey := (float64(v/most) + 1) / 2 * 255
			photo, have := p.Image.NRGBAAt(10*i+5, 5), got.NRGBAAt(10*i+5, 5)
			require.InDelta(t, (1-a)*float64(photo.G)+a*grey, have.G, 2, "%v of %v", v, values)
		}
		heat, err := HeatMap(m, Style{Colors: "gray", Upsample: Nearest}, 3, 1)
		require.NoError(t, err)
		require.InDelta(t, 127.5, heat.NRGBAAt(1, 0).G, 1)
	}
}

// stretch is the value of m at coordinates in cells, by definition.
func stretch(m *Map, x, y float64, nearest bool) float64 {
	rows, cols := m.Grid()
	value := func(r, c int) float64 {
		return float64(m.Values.Float32s()[min(max(r, 0), rows-1)*cols+min(max(c, 0), cols-1)])
	}
	if nearest {
		return value(int(math.Floor(y)), int(math.Floor(x)))
	}
	r, c := math.Floor(y-0.5), math.Floor(x-0.5)
	fy, fx := y-0.5-r, x-0.5-c
	return (1-fy)*((1-fx)*value(int(r), int(c))+fx*value(int(r), int(c)+1)) +
		fy*((1-fx)*value(int(r)+1, int(c))+fx*value(int(r)+1, int(c)+1))
}

// The input may show more than the photo (padding), or none of its rows.
func TestOverlayGeometries(t *testing.T) {
	m := newTestMap(2, 2, 1, 2, 3, 4)
	for _, seen := range []patch.Rect{
		{X: -10, Y: 0, W: 60, H: 30}, {X: 0, Y: -8.3, W: 40, H: 46.7}, {X: 3.7, Y: 2.2, W: 0.1, H: 0.1},
		{X: 100, Y: 0, W: 10, H: 10}, {X: 0, Y: 0, W: 40, H: 30},
	} {
		got, err := Overlay(noise(40, 30), cropped(40, 30, seen), m, Style{})
		require.NoError(t, err, "%+v", seen)
		marked := 0
		for y := range 30 {
			for x := range 40 {
				if c := got.NRGBAAt(x, y); c.R == c.G && c.G == c.B {
					marked++
				}
				in := float64(x)+0.5 >= seen.X && float64(x)+0.5 < seen.X+seen.W &&
					float64(y)+0.5 >= seen.Y && float64(y)+0.5 < seen.Y+seen.H
				if !in {
					c := got.NRGBAAt(x, y)
					require.True(t, c.R == c.G && c.G == c.B, "%+v: %d,%d is not marked", seen, x, y)
				}
			}
		}
		if seen.X <= 0 && seen.Y <= 0 && seen.W >= 40 && seen.H >= 30 {
			require.Less(t, marked, 10, "all of it was seen")
		}
	}
}

func TestOverlayRefuses(t *testing.T) {
	p, g := noise(40, 30), cropped(40, 30, patch.Rect{W: 40, H: 30})
	good := newTestMap(2, 2, 1, 2, 3, 4)
	nan := float32(math.NaN())
	for _, c := range []struct {
		m    *Map
		s    Style
		want error
	}{
		{newTestMap(2, 2, 1, 1, 1, 1), Style{}, ErrFlat},
		{newTestMap(2, 2, 0, 0, 0, 0), Style{Compat: VitExplain}, ErrFlat},
		{newTestMap(2, 2, 1, 1, 1, 1.000001), Style{}, ErrFlat},
		{newTestMap(2, 2, 1, nan, 2, 3), Style{}, ErrNotFinite},
		{newTestMap(2, 2, 1, float32(math.Inf(1)), 2, 3), Style{}, ErrNotFinite},
		{newTestMap(2, 2, -1, -2, -3, -4), Style{Compat: VitExplain}, ErrOption},
		{good, Style{Colors: "rainbow"}, ErrOption},
		{good, Style{Alpha: 1.1}, ErrOption},
		{good, Style{Alpha: math.NaN()}, ErrOption},
		{good, Style{Upsample: "lanczos"}, ErrOption},
		{good, Style{Compat: "gradcam"}, ErrOption},
		{good, Style{Compat: VitExplain, Colors: "jet"}, ErrOption},
	} {
		got, err := Overlay(p, g, c.m, c.s)
		require.ErrorIs(t, err, c.want, "%v %+v", c.m.Values.Float32s(), c.s)
		require.Nil(t, got)
	}
	_, err := Overlay(noise(41, 30), g, good, Style{})
	require.ErrorContains(t, err, "41x30")
	g.Seen.W = math.NaN()
	_, err = Overlay(p, g, good, Style{})
	require.ErrorContains(t, err, "some of the photo")

	huge := newTestMap(2, 2, -math.MaxFloat32, math.MaxFloat32, 0, 0)
	_, err = Overlay(p, cropped(40, 30, patch.Rect{W: 40, H: 30}), huge, Style{})
	require.NoError(t, err, "a range beyond float32 is still a map")
}

// The picture of that program, computed by hand for one pixel a cell.
func TestOverlayVitExplain(t *testing.T) {
	p := noise(2, 2)
	g := patch.Geometry{Photo: [2]int{2, 2}, Input: [2]int{2, 2}, Seen: patch.Rect{W: 2, H: 2}, Coverage: 1}
	got, err := Overlay(p, g, newTestMap(2, 2, 0.2, 0.1, 0.4, 0.3), Style{Compat: VitExplain})
	require.NoError(t, err)
	var sums [4][3]float64
	largest := 0.0
	for i, v := range []float64{0.5, 0.25, 1, 0.75} {
		for c := range 3 {
			sums[i][c] = (float64(jet[int(255*v)][c]) + float64(p.Image.Pix[4*i+c])) / 255
			largest = max(largest, sums[i][c])
		}
	}
	for i := range sums {
		for c := range 3 {
			require.InDelta(t, math.Floor(255*sums[i][c]/largest), got.Pix[4*i+c], 1)
		}
	}
}

func BenchmarkOverlay12MP(b *testing.B) {
	p := noise(4000, 3000)
	g := cropped(4000, 3000, patch.Rect{X: 500, W: 3000, H: 3000})
	values := make([]float32, 14*14)
	for i := range values {
		values[i] = float32(i % 17)
	}
	m := newTestMap(14, 14, values...)
	for _, up := range Upsamplings() {
		b.Run(up, func(b *testing.B) {
			for b.Loop() {
				if _, err := Overlay(p, g, m, Style{Upsample: Upsampling(up)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
