package backendtest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
)

// temps tests what a Temp may be besides an MLP's hidden layer: read by
// several operations, and behind others; written anew, in parts; the tokens
// of a norm and of attention, packed and in place; the same in every Sync.
// Whole encoders of Temps are in families.
func (s suite) temps(t *testing.T) {
	for _, c := range []struct{ batch, n, dim, hidden int }{{1, 1, 32, 64}, {3, 17, 32, 100}, {2, 65, 64, 900}} {
		t.Run(fmt.Sprintf("%d×%d×%d×%d", c.batch, c.n, c.dim, c.hidden), func(t *testing.T) {
			s.compare(t, "Temps", false, func(r *rig) []backend.Tensor {
				x := r.tokens(c.batch, c.n, c.dim)
				h, y := r.Temp(c.batch, c.n, c.hidden), r.Temp(c.batch, c.n, 3*c.dim)
				up, down := r.linear(c.hidden, c.dim, true, backend.LinearOptions{}), r.linear(c.dim, c.hidden, true, backend.LinearOptions{})
				qkv, norm := r.linear(3*c.dim, c.dim, true, backend.LinearOptions{}), r.norm(c.dim, 1e-6)
				var outs []backend.Tensor
				out := func() backend.Tensor {
					outs = append(outs, r.full(7, c.batch, c.n, c.dim))
					return outs[len(outs)-1]
				}
				for range 2 {
					// Read at once, again, and behind another operation.
					r.Linear(h, x, up, backend.Epilogue{Act: backend.GELU})
					first := out()
					r.Linear(first, h, down, backend.Epilogue{})
					r.Linear(out(), h, down, backend.Epilogue{Residual: x})
					r.LayerNorm(out(), first, norm)
					r.Linear(out(), h, down, backend.Epilogue{})
					// Written anew, of the first token alone, and read from there.
					r.Linear(h.Rows(0, 1), x.Rows(c.n-1, c.n), up, backend.Epilogue{})
					r.Linear(out().Rows(0, 1), h.Rows(0, 1), down, backend.Epilogue{})
					r.Linear(out(), h, down, backend.Epilogue{})
					// A norm in place between the two.
					r.Linear(h, x, up, backend.Epilogue{Act: backend.QuickGELU})
					r.LayerNorm(h, h, r.norm(c.hidden, 1e-6))
					r.Linear(out(), h, down, backend.Epilogue{})
					// Queries, keys and values, normed in place; then the heads.
					z := y.Cols(0, c.dim)
					r.LayerNorm(z, x, norm)
					packed := r.Temp(c.batch, c.n, 3*c.dim)
					r.Linear(packed, z, qkv, backend.Epilogue{})
					q, k, v := packed.Cols(0, c.dim), packed.Cols(c.dim, 2*c.dim), packed.Cols(2*c.dim, 3*c.dim)
					r.LayerNorm(q, q, r.headNorm(2, c.dim/2, false))
					r.LayerNorm(k, k, r.headNorm(2, c.dim/2, true))
					r.Attention(z, q, k, v, backend.Attention{Heads: 2, Scale: 0.3, Spend: true})
					r.LayerNorm(z, z, norm)
					r.Linear(out(), z, r.linear(c.dim, c.dim, true, backend.LinearOptions{}), backend.Epilogue{Residual: x})
					require.NoError(t, r.Sync())
				}
				return outs
			})
		})
	}
}

// tempPanics are what a Temp may not be.
func (r *rig) tempPanics() map[string]func() {
	x, h := r.Alloc(2, 5, 32), r.Temp(2, 5, 32)
	w, a := r.linear(32, 32, true, backend.LinearOptions{}), backend.Attention{Heads: 4, Scale: 1}
	with := func(f func(a *backend.Attention)) backend.Attention {
		a := a
		f(&a)
		return a
	}
	pixels, embed := r.Alloc(2, 3, 8, 10), &backend.PatchEmbed{Patch: [2]int{8, 2}, Proj: r.linear(32, 48, true, backend.LinearOptions{Exact: true})}
	one, norm := backend.Span{Lo: 0, Hi: 1}, r.norm(32, 1e-6)
	return map[string]func(){
		"Write: tensor":           func() { r.Write(h, zeros(2, 5, 32)) },
		"Read: tensor":            func() { r.Read(zeros(2, 5, 32), h) },
		"PatchEmbed: x":           func() { r.PatchEmbed(h, pixels, embed) },
		"PatchEmbedGrad: x":       func() { r.PatchEmbedGrad(pixels, h, embed) },
		"Linear: residual":        func() { r.Linear(x, x.Rows(0, 5), w, backend.Epilogue{Residual: h}) },
		"Linear: pre":             func() { r.Linear(x, x, w, backend.Epilogue{Pre: h}) },
		"LinearGrad: residual":    func() { r.LinearGrad(x, x, w, backend.Epilogue{Residual: h}) },
		"LinearGrad: pre":         func() { r.LinearGrad(x, x, w, backend.Epilogue{Act: backend.GELU, Pre: h}) },
		"LayerNorm: residual":     func() { n := norm; n.Residual = h; r.LayerNorm(x, x, n) },
		"LayerNormGrad: residual": func() { r.LayerNormGrad(x, x, x, norm, h) },
		"Attention: bias":         func() { r.Attention(x, x, x, x, with(func(a *backend.Attention) { a.Bias = r.Temp(4, 5, 5) })) },
		"Attention: probs":        func() { r.Attention(x, x, x, x, with(func(a *backend.Attention) { a.Probs = r.Temp(2, 4, 5, 5) })) },
		"AttentionGrad: probs'": func() {
			r.AttentionGrad(x, x, x, x, x, x, x, with(func(a *backend.Attention) { a.ProbsGrad = r.Temp(2, 4, 5, 5) }))
		},
		"AttentionGrad: relevance": func() {
			r.AttentionGrad(x, x, x, x, x, x, x, with(func(a *backend.Attention) { a.Relevance = r.Temp(2, 5, 5) }))
		},
		"Pool: x":                   func() { r.Pool(x.Rows(0, 1), h, one) },
		"Pool: y":                   func() { r.Pool(h.Rows(0, 1), x, one) },
		"PoolGrad: dx":              func() { r.PoolGrad(h, x.Rows(0, 1), one) },
		"PoolGrad: dy":              func() { r.PoolGrad(x, h.Rows(0, 1), one) },
		"Gather: x":                 func() { r.Gather(x.Rows(0, 1), h, []int{0}) },
		"Gather: y":                 func() { r.Gather(h.Rows(0, 1), x, []int{0}) },
		"GatherGrad: x":             func() { r.GatherGrad(h, x.Rows(0, 1), []int{0}) },
		"RelativeBias: y (4, 5, 5)": func() { r.RelativeBias(r.Temp(4, 5, 5), r.relative(2, 2, 1, 4), nil) },
	}
}
