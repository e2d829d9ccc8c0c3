package focus_test

import (
	"context"
	"image"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/disintegration/imaging"
	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/backend"
	_ "github.com/vitserve/vitserve/backend/cpu"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// shared returns the folder of real weights and photos, or skips.
func shared(t testing.TB) string {
	dir := os.Getenv("VITSERVE_SHARED")
	if dir == "" {
		t.Skip("VITSERVE_SHARED is not set: no real weights and published pictures to compare with")
	}
	return dir
}

// deitTiny opens a session of the real DeiT-tiny.
func deitTiny(t testing.TB, dir string, batch int) (*models.Checkpoint, *vit.Session) {
	return deitTinyIn(t, dir, batch, backend.F32)
}

func deitTinyIn(t testing.TB, dir string, batch int, p backend.Precision) (*models.Checkpoint, *vit.Session) {
	c, err := models.Open(filepath.Join(dir, "models", "deit_tiny_patch16_224"), models.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	b, err := backend.Open("cpu", backend.Options{Precision: p})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	m, err := vit.New(b, c.Config, c.Weights)
	require.NoError(t, err)
	s, err := m.NewSession(vit.SessionOptions{MaxBatch: batch})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return c, s
}

// look runs one photo, squashed, and records all of its attention; theirs is
// whether with that author's normalisation or with the model's own.
func look(t testing.TB, c *models.Checkpoint, s *vit.Session, p *patch.Photo, theirs bool) (*focus.Record, patch.Geometry) {
	transform := focus.VitExplainTransform(c.Transform)
	pixels := tensor.New(tensor.WithShape(1, 3, transform.Size[0], transform.Size[1]), tensor.Of(tensor.Float32))
	one := tensor.New(tensor.WithShape(3, transform.Size[0], transform.Size[1]), tensor.WithBacking(pixels.Float32s()))
	g, err := transform.PhotoPixels(t.Context(), one, p)
	require.NoError(t, err)
	if theirs {
		focus.VitExplainPixels(one, transform.Mean, transform.Std)
	}
	out, err := s.Forward(pixels, vit.Wants{AttnFull: true})
	require.NoError(t, err)
	rows, cols := c.Config.Grid()
	return &focus.Record{Shape: focus.Shape{Grid: [2]int{rows, cols}, Prefix: c.Config.Prefix}, Attn: out.Attn}, g
}

// The pictures that the author of https://github.com/jacobgil/vit-explain
// published for DeiT-tiny. Five of seven reach a correlation of pixels of
// 0.99 as they stand. Two cannot here, for reasons that were found out:
//
// "both 0.000 min": that program divides a map by its highest cell, and the
// checkpoint here has its norms rounded to 1/32 to 1/128. Norms drawn at
// random from within that rounding move the correlation between 0.955 and
// 0.997, by moving that one cell.
//
// "plane 0.000 max": this picture and the two of the plane with fusion min
// were made from another copy of the photo than plane.png (in that project's
// history: plane.jpg). Fitted to the three pictures, one photo under three
// maps explains them to half a grey level; it is 3 grey levels from plane.png
// on average, and from it the correlations are 0.993, 0.998 and 0.997.
//
// So every picture must reach 0.99 with its highest cell alone up to a tenth
// off, and floor as it stands.
var published = []struct {
	photo   string
	fusion  focus.Fusion
	discard float64
	floor   float64 // of the correlation as it stands
	file    string
}{
	{"both.png", focus.Min, 0, 0.975, "both_attention_rollout_0.000_min.png"},
	{"both.png", focus.Max, 0.9, 0.99, "both_attention_rollout_0.900_max.png"},
	{"plane.png", focus.Max, 0, 0.95, "plane_attention_rollout_0.000_max.png"},
	{"plane.png", focus.Mean, 0, 0.99, "plane_attention_rollout_0.000_mean.png"},
	{"plane.png", focus.Min, 0, 0.99, "plane_attention_rollout_0.000_min.png"},
	{"plane.png", focus.Max, 0.9, 0.99, "plane_attention_rollout_0.900_max.png"},
	{"plane.png", focus.Min, 0.9, 0.99, "plane_attention_rollout_0.900_min.png"},
}

func TestVitExplainPictures(t *testing.T) {
	dir := shared(t)
	c, s := deitTiny(t, dir, 1)
	rollout, err := focus.Find("rollout")
	require.NoError(t, err)

	for _, want := range published {
		t.Run(want.file, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(dir, "data", "vit-explain", want.photo))
			require.NoError(t, err)
			photo, err := patch.Decode(t.Context(), data, patch.Options{})
			require.NoError(t, err)
			picture, err := imaging.Open(filepath.Join(dir, "data", "vit-explain", want.file))
			require.NoError(t, err)
			style := focus.Style{Compat: focus.VitExplain}

			theirs, g := look(t, c, s, photo, true)
			o := focus.Options{Fusion: want.fusion, Discard: want.discard, Compat: focus.VitExplain}
			m, err := rollout.Map(context.Background(), focus.Subject{Record: theirs.Image(0)}, o)
			require.NoError(t, err)
			painted, err := focus.Overlay(photo, g, m, style)
			require.NoError(t, err)
			strict := correlation(painted, imaging.Clone(picture))
			require.GreaterOrEqual(t, strict, want.floor)

			// The same with the highest cell as the published picture must have had it.
			best, by := strict, 1.0
			for f := 0.9; f <= 1.1; f += 0.01 {
				moved, err := focus.Overlay(photo, g, moveHighest(m, f), style)
				require.NoError(t, err)
				if r := correlation(moved, imaging.Clone(picture)); r > best {
					best, by = r, f
				}
			}
			require.GreaterOrEqual(t, best, 0.99)

			// What the paper's equation and the model's own normalisation make of it.
			ours, g := look(t, c, s, photo, false)
			o.Compat = ""
			m, err = rollout.Map(context.Background(), focus.Subject{Record: ours.Image(0)}, o)
			require.NoError(t, err)
			painted, err = focus.Overlay(photo, g, m, style)
			require.NoError(t, err)
			t.Logf("compat %.4f (%.4f with the highest cell × %.2f); correct default %.4f",
				strict, best, by, correlation(painted, imaging.Clone(picture)))
		})
	}
}

// moveHighest returns m with its highest cell multiplied by f.
func moveHighest(m *focus.Map, f float64) *focus.Map {
	v := m.Values.Clone().(*tensor.Dense)
	highest := 0
	for i, x := range v.Float32s() {
		if x > v.Float32s()[highest] {
			highest = i
		}
	}
	v.Float32s()[highest] *= float32(f)
	return &focus.Map{Values: v}
}

// correlation is Pearson's, of the red, green and blue values of two
// pictures.
func correlation(a, b *image.NRGBA) float64 {
	if a.Bounds() != b.Bounds() {
		panic("pictures of different sizes")
	}
	var n, sa, sb, saa, sbb, sab float64
	for i, v := range a.Pix {
		if i%4 == 3 {
			continue
		}
		x, y := float64(v), float64(b.Pix[i])
		n++
		sa, sb, saa, sbb, sab = sa+x, sb+y, saa+x*x, sbb+y*y, sab+x*y
	}
	return (n*sab - sa*sb) / math.Sqrt((n*saa-sa*sa)*(n*sbb-sb*sb))
}
