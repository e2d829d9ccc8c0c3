package backendtest

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
)

// places are ways in which attention knows where tokens are, each made for n
// tokens of an encoder and cut to the first rows of them for the queries.
var places = map[string]func(r *rig, batch, rows, n, heads, d int) backend.Attention{
	"rope": func(r *rig, _, _, n, _, d int) backend.Attention {
		return backend.Attention{Rope: r.rope(n, 1, d, true)}
	},
	"rope of each image": func(r *rig, batch, _, n, _, d int) backend.Attention {
		return backend.Attention{Rope: r.keptRope(batch, n, 1, d, false)}
	},
	"rope of each head": func(r *rig, _, _, n, heads, d int) backend.Attention {
		return backend.Attention{Rope: r.headRope(n, 1, heads, d, true)}
	},
	"rope of each head and image": func(r *rig, batch, _, n, heads, d int) backend.Attention {
		// Rows side by side are those of images, and within one of heads.
		rope := r.headRope(batch*(n-2)+2, 2, heads, d, false)
		for _, t := range []*backend.Tensor{&rope.Cos, &rope.Sin} {
			t.Batch = (n - 2) * t.Row
			t.Shape = []int{batch, n - 2, heads * d}
		}
		return backend.Attention{Rope: rope}
	},
	"bias": func(r *rig, _, rows, n, heads, _ int) backend.Attention {
		return backend.Attention{Bias: r.upload(r.normal(1, heads, n, n)).Rows(0, rows)}
	},
	"bias of each image": func(r *rig, batch, rows, n, heads, _ int) backend.Attention {
		whole := r.normal(1, batch, heads, n, n)
		some := zeros(batch, heads, rows, n)
		for i := range batch * heads {
			copy(some.Float32s()[i*rows*n:][:rows*n], whole.Float32s()[i*n*n:])
		}
		return backend.Attention{Bias: r.upload(some)}
	},
	"hidden keys": func(r *rig, batch, rows, n, heads, _ int) backend.Attention {
		// One row for all heads and queries, as padding has it.
		mask := zeros(batch, 1, 1, n)
		for i := range mask.Float32s() {
			if i%n > 0 && r.rng.IntN(3) == 0 {
				mask.Float32s()[i] = float32(math.Inf(-1))
			}
		}
		bias := r.upload(mask)
		bias.Shape[1], bias.Shape[2], bias.Row = heads, rows, 0
		return backend.Attention{Bias: bias}
	},
	"causal": func(*rig, int, int, int, int, int) backend.Attention {
		return backend.Attention{Causal: true}
	},
	"causal with rope and bias": func(r *rig, _, rows, n, heads, d int) backend.Attention {
		return backend.Attention{Causal: true, Rope: r.rope(n, 1, d, false), Bias: r.upload(r.normal(1, heads, n, n)).Rows(0, rows)}
	},
}

// keptRope returns rotations of each image's own.
func (r *rig) keptRope(batch, n, prefix, d int, interleaved bool) *backend.Rope {
	all := r.rope(batch*(n-prefix)+prefix, prefix, d, interleaved)
	for _, t := range []*backend.Tensor{&all.Cos, &all.Sin} {
		t.Batch = (n - prefix) * t.Row
		t.Shape = []int{batch, n - prefix, d}
	}
	return all
}

// headRope returns rotations of each head's own.
func (r *rig) headRope(n, prefix, heads, d int, interleaved bool) *backend.Rope {
	cos, sin := zeros(n-prefix, heads*d), zeros(n-prefix, heads*d)
	for i := range n - prefix {
		for h := range heads {
			for pair := range d / 2 {
				first, second := h*d+pair, h*d+pair+d/2
				if interleaved {
					first, second = h*d+2*pair, h*d+2*pair+1
				}
				angle := r.rng.Float64() * 2 * math.Pi
				for _, j := range []int{i*heads*d + first, i*heads*d + second} {
					cos.Float32s()[j], sin.Float32s()[j] = float32(math.Cos(angle)), float32(math.Sin(angle))
				}
			}
		}
	}
	return &backend.Rope{Cos: r.upload(cos), Sin: r.upload(sin), Prefix: prefix, Interleaved: interleaved}
}

// placed are cases of the tests of places.
var placed = []struct{ batch, n, heads, d int }{
	{1, 3, 1, 32}, {2, 17, 2, 80}, {3, 66, 2, 32}, {8, 33, 2, 24}, {1, 130, 1, 100},
}

// fewRows are how many queries the tests of places have.
func fewRows(n int) []int { return []int{1, n - 1, n} }

// places tests rotary positions, biases and masks with as many queries as
// keys and with fewer, for all images together and for each.
func (s suite) places(t *testing.T) {
	for name, place := range places {
		for _, c := range placed {
			for _, rows := range fewRows(c.n) {
				t.Run(fmt.Sprintf("%s/%d×%d×%d×%d/%d", name, c.batch, c.n, c.heads, c.d, rows), func(t *testing.T) {
					s.compare(t, "Attention", false, func(r *rig) []backend.Tensor {
						dim := c.heads * c.d
						qkv := r.tokens(c.batch, c.n, 3*dim)
						q, k, v := qkv.Cols(0, dim).Rows(0, rows), qkv.Cols(dim, 2*dim), qkv.Cols(2*dim, 3*dim)
						a := place(r, c.batch, rows, c.n, c.heads, c.d)
						a.Heads, a.Scale = c.heads, float32(1/math.Sqrt(float64(c.d)))
						plain, o := r.full(7, c.batch, rows, dim), r.full(7, c.batch, rows, dim)
						r.Attention(plain, q, k, v, a)
						a.Probs = r.full(7, c.batch, c.heads, rows, c.n)
						r.Attention(o, q, k, v, a)
						a.Rows, a.Probs = []int{rows - 1}, r.full(7, c.batch, c.heads, 1, c.n)
						r.Attention(o, q, k, v, a)
						return []backend.Tensor{plain, o, a.Probs}
					})
				})
			}
		}
	}
}

// placesGrad is places of the gradient.
func (s suite) placesGrad(t *testing.T) {
	for name, place := range places {
		for _, c := range placed {
			for _, rows := range fewRows(c.n) {
				t.Run(fmt.Sprintf("%s/%d×%d×%d×%d/%d", name, c.batch, c.n, c.heads, c.d, rows), func(t *testing.T) {
					s.compare(t, "AttentionGrad", true, func(r *rig) []backend.Tensor {
						dim := c.heads * c.d
						qkv, d := r.tokens(c.batch, c.n, 3*dim), r.full(7, c.batch, c.n, 3*dim)
						cut := func(x backend.Tensor) (q, k, v backend.Tensor) {
							return x.Cols(0, dim).Rows(0, rows), x.Cols(dim, 2*dim), x.Cols(2*dim, 3*dim)
						}
						q, k, v := cut(qkv)
						dq, dk, dv := cut(d)
						a := place(r, c.batch, rows, c.n, c.heads, c.d)
						a.Heads, a.Scale = c.heads, float32(1/math.Sqrt(float64(c.d)))
						a.ProbsGrad, a.Relevance = r.full(7, c.batch, c.heads, rows, c.n), r.full(7, c.batch, rows, c.n)
						r.AttentionGrad(dq, dk, dv, r.tokens(c.batch, rows, dim), q, k, v, a)
						return []backend.Tensor{d, a.ProbsGrad, a.Relevance}
					})
				})
			}
		}
	}
}

// placesSubset tests that a query with a place gets the same bits whether the
// queries behind it are computed or not, and an image the same alone and at
// every place of a batch, on any number of threads.
func (s suite) placesSubset(t *testing.T) {
	const batch, n, heads, d = 6, 67, 2, 32
	const dim = heads * d
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, s.b)
			qkv := r.tokens(batch, n, 3*dim)
			whole := place(r, batch, n, n, heads, d)
			// run returns o and probabilities of some images and rows.
			run := func(first, images, rows, threads int) (outs []*tokenRows) {
				r.Threads(threads)
				pick := func(x backend.Tensor) backend.Tensor {
					x.Offset += first * x.Batch
					return x.First(images)
				}
				a := whole
				a.Heads, a.Scale = heads, 0.2
				if len(a.Bias.Shape) == 4 {
					a.Bias = pick(a.Bias)
					if a.Bias.Row == 0 {
						a.Bias.Shape[2] = rows
					} else if rows < n {
						return nil // rows of an image's own bias are not those of a view
					}
				} else if !a.Bias.IsZero() {
					a.Bias = a.Bias.Rows(0, rows)
				}
				if a.Rope != nil && len(a.Rope.Cos.Shape) == 3 {
					rope := *a.Rope
					rope.Cos, rope.Sin = pick(rope.Cos), pick(rope.Sin)
					a.Rope = &rope
				}
				x := pick(qkv)
				o, probs := r.Alloc(images, rows, dim), r.Alloc(images, heads, rows, n)
				a.Probs = probs
				r.Attention(o, x.Cols(0, dim).Rows(0, rows), x.Cols(dim, 2*dim), x.Cols(2*dim, 3*dim), a)
				read := []backend.Tensor{o, probs}
				if rows == n {
					// And the gradient, of an image alone and among others.
					d := r.Alloc(images, n, 3*dim)
					a.ProbsGrad, a.Relevance = r.Alloc(images, heads, n, n), r.Alloc(images, n, n)
					r.AttentionGrad(d.Cols(0, dim), d.Cols(dim, 2*dim), d.Cols(2*dim, 3*dim), o,
						x.Cols(0, dim), x.Cols(dim, 2*dim), x.Cols(2*dim, 3*dim), a)
					read = append(read, d, a.ProbsGrad, a.Relevance)
				}
				for _, v := range read {
					host := zeros(v.Shape...)
					r.Read(host, v)
					width := v.Shape[len(v.Shape)-1]
					outs = append(outs, &tokenRows{values: host.Float32s(), batch: v.Shape.TotalSize() / (rows * width), rows: rows, dim: width})
				}
				require.NoError(t, r.Sync())
				return outs
			}
			want := run(0, batch, n, 0)
			for _, threads := range []int{0, 1, 2, 3} {
				for _, part := range [][2]int{{0, batch}, {0, 1}, {5, 1}, {1, 3}} {
					for _, rows := range fewRows(n) {
						for i, got := range run(part[0], part[1], rows, threads) {
							per := want[i].batch / batch
							first := &tokenRows{values: want[i].values[part[0]*per*n*got.dim:], batch: part[1] * per, rows: n, dim: got.dim}
							require.Equal(t, first.first(rows), got.first(rows), "images %v, %d rows, %d threads, output %d", part, rows, threads, i)
						}
					}
				}
			}
		})
	}
}

// hidden tests that hidden keys have no part in an answer: their
// probabilities are nothing, and other values in their place change no bit.
func (s suite) hidden(t *testing.T) {
	const n, heads, d = 37, 2, 32
	const dim = heads * d
	for _, causal := range []bool{true, false} {
		r := newRig(t, s.b)
		q, k, v := r.tokens(1, n, dim), r.tokens(1, n, dim), r.tokens(1, n, dim)
		a := backend.Attention{Heads: heads, Scale: 0.3, Causal: causal, Probs: r.Alloc(1, heads, n, n)}
		seen := 20 // keys before it are seen by the query before it
		if !causal {
			mask := zeros(1, 1, 1, n)
			for i := seen; i < n; i++ {
				mask.Float32s()[i] = float32(math.Inf(-1))
			}
			a.Bias = r.upload(mask)
			a.Bias.Shape[1], a.Bias.Shape[2], a.Bias.Row = heads, n, 0
		}
		o, before, after, probs := r.Alloc(1, n, dim), zeros(1, n, dim), zeros(1, n, dim), zeros(1, heads, n, n)
		r.Attention(o, q, k, v, a)
		r.Read(before, o)
		r.Read(probs, a.Probs)
		require.NoError(t, r.Sync())
		for i, p := range probs.Float32s() {
			query, key := i/n%n, i%n
			switch {
			case causal && key > query || !causal && key >= seen:
				require.Zero(t, p)
			default:
				require.Positive(t, p)
			}
		}
		r.Write(k.Rows(seen, n), r.normal(1, 1, n-seen, dim))
		r.Write(v.Rows(seen, n), r.normal(1, 1, n-seen, dim))
		r.Attention(o, q, k, v, a)
		r.Read(after, o)
		require.NoError(t, r.Sync())
		rows := seen
		if !causal {
			rows = n
		}
		require.Equal(t, bits(before.Float32s()[:rows*dim]), bits(after.Float32s()[:rows*dim]))
		require.NotEqual(t, causal, before.Float32s()[n*dim-1] == after.Float32s()[n*dim-1])
	}
}
