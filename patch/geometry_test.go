package patch

import (
	"image"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/tensor"
	"pgregory.net/rapid"
)

func TestGeometry(t *testing.T) {
	dst := tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(3, 224, 224))
	geometry := func(tr Transform, w, h int) Geometry {
		g, err := tr.PhotoPixels(t.Context(), dst, &Photo{Image: image.NewNRGBA(image.Rect(0, 0, w, h)), Orientation: 6})
		require.NoError(t, err)
		return g
	}
	g := geometry(good(), 512, 512)
	require.Equal(t, Geometry{
		Photo: [2]int{512, 512}, Orientation: 6, Input: [2]int{224, 224},
		Seen: Rect{32, 32, 448, 448}, Coverage: 0.765625,
	}, g)
	require.Equal(t, Rect{32, 32, 32, 32}, g.Cell(0, 0, 14, 14))
	require.Equal(t, Rect{448, 64, 32, 32}, g.Cell(1, 13, 14, 14))
	require.Panics(t, func() { g.Cell(14, 0, 14, 14) })

	long := good()
	long.Fit, long.Resize = FitLong, [2]int{224, 224}
	g = geometry(long, 448, 224)
	require.Equal(t, Rect{0, -112, 448, 448}, g.Seen)
	require.Equal(t, 1.0, g.Coverage)

	squash := good()
	squash.Fit, squash.Resize = FitSquash, [2]int{224, 224}
	g = geometry(squash, 640, 480)
	require.Equal(t, Rect{0, 0, 640, 480}, g.Seen)
}

// TestGeometryRoundTrip paints one spot on a photo and looks for it in the
// input: the cell that shows it must lie where the spot is.
func TestGeometryRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr := good()
		tr.Size = [2]int{48, 64}
		tr.Resize = [2]int{rapid.IntRange(48, 70).Draw(t, "rh"), rapid.IntRange(64, 80).Draw(t, "rw")}
		tr.Fit = rapid.SampledFrom([]Fit{FitShort, FitSquash, FitLong}).Draw(t, "fit")
		tr.Rounding = rapid.SampledFrom([]Rounding{RoundFloor, RoundTorchvision}).Draw(t, "rounding")
		tr.Mean = [3]float32{}
		w, h := rapid.IntRange(80, 300).Draw(t, "w"), rapid.IntRange(80, 300).Draw(t, "h")
		m := image.NewNRGBA(image.Rect(0, 0, w, h))
		sx, sy := rapid.IntRange(10, w-11).Draw(t, "x"), rapid.IntRange(10, h-11).Draw(t, "y")
		for y := sy - 8; y <= sy+8; y++ {
			for x := sx - 8; x <= sx+8; x++ {
				m.Pix[m.PixOffset(x, y)] = 255
			}
		}
		dst := tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(3, 48, 64))
		g, err := tr.PhotoPixels(t.Context(), dst, &Photo{Image: m, Orientation: 1})
		if err != nil {
			t.Fatal(err)
		}
		if x, y := float64(sx), float64(sy); x-9 < g.Seen.X || x+10 > g.Seen.X+g.Seen.W || y-9 < g.Seen.Y || y+10 > g.Seen.Y+g.Seen.H {
			t.Skip("the spot is cut")
		}
		// The centre of the red mass, weighted by what each pixel shows.
		var mass, cx, cy float64
		for i, v := range dst.Float32s()[:48*64] {
			c := g.Cell(i/64, i%64, 48, 64)
			mass += float64(v)
			cx += float64(v) * (c.X + c.W/2)
			cy += float64(v) * (c.Y + c.H/2)
		}
		if math.Abs(cx/mass-float64(sx)-0.5) > 0.5 || math.Abs(cy/mass-float64(sy)-0.5) > 0.5 {
			t.Fatalf("spot at (%d, %d), found at (%.2f, %.2f)", sx, sy, cx/mass, cy/mass)
		}
		if g.Coverage <= 0 || g.Coverage > 1 {
			t.Fatalf("coverage %g", g.Coverage)
		}
	})
}
