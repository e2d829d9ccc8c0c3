package backendtest

import (
	"fmt"
	"math"
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

// gradPanics tests that wrong shapes are refused where they are enqueued.
func (s suite) gradPanics(t *testing.T) {
	r := newRig(t, s.b)
	var (
		none   backend.Tensor
		x      = r.Alloc(2, 5, 32)
		y      = r.Alloc(2, 5, 48)
		short  = r.Alloc(2, 4, 32)
		shared = backend.Tensor{Mem: x.Mem, Shape: x.Shape.Clone(), Row: x.Row}
		w      = r.linear(48, 32, true, backend.LinearOptions{})
		gated  = r.linear(48, 32, true, backend.LinearOptions{Gated: true})
		embed  = &backend.PatchEmbed{Patch: [2]int{4, 4}, Proj: r.linear(32, 48, true, backend.LinearOptions{Exact: true})}
		pixels = r.Alloc(2, 3, 8, 8)
		norm   = r.norm(32, 1e-6)
		heads  = backend.Attention{Heads: 4, Scale: 1}
		probs  = backend.Attention{Heads: 4, Scale: 1, ProbsGrad: r.Alloc(2, 4, 1, 5)}
		mean   = backend.Attention{Heads: 4, Scale: 1, Relevance: r.Alloc(2, 4, 5)}
	)
	for name, c := range map[string]struct {
		f    func()
		says []string
	}{
		"embedding of other tokens":     {func() { r.PatchEmbedGrad(pixels, x, embed) }, []string{"PatchEmbedGrad", "(2, 5, 32)", "(2, 4, 32)"}},
		"norm of another shape":         {func() { r.LayerNormGrad(x, x, short, norm, none) }, []string{"LayerNormGrad", "(2, 5, 32)", "(2, 4, 32)"}},
		"norm into a shared batch":      {func() { r.LayerNormGrad(shared, x, x, norm, none) }, []string{"stride 0"}},
		"norm with another residual":    {func() { r.LayerNormGrad(x, x, x, norm, y) }, []string{"residual", "(2, 5, 48)"}},
		"linear from its input":         {func() { r.LinearGrad(x, x, w, backend.Epilogue{}) }, []string{"LinearGrad", "(2, 5, 32)", "(48, 32)"}},
		"linear into its output":        {func() { r.LinearGrad(y, y, w, backend.Epilogue{}) }, []string{"(2, 5, 48)", "(2, 5, 32)"}},
		"activation without its input":  {func() { r.LinearGrad(x, y, w, backend.Epilogue{Act: backend.GELU}) }, []string{"pre", "want (2, 5, 48)"}},
		"activation of another input":   {func() { r.LinearGrad(x, y, w, backend.Epilogue{Act: backend.GELU, Pre: x}) }, []string{"pre", "(2, 5, 32)"}},
		"residual of the forward shape": {func() { r.LinearGrad(x, y, w, backend.Epilogue{Residual: y}) }, []string{"residual", "(2, 5, 48)"}},
		"gelu on a gated weight":        {func() { r.LinearGrad(x, y, gated, backend.Epilogue{Act: backend.GELU, Pre: y}) }, []string{"gelu"}},
		"gated from the full width": {func() { r.LinearGrad(x, y, gated, backend.Epilogue{Act: backend.SwiGLU, Pre: y}) },
			[]string{"(2, 5, 48)", "(48, 32)"}},
		"linear of elsewhere":         {func() { r.LinearGrad(x, y, foreign{}, backend.Epilogue{}) }, []string{"(48, 32)"}},
		"attention of other rows":     {func() { r.AttentionGrad(x, x, x, short, x, x, x, heads) }, []string{"AttentionGrad", "do", "(2, 4, 32)", "(2, 5, 32)"}},
		"keys' gradient of queries":   {func() { r.AttentionGrad(none, short, none, short, short, x, x, heads) }, []string{"dk", "(2, 4, 32)", "(2, 5, 32)"}},
		"probabilities of fewer":      {func() { r.AttentionGrad(none, none, none, x, x, x, x, probs) }, []string{"(2, 4, 1, 5)", "(2, 4, 5, 5)"}},
		"relevance of fewer":          {func() { r.AttentionGrad(none, none, none, x, x, x, x, mean) }, []string{"(2, 4, 5)", "(2, 5, 5)"}},
		"gathered into another shape": {func() { r.GatherGrad(x, short, []int{0}) }, []string{"GatherGrad", "(2, 4, 32)", "(2, 1, 32)"}},
		"gathered row outside":        {func() { r.GatherGrad(short, x, []int{0, 1, 2, 3, 4}) }, []string{"row 4", "(2, 4, 32)"}},
		"span outside":                {func() { r.PoolGrad(x, x.Rows(0, 1), backend.Span{Lo: 1, Hi: 6}) }, []string{"PoolGrad", "{1 6}"}},
		"pooled with more than sums":  {func() { r.PoolGrad(x, short, backend.Span{Lo: 0, Hi: 1}) }, []string{"(2, 4, 32)", "(2, 1, 32)"}},
	} {
		t.Run(name, func(t *testing.T) {
			message := func() (m any) {
				defer func() { m = recover() }()
				c.f()
				return nil
			}()
			require.NotNil(t, message, "no panic")
			for _, want := range c.says {
				require.Contains(t, fmt.Sprint(message), want)
			}
		})
	}
	require.NoError(t, r.Sync(), "what panicked was not enqueued")
}
