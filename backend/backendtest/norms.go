package backendtest

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
)

// headNorm returns a norm of heads of d columns, near the identity.
func (r *rig) headNorm(heads, d int, rms bool) backend.Norm {
	n := r.norm(d, 1e-6)
	n.Heads, n.RMS = heads, rms
	if rms {
		n.Bias = backend.Tensor{}
	}
	return n
}

// norms are the norms beside that of a whole row: tokens, heads and columns
// of a head.
var norms = []struct{ batch, n, heads, d int }{
	{1, 1, 1, 32}, {2, 5, 3, 64}, {3, 17, 2, 80}, {1, 197, 12, 64}, {2, 57, 4, 33}, {1, 3, 1, 1280}, {1, 29, 2, 1},
}

// norms tests root mean squares, and norms of each head, as queries and
// keys have them in place in a packed tensor.
func (s suite) norms(t *testing.T) {
	for _, c := range norms {
		for _, rms := range []bool{false, true} {
			for _, mean := range []float32{0, 30} {
				t.Run(fmt.Sprintf("%d×%d×%d×%d/%v/%g", c.batch, c.n, c.heads, c.d, rms, mean), func(t *testing.T) {
					s.compare(t, "LayerNorm", true, func(r *rig) []backend.Tensor {
						dim := c.heads * c.d
						host := r.normal(1, c.batch, c.n, 3*dim)
						for i := range host.Float32s() {
							host.Float32s()[i] += mean
						}
						qkv, y := r.Alloc(c.batch, c.n, 3*dim), r.full(7, c.batch, c.n, dim)
						r.Write(qkv, host)
						q, k := qkv.Cols(0, dim), qkv.Cols(dim, 2*dim)
						r.LayerNorm(y, q, r.headNorm(c.heads, c.d, rms))
						behind, sum, over := r.headNorm(c.heads, c.d, rms), r.full(7, c.batch, c.n, dim), r.tokens(c.batch, c.n, dim)
						behind.Residual = y
						r.LayerNorm(sum, k, behind)
						behind.Residual = over
						r.LayerNorm(over, k, behind)
						behind.Residual = over
						r.LayerNorm(sum, sum, behind)
						r.LayerNorm(k, k, r.headNorm(c.heads, c.d, rms))
						r.LayerNorm(q.Rows(0, 1), q.Rows(0, 1), r.headNorm(0, dim, rms))
						return []backend.Tensor{y, sum, over, qkv}
					})
				})
			}
		}
	}
}

func (s suite) normsGrad(t *testing.T) {
	for _, c := range norms {
		for _, rms := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d×%d×%d×%d/%v", c.batch, c.n, c.heads, c.d, rms), func(t *testing.T) {
				s.compare(t, "LayerNormGrad", true, func(r *rig) []backend.Tensor {
					if c.d == 1 {
						return nil // the gradient is nothing but rounding
					}
					dim := c.heads * c.d
					x, d := r.tokens(c.batch, c.n, 3*dim), r.tokens(c.batch, c.n, 3*dim)
					dx, sum := r.full(7, c.batch, c.n, dim), r.tokens(c.batch, c.n, dim)
					n := r.headNorm(c.heads, c.d, rms)
					r.LayerNormGrad(dx, d.Cols(0, dim), x.Cols(0, dim), n, sum)
					r.LayerNormGrad(d.Cols(dim, 2*dim), d.Cols(dim, 2*dim), x.Cols(dim, 2*dim), n, backend.Tensor{})
					r.LayerNormGrad(sum, d.Cols(2*dim, 3*dim), x.Cols(0, dim), r.headNorm(1, dim, rms), sum)
					return []backend.Tensor{dx, d, sum}
				})
			})
		}
	}
}

// headByHead tests that the norm of a head is that of its columns alone, to
// the bit, and that of a head of one column is its sign.
func (s suite) headByHead(t *testing.T) {
	const batch, n, heads, d = 2, 9, 3, 20
	for _, rms := range []bool{false, true} {
		r := newRig(t, s.b)
		x, whole, parts := r.tokens(batch, n, heads*d), r.Alloc(batch, n, heads*d), r.Alloc(batch, n, heads*d)
		norm := r.headNorm(heads, d, rms)
		r.LayerNorm(whole, x, norm)
		norm.Heads = 0
		for h := range heads {
			r.LayerNorm(parts.Cols(h*d, (h+1)*d), x.Cols(h*d, (h+1)*d), norm)
		}
		a, b := zeros(batch, n, heads*d), zeros(batch, n, heads*d)
		r.Read(a, whole)
		r.Read(b, parts)
		require.NoError(t, r.Sync())
		require.Equal(t, bits(b.Float32s()), bits(a.Float32s()))
	}
	r := newRig(t, s.b)
	y, got := r.Alloc(1, 1, 3), zeros(1, 1, 3)
	x := r.upload(dense([]float32{-4, 0.5, 9}, 1, 1, 3))
	r.LayerNorm(y, x, backend.Norm{Weight: r.upload(dense([]float32{2}, 1)), RMS: true, Heads: 3, Eps: 1e-12})
	r.Read(got, y)
	require.NoError(t, r.Sync())
	for i, v := range []float64{-2, 2, 2} {
		require.LessOrEqual(t, math.Abs(float64(got.Float32s()[i])-v), 1e-6)
	}
}
