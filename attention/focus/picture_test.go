package focus

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"math"
	"testing"

	"github.com/disintegration/imaging"
	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/patch"
	"gorgonia.org/tensor"
)

func TestSummary(t *testing.T) {
	// The photo is 80×40; the input saw a square of 40 in the middle, 4×4 cells of 10 pixels.
	g := cropped(80, 40, patch.Rect{X: 20, W: 40, H: 40})
	m := newTestMap(4, 4,
		0, 0, 0, 0,
		0, 4, 3, 0,
		0, 0, 0, 0,
		0, 0, 1, 2)
	m.OnPrefix = 0.25
	s := m.Summary(g)
	require.Equal(t, float32(0), s.Min)
	require.Equal(t, float32(4), s.Max)
	require.InDelta(t, 10, s.Sum, 1e-9)
	require.InDelta(t, 0.25, s.OnPrefix, 0)
	require.Equal(t, patch.Rect{X: 30, Y: 10, W: 10, H: 10}, s.Peak.Rect)
	require.InDelta(t, 0.4, s.Peak.Share, 1e-6)
	require.Len(t, s.Boxes, 1)
	require.Equal(t, patch.Rect{X: 30, Y: 10, W: 20, H: 10}, s.Boxes[0].Rect)
	require.InDelta(t, 0.7, s.Boxes[0].Share, 1e-6)
	var want float64
	for _, p := range []float64{0.4, 0.3, 0.1, 0.2} {
		want -= p * math.Log(p) / math.Log(16)
	}
	require.InDelta(t, want, s.Entropy, 1e-6)

	require.InDelta(t, 1, newTestMap(1, 4, 1, 1, 1, 1).Summary(g).Entropy, 1e-6)
	require.Zero(t, newTestMap(1, 4, 0, 1, 0, -3).Summary(g).Entropy)
	require.Empty(t, newTestMap(1, 4, 0, -1, 0, -3).Summary(g).Boxes)

	// Cells that meet at a corner alone are two boxes, most mass first, and
	// boxes end at the photo's edge.
	g = cropped(40, 20, patch.Rect{Y: -10, W: 40, H: 40})
	s = newTestMap(2, 2, 0, 5, 6, 0).Summary(g)
	require.Len(t, s.Boxes, 1, "the higher alone holds half of the mass")
	s = newTestMap(2, 2, 0, 5, 5, 0).Summary(g)
	require.Len(t, s.Boxes, 1)
	s = newTestMap(2, 4, 0, 5, 1, 0, 6, 0, 1, 1).Summary(g)
	require.Equal(t, []patch.Rect{{X: 0, Y: 10, W: 10, H: 10}, {X: 10, Y: 0, W: 10, H: 10}},
		[]patch.Rect{s.Boxes[0].Rect, s.Boxes[1].Rect})
}

func TestHeatMap(t *testing.T) {
	m := newTestMap(2, 2, 0, 1, 2, 4)
	got, err := HeatMap(m, Style{Colors: "gray", Upsample: Nearest}, 6, 4)
	require.NoError(t, err)
	require.Equal(t, image.Rect(0, 0, 6, 4), got.Bounds())
	for y := range 4 {
		for x := range 6 {
			want := []uint8{0, 64, 128, 255}[y/2*2+x/3]
			require.Equal(t, want, got.NRGBAAt(x, y).G, "%d,%d", x, y)
		}
	}
	for _, size := range [][2]int{{0, 4}, {4, -1}, {MaxPicture + 1, 4}} {
		_, err = HeatMap(m, Style{}, size[0], size[1])
		require.ErrorIs(t, err, ErrOption)
	}
	_, err = HeatMap(newTestMap(2, 2, 3, 3, 3, 3), Style{}, 4, 4)
	require.ErrorIs(t, err, ErrFlat)
	_, err = HeatMap(m, Style{Alpha: 0.5}, 4, 4)
	require.ErrorIs(t, err, ErrOption)
}

func TestContactSheet(t *testing.T) {
	r := record(4, 2, 3, 2, 1, [2]int{4, 4})
	_, heads, _, n := r.shape()
	flatHead := r.Attn[1].Float32s()[(1*heads+0)*n*n:]
	for i := range n {
		flatHead[i] = 1 / float32(n) // layer 2, head 1, the class token's row of image 1
	}
	p, g := noise(300, 200), cropped(300, 200, patch.Rect{X: 50, W: 200, H: 200})
	sheet, err := ContactSheet(p, g, r, 1, Options{}, Style{})
	require.NoError(t, err)
	require.Equal(t, image.Rect(0, 0, sheetMargin+2*(sheetTile+sheetGap), sheetMargin+3*(sheetTile+sheetGap)), sheet.Bounds())
	for l := range 3 {
		for h := range 2 {
			red, x0, y0 := 0, sheetMargin+h*(sheetTile+sheetGap), sheetMargin+l*(sheetTile+sheetGap)
			grey := 0
			for y := range sheetTile {
				for x := range sheetTile {
					switch c := sheet.NRGBAAt(x0+x, y0+y); {
					case c.R == 255 && c.G == 0 && c.B == 0:
						red++
					case c.R == c.G && c.G == c.B:
						grey++
					}
				}
			}
			if l == 1 && h == 0 {
				require.Equal(t, 2*sheetTile, red, "the flat tile is crossed out")
				require.Equal(t, sheetTile*sheetTile, red+grey)
				continue
			}
			require.Less(t, red+grey, sheetTile*sheetTile/20, "layer %d head %d is painted", l+1, h+1)
		}
	}
	_, err = ContactSheet(p, g, r, 1, Options{Query: []int{4, 0}}, Style{})
	require.ErrorIs(t, err, ErrOption)
	_, err = ContactSheet(p, g, only(r, 0), 1, Options{Query: []int{3, 0}}, Style{})
	require.ErrorIs(t, err, ErrRows)
	_, err = ContactSheet(p, g, record(1, 1, 1, 80, 1, [2]int{2, 2}), 0, Options{}, Style{})
	require.ErrorIs(t, err, ErrOption, "a sheet beyond the limit")
}

func TestWriteNpy(t *testing.T) {
	r := record(4, 2, 3, 2, 1, [2]int{2, 3})
	var file bytes.Buffer
	require.NoError(t, r.WriteNpy(&file, 1))
	require.Zero(t, (file.Len()-3*2*7*7*4)%64, "values begin at a multiple of 64")
	d := new(tensor.Dense)
	require.NoError(t, d.ReadNpy(bytes.NewReader(file.Bytes())))
	require.Equal(t, tensor.Shape{3, 2, 7, 7}, d.Shape())
	for l := range 3 {
		require.Equal(t, r.Attn[l].Float32s()[2*49:4*49], d.Float32s()[l*98:(l+1)*98])
	}

	m, err := raw(r, 0, Options{})
	require.NoError(t, err)
	file.Reset()
	require.NoError(t, WriteMaps(&file, m))
	d = new(tensor.Dense)
	require.NoError(t, d.ReadNpy(&file))
	require.Equal(t, tensor.Shape{2, 3}, d.Shape())
	require.Equal(t, m.Values.Float32s(), d.Float32s())

	file.Reset()
	require.NoError(t, WriteMaps(&file, m, m))
	d = new(tensor.Dense)
	require.NoError(t, d.ReadNpy(&file))
	require.Equal(t, tensor.Shape{2, 2, 3}, d.Shape())
	require.Equal(t, append(m.Values.Float32s(), m.Values.Float32s()...), d.Float32s())

	require.ErrorIs(t, WriteMaps(full{}, m), errFull)
	require.ErrorIs(t, r.WriteNpy(full{}, 0), errFull)
}

var errFull = errors.New("disk full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestCut(t *testing.T) {
	const n = 7
	r := record(4, 2, 3, 2, 1, [2]int{2, 3})
	at := func(l, b, h, q, k int) float32 { return r.Attn[l].Float32s()[((b*2+h)*n+q)*n+k] }
	for _, p := range []Part{{}, {Layer: 2}, {Head: 1}, {Layer: 3, Head: 2}, {Rows: []int{4, 0}}, {Layer: 1, Head: 2, Rows: []int{6}}} {
		got, err := r.Cut(1, p)
		require.NoError(t, err)
		batch, heads, rows, tokens := got.shape()
		require.Equal(t, p.Bytes(3, 2, n), int64(4*len(got.Attn)*heads*rows*tokens))
		require.Equal(t, 1, batch)
		layer0, head0 := max(0, p.Layer-1), max(0, p.Head-1)
		for l, a := range got.Attn {
			for h := range heads {
				for i := range rows {
					q := i
					if p.Rows != nil {
						q = p.Rows[i]
					}
					for k := range n {
						require.Equal(t, at(layer0+l, 1, head0+h, q, k), a.Float32s()[(h*rows+i)*n+k], "%+v", p)
					}
				}
			}
		}
	}
	got, err := only(r, 0, 3).Cut(1, Part{})
	require.NoError(t, err)
	want, err := r.Cut(1, Part{Rows: []int{0, 3}})
	require.NoError(t, err)
	require.Equal(t, want.Attn[1].Float32s(), got.Attn[1].Float32s(), "rows are what is recorded")
	_, err = only(r, 0).Cut(1, Part{Rows: []int{3}})
	require.ErrorIs(t, err, ErrRows)
}

func TestOnPatches(t *testing.T) {
	g := patch.Geometry{
		Photo: [2]int{500, 400}, Orientation: 1, Input: [2]int{384, 384}, Seen: patch.Rect{X: 50, W: 400, H: 400}, Coverage: 0.8,
	}
	require.Equal(t, g, OnPatches(g, [2]int{24, 24}, [2]int{16, 16}), "all is looked at")

	got := OnPatches(g, [2]int{27, 27}, [2]int{14, 14})
	require.Equal(t, [2]int{378, 378}, got.Input)
	require.Equal(t, patch.Rect{X: 50, W: 393.75, H: 393.75}, got.Seen)
	require.InDelta(t, 393.75*393.75/200000, got.Coverage, 1e-12)
	require.Equal(t, g.Photo, got.Photo)

	// What was padded does not count as seen of the photo.
	g.Seen, g.Coverage = patch.Rect{X: -100, Y: -20, W: 700, H: 440}, 1
	got = OnPatches(g, [2]int{27, 27}, [2]int{14, 14})
	require.InDelta(t, 1, got.Coverage, 1e-12)
}

// TestClip: the scale ends where two of a hundred patches are beyond it, so
// that one hot patch does not take all colours; of few patches none is.
func TestClip(t *testing.T) {
	values := make([]float32, 100)
	for i := range values {
		values[i] = float32(i)
	}
	values[42] = 1e6
	m := newTestMap(10, 10, values...)
	low, high := m.Scale(Style{})
	require.EqualValues(t, 0, low)
	require.EqualValues(t, 98, high)
	_, high = m.Scale(Style{Clip: 100})
	require.EqualValues(t, 1e6, high)
	_, high = m.Scale(Style{Clip: 50})
	require.EqualValues(t, 50, high)
	_, high = m.Scale(Style{Compat: VitExplain})
	require.EqualValues(t, 1e6, high)
	require.True(t, ScaleOf(m, Style{}).Beyond)
	require.False(t, ScaleOf(m, Style{Clip: 100}).Beyond)
	_, high = newTestMap(2, 2, 0, 1, 2, 4).Scale(Style{})
	require.EqualValues(t, 4, high)

	heat, err := HeatMap(m, Style{Colors: "gray", Upsample: Nearest}, 10, 10)
	require.NoError(t, err)
	require.EqualValues(t, 255, heat.NRGBAAt(2, 4).G, "the hot patch has the colour of the end")
	require.InDelta(t, 255*60/98, heat.NRGBAAt(0, 6).G, 1, "and the others have the colours")

	// What is nearly everywhere zero keeps its highest value.
	sparse := make([]float32, 100)
	sparse[7] = 3
	low, high = newTestMap(10, 10, sparse...).Scale(Style{})
	require.Equal(t, [2]float64{0, 3}, [2]float64{low, high})

	values[42], values[43] = -1e6, -5
	low, high = newTestMap(10, 10, values...).Scale(Style{})
	require.Equal(t, [2]float64{-98, 98}, [2]float64{low, high}, "zero is in the middle")
	for _, clip := range []float64{-1, 49, 101, math.NaN()} {
		require.ErrorIs(t, Style{Clip: clip}.Check(), ErrOption)
	}
}

// TestOverlayDiverging: without colours a map with signs is red and blue over
// the photo in grey, whatever the photo's colour is.
func TestOverlayDiverging(t *testing.T) {
	for _, c := range []color.NRGBA{{R: 255, A: 255}, {B: 255, A: 255}, {G: 255, A: 255}, {R: 255, G: 255, B: 255, A: 255}, {A: 255}} {
		photo := &patch.Photo{Image: imaging.New(30, 10, c), Orientation: 1}
		got, err := Overlay(photo, cropped(30, 10, patch.Rect{W: 30, H: 10}), newTestMap(1, 3, -2, 0, 2), Style{Upsample: Nearest})
		require.NoError(t, err)
		against, neither, for_ := got.NRGBAAt(5, 5), got.NRGBAAt(15, 5), got.NRGBAAt(25, 5)
		require.Greater(t, int(against.B)-int(against.R), 40, "%v", c)
		require.InDelta(t, neither.R, neither.B, 8, "%v", c)
		require.Greater(t, int(for_.R)-int(for_.B), 40, "%v", c)
	}
}

// TestPlain: nothing is hatched where it is not wanted.
func TestPlain(t *testing.T) {
	photo := &patch.Photo{Image: imaging.New(60, 20, color.NRGBA{R: 200, G: 200, B: 200, A: 255}), Orientation: 1}
	shades := func(s Style) map[color.NRGBA]bool {
		got, err := Overlay(photo, cropped(60, 20, patch.Rect{X: 20, W: 20, H: 20}), newTestMap(2, 2, 1, 2, 3, 4), s)
		require.NoError(t, err)
		found := map[color.NRGBA]bool{}
		for y := range 20 {
			for x := range 20 {
				found[got.NRGBAAt(x, y)] = true
			}
		}
		return found
	}
	require.Len(t, shades(Style{}), 2)
	require.Len(t, shades(Style{Plain: true}), 1)
}

// TestFigure: panels lie in rows without touching, with room for captions and
// scales, and letters are drawn.
func TestFigure(t *testing.T) {
	m := newTestMap(2, 2, 1, 2, 3, 4)
	one := Panel{Image: imaging.New(300, 200, color.NRGBA{R: 9, A: 255})}
	with := Panel{Image: one.Image, Caption: []string{"école 12 %", "method"}, Scale: ScaleOf(m, Style{})}
	alone, err := Figure("", []Panel{one}, 1)
	require.NoError(t, err)
	require.Equal(t, image.Pt(300+2*figureGap, 200+4+2*figureGap), alone.Bounds().Size())
	four, err := Figure("a title", []Panel{with, with, with, with}, 2)
	require.NoError(t, err)
	require.Equal(t, 2*(300+barWidth+barNumbers)+3*figureGap, four.Bounds().Dx())
	letters := 0
	for x := range 300 {
		for y := range 2 * lineHeight {
			if four.NRGBAAt(figureGap+x, figureGap+figureTitle+200+y) != sheetGround {
				letters++
			}
		}
	}
	require.Greater(t, letters, 100)
	require.Equal(t, color.NRGBA{R: 122, G: 4, B: 3, A: 255}, four.NRGBAAt(figureGap+300+8, figureGap+figureTitle+8), "the scale's upper end")
	_, err = Figure("", nil, 1)
	require.ErrorIs(t, err, ErrOption)
	_, err = Figure("", make([]Panel, mostPanels+1), 3)
	require.ErrorIs(t, err, ErrOption)
	for v, want := range map[float64]string{0: "0", 0.0123: "0.0123", 5: "5.00", -0.25: "-0.250", 1e-9: "1e-09", 12345: "1.2e+04"} {
		require.Equal(t, want, short(v))
	}
	e := &Evidence{DeletionCurve: []float64{1, 0.5, 0}, InsertionCurve: []float64{0, 0.5, 1}}
	require.Equal(t, figureSide, e.Curves().Bounds().Dx())
}
