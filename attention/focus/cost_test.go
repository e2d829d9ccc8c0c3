package focus_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// vitB is ViT-B/16 at 224 pixels: Table 1 of https://arxiv.org/abs/2010.11929.
var vitB = vit.Config{
	Image: [2]int{224, 224}, Patch: [2]int{16, 16}, Prefix: 1, Dim: 768, Depth: 12, Heads: 12, Hidden: 3072,
	Act: backend.GELU, Eps: 1e-6, Pool: []backend.Span{{Lo: 0, Hi: 1}}, Classes: 1000,
}

// BenchmarkCost reports what a map costs as a multiple of the fastest forward
// pass of ViT-B in f32: both are run in turn, and the best of each divided, which a busy machine
// disturbs least.
func BenchmarkCost(b *testing.B) {
	device, err := backend.Open("cpu", backend.Options{})
	require.NoError(b, err)
	defer device.Close()
	m, err := vit.New(device, vitB, vit.Random(vitB, 1))
	require.NoError(b, err)
	s, err := m.NewSession(vit.SessionOptions{})
	require.NoError(b, err)
	defer s.Close()
	pixels := tensor.New(tensor.WithShape(1, 3, 224, 224), tensor.Of(tensor.Float32))
	for i := range pixels.Float32s() {
		pixels.Float32s()[i] = float32(i%251) / 250
	}
	shape := vitserve.ShapeOf(vitB)
	for _, c := range []struct {
		name, method string
		o            focus.Options
	}{
		{"raw", "raw", focus.Options{}},
		{"rollout", "rollout", focus.Options{}},
		{"rollout max discard", "rollout", focus.Options{Fusion: focus.Max, Discard: 0.9}},
		{"normrollout", "normrollout", focus.Options{}},
		{"relevance", "relevance", focus.Options{}},
		{"legrad", "legrad", focus.Options{}},
		{"gradcam", "gradcam", focus.Options{}},
		{"gradrollout", "gradrollout", focus.Options{}},
		{"inputgradient", "inputgradient", focus.Options{}},
		{"integrated", "integrated", focus.Options{}},
	} {
		method, err := focus.Find(c.method)
		require.NoError(b, err)
		b.Run(c.name, func(b *testing.B) {
			var plain, mapped []time.Duration
			for b.Loop() {
				start := time.Now()
				_, err := s.Forward(pixels, vit.Wants{})
				require.NoError(b, err)
				plain = append(plain, time.Since(start))

				start = time.Now()
				x := focus.Subject{Record: &focus.Record{Shape: shape}, Model: vitserve.View{Session: s}, Pixels: pixels}
				if method.From == focus.FromAttention {
					out, err := s.Forward(pixels, vitserve.WantsOf(focus.Question{Method: c.method, Options: c.o}, shape))
					require.NoError(b, err)
					x.Record = vitserve.RecordOf(shape, out)
				}
				if _, err = method.Map(b.Context(), x, c.o); !errors.Is(err, focus.ErrFlat) { // of random weights
					require.NoError(b, err)
				}
				mapped = append(mapped, time.Since(start))
			}
			b.ReportMetric(float64(slices.Min(mapped))/float64(slices.Min(plain)), "×forward")
			b.ReportMetric(slices.Min(plain).Seconds()*1000, "ms/forward")
		})
	}
}
