package cpu

import (
	"math"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
)

// lengths are rows of tokens or channels, and what lies around a vector.
var lengths = []int{1, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 192, 197, 257, 577, 768}

// exact are the activations in float64.
var exact = map[backend.Activation]func(float64) float64{
	backend.GELU: func(x float64) float64 { return 0.5 * x * math.Erfc(-x/math.Sqrt2) },
	backend.GELUTanh: func(x float64) float64 {
		return x / (1 + math.Exp(-2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	},
	backend.QuickGELU: func(x float64) float64 { return x / (1 + math.Exp(-1.702*x)) },
}

func silu(x float64) float64 { return x / (1 + math.Exp(-x)) }

// inputs are numbers of every size, dense where activations bend.
func inputs() []float32 {
	var x []float32
	for v := -14.0; v < 14; v += 1. / 1024 {
		x = append(x, float32(v))
	}
	for e := -126; e < 127; e++ {
		x = append(x, float32(math.Ldexp(1.37, e)), float32(math.Ldexp(-1.37, e)))
	}
	return append(x, 0, float32(math.Copysign(0, -1)), math.MaxFloat32, -math.MaxFloat32)
}

func TestActivations(t *testing.T) {
	each(t, func(t *testing.T, k *kernels) {
		require.Nil(t, k.act[backend.Identity])
		require.Nil(t, k.act[backend.SwiGLU])
		x := inputs()
		for act, f := range exact {
			m := newMatrix(1, len(x), 0, 1)
			copy(m.line(0), x)
			k.act[act](m.p(), m.ld(), 1, m.n)
			m.intact(t, act.String())
			for j, v := range m.line(0) {
				want := f(float64(x[j]))
				limit := 1e-6 * max(math.Abs(float64(x[j])), 1e-30)
				if !(math.Abs(want-float64(v)) <= limit) {
					require.InDelta(t, want, v, limit, "%v(%g)", act, x[j])
				}
			}
		}
	})
}

func TestActivationsOfEveryLength(t *testing.T) {
	each(t, func(t *testing.T, k *kernels) {
		for act, f := range exact {
			for i, n := range lengths {
				m := newMatrix(1+i%4, n, 1+i%3, i).fill(source(1), 0, 2)
				before := m.clone()
				k.act[act](m.p(), m.ld(), m.r, n)
				m.intact(t, act.String())
				for r := range m.r {
					for j, v := range m.line(r) {
						require.InDelta(t, f(float64(before.line(r)[j])), v, 5e-6, "%v: row %d of %d, column %d", act, r, n, j)
					}
				}
			}
		}
	})
}

// Where the limit is a number, infinities give it; NaN stays NaN.
func TestActivationsOfExtremes(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	each(t, func(t *testing.T, k *kernels) {
		for act := range exact {
			m := newMatrix(1, 19, 0, 0).fill(source(1), 0, 1)
			want := m.clone()
			k.act[act](want.p(), want.ld(), 1, want.n)
			m.line(0)[3], m.line(0)[18] = nan, nan
			m.line(0)[5], m.line(0)[17] = inf, inf
			k.act[act](m.p(), m.ld(), 1, m.n)
			for j, v := range m.line(0) {
				switch j {
				case 3, 18:
					require.True(t, v != v, "%v(NaN) is %v", act, v)
				case 5, 17:
					require.Equal(t, inf, v, "%v(+Inf)", act)
				default:
					require.Equal(t, want.line(0)[j], v, "%v beside NaN", act)
				}
			}
		}
	})
}

func TestSwiGLU(t *testing.T) {
	each(t, func(t *testing.T, k *kernels) {
		for i, n := range lengths {
			x := newMatrix(3, 2*n, i, i).fill(source(1), 0, 3)
			y := newMatrix(3, n, 2, i/2)
			k.swiglu(y.p(), y.ld(), x.p(), x.ld(), 3, n)
			y.intact(t, "swiglu")
			for r := range 3 {
				for j, v := range y.line(r) {
					gate, value := float64(x.line(r)[j]), float64(x.line(r)[n+j])
					require.InDelta(t, silu(gate)*value, v, 1e-6*math.Abs(gate*value)+1e-30, "row %d of %d, column %d", r, n, j)
				}
			}
			k.swiglu(x.p(), x.ld(), x.p(), x.ld(), 3, n)
			x.intact(t, "swiglu in place")
			for r := range 3 {
				require.Equal(t, y.line(r), x.line(r)[:n])
			}
		}
	})
}

func TestAdd(t *testing.T) {
	each(t, func(t *testing.T, k *kernels) {
		for i, n := range lengths {
			x := newMatrix(3, n, i, i).fill(source(1), 0, 3)
			y := newMatrix(3, n, 2, i/2).fill(source(2), 0, 3)
			before := y.clone()
			k.add(y.p(), y.ld(), x.p(), x.ld(), 3, n)
			y.intact(t, "add")
			for r := range 3 {
				for j, v := range y.line(r) {
					require.Equal(t, before.line(r)[j]+x.line(r)[j], v)
				}
			}
		}
	})
}

func TestTranspose(t *testing.T) {
	each(t, func(t *testing.T, k *kernels) {
		for i, n := range lengths {
			for _, r := range []int{1, 3, 5, 14, 16, 17, 32, 33} {
				x := newMatrix(r, n, i, i).fill(source(1), 0, 3)
				y := newMatrix(n, r, r%3, i/2)
				k.transpose(y.p(), y.ld(), x.p(), x.ld(), r, n)
				y.intact(t, "transpose")
				for a := range r {
					for b := range n {
						require.Equal(t, x.line(a)[b], y.line(b)[a], "%dx%d: %d, %d", r, n, a, b)
					}
				}
			}
		}
	})
}

func TestRotate(t *testing.T) {
	each(t, func(t *testing.T, k *kernels) {
		for i, n := range []int{2, 6, 16, 30, 32, 34, 64, 80, 96, 128} {
			x := newMatrix(3, n, i, i).fill(source(uint64(n)), 0, 1)
			cos, sin := newMatrix(3, n, 1, i).fill(source(2), 0, 1), newMatrix(3, n, 4, i/2).fill(source(3), 0, 1)
			for _, pairs := range []bool{false, true} {
				turn, partner := k.rotate, func(j int) int { return (j + n/2) % n }
				first := func(j int) bool { return j < n/2 }
				if pairs {
					turn, partner = k.rotatePairs, func(j int) int { return j ^ 1 }
					first = func(j int) bool { return j%2 == 0 }
				}
				y := newMatrix(3, n, 2, i/3)
				turn(y.p(), y.ld(), x.p(), x.ld(), cos.p(), cos.ld(), sin.p(), sin.ld(), 3, n, 0.125)
				y.intact(t, "rotate")
				for r := range 3 {
					for j, v := range y.line(r) {
						other := float64(x.line(r)[partner(j)]) * float64(sin.line(r)[j])
						if first(j) {
							other = -other
						}
						want := (float64(x.line(r)[j])*float64(cos.line(r)[j]) + other) * 0.125
						require.InDelta(t, want, v, 1e-6, "row %d of %d, column %d, pairs %v", r, n, j, pairs)
					}
				}
				in := x.clone()
				turn(in.p(), in.ld(), in.p(), in.ld(), cos.p(), cos.ld(), sin.p(), sin.ld(), 3, n, 0.125)
				for r := range 3 {
					require.Equal(t, y.line(r), in.line(r), "in place")
				}
			}
		}
	})
}

// softmaxExact is the softmax of scale·x in float64.
func softmaxExact(x []float32, scale float64) []float64 {
	p := make([]float64, len(x))
	largest := float64(slices.Max(x))
	var sum float64
	for j, v := range x {
		p[j] = math.Exp(scale * (float64(v) - largest))
		sum += p[j]
	}
	for j := range p {
		p[j] /= sum
	}
	return p
}

func TestSoftmax(t *testing.T) {
	each(t, func(t *testing.T, k *kernels) {
		for i, n := range lengths {
			for _, scale := range []float32{0.125, 1, 3} {
				m := newMatrix(4, (n+15)/16*16, i%3*4, i).fill(source(uint64(n)), 2, 3)
				if n > 2 {
					m.line(1)[n/2] = float32(math.Inf(-1)) // masked
					m.line(2)[n-1] = -1000
				}
				before := m.clone()
				k.softmax(m.p(), m.ld(), 4, n, scale)
				m.intact(t, "softmax")
				for r := range 4 {
					want := softmaxExact(before.line(r)[:n], float64(scale))
					for j, v := range m.line(r) {
						if j >= n {
							require.Zero(t, v, "behind row %d of %d", r, n)
							continue
						}
						// The exponent is rounded to some 1e-7 of itself.
						far := float64(scale) * math.Abs(float64(slices.Max(before.line(r)[:n])-before.line(r)[j]))
						limit := 1e-37
						if want[j] > 0 {
							limit += want[j] * (2e-6 + 2e-7*far)
						}
						require.InDelta(t, want[j], v, limit, "row %d of %d, column %d", r, n, j)
					}
				}
			}
		}
	})
}

func TestSoftmaxNotFinite(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	each(t, func(t *testing.T, k *kernels) {
		for _, n := range []int{1, 5, 16, 17, 40, 197} {
			m := newMatrix(5, (n+15)/16*16, 0, 0).fill(source(1), 0, 1)
			want := m.clone()
			k.softmax(want.p(), want.ld(), 5, n, 1)
			m.line(1)[n/2] = float32(nan)
			m.line(2)[n-1] = float32(inf)
			for j := range n {
				m.line(3)[j] = float32(-inf)
			}
			k.softmax(m.p(), m.ld(), 5, n, 1)
			for r := range 5 {
				for j, v := range m.line(r) {
					switch {
					case j >= n:
						require.Zero(t, v)
					case r == 0 || r == 4:
						require.Equal(t, want.line(r)[j], v, "beside a row of NaN")
					default:
						require.True(t, v != v, "row %d of %d: %v", r, n, v)
					}
				}
			}
		}
	})
}

func layerNormExact(x, w, b []float32, eps float64) []float64 {
	var mean, variance float64
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	for _, v := range x {
		variance += (float64(v) - mean) * (float64(v) - mean) / float64(len(x))
	}
	y := make([]float64, len(x))
	for j, v := range x {
		y[j] = (float64(v)-mean)/math.Sqrt(variance+eps)*float64(w[j]) + float64(b[j])
	}
	return y
}

func TestLayerNorm(t *testing.T) {
	each(t, func(t *testing.T, k *kernels) {
		for i, n := range lengths {
			for _, in := range []struct{ mean, deviation, eps float64 }{
				{0, 1, 1e-6}, {1000, 1e-2, 1e-12}, {-3, 100, 1e-6}, {0.5, 0, 1e-6},
			} {
				x := newMatrix(1, n, 0, i).fill(source(uint64(n)), in.mean, in.deviation)
				w := newMatrix(1, n, 0, i/2).fill(source(2), 1, 0.3)
				b := newMatrix(1, n, 0, i/3).fill(source(3), 0, 0.3)
				y := newMatrix(1, n, 0, i+1)
				k.layerNorm(y.p(), x.p(), w.p(), b.p(), n, float32(in.eps))
				y.intact(t, "layerNorm")
				want := layerNormExact(x.line(0), w.line(0), b.line(0), float64(float32(in.eps)))
				require.InDeltaSlice(t, want, y.line(0), 4e-6, "%+v, %d values", in, n)

				k.layerNorm(x.p(), x.p(), w.p(), b.p(), n, float32(in.eps))
				x.intact(t, "layerNorm in place")
				require.Equal(t, y.line(0), x.line(0))
			}
		}
	})
}

func TestLayerNormNaN(t *testing.T) {
	each(t, func(t *testing.T, k *kernels) {
		x := newMatrix(1, 70, 0, 0).fill(source(1), 0, 1)
		x.line(0)[69] = float32(math.NaN())
		w := newMatrix(1, 70, 0, 0).fill(source(2), 1, 0.3)
		k.layerNorm(x.p(), x.p(), w.p(), w.p(), 70, 1e-6)
		for _, v := range x.line(0) {
			require.True(t, v != v)
		}
	})
}

func BenchmarkElementwise(b *testing.B) {
	const tokens = 14
	for _, k := range available() {
		run := func(name string, n int, f func(m *matrix)) {
			m := newMatrix(tokens, (n+15)/16*16, 16, 0).fill(source(1), 0, 1)
			from := m.clone()
			b.Run(k.name+"/"+name, func(b *testing.B) {
				for b.Loop() {
					copy(m.bytes[m.start:], from.bytes[from.start:])
					f(m)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*tokens*n), "ns/value")
			})
		}
		run("copy", 768, func(m *matrix) {})
		for act := range exact {
			run(act.String(), 768, func(m *matrix) { k.act[act](m.p(), m.ld(), tokens, 768) })
		}
		run("softmax", 197, func(m *matrix) { k.softmax(m.p(), m.ld(), tokens, 197, 0.125) })
		run("layerNorm", 768, func(m *matrix) {
			for i := range tokens {
				p := unsafe.Pointer(&m.line(i)[0])
				k.layerNorm(p, p, p, p, 768, 1e-6)
			}
		})
	}
}
