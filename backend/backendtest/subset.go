package backendtest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
)

// subset tests that a token gets the same bits whether the others are
// computed or not, and whether attention is captured or not: an encoder may
// then compute only what it is asked for without changing its answer.
func (s suite) subset(t *testing.T) {
	for _, c := range []struct{ batch, n, heads, d int }{
		{1, 5, 3, 64}, {2, 17, 2, 80}, {1, 197, 3, 64}, {3, 50, 1, 33}, {1, 257, 2, 32},
	} {
		t.Run(fmt.Sprintf("%d×%d×%d×%d", c.batch, c.n, c.heads, c.d), func(t *testing.T) {
			r := newRig(t, s.b)
			dim := c.heads * c.d
			hidden := 2*dim + 1
			x := r.tokens(c.batch, c.n, dim)
			norm := r.norm(dim, 1e-6)
			wq, wkv := r.linear(dim, dim, true, backend.LinearOptions{}), r.linear(2*dim, dim, true, backend.LinearOptions{})
			fc1 := r.linear(hidden, dim, true, backend.LinearOptions{})
			fc2 := r.linear(dim, hidden, true, backend.LinearOptions{})
			// block computes the first rows tokens of a block.
			block := func(rows int, a backend.Attention) []*tokenRows {
				y, z := r.Alloc(c.batch, c.n, dim), r.Alloc(c.batch, rows, dim)
				kv, q, o := r.Alloc(c.batch, c.n, 2*dim), r.Alloc(c.batch, rows, dim), r.Alloc(c.batch, rows, dim)
				r.LayerNorm(y, x, norm)
				r.Linear(kv, y, wkv, backend.Epilogue{})
				r.Linear(q, y.Rows(0, rows), wq, backend.Epilogue{})
				r.Attention(o, q, kv.Cols(0, dim), kv.Cols(dim, 2*dim), a)
				r.LayerNorm(z, o, norm)
				h := r.Temp(c.batch, rows, hidden)
				r.Linear(h, z, fc1, backend.Epilogue{Act: backend.GELU})
				r.Linear(z, h, fc2, backend.Epilogue{Residual: x.Rows(0, rows)})
				var read []*tokenRows
				for _, v := range []backend.Tensor{q, o, z} {
					d := zeros(v.Shape...)
					r.Read(d, v)
					read = append(read, &tokenRows{values: d.Float32s(), batch: c.batch, rows: rows, dim: dim})
				}
				require.NoError(t, r.Sync())
				return read
			}
			plain := backend.Attention{Heads: c.heads, Scale: 0.1}
			all := plain
			all.Probs = r.Alloc(c.batch, c.heads, c.n, c.n)
			one := plain
			one.Rows, one.Probs = []int{0}, r.Alloc(c.batch, c.heads, 1, c.n)
			want := block(c.n, plain)
			for i, got := range block(c.n, all) {
				require.Equal(t, want[i].first(c.n), got.first(c.n), "with every row captured, output %d", i)
			}
			for _, rows := range []int{1, 2, c.n - 1} {
				for _, a := range []backend.Attention{plain, one} {
					for i, got := range block(rows, a) {
						require.Equal(t, want[i].first(rows), got.first(rows), "%d rows, output %d", rows, i)
					}
				}
			}
		})
	}
}

// tokenRows are tokens (batch, rows, dim).
type tokenRows struct {
	values           []float32
	batch, rows, dim int
}

// first returns the bits of the first n tokens of every image.
func (u *tokenRows) first(n int) []uint32 {
	var f []float32
	for b := range u.batch {
		f = append(f, u.values[b*u.rows*u.dim:][:n*u.dim]...)
	}
	return bits(f)
}
