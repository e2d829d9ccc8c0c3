package attention_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/attention"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/ref"
	"gorgonia.org/tensor"
)

// TestBackward holds ∂L/∂x to differences of L = Σ d ∘ y, for packed and for
// split projections, all rows and few; and what is captured to its formulas.
func TestBackward(t *testing.T) {
	const batch, n, heads, d = 2, 5, 3, 4
	const dim = heads * d
	rng := rand.New(rand.NewPCG(3, 2))
	random := func(shape ...int) *tensor.Dense {
		x := tensor.New(tensor.WithShape(shape...), tensor.Of(tensor.Float32))
		for i := range x.Float32s() {
			x.Float32s()[i] = float32(rng.NormFloat64()) / 2
		}
		return x
	}
	b := ref.Backend{}
	linear := func(w *tensor.Dense, lo, hi int) backend.Linear {
		l, err := b.NewLinear(tensor.New(tensor.WithShape(hi-lo, dim), tensor.WithBacking(w.Float32s()[lo*dim:hi*dim])), nil, backend.LinearOptions{})
		require.NoError(t, err)
		return l
	}
	qkv, x, seed := random(3*dim, dim), random(batch, n, dim), random(batch, n, dim)
	packed := attention.MultiHead{Heads: heads, QKV: linear(qkv, 0, 3*dim), Proj: linear(random(dim, dim), 0, dim)}
	split := packed
	split.QKV, split.Query, split.KeyValue = nil, linear(qkv, 0, dim), linear(qkv, dim, 3*dim)

	s, err := b.NewStream(backend.StreamOptions{})
	require.NoError(t, err)
	defer s.Close()
	in, y, zero, dx, dy := s.Alloc(batch, n, dim), s.Alloc(batch, n, dim), s.Alloc(batch, n, dim), s.Alloc(batch, n, dim), s.Alloc(batch, n, dim)
	mem := attention.Memory{QKV: s.Alloc(batch, n, 3*dim), Out: s.Alloc(batch, n, dim), Keep: true}
	gradQKV := s.Alloc(batch, n, 3*dim)
	var kept attention.Captures
	read := func(x backend.Tensor) []float32 {
		d := tensor.New(tensor.WithShape(x.Shape...), tensor.Of(tensor.Float32))
		s.Read(d, x)
		require.NoError(t, s.Sync())
		return d.Float32s()
	}
	// loss is L of the first rows of y.
	loss := func(m attention.MultiHead, rows int, c attention.Capture) (sum float64) {
		s.Write(in, x)
		s.Write(zero, tensor.New(tensor.WithShape(batch, n, dim), tensor.Of(tensor.Float32)))
		m.Forward(s, y.Rows(0, rows), in, zero.Rows(0, rows), mem, c)
		for i, v := range read(y) {
			if i/dim%n < rows {
				sum += float64(v) * float64(seed.Float32s()[i])
			}
		}
		return sum
	}
	for name, m := range map[string]attention.MultiHead{"packed": packed, "split": split} {
		for _, rows := range []int{n, 2} {
			probs, err := kept.Probs(s, batch, heads, n, nil, true)
			require.NoError(t, err)
			if rows < n {
				probs, err = kept.Probs(s, batch, heads, n, []int{0, 1}, false)
				require.NoError(t, err)
			}
			loss(m, rows, probs)
			a := read(probs.Probs)

			d := seed.Clone().(*tensor.Dense)
			for i := range d.Float32s() {
				if i/dim%n >= rows {
					d.Float32s()[i] = 0
				}
			}
			s.Write(dy, d)
			computed := m.GradRows(rows, n, true)
			if name == "packed" {
				require.Equal(t, n, computed)
				loss(m, n, attention.Capture{}) // all queries are there
			} else {
				require.Equal(t, rows, computed)
			}
			require.Equal(t, rows, m.GradRows(rows, n, false))
			keep, err := kept.Grads(s, batch, heads, computed, n, true, true)
			require.NoError(t, err)
			m.Backward(s, dx, dy.Rows(0, computed), backend.Tensor{}, mem, gradQKV, keep)
			gradA, relevance, done := keep.Read(s, n)
			got := read(dx)
			done()

			require.Equal(t, tensor.Shape{batch, heads, n, n}, gradA.Shape())
			require.Equal(t, tensor.Shape{batch, n, n}, relevance.Shape())
			for i, r := range relevance.Float32s() {
				image, row, col := i/(n*n), i/n%n, i%n
				var want float64
				for h := 0; h < heads && row < rows; h++ {
					at := func(r int) int { return ((image*heads+h)*r+row)*n + col }
					want += max(0, float64(a[at(rows)])*float64(gradA.Float32s()[at(n)])) / heads
				}
				require.InDelta(t, want, r, 1e-6, "%s, %d rows: relevance %d,%d of image %d", name, rows, row, col, image)
			}
			for i := range x.Float32s() {
				const step = 1.0 / 64
				was := x.Float32s()[i]
				x.Float32s()[i] = was + step
				up := loss(m, rows, attention.Capture{})
				x.Float32s()[i] = was - step
				down := loss(m, rows, attention.Capture{})
				x.Float32s()[i] = was
				require.InDelta(t, (up-down)/(2*step), got[i], 2e-3, "%s, %d rows: ∂x at %d", name, rows, i)
			}
		}
	}
	none, err := kept.Probs(s, batch, heads, n, []int{}, false)
	require.NoError(t, err)
	require.True(t, none.Probs.IsZero())
	nothing, err := kept.Grads(s, batch, heads, n, n, false, false)
	require.NoError(t, err)
	gradA, relevance, done := nothing.Read(s, n)
	done()
	require.Nil(t, gradA)
	require.Nil(t, relevance)
}
