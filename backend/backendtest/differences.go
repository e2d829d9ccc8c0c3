package backendtest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// derivative is an operation, what it is derived by, and its gradient.
type derivative struct {
	in      [][]int // shapes of the inputs
	out     []int   // shape of the output
	forward func(y backend.Tensor, x []backend.Tensor)
	grad    func(dx []backend.Tensor, dy backend.Tensor, x []backend.Tensor)
}

// FiniteDifferences compares every gradient of b, which must be as exact as
// the oracle, with differences of b's own forward operations. Other backends
// are compared with the oracle: see Run.
func FiniteDifferences(t *testing.T, b backend.Backend) {
	for name, make := range derivatives() {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, b)
			r.differ(make(r))
		})
	}
}

// step is that of the differences. Their error is of its fourth power, and
// that of the values of float32 divided by it.
const step = 0.04

// differ compares ∂L/∂x with differences of L = Σ weights ∘ y for random
// weights, every value of every input.
func (r *rig) differ(d derivative) {
	y, weights := r.Alloc(d.out...), r.normal(1, d.out...)
	dy, got := r.upload(weights), zeros(d.out...)
	var x, dx []backend.Tensor
	var at []*tensor.Dense
	for _, shape := range d.in {
		at = append(at, r.normal(0.7, shape...))
		x = append(x, r.Alloc(shape...))
		dx = append(dx, r.full(7, shape...))
		r.Write(x[len(x)-1], at[len(at)-1])
	}
	loss := func() (sum float64) {
		d.forward(y, x)
		r.Read(got, y)
		require.NoError(r.t, r.Sync())
		for i, v := range got.Float32s() {
			sum += float64(v) * float64(weights.Float32s()[i])
		}
		return sum
	}
	loss() // operations that keep what their gradient looks at
	d.grad(dx, dy, x)
	for i := range x {
		answer := zeros(d.in[i]...)
		r.Read(answer, dx[i])
		require.NoError(r.t, r.Sync())
		want := zeros(d.in[i]...)
		values := at[i].Float32s()
		for j, v := range values {
			shifted := func(by float32) float64 {
				values[j] = v + by
				r.Write(x[i], at[i])
				l := loss()
				values[j] = v
				return l
			}
			// The five-point stencil.
			diff := 8*(shifted(step)-shifted(-step)) - (shifted(2*step) - shifted(-2*step))
			want.Float32s()[j] = float32(diff / (12 * step))
		}
		r.Write(x[i], at[i])
		near(r.t, fmt.Sprintf("gradient by input %d", i), answer, want, differenceLimit)
	}
}

// differenceLimit bounds nmse from finite differences: measured, then doubled.
const differenceLimit = 6e-10

// derivatives are small cases of every gradient and of every formula in them.
func derivatives() map[string]func(r *rig) derivative {
	const b, n, dim = 2, 5, 8
	cases := map[string]func(r *rig) derivative{
		"PatchEmbed": func(r *rig) derivative {
			p := &backend.PatchEmbed{
				Patch: [2]int{2, 3}, Proj: r.linear(dim, 18, true, backend.LinearOptions{Exact: true}),
				Prefix: r.upload(r.normal(1, 2, dim)), Pos: r.upload(r.normal(1, 4, dim)),
			}
			return derivative{
				in: [][]int{{b, 3, 5, 7}}, out: []int{b, 2 + 4, dim},
				forward: func(y backend.Tensor, x []backend.Tensor) { r.PatchEmbed(y, x[0], p) },
				grad:    func(dx []backend.Tensor, dy backend.Tensor, _ []backend.Tensor) { r.PatchEmbedGrad(dx[0], dy, p) },
			}
		},
		"LayerNorm": func(r *rig) derivative {
			norm := r.norm(dim, 1e-3)
			return derivative{
				in: [][]int{{b, n, dim}}, out: []int{b, n, dim},
				forward: func(y backend.Tensor, x []backend.Tensor) { r.LayerNorm(y, x[0], norm) },
				grad: func(dx []backend.Tensor, dy backend.Tensor, x []backend.Tensor) {
					r.LayerNormGrad(dx[0], dy, x[0], norm, backend.Tensor{})
				},
			}
		},
		"Gather": func(r *rig) derivative {
			rows := []int{4, 1, 1, 0, 2, 3} // of each image
			return derivative{
				in: [][]int{{b, n, dim}}, out: []int{b, 3, dim},
				forward: func(y backend.Tensor, x []backend.Tensor) { r.Gather(y, x[0], rows) },
				grad:    func(dx []backend.Tensor, dy backend.Tensor, _ []backend.Tensor) { r.GatherGrad(dx[0], dy, rows) },
			}
		},
		"Pool": func(r *rig) derivative {
			spans := []backend.Span{{Lo: 0, Hi: 1}, {Lo: 0, Hi: 4}, {Lo: 2, Hi: 4}}
			return derivative{
				in: [][]int{{b, n, dim}}, out: []int{b, 1, 3 * dim},
				forward: func(y backend.Tensor, x []backend.Tensor) { r.Pool(y, x[0], spans...) },
				grad:    func(dx []backend.Tensor, dy backend.Tensor, _ []backend.Tensor) { r.PoolGrad(dx[0], dy, spans...) },
			}
		},
	}
	for name, norm := range map[string]func(r *rig) backend.Norm{
		"root mean square":          func(r *rig) backend.Norm { return r.headNorm(0, dim, true) },
		"norm of heads":             func(r *rig) backend.Norm { return r.headNorm(2, dim/2, false) },
		"root mean square of heads": func(r *rig) backend.Norm { return r.headNorm(2, dim/2, true) },
	} {
		cases[name] = func(r *rig) derivative {
			norm := norm(r)
			norm.Eps = 0.1 // small rows are steep
			return derivative{
				in: [][]int{{b, n, dim}}, out: []int{b, n, dim},
				forward: func(y backend.Tensor, x []backend.Tensor) { r.LayerNorm(y, x[0], norm) },
				grad: func(dx []backend.Tensor, dy backend.Tensor, x []backend.Tensor) {
					r.LayerNormGrad(dx[0], dy, x[0], norm, backend.Tensor{})
				},
			}
		}
	}
	for _, act := range acts {
		cases["Linear "+act.String()] = func(r *rig) derivative {
			const half = 6
			gated, out := act == backend.SwiGLU, half
			if gated {
				out = 2 * half
			}
			w := r.linear(out, dim, true, backend.LinearOptions{Gated: gated})
			pre := r.Alloc(b, n, out)
			return derivative{
				in: [][]int{{b, n, dim}}, out: []int{b, n, half},
				forward: func(y backend.Tensor, x []backend.Tensor) { r.Linear(y, x[0], w, backend.Epilogue{Act: act, Pre: pre}) },
				grad: func(dx []backend.Tensor, dy backend.Tensor, _ []backend.Tensor) {
					r.LinearGrad(dx[0], dy, w, backend.Epilogue{Act: act, Pre: pre})
				},
			}
		}
	}
	for name, rows := range map[string]int{"": n, " of few rows": 2} {
		cases["Attention"+name] = func(r *rig) derivative {
			return attentionDerivative(r, b, rows, n, dim, backend.Attention{Heads: 2, Scale: 0.6})
		}
	}
	cases["Attention with bias"] = func(r *rig) derivative {
		return attentionDerivative(r, b, n, n, dim, backend.Attention{Heads: 2, Scale: 0.6, Bias: r.upload(r.normal(1, 2, n, n))})
	}
	for _, interleaved := range []bool{false, true} {
		cases[fmt.Sprintf("Attention with rope %v", interleaved)] = func(r *rig) derivative {
			return attentionDerivative(r, b, n, n, dim, backend.Attention{Heads: 2, Scale: 0.6, Rope: r.rope(n, 1, 4, interleaved)})
		}
	}
	for name, place := range places {
		for _, rows := range []int{2, n} {
			cases[fmt.Sprintf("Attention with %s, %d rows", name, rows)] = func(r *rig) derivative {
				a := place(r, b, rows, n, 2, 4)
				a.Heads, a.Scale = 2, 0.6
				return attentionDerivative(r, b, rows, n, dim, a)
			}
		}
	}
	for name, f := range families {
		cases["family of "+name] = func(r *rig) derivative {
			m := newFamily(r, f, dim, 10, 1, [2]int{2, 2}) // small rows are steep: hence eps
			m.rows, m.keep = lastOf(b, n), true
			maps := r.Alloc(b, 2, 1, n)
			return derivative{
				in: [][]int{{b, n, dim}}, out: []int{b, 1, dim},
				forward: func(y backend.Tensor, x []backend.Tensor) { m.forward(y, maps, x[0]) },
				grad:    func(dx []backend.Tensor, dy backend.Tensor, _ []backend.Tensor) { m.backward(dx[0], dy) },
			}
		}
	}
	return cases
}

func attentionDerivative(r *rig, b, rows, n, dim int, a backend.Attention) derivative {
	return derivative{
		in: [][]int{{b, rows, dim}, {b, n, dim}, {b, n, dim}}, out: []int{b, rows, dim},
		forward: func(y backend.Tensor, x []backend.Tensor) { r.Attention(y, x[0], x[1], x[2], a) },
		grad: func(dx []backend.Tensor, dy backend.Tensor, x []backend.Tensor) {
			r.AttentionGrad(dx[0], dx[1], dx[2], dy, x[0], x[1], x[2], a)
		},
	}
}
