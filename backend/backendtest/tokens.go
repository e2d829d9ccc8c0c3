package backendtest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
)

// lists are tokens of n that are kept, of all images or of each.
var lists = []struct {
	batch, n, dim int
	rows          []int
	kept          int // of each image
}{
	{1, 1, 32, []int{0}, 1},
	{3, 17, 50, []int{16, 0, 3, 3}, 4},
	{2, 197, 64, []int{0, 5, 6, 7, 196}, 5},
	{3, 17, 50, []int{16, 0, 3}, 1}, // the last token of each text
	{2, 9, 33, []int{0, 5, 5, 1, 8, 0}, 3},
	{2, 9, 33, []int{5, 5, 5, 5, 1, 1, 1, 0}, 4},
	{4, 5, 32, []int{4, 3, 2, 1}, 1},
	{8, 13, 20, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0, 0}, 2},
}

func (s suite) gather(t *testing.T) {
	for _, c := range lists {
		t.Run(fmt.Sprintf("%d×%d×%d/%v", c.batch, c.n, c.dim, c.rows), func(t *testing.T) {
			s.compare(t, "Gather", true, func(r *rig) []backend.Tensor {
				x := r.tokens(c.batch, c.n, c.dim)
				y, view, one := r.full(7, c.batch, c.kept, c.dim), r.full(7, c.batch, c.kept+1, c.dim), r.full(7, c.batch, c.kept, c.dim)
				rows := append([]int(nil), c.rows...)
				r.Gather(y, x, rows)
				r.Gather(view.Rows(1, 1+c.kept).Cols(1, c.dim), x.Cols(1, c.dim), rows)
				shared := x.First(1)
				shared.Shape[0], shared.Batch = c.batch, 0 // one image for all
				r.Gather(one, shared, rows)
				clear(rows) // an operation keeps no slice of its caller
				return []backend.Tensor{y, view, one}
			})
		})
	}
	// One stream, the same operations on other tokens: no program may be
	// taken for another, nor one list for another.
	r := newRig(t, s.b)
	host := r.normal(1, 2, 9, 32)
	x, y, z := r.upload(host), r.Alloc(2, 1, 32), r.Alloc(2, 2, 32)
	for i := range 8 {
		one, two := zeros(2, 1, 32), zeros(2, 2, 32)
		r.Gather(y, x, []int{i, 8 - i})
		r.Gather(z, x, []int{i + 1, i})
		r.Read(one, y)
		r.Read(two, z)
		require.NoError(t, r.Sync())
		row := func(b, n int) []float32 { return host.Float32s()[(b*9+n)*32:][:32] }
		require.Equal(t, append(append([]float32{}, row(0, i)...), row(1, 8-i)...), one.Float32s())
		require.Equal(t, append(append([]float32{}, row(0, i+1)...), row(0, i)...), two.Float32s()[:64])
	}
}

func (s suite) gatherGrad(t *testing.T) {
	for _, c := range lists {
		t.Run(fmt.Sprintf("%d×%d×%d/%v", c.batch, c.n, c.dim, c.rows), func(t *testing.T) {
			s.compare(t, "GatherGrad", true, func(r *rig) []backend.Tensor {
				dy, dx, wide := r.tokens(c.batch, c.kept, c.dim), r.full(7, c.batch, c.n, c.dim), r.full(7, c.batch, c.n+2, c.dim+3)
				r.GatherGrad(dx, dy, c.rows)
				r.GatherGrad(wide.Rows(1, 1+c.n).Cols(2, 2+c.dim), dy, c.rows)
				return []backend.Tensor{dx, wide}
			})
		})
	}
}

// relative is a table of random biases.
func (r *rig) relative(height, width, prefix, heads int) *backend.Relative {
	rows := (2*height - 1) * (2*width - 1)
	if prefix > 0 {
		rows += 3
	}
	return &backend.Relative{Table: r.upload(r.normal(1, rows, heads)), Grid: [2]int{height, width}, Prefix: prefix}
}

// relativeBias tests that tables are expanded exactly: of all tokens, of
// some, of each image its own, and for fewer queries than tokens.
func (s suite) relativeBias(t *testing.T) {
	for _, c := range []struct{ height, width, prefix, heads, batch int }{
		{1, 1, 0, 1, 1}, {2, 3, 1, 2, 3}, {14, 14, 1, 3, 2}, {5, 7, 5, 4, 2}, {3, 1, 0, 2, 4}, {1, 4, 1, 12, 8},
	} {
		t.Run(fmt.Sprintf("%d×%d/%d/%d", c.height, c.width, c.prefix, c.heads), func(t *testing.T) {
			s.compare(t, "Gather", true, func(r *rig) []backend.Tensor {
				p := r.relative(c.height, c.width, c.prefix, c.heads)
				n := p.Tokens()
				kept := max(n*2/3, 1)
				all, first := r.full(7, c.heads, n, n), r.full(7, c.heads, n, n)
				some, each, one := r.full(7, c.heads, kept, kept), r.full(7, c.batch, c.heads, kept, kept), r.full(7, c.batch, c.heads, 1, kept)
				r.RelativeBias(all, p, nil)
				r.RelativeBias(first.Rows(0, 1), p, nil)
				r.RelativeBias(some, p, r.rng.Perm(n)[:kept])
				var lists []int
				for range c.batch {
					lists = append(lists, r.rng.Perm(n)[:kept]...)
				}
				r.RelativeBias(each, p, lists)
				r.RelativeBias(one, p, lists)
				return []backend.Tensor{all, first, some, each, one}
			})
		})
	}
}

// layerByLayer tests that one bias serves layer after layer, each with a
// table of its own, in batches of any size: what a layer reads is its own.
func (s suite) layerByLayer(t *testing.T) {
	for _, batch := range []int{1, 2, 3, 8} { // two heads: a batch as large as they
		s.compare(t, "Layers", false, func(r *rig) []backend.Tensor {
			const heads, d = 2, 32
			x, o := r.tokens(batch, 10, heads*d), r.Alloc(batch, 10, heads*d)
			bias := r.Alloc(heads, 10, 10)
			for layer := range 3 {
				rows := []int{10, 10, 1}[layer]
				r.RelativeBias(bias.Rows(0, rows), r.relative(3, 3, 1, heads), nil)
				r.Attention(o.Rows(0, rows), x.Rows(0, rows), x, x, backend.Attention{Heads: heads, Scale: 0.1, Bias: bias.Rows(0, rows)})
				x, o = o, x
			}
			return []backend.Tensor{x.Rows(0, 1)}
		})
	}
}
