package backendtest

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/tensor"

	"github.com/vitserve/vitserve/backend"
)

// spent tests that attention whose keys and values are not kept gives the
// same bits as where they are, from one layer or two, more and fewer queries.
func (s suite) spent(t *testing.T) {
	for _, c := range []struct{ batch, n, heads, d int }{
		{1, 197, 3, 64}, {1, 5, 2, 32}, {3, 17, 2, 64}, {3, 50, 1, 96}, {1, 65, 4, 16}, {1, 34, 2, 20}, {2, 33, 2, 32}, {1, 450, 1, 32},
	} {
		dim := c.heads * c.d
		for _, threads := range []int{0, 1, 2, 3} {
			for _, packed := range []bool{true, false} {
				t.Run(fmt.Sprintf("%d×%d×%d×%d/%d/%v", c.batch, c.n, c.heads, c.d, threads, packed), func(t *testing.T) {
					run := func(spend bool) []*tensor.Dense {
						return runCase(t, s.b, func(r *rig) []backend.Tensor {
							r.Threads(threads)
							x, qkv, o := r.tokens(c.batch, c.n, dim), r.tokens(c.batch, c.n, 3*dim), r.Alloc(c.batch, c.n, dim)
							q, k, v := qkv.Cols(0, dim), qkv.Cols(dim, 2*dim), qkv.Cols(2*dim, 3*dim)
							all := r.linear(3*dim, dim, true, backend.LinearOptions{})
							two := r.linear(2*dim, dim, false, backend.LinearOptions{})
							for range 3 { // what comes round to the memory of the first, too
								if packed {
									r.Linear(qkv, x, all, backend.Epilogue{})
								} else {
									q, o = r.tokens(c.batch, 1, dim), o.Rows(0, 1)
									r.Linear(qkv.Cols(dim, 3*dim), x, two, backend.Epilogue{})
								}
								r.Attention(o, q, k, v, backend.Attention{Heads: c.heads, Scale: 0.3, Spend: spend})
								if packed {
									r.Linear(x, o, r.linear(dim, dim, false, backend.LinearOptions{}), backend.Epilogue{})
								}
							}
							return []backend.Tensor{o, q}
						})
					}
					want, got := run(false), run(true)
					for i := range want {
						require.Equal(t, bits(want[i].Float32s()), bits(got[i].Float32s()), "output %d", i)
					}
				})
			}
		}
	}
}

func (s suite) attention(t *testing.T) {
	for _, c := range []struct{ batch, n, heads, d int }{
		{1, 1, 1, 32}, {1, 5, 3, 64}, {2, 17, 2, 80}, {1, 197, 3, 64}, {2, 257, 2, 32}, {1, 577, 1, 64}, {3, 16, 12, 16}, {1, 50, 1, 100},
	} {
		dim := c.heads * c.d
		scale := float32(1 / math.Sqrt(float64(c.d)))
		name := fmt.Sprintf("%d×%d×%d×%d", c.batch, c.n, c.heads, c.d)
		run := func(kind string, f func(r *rig, q, k, v backend.Tensor) []backend.Tensor) {
			t.Run(name+"/"+kind, func(t *testing.T) {
				s.compare(t, "Attention", false, func(r *rig) []backend.Tensor {
					qkv := r.tokens(c.batch, c.n, 3*dim)
					return f(r, qkv.Cols(0, dim), qkv.Cols(dim, 2*dim), qkv.Cols(2*dim, 3*dim))
				})
			})
		}
		run("packed", func(r *rig, q, k, v backend.Tensor) []backend.Tensor {
			o := r.full(7, c.batch, c.n, dim)
			r.Attention(o, q, k, v, backend.Attention{Heads: c.heads, Scale: scale})
			return []backend.Tensor{o}
		})
		run("separate", func(r *rig, _, _, v backend.Tensor) []backend.Tensor {
			o, wide := r.Alloc(c.batch, c.n, dim), r.full(7, c.batch, c.n+1, dim+3)
			q := r.tokens(c.batch, c.n, dim)
			k := r.tokens(c.batch, c.n, dim)
			r.Attention(o, q, k, v, backend.Attention{Heads: c.heads, Scale: scale})
			r.Attention(wide.Rows(1, c.n+1).Cols(2, 2+dim), q, k, k, backend.Attention{Heads: c.heads, Scale: scale})
			return []backend.Tensor{o, wide}
		})
		run("probs", func(r *rig, q, k, v backend.Tensor) []backend.Tensor {
			o, probs := r.Alloc(c.batch, c.n, dim), r.full(7, c.batch, c.heads, c.n, c.n)
			r.Attention(o, q, k, v, backend.Attention{Heads: c.heads, Scale: scale, Probs: probs})
			rows := []int{c.n - 1, 0}
			some := r.full(7, c.batch, c.heads, 2, c.n)
			o2 := r.Alloc(c.batch, c.n, dim)
			r.Attention(o2, q, k, v, backend.Attention{Heads: c.heads, Scale: scale, Rows: rows, Probs: some})
			return []backend.Tensor{o, probs, o2, some}
		})
		run("few rows", func(r *rig, q, k, v backend.Tensor) []backend.Tensor {
			n := min(c.n, 2)
			o, probs := r.full(7, c.batch, n, dim), r.full(7, c.batch, c.heads, 1, c.n)
			r.Attention(o, q.Rows(0, n), k, v, backend.Attention{Heads: c.heads, Scale: scale, Rows: []int{n - 1}, Probs: probs})
			return []backend.Tensor{o, probs}
		})
		run("probe", func(r *rig, q, k, v backend.Tensor) []backend.Tensor {
			// One probe for all images, as a pooling head has it.
			probe := r.upload(r.normal(1, 1, 3, dim))
			probe.Shape[0], probe.Batch = c.batch, 0
			o := r.full(7, c.batch, 3, dim)
			r.Attention(o, probe, k, v, backend.Attention{Heads: c.heads, Scale: scale})
			return []backend.Tensor{o}
		})
		run("peaked", func(r *rig, _, _, v backend.Tensor) []backend.Tensor {
			// Logits in the hundreds: exp without the maximum overflows.
			// They are whole numbers, exact in every precision.
			q, k := r.digits(c.batch, c.n, dim), r.digits(c.batch, c.n, dim)
			o, probs := r.Alloc(c.batch, c.n, dim), r.Alloc(c.batch, c.heads, c.n, c.n)
			r.Attention(o, q, k, v, backend.Attention{Heads: c.heads, Scale: 4, Probs: probs})
			return []backend.Tensor{o, probs}
		})
		run("bias", func(r *rig, q, k, v backend.Tensor) []backend.Tensor {
			o, probs := r.Alloc(c.batch, c.n, dim), r.Alloc(c.batch, c.heads, c.n, c.n)
			bias := r.upload(r.normal(1, c.heads, c.n, c.n))
			r.Attention(o, q, k, v, backend.Attention{Heads: c.heads, Scale: scale, Bias: bias, Probs: probs})
			return []backend.Tensor{o, probs}
		})
		for _, interleaved := range []bool{false, true} {
			for _, prefix := range []int{0, 1} {
				if c.n == prefix {
					continue
				}
				run(fmt.Sprintf("rope %d %v", prefix, interleaved), func(r *rig, q, k, v backend.Tensor) []backend.Tensor {
					o, probs := r.Alloc(c.batch, c.n, dim), r.Alloc(c.batch, c.heads, c.n, c.n)
					r.Attention(o, q, k, v, backend.Attention{
						Heads: c.heads, Scale: scale, Rope: r.rope(c.n, prefix, c.d, interleaved), Probs: probs,
					})
					return []backend.Tensor{o, probs}
				})
			}
		}
	}
}

// digits returns a tensor on the stream of the whole numbers from -2 to 2.
func (r *rig) digits(shape ...int) backend.Tensor {
	d := zeros(shape...)
	for i := range d.Float32s() {
		d.Float32s()[i] = float32(r.rng.IntN(5) - 2)
	}
	x := r.Alloc(shape...)
	r.Write(x, d)
	return x
}

// rope returns rotations by random angles, both halves of a pair by the same.
func (r *rig) rope(n, prefix, d int, interleaved bool) *backend.Rope {
	cos, sin := zeros(n-prefix, d), zeros(n-prefix, d)
	for i := range n - prefix {
		for pair := range d / 2 {
			at, second := i*d+pair, i*d+pair+d/2
			if interleaved {
				at, second = i*d+2*pair, i*d+2*pair+1
			}
			angle := r.rng.Float64() * 2 * math.Pi
			for _, j := range []int{at, second} {
				cos.Float32s()[j] = float32(math.Cos(angle))
				sin.Float32s()[j] = float32(math.Sin(angle))
			}
		}
	}
	return &backend.Rope{Cos: r.upload(cos), Sin: r.upload(sin), Prefix: prefix, Interleaved: interleaved}
}
