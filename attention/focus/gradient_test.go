package focus_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/backend/ref"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

func npy(t testing.TB, path ...string) *tensor.Dense {
	f, err := os.Open(filepath.Join(path...))
	require.NoError(t, err)
	defer f.Close()
	d := new(tensor.Dense)
	require.NoError(t, d.ReadNpy(f))
	return d
}

// goldenImages opens a tiny model of models/testdata and its own images.
func goldenImages(t testing.TB, kind string) (focus.Subject, vit.Config) {
	dir := filepath.Join("..", "..", "models", "testdata", "golden", kind)
	ck, err := models.Open(dir, models.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ck.Close()) })
	m, err := vit.New(ref.Backend{}, ck.Config, ck.Weights)
	require.NoError(t, err)
	s, err := m.NewSession(vit.SessionOptions{MaxBatch: 2})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	shape := vitserve.ShapeOf(ck.Config)
	require.Equal(t, ck.Config.Pool[0].Lo >= ck.Config.Prefix || ck.Config.Probe.Heads > 0, shape.Pooled)
	return focus.Subject{
		Record: &focus.Record{Shape: shape}, Model: vitserve.View{Session: s}, Pixels: npy(t, dir, "pixels.npy"), Batch: 2,
	}, ck.Config
}

// goldenKinds are the models of testdata/make_maps.py.
var goldenKinds = []string{
	"timm_vit", "timm_deit_distilled", "timm_deit3", "timm_reg_gap", "timm_pre_norm", "timm_map",
	"timm_dinov3", "timm_beit", "timm_relpos", "timm_beit3", "timm_eva02", "timm_rope_mixed", "timm_aimv2",
	"timm_parallel", "timm_parallel_apart", "timm_norm_after",
}

// transformersKinds are those of it that transformers computes.
var transformersKinds = []string{"hf_dinov2_registers_head", "hf_clip_head"}

// goldenTargets are those of testdata/make_maps.py.
var goldenTargets = []focus.Target{{Class: 0}, {Class: 2}, {Class: 3, Versus: []int{1}}}

// goldenMaps are the methods of testdata/make_maps.py, in its order.
var goldenMaps = []struct {
	name string
	o    focus.Options
}{
	{"relevance", focus.Options{}},
	{"gradrollout", focus.Options{}},
	{"gradrollout", focus.Options{Discard: 0.5}},
	{"gradrollout", focus.Options{Discard: 0.9, Compat: focus.VitExplain}},
	{"gradcam", focus.Options{}},
	{"gradcam", focus.Options{Layer: 1}},
	{"legrad", focus.Options{}},
	{"legrad", focus.Options{Start: 2}},
	{"inputgradient", focus.Options{}},
	{"integrated", focus.Options{Steps: 12}},
}

// pearson is Pearson's correlation.
func pearson(x, y []float32) float64 {
	var mx, my float64
	for i := range x {
		mx, my = mx+float64(x[i])/float64(len(x)), my+float64(y[i])/float64(len(x))
	}
	var xy, xx, yy float64
	for i := range x {
		a, b := float64(x[i])-mx, float64(y[i])-my
		xy, xx, yy = xy+a*b, xx+a*a, yy+b*b
	}
	return xy / math.Sqrt(xx*yy)
}

func spread(x []float32) float64 {
	low, high := x[0], x[0]
	for _, v := range x {
		low, high = min(low, v), max(high, v)
	}
	return float64(high - low)
}

// TestGradientGolden holds the maps to PyTorch's gradients in the authors'
// formulas: as pictures, and in the size of their values.
func TestGradientGolden(t *testing.T) {
	for _, kind := range slices.Concat(goldenKinds, transformersKinds) {
		t.Run(kind, func(t *testing.T) {
			x, _ := goldenImages(t, kind)
			x.Targets = goldenTargets
			want := npy(t, "testdata", kind+"_maps.npy")
			shape, cells := want.Shape(), x.Record.Grid[0]*x.Record.Grid[1]
			require.Equal(t, tensor.Shape{len(goldenMaps), len(goldenTargets), 2, cells}, shape)
			for i, g := range goldenMaps {
				m, err := focus.Find(g.name)
				require.NoError(t, err)
				d, err := m.Maps(context.Background(), x, g.o)
				require.NoError(t, err)
				require.Len(t, d.Maps, 2)
				for b, focuses := range d.Maps {
					require.Len(t, focuses, len(goldenTargets))
					for k, f := range focuses {
						name := fmt.Sprintf("%s %+v image %d target %d", g.name, g.o, b, k)
						w := want.Float32s()[((i*len(goldenTargets)+k)*2+b)*cells:][:cells]
						if spread(w) == 0 {
							require.ErrorIs(t, f.Err, focus.ErrFlat, name)
							continue
						}
						require.NoError(t, f.Err, name)
						require.Equal(t, &goldenTargets[k], f.Target)
						got := f.Map.Values.Float32s()
						require.Greater(t, pearson(w, got), 0.9999, name)
						require.InEpsilon(t, spread(w), spread(got), 1e-3, name)
					}
				}
			}
		})
	}
}

// TestIntegratedIsComplete holds the axiom of section 3 of its paper: what all
// pixels are credited with is what the class gains from black to the image.
func TestIntegratedIsComplete(t *testing.T) {
	for _, kind := range []string{"timm_deit3", "timm_reg_gap"} {
		x, c := goldenImages(t, kind)
		x.Targets = []focus.Target{{Class: 1}, {Class: 0, Versus: []int{2, 3}}}
		m, err := focus.Find("integrated")
		require.NoError(t, err)
		d, err := m.Maps(context.Background(), x, focus.Options{Steps: 64})
		require.NoError(t, err)
		black, err := x.Model.Trace(context.Background(), tensor.New(tensor.WithShape(1, 3, c.Image[0], c.Image[1]), tensor.Of(tensor.Float32)), false, nil)
		require.NoError(t, err)
		zero := black.Logits().Float32s()
		for b, focuses := range d.Maps {
			y := d.Logits.Float32s()[b*c.Classes:]
			gains := []float64{float64(y[1] - zero[1]), float64(y[0] - zero[0] - (y[2]-zero[2]+y[3]-zero[3])/2)}
			for k, f := range focuses {
				require.NoError(t, f.Err)
				var sum float64
				for _, v := range f.Map.Values.Float32s() {
					sum += float64(v)
				}
				require.InDelta(t, gains[k], sum, 0.01*max(1, math.Abs(gains[k])), "%s image %d", kind, b)
			}
		}
	}
}

// TestBestClass holds that no target is each image's best class.
func TestBestClass(t *testing.T) {
	x, c := goldenImages(t, "timm_vit")
	m, err := focus.Find("relevance")
	require.NoError(t, err)
	best, err := m.Maps(context.Background(), x, focus.Options{})
	require.NoError(t, err)
	for b, f := range best.Maps {
		require.Len(t, f, 1)
		row := best.Logits.Float32s()[b*c.Classes : (b+1)*c.Classes]
		for _, v := range row {
			require.LessOrEqual(t, v, row[f[0].Target.Class])
		}
		x.Targets = []focus.Target{*f[0].Target}
		named, err := m.Maps(context.Background(), x, focus.Options{})
		require.NoError(t, err)
		require.Equal(t, f[0].Map.Values.Float32s(), named.Maps[b][0].Map.Values.Float32s())
		x.Targets = nil
	}
}

func TestGradientErrors(t *testing.T) {
	x, _ := goldenImages(t, "timm_vit")
	for _, c := range []struct {
		method, want string
		targets      []focus.Target
		o            focus.Options
	}{
		{"relevance", "class 7, want 0 to 6", []focus.Target{{Class: 7}}, focus.Options{}},
		{"gradcam", "class -1, want 0 to 6", []focus.Target{{Class: 1, Versus: []int{-1}}}, focus.Options{}},
		{"relevance", "start layer 3, want 1 to 2", nil, focus.Options{Start: 3}},
		{"gradcam", "layer 3, want 1 to 2", nil, focus.Options{Layer: 3}},
		{"gradcam", "has no head, want only layer", nil, focus.Options{Head: 1}},
		{"integrated", "steps 1001, want 1 to 1000", nil, focus.Options{Steps: 1001}},
		{"inputgradient", "no option but mass", nil, focus.Options{Steps: 3}},
		{"gradrollout", "discard ratio 1, want 0 to below 1", nil, focus.Options{Discard: 1}},
	} {
		m, err := focus.Find(c.method)
		require.NoError(t, err)
		x.Targets = c.targets
		_, err = m.Maps(context.Background(), x, c.o)
		require.ErrorIs(t, err, focus.ErrOption)
		require.ErrorContains(t, err, c.want)
		_, err = m.Map(context.Background(), focus.Subject{Record: x.Record}, focus.Options{})
		require.ErrorIs(t, err, focus.ErrOption)
	}
	x.Targets = nil
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	for _, name := range focus.Names(focus.FromGradients) {
		m, err := focus.Find(name)
		require.NoError(t, err)
		_, err = m.Maps(stopped, x, focus.Options{})
		require.ErrorIs(t, err, context.Canceled, name)
		for _, paper := range []string{"https://", ":"} {
			require.True(t, strings.Contains(m.Paper, paper), name)
		}
	}
	headless, _ := goldenImages(t, "timm_dino")
	m, err := focus.Find("legrad")
	require.NoError(t, err)
	_, err = m.Maps(context.Background(), headless, focus.Options{})
	require.ErrorContains(t, err, "no head")
}

// TestGradientNotFinite: a picture that breaks the arithmetic has no map, and
// the one beside it has its own.
func TestGradientNotFinite(t *testing.T) {
	x, _ := goldenImages(t, "timm_vit")
	for _, name := range focus.Names(focus.FromGradients) {
		m, err := focus.Find(name)
		require.NoError(t, err)
		broken := x
		broken.Pixels = x.Pixels.Clone().(*tensor.Dense)
		broken.Pixels.Float32s()[0] = float32(math.NaN())
		broken.Targets = []focus.Target{{Class: 1}}
		d, err := m.Maps(context.Background(), broken, focus.Options{})
		require.NoError(t, err, name)
		require.ErrorIs(t, d.Maps[0][0].Err, focus.ErrNotFinite, name)
		require.NoError(t, d.Maps[1][0].Err, name)
	}
}

// TestAutoDerives holds that the methods with gradients take part where the
// model can be derived, for the subject's class.
func TestAutoDerives(t *testing.T) {
	x, c := goldenImages(t, "timm_deit3")
	one := tensor.New(tensor.WithShape(1, 3, c.Image[0], c.Image[1]), tensor.WithBacking(x.Pixels.Float32s()[:3*c.Image[0]*c.Image[1]]))
	model := x.Model.(vitserve.View)
	out, err := model.Session.Forward(one, vit.Wants{AttnFull: true, Gram: true})
	require.NoError(t, err)
	x.Record, x.Pixels, x.Targets = vitserve.RecordOf(x.Shape, out), one, []focus.Target{{Class: 2}}
	m, err := focus.Find(focus.AutoMethod)
	require.NoError(t, err)
	made, err := m.Maps(context.Background(), x, focus.Options{})
	require.NoError(t, err)
	shown, derived := made.Maps[0][0], 0
	require.NoError(t, shown.Err)
	for _, trial := range shown.Trials {
		if trial.Err != nil {
			require.ErrorIs(t, trial.Err, focus.ErrFlat)
			continue
		}
		require.LessOrEqual(t, trial.Evidence.Score(), shown.Evidence.Score())
		if trial.Method.From != focus.FromGradients {
			continue
		}
		derived++
		want, err := trial.Method.Map(context.Background(), x, trial.Options)
		require.NoError(t, err)
		require.Equal(t, want.Values.Float32s(), trial.Map.Values.Float32s())
	}
	require.GreaterOrEqual(t, derived, 3)
	require.Len(t, shown.Trials, 10)
}
