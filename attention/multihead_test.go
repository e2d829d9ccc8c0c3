package attention_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/attention"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/ref"
	"gorgonia.org/tensor"
)

// TestMultiHead compares with the formula, computed here for each token; the
// packed and the split projections, all rows and few, must agree to the bit.
func TestMultiHead(t *testing.T) {
	const batch, n, heads, d = 2, 5, 3, 4
	const dim = heads * d
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(shape ...int) *tensor.Dense {
		x := tensor.New(tensor.WithShape(shape...), tensor.Of(tensor.Float32))
		for i := range x.Float32s() {
			x.Float32s()[i] = float32(rng.NormFloat64()) / 2
		}
		return x
	}
	qkv, qkvBias := random(3*dim, dim), random(3*dim)
	proj, projBias := random(dim, dim), random(dim)
	x, residual := random(batch, n, dim), random(batch, n, dim)

	b := ref.Backend{}
	linear := func(weight, bias *tensor.Dense, lo, hi int) backend.Linear {
		l, err := b.NewLinear(
			tensor.New(tensor.WithShape(hi-lo, dim), tensor.WithBacking(weight.Float32s()[lo*dim:hi*dim])),
			tensor.New(tensor.WithShape(hi-lo), tensor.WithBacking(bias.Float32s()[lo:hi])), backend.LinearOptions{})
		require.NoError(t, err)
		return l
	}
	packed := attention.MultiHead{Heads: heads, QKV: linear(qkv, qkvBias, 0, 3*dim), Proj: linear(proj, projBias, 0, dim)}
	split := packed
	split.QKV, split.Query, split.KeyValue = nil, linear(qkv, qkvBias, 0, dim), linear(qkv, qkvBias, dim, 3*dim)

	// run returns y (B, rows, C) and the probabilities (B, H, rows, N). The
	// output is the residual, and the heads go over the input, as in a block.
	run := func(m attention.MultiHead, rows int) (y, probs []float32) {
		s, err := b.NewStream(backend.StreamOptions{})
		require.NoError(t, err)
		in, stream := s.Alloc(batch, n, dim), s.Alloc(batch, n, dim)
		s.Write(in, x)
		s.Write(stream, residual)
		kept := s.Alloc(batch, heads, rows, n)
		out := stream.Rows(0, rows)
		m.Forward(s, out, in, out, attention.Memory{QKV: s.Alloc(batch, n, 3*dim), Out: in}, attention.Capture{Probs: kept})
		got := tensor.New(tensor.WithShape(batch, rows, dim), tensor.Of(tensor.Float32))
		gotProbs := tensor.New(tensor.WithShape(batch, heads, rows, n), tensor.Of(tensor.Float32))
		s.Read(got, out)
		s.Read(gotProbs, kept)
		require.NoError(t, s.Sync())
		require.NoError(t, s.Close())
		return got.Float32s(), gotProbs.Float32s()
	}

	at := func(d *tensor.Dense, i ...int) float64 {
		v, err := d.At(i...)
		require.NoError(t, err)
		return float64(v.(float32))
	}
	y, probs := run(packed, n)
	for img := range batch {
		// project returns row r of x times row i of the packed weight.
		project := func(r, i int) float64 {
			sum := at(qkvBias, i)
			for j := range dim {
				sum += at(x, img, r, j) * at(qkv, i, j)
			}
			return sum
		}
		for r := range n {
			out := make([]float64, dim)
			for h := range heads {
				var sum float64
				weights := make([]float64, n)
				for k := range n {
					var dot float64
					for j := h * d; j < (h+1)*d; j++ {
						dot += project(r, j) * project(k, dim+j)
					}
					weights[k] = math.Exp(dot / math.Sqrt(d))
					sum += weights[k]
				}
				for k := range n {
					weights[k] /= sum
					require.InDelta(t, weights[k], probs[((img*heads+h)*n+r)*n+k], 1e-6)
					for j := h * d; j < (h+1)*d; j++ {
						out[j] += weights[k] * project(k, 2*dim+j)
					}
				}
			}
			for i := range dim {
				want := at(residual, img, r, i) + at(projBias, i)
				for j := range dim {
					want += out[j] * at(proj, i, j)
				}
				require.InDelta(t, want, y[(img*n+r)*dim+i], 1e-5)
			}
		}
	}

	for _, rows := range []int{1, 2, n} {
		for _, m := range []attention.MultiHead{packed, split} {
			few, fewProbs := run(m, rows)
			for img := range batch {
				require.Equal(t, y[img*n*dim:][:rows*dim], few[img*rows*dim:][:rows*dim])
				for h := range heads {
					require.Equal(t, probs[(img*heads+h)*n*n:][:rows*n], fewProbs[(img*heads+h)*rows*n:][:rows*n])
				}
			}
		}
	}
}
