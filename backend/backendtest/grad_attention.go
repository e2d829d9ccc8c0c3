package backendtest

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
)

func (s suite) attentionGrad(t *testing.T) {
	for _, c := range []struct{ batch, n, heads, d int }{
		{1, 1, 1, 32}, {1, 5, 3, 64}, {2, 17, 2, 80}, {1, 197, 3, 64}, {2, 257, 2, 32}, {3, 16, 12, 16}, {1, 50, 1, 100}, {4, 33, 2, 24},
	} {
		dim := c.heads * c.d
		plain := backend.Attention{Heads: c.heads, Scale: float32(1 / math.Sqrt(float64(c.d)))}
		run := func(kind string, f func(r *rig, q, k, v, do backend.Tensor) []backend.Tensor) {
			t.Run(fmt.Sprintf("%d×%d×%d×%d/%s", c.batch, c.n, c.heads, c.d, kind), func(t *testing.T) {
				s.compare(t, "AttentionGrad", true, func(r *rig) []backend.Tensor {
					qkv := r.tokens(c.batch, c.n, 3*dim)
					return f(r, qkv.Cols(0, dim), qkv.Cols(dim, 2*dim), qkv.Cols(2*dim, 3*dim), r.tokens(c.batch, c.n, dim))
				})
			})
		}
		run("packed", func(r *rig, q, k, v, do backend.Tensor) []backend.Tensor {
			d := r.full(7, c.batch, c.n, 3*dim)
			r.AttentionGrad(d.Cols(0, dim), d.Cols(dim, 2*dim), d.Cols(2*dim, 3*dim), do, q, k, v, plain)
			return []backend.Tensor{d}
		})
		run("captures", func(r *rig, q, k, v, do backend.Tensor) []backend.Tensor {
			a := plain
			a.ProbsGrad, a.Relevance = r.full(7, c.batch, c.heads, c.n, c.n), r.full(7, c.batch, c.n, c.n)
			d := r.full(7, c.batch, c.n, 3*dim)
			r.AttentionGrad(d.Cols(0, dim), d.Cols(dim, 2*dim), d.Cols(2*dim, 3*dim), do, q, k, v, a)
			return []backend.Tensor{d, a.ProbsGrad, a.Relevance}
		})
		run("some", func(r *rig, q, k, v, do backend.Tensor) []backend.Tensor {
			var none backend.Tensor
			alone, only, dq, dk, dv := plain, plain, r.full(7, c.batch, c.n, dim), r.full(7, c.batch, c.n, dim), r.full(7, c.batch, c.n, dim)
			alone.Relevance = r.full(7, c.batch, c.n, c.n)
			only.ProbsGrad = r.full(7, c.batch, c.heads, c.n, c.n)
			r.AttentionGrad(none, none, none, do, q, k, v, alone)
			r.AttentionGrad(none, none, none, do, q, k, v, only)
			r.AttentionGrad(dq, none, none, do, q, k, v, plain)
			r.AttentionGrad(none, dk, none, do, q, k, v, plain)
			r.AttentionGrad(none, none, dv, do, q, k, v, plain)
			return []backend.Tensor{alone.Relevance, only.ProbsGrad, dq, dk, dv}
		})
		run("few rows", func(r *rig, q, k, v, do backend.Tensor) []backend.Tensor {
			n := min(c.n, 2)
			a := plain
			a.ProbsGrad, a.Relevance = r.full(7, c.batch, c.heads, n, c.n), r.full(7, c.batch, n, c.n)
			dq, dk, dv := r.full(7, c.batch, n, dim), r.full(7, c.batch, c.n, dim), r.full(7, c.batch, c.n, dim)
			r.AttentionGrad(dq, dk, dv, do.Rows(0, n), q.Rows(0, n), k, v, a)
			return []backend.Tensor{dq, dk, dv, a.ProbsGrad, a.Relevance}
		})
		run("probe", func(r *rig, q, k, v, do backend.Tensor) []backend.Tensor {
			n := min(c.n, 3)
			probe := r.upload(r.normal(1, 1, n, dim))
			probe.Shape[0], probe.Batch = c.batch, 0
			dq, dk, dv := r.full(7, c.batch, n, dim), r.full(7, c.batch, c.n, dim), r.full(7, c.batch, c.n, dim)
			r.AttentionGrad(dq, dk, dv, do.Rows(0, n), probe, k, v, plain)
			return []backend.Tensor{dq, dk, dv}
		})
		run("bias", func(r *rig, q, k, v, do backend.Tensor) []backend.Tensor {
			a := plain
			a.Bias, a.Relevance = r.upload(r.normal(1, c.heads, c.n, c.n)), r.full(7, c.batch, c.n, c.n)
			dq, dk, dv := r.full(7, c.batch, c.n, dim), r.full(7, c.batch, c.n, dim), r.full(7, c.batch, c.n, dim)
			r.AttentionGrad(dq, dk, dv, do, q, k, v, a)
			return []backend.Tensor{dq, dk, dv, a.Relevance}
		})
		for _, interleaved := range []bool{false, true} {
			if c.n == 1 {
				continue
			}
			run(fmt.Sprintf("rope %v", interleaved), func(r *rig, q, k, v, do backend.Tensor) []backend.Tensor {
				a := plain
				a.Rope, a.Relevance = r.rope(c.n, 1, c.d, interleaved), r.full(7, c.batch, c.n, c.n)
				dq, dk, dv := r.full(7, c.batch, c.n, dim), r.full(7, c.batch, c.n, dim), r.full(7, c.batch, c.n, dim)
				r.AttentionGrad(dq, dk, dv, do, q, k, v, a)
				return []backend.Tensor{dq, dk, dv, a.Relevance}
			})
		}
	}
}

// relevance tests what AttentionGrad keeps by its definition: ∂L/∂probs is
// do Vᵀ, and relevance is made of it and of what Attention captures.
func (s suite) relevance(t *testing.T) {
	const b, rows, n, heads, d = 2, 3, 21, 2, 16
	const dim = heads * d
	r := newRig(t, s.b)
	q, k, v, do := r.normal(1, b, rows, dim), r.normal(1, b, n, dim), r.normal(1, b, n, dim), r.normal(1, b, rows, dim)
	a := backend.Attention{
		Heads: heads, Scale: 0.3,
		Probs: r.Alloc(b, heads, rows, n), ProbsGrad: r.Alloc(b, heads, rows, n), Relevance: r.Alloc(b, rows, n),
	}
	o, tq, tk, tv := r.Alloc(b, rows, dim), r.upload(q), r.upload(k), r.upload(v)
	r.Attention(o, tq, tk, tv, a)
	var none backend.Tensor
	r.AttentionGrad(none, none, none, r.upload(do), tq, tk, tv, a)
	probs, grad, relevance := zeros(b, heads, rows, n), zeros(b, heads, rows, n), zeros(b, rows, n)
	r.Read(probs, a.Probs)
	r.Read(grad, a.ProbsGrad)
	r.Read(relevance, a.Relevance)
	require.NoError(t, r.Sync())
	positive := 0
	for i := range b {
		for row := range rows {
			for token := range n {
				var want float64
				for h := range heads {
					var g float64
					for j := range d {
						g += float64(do.Float32s()[(i*rows+row)*dim+h*d+j]) * float64(v.Float32s()[(i*n+token)*dim+h*d+j])
					}
					at := ((i*heads+h)*rows+row)*n + token
					require.InDelta(t, g, grad.Float32s()[at], 1e-5)
					want += max(0, g*float64(probs.Float32s()[at])) / heads
				}
				require.InDelta(t, want, relevance.Float32s()[(i*rows+row)*n+token], 2e-3*want+1e-6)
				if want > 0 {
					positive++
				}
			}
		}
	}
	require.Greater(t, positive, b*rows*n/2)
}
