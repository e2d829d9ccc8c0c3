package cpu

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRMSNorm(t *testing.T) {
	each(t, func(t *testing.T, k *kernels) {
		for i, n := range lengths {
			for _, in := range []struct{ mean, deviation, eps float64 }{{0, 1, 1e-6}, {1000, 1, 1e-12}, {0, 1e-5, 1e-6}, {0, 0, 1e-6}, {0, 1e12, 1e-6}} {
				x := newMatrix(1, n, 0, i).fill(source(uint64(n)), in.mean, in.deviation)
				w := newMatrix(1, n, 0, i/2).fill(source(2), 1, 0.3)
				y := newMatrix(1, n, 0, i+1)
				k.rmsNorm(y.p(), x.p(), w.p(), n, float32(in.eps))
				y.intact(t, "rmsNorm")
				var mean float64
				for _, v := range x.line(0) {
					mean += float64(v) * float64(v) / float64(n)
				}
				var want []float64
				for j, v := range x.line(0) {
					want = append(want, float64(v)/math.Sqrt(mean+float64(float32(in.eps)))*float64(w.line(0)[j]))
				}
				require.InDeltaSlice(t, want, y.line(0), 4e-6, "%+v, %d values", in, n)

				k.rmsNorm(x.p(), x.p(), w.p(), n, float32(in.eps))
				x.intact(t, "rmsNorm in place")
				require.Equal(t, y.line(0), x.line(0))
			}
		}
		x := newMatrix(1, 70, 0, 0).fill(source(1), 0, 1)
		x.line(0)[69] = float32(math.NaN())
		k.rmsNorm(x.p(), x.p(), x.p(), 70, 1e-6)
		for _, v := range x.line(0) {
			require.True(t, v != v)
		}
	})
}
