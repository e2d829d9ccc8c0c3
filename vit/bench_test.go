package vit

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend/cpu"
)

// BenchmarkForward is one classification on the CPU with random weights.
// GFLOP/s counts what is executed (see FLOPs).
func BenchmarkForward(b *testing.B) {
	for _, m := range []struct {
		name string
		c    Config
	}{{"DeiT-Ti", deitTi()}, {"ViT-B", vitB()}} {
		b.Run(m.name, func(b *testing.B) {
			device, err := cpu.New(backendOptions)
			require.NoError(b, err)
			defer device.Close()
			model, err := New(device, m.c, Random(m.c, 1))
			require.NoError(b, err)
			for _, batch := range []int{1, 8} {
				b.Run(fmt.Sprintf("batch%d", batch), func(b *testing.B) {
					s, err := model.NewSession(SessionOptions{MaxBatch: batch})
					require.NoError(b, err)
					defer s.Close()
					pixels := photos(m.c, batch, 1)
					// The first pass compiles the program.
					_, err = s.Forward(pixels, Wants{})
					require.NoError(b, err)
					b.ReportAllocs()
					for b.Loop() {
						if _, err := s.Forward(pixels, Wants{}); err != nil {
							b.Fatal(err)
						}
					}
					images := float64(b.N * batch)
					b.ReportMetric(b.Elapsed().Seconds()*1e3/images, "ms/image")
					b.ReportMetric(float64(FLOPs(m.c))*images/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				})
			}
		})
	}
}

// BenchmarkBackward is what explanations take, beside the same session's
// plain pass.
func BenchmarkBackward(b *testing.B) {
	for _, m := range []struct {
		name string
		c    Config
	}{{"DeiT-Ti", deitTi()}, {"ViT-B", vitB()}} {
		b.Run(m.name, func(b *testing.B) {
			device, err := cpu.New(backendOptions)
			require.NoError(b, err)
			defer device.Close()
			model, err := New(device, m.c, Random(m.c, 1))
			require.NoError(b, err)
			s, err := model.NewSession(SessionOptions{})
			require.NoError(b, err)
			defer s.Close()
			pixels, seed := photos(m.c, 1, 1), OneHot(m.c.Classes, 1)
			last, _ := s.Trace(pixels, Wants{})
			for _, c := range []struct {
				name string
				f    func() error
			}{
				{"forward", func() error { _, err := s.Forward(pixels, Wants{}); return err }},
				{"trace", func() error { last, err = s.Trace(pixels, Wants{}); return err }},
				{"pixels", func() error { _, err := last.Backward(AtLogits(seed), GradWants{Pixels: true}); return err }},
				{"relevance", func() error {
					_, err := last.Backward(AtLogits(seed), GradWants{Relevance: upTo(m.c.Depth)})
					return err
				}},
				{"legrad", func() error {
					for i := range m.c.Depth {
						if _, err := last.Backward(AtLogitsAfter(i, seed), GradWants{Probs: []int{i}}); err != nil {
							return err
						}
					}
					return nil
				}},
			} {
				b.Run(c.name, func(b *testing.B) {
					require.NoError(b, c.f())
					for b.Loop() {
						if err := c.f(); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		})
	}
}
