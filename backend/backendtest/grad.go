package backendtest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
)

// gradients runs the part of the suite that is about them.
func (s suite) gradients(t *testing.T) {
	t.Run("LinearGrad", s.linearGrad)
	t.Run("MLPGrad", s.mlpGrad)
	t.Run("GradCompany", s.gradCompany)
	if s.p != backend.F32 {
		return // what follows is float32 in every precision
	}
	t.Run("PatchEmbedGrad", s.patchEmbedGrad)
	t.Run("LayerNormGrad", s.layerNormGrad)
	t.Run("NormsGrad", s.normsGrad)
	t.Run("AttentionGrad", s.attentionGrad)
	t.Run("PlacesGrad", s.placesGrad)
	t.Run("Relevance", s.relevance)
	t.Run("PoolGrad", s.poolGrad)
	t.Run("GatherGrad", s.gatherGrad)
	t.Run("GradPanics", s.gradPanics)
}

func (s suite) patchEmbedGrad(t *testing.T) {
	for _, c := range []struct {
		batch, height, width int
		patch                [2]int
		dim, prefix          int
	}{
		{1, 16, 16, [2]int{16, 16}, 32, 1},
		{1, 224, 224, [2]int{16, 16}, 48, 1},
		{2, 28, 42, [2]int{14, 14}, 50, 0},
		{3, 33, 50, [2]int{16, 16}, 40, 5}, // pixels behind the last whole patch
		{2, 12, 24, [2]int{4, 8}, 33, 2},
	} {
		t.Run(fmt.Sprintf("%d×%d×%d/%v", c.batch, c.height, c.width, c.patch), func(t *testing.T) {
			s.compare(t, "LinearGrad", true, func(r *rig) []backend.Tensor {
				p := &backend.PatchEmbed{
					Patch: c.patch,
					Proj:  r.linear(c.dim, 3*c.patch[0]*c.patch[1], true, backend.LinearOptions{Exact: true}),
				}
				if c.prefix > 0 {
					p.Prefix = r.upload(r.normal(1, c.prefix, c.dim))
				}
				n := (c.height / c.patch[0]) * (c.width / c.patch[1])
				dpixels := r.full(7, c.batch, 3, c.height, c.width)
				r.PatchEmbedGrad(dpixels, r.tokens(c.batch, c.prefix+n, c.dim), p)
				return []backend.Tensor{dpixels}
			})
		})
	}
}

func (s suite) layerNormGrad(t *testing.T) {
	for _, c := range []struct{ batch, n, dim int }{
		{1, 1, 32}, {2, 5, 50}, {3, 17, 192}, {1, 197, 768}, {2, 257, 80}, {1, 3, 1280}, {1, 577, 33},
	} {
		t.Run(fmt.Sprintf("%d×%d×%d", c.batch, c.n, c.dim), func(t *testing.T) {
			s.compare(t, "LayerNormGrad", true, func(r *rig) []backend.Tensor {
				norm := r.norm(c.dim, 1e-6)
				x, dy, sum := r.tokens(c.batch, c.n, c.dim), r.tokens(c.batch, c.n, c.dim), r.tokens(c.batch, c.n, c.dim)
				dx, two, over := r.full(7, c.batch, c.n, c.dim), r.full(7, c.batch, c.n, c.dim), r.tokens(c.batch, c.n, c.dim)
				r.LayerNormGrad(dx, dy, x, norm, backend.Tensor{})
				r.LayerNormGrad(two, dy, x, norm, sum)
				r.LayerNormGrad(sum, dy, x, norm, sum)
				r.LayerNormGrad(over, over, x, norm, sum)
				return []backend.Tensor{dx, two, sum, over}
			})
		})
	}
	t.Run("mean of thirty", func(t *testing.T) {
		s.compare(t, "LayerNormGrad", true, func(r *rig) []backend.Tensor {
			d := r.normal(1, 1, 7, 192)
			for i := range d.Float32s() {
				d.Float32s()[i] += 30
			}
			dx := r.full(7, 1, 7, 192)
			r.LayerNormGrad(dx, r.tokens(1, 7, 192), r.upload(d), r.norm(192, 1e-6), backend.Tensor{})
			return []backend.Tensor{dx}
		})
	})
	t.Run("views", func(t *testing.T) {
		s.compare(t, "LayerNormGrad", true, func(r *rig) []backend.Tensor {
			x, dy, dx, sum := r.tokens(3, 20, 150), r.tokens(3, 9, 70), r.full(7, 3, 20, 90), r.tokens(3, 5, 60)
			r.LayerNormGrad(dx.First(2).Rows(3, 8).Cols(11, 61), dy.First(2).Rows(4, 9).Cols(3, 53),
				x.First(2).Rows(1, 6).Cols(70, 120), r.norm(50, 1e-6), sum.First(2).Cols(10, 60))
			return []backend.Tensor{dx}
		})
	})
}

func (s suite) linearGrad(t *testing.T) {
	for _, c := range linears {
		batch, n, in, out := c[0], c[1], c[2], c[3]
		t.Run(fmt.Sprintf("%d×%d×%d to %d", batch, n, in, out), func(t *testing.T) {
			for _, exact := range []bool{false, true} {
				s.compare(t, "LinearGrad", exact, func(r *rig) []backend.Tensor {
					w := r.linear(out, in, true, backend.LinearOptions{Exact: exact})
					dy := r.tokens(batch, n, out)
					plain, two, sum := r.full(7, batch, n, in), r.full(7, batch, n, in), r.tokens(batch, n, in)
					r.LinearGrad(plain, dy, w, backend.Epilogue{})
					r.LinearGrad(two, dy, w, backend.Epilogue{Residual: sum})
					r.LinearGrad(sum, dy, w, backend.Epilogue{Residual: sum})
					return []backend.Tensor{plain, two, sum}
				})
			}
		})
	}
	for _, act := range acts {
		for _, scale := range []float64{0.3, 2, 30} {
			t.Run(fmt.Sprintf("%v/%g", act, scale), func(t *testing.T) {
				s.compare(t, "LinearGrad", true, func(r *rig) []backend.Tensor {
					const batch, n, in, half = 2, 23, 40, 77
					gated, out := act == backend.SwiGLU, half
					if gated {
						out = 2 * half
					}
					w := r.linear(out, in, true, backend.LinearOptions{Exact: true, Gated: gated})
					dx, wide, dy := r.full(7, batch, n, in), r.full(7, batch, n+2, in+5), r.tokens(batch, n, half)
					pre := r.upload(r.normal(scale, batch, n, out))
					r.LinearGrad(dx, dy, w, backend.Epilogue{Act: act, Pre: pre})
					r.LinearGrad(wide.Rows(1, n+1).Cols(2, 2+in), dy, w, backend.Epilogue{Act: act, Pre: pre, Residual: dx})
					return []backend.Tensor{dx, wide}
				})
			})
		}
	}
}

// mlpGrad is two LinearGrads with a Temp between them, over the hidden layer
// that the forward pass kept.
func (s suite) mlpGrad(t *testing.T) {
	for _, c := range []struct{ batch, n, dim, hidden int }{
		{1, 1, 32, 128}, {3, 5, 48, 100}, {1, 197, 64, 256}, {2, 17, 50, 33}, {1, 29, 64, 3072}, {2, 577, 32, 64},
	} {
		for _, act := range acts {
			t.Run(fmt.Sprintf("%d×%d×%d×%d/%v", c.batch, c.n, c.dim, c.hidden, act), func(t *testing.T) {
				s.compare(t, "MLPGrad", false, func(r *rig) []backend.Tensor {
					gated, width := act == backend.SwiGLU, c.hidden
					if gated {
						width *= 2
					}
					fc1 := r.linear(width, c.dim, true, backend.LinearOptions{Gated: gated})
					fc2 := r.linear(c.dim, c.hidden, true, backend.LinearOptions{})
					pre := r.upload(r.normal(1, c.batch, c.n, width))
					h := r.Temp(c.batch+1, c.n+2, c.hidden).First(c.batch).Rows(0, c.n)
					d, sum := r.tokens(c.batch, c.n, c.dim), r.tokens(c.batch, c.n, c.dim)
					dx := r.full(7, c.batch, c.n, c.dim)
					for _, residual := range []backend.Tensor{{}, sum} {
						r.LinearGrad(h, d, fc2, backend.Epilogue{})
						r.LinearGrad(dx, h, fc1, backend.Epilogue{Act: act, Pre: pre, Residual: residual})
						d, dx = dx, d
					}
					return []backend.Tensor{d, dx}
				})
			})
		}
	}
}

func (s suite) poolGrad(t *testing.T) {
	for _, c := range []struct {
		batch, n, dim int
		spans         []backend.Span
	}{
		{1, 1, 32, []backend.Span{{Lo: 0, Hi: 1}}},
		{3, 17, 50, []backend.Span{{Lo: 0, Hi: 1}, {Lo: 1, Hi: 17}}},
		{2, 257, 33, []backend.Span{{Lo: 0, Hi: 2}, {Lo: 5, Hi: 257}, {Lo: 4, Hi: 9}}},
	} {
		t.Run(fmt.Sprintf("%d×%d×%d/%v", c.batch, c.n, c.dim, c.spans), func(t *testing.T) {
			s.compare(t, "PoolGrad", true, func(r *rig) []backend.Tensor {
				dx, wide := r.full(7, c.batch, c.n, c.dim), r.full(7, c.batch, c.n+2, c.dim+9)
				dy := r.tokens(c.batch, 1, len(c.spans)*c.dim)
				r.PoolGrad(dx, dy, c.spans...)
				r.PoolGrad(wide.Rows(1, c.n+1).Cols(5, 5+c.dim), dy, c.spans...)
				return []backend.Tensor{dx, wide}
			})
		})
	}
}

// gradCompany tests that an image's gradients have the same bits alone and at
// every place of a batch, whether attention is captured or not.
func (s suite) gradCompany(t *testing.T) {
	const images, n, heads, d, hidden = 5, 37, 2, 24, 100
	const dim = heads * d
	// run returns the gradients of count images from the first on.
	run := func(first, count int, capture bool) [][]uint32 {
		r := newRig(t, s.b)
		pick := func(shape ...int) backend.Tensor {
			x := r.upload(r.normal(1, append([]int{images}, shape...)...))
			x.Offset += first * x.Batch
			return x.First(count)
		}
		dx, x, qkv, pre := pick(n, dim), pick(n, dim), pick(n, 3*dim), pick(n, hidden)
		fc1, fc2 := r.linear(hidden, dim, true, backend.LinearOptions{}), r.linear(dim, hidden, true, backend.LinearOptions{})
		h, y, z, dqkv := r.Temp(count, n, hidden), r.Alloc(count, n, dim), r.Alloc(count, n, dim), r.Alloc(count, n, 3*dim)
		r.LinearGrad(h, dx, fc2, backend.Epilogue{})
		r.LinearGrad(y, h, fc1, backend.Epilogue{Act: backend.GELU, Pre: pre})
		r.LayerNormGrad(z, y, x, r.norm(dim, 1e-6), dx)
		a, outs := backend.Attention{Heads: heads, Scale: 0.2}, []backend.Tensor{z, dqkv}
		if capture {
			a.ProbsGrad, a.Relevance = r.Alloc(count, heads, n, n), r.Alloc(count, n, n)
			outs = append(outs, a.ProbsGrad, a.Relevance)
		}
		r.AttentionGrad(dqkv.Cols(0, dim), dqkv.Cols(dim, 2*dim), dqkv.Cols(2*dim, 3*dim), z,
			qkv.Cols(0, dim), qkv.Cols(dim, 2*dim), qkv.Cols(2*dim, 3*dim), a)
		var all [][]uint32
		for _, o := range outs {
			v := zeros(o.Shape...)
			r.Read(v, o)
			require.NoError(t, r.Sync())
			all = append(all, bits(v.Float32s()))
		}
		return all
	}
	want := run(0, images, true)
	for _, part := range [][2]int{{0, 1}, {4, 1}, {1, 2}, {2, 3}, {0, 4}} {
		for _, capture := range []bool{true, false} {
			for i, got := range run(part[0], part[1], capture) {
				image := len(want[i]) / images
				require.Equal(t, want[i][part[0]*image:(part[0]+part[1])*image], got, "output %d of images %v", i, part)
			}
		}
	}
}
