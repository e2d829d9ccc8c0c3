package cpu

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
)

// exactGrad are the activations' derivatives in float64.
var exactGrad = map[backend.Activation]func(float64) float64{
	backend.GELU: func(x float64) float64 {
		return 0.5*math.Erfc(-x/math.Sqrt2) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
	},
	backend.GELUTanh: func(x float64) float64 {
		x = max(-50, min(50, x)) // the derivative is 0 or 1 long before
		u := 2 * math.Sqrt(2/math.Pi) * (x + 0.044715*x*x*x)
		return 1/(1+math.Exp(-u)) + x*2*math.Sqrt(2/math.Pi)*(1+3*0.044715*x*x)/(2+math.Exp(u)+math.Exp(-u))
	},
	backend.QuickGELU: func(x float64) float64 {
		z := 1.702 * max(-50, min(50, x))
		return 1/(1+math.Exp(-z)) + z/(2+math.Exp(z)+math.Exp(-z))
	},
}

func TestActivationGrads(t *testing.T) {
	each(t, func(t *testing.T, k *kernels) {
		require.Nil(t, k.actGrad[backend.Identity])
		require.Nil(t, k.actGrad[backend.SwiGLU])
		x := append(inputs(), float32(math.Inf(1)), float32(math.Inf(-1)))
		for act, f := range exactGrad {
			in, m := newMatrix(1, len(x), 0, 1), newMatrix(1, len(x), 0, 1)
			copy(in.line(0), x)
			for j := range m.line(0) {
				m.line(0)[j] = 2
			}
			k.actGrad[act](m.p(), m.ld(), in.p(), in.ld(), 1, m.n)
			m.intact(t, act.String())
			for j, v := range m.line(0) {
				want := 2 * f(max(-1e30, min(1e30, float64(x[j]))))
				if !(math.Abs(want-float64(v)) <= 2e-6) {
					require.InDelta(t, want, v, 2e-6, "%v'(%g)", act, x[j])
				}
			}
			in.line(0)[3] = float32(math.NaN())
			k.actGrad[act](m.p(), m.ld(), in.p(), in.ld(), 1, 5)
			require.True(t, math.IsNaN(float64(m.line(0)[3])), "NaN stays")
		}
	})
}

// TestGradsOfEveryLength compares the kernels of rows with float64, and looks
// whether they stay inside their rows.
func TestGradsOfEveryLength(t *testing.T) {
	each(t, func(t *testing.T, k *kernels) {
		for i, n := range lengths {
			r := 1 + i%4
			p, d := newMatrix(r, n, 1+i%3, i).fill(source(1), 0, 1), newMatrix(r, n, 1+i%3, i).fill(source(2), 0, 1)
			for act, f := range exactGrad {
				y := d.clone()
				k.actGrad[act](y.p(), y.ld(), p.p(), p.ld(), r, n)
				y.intact(t, act.String())
				for row := range r {
					for j, v := range y.line(row) {
						require.InDelta(t, float64(d.line(row)[j])*f(float64(p.line(row)[j])), v, 5e-6, "%v: %d", act, n)
					}
				}
			}
			sum, y := d.clone(), d.clone()
			k.softmaxGrad(y.p(), y.ld(), p.p(), p.ld(), r, n)
			k.relevance(sum.p(), sum.ld(), p.p(), d.p(), p.ld(), r, n)
			y.intact(t, "softmaxGrad")
			sum.intact(t, "relevance")
			for row := range r {
				var mean float64
				for j, v := range p.line(row) {
					mean += float64(v) * float64(d.line(row)[j])
				}
				for j, v := range p.line(row) {
					g := float64(d.line(row)[j])
					require.InDelta(t, float64(v)*(g-mean), y.line(row)[j], 1e-4, "softmaxGrad: %d", n)
					require.InDelta(t, g+max(0, float64(v)*g), sum.line(row)[j], 1e-5, "relevance: %d", n)
				}
			}
		}
	})
}
