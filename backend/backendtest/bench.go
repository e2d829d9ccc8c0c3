package backendtest

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
)

// Bench prints a table of the operations on b as ViT-B/16 has them, for one
// image and for eight: the median time of one, and for those that are made of
// products the rate and its share of the float32 peak that was measured
// beside it. Weights are in the cache, where a model's have to come from
// memory; see vitserve bench for whole models.
func Bench(b *testing.B, device backend.Backend) {
	type row struct {
		operation
		batch int
		took  time.Duration
	}
	var rows []row
	peak := 0.0
	for _, batch := range []int{1, 8} {
		r := newRig(b, device)
		for _, o := range r.operations(batch) {
			rows = append(rows, row{o, batch, r.time(o.enqueue)})
			peak = max(peak, device.Peak(5*time.Millisecond))
		}
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "%s, %d threads, peak %.0f GFLOP/s\nbatch\tµs\tGFLOP/s\tof peak\t  operation\n", device.Name(), device.Info().Threads, peak)
	for _, r := range rows {
		rate, share := "", ""
		if r.gflop > 0 {
			rate = fmt.Sprintf("%.0f", r.gflop/r.took.Seconds())
			share = fmt.Sprintf("%.2f", r.gflop/r.took.Seconds()/peak)
		}
		fmt.Fprintf(table, "%d\t%.1f\t%s\t%s\t  %s\n", r.batch, float64(r.took.Nanoseconds())/1e3, rate, share, r.name)
	}
	require.NoError(b, table.Flush())
}

// operation is a row of the table.
type operation struct {
	name    string
	gflop   float64 // of its products
	enqueue func()
}

// time is the median time of an operation, some in a Sync so that beginning
// and end of it count little.
func (r *rig) time(enqueue func()) time.Duration {
	const times, atLeast = 8, 60 * time.Millisecond
	var took []time.Duration
	for start := time.Now(); time.Since(start) < atLeast || len(took) < 5; {
		for range times {
			enqueue()
		}
		begin := time.Now()
		require.NoError(r.t, r.Sync())
		took = append(took, time.Since(begin)/times)
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// operations are those of the seam.
func (r *rig) operations(batch int) []operation {
	const n, dim, heads, hidden, grid = 197, 768, 12, 3072, 14
	const d = dim / heads
	var none backend.Tensor
	tokens, images := float64(batch*n), float64(batch)
	x, y, qkv, dqkv := r.tokens(batch, n, dim), r.tokens(batch, n, dim), r.tokens(batch, n, 3*dim), r.Alloc(batch, n, 3*dim)
	h, pre, one := r.Temp(batch, n, hidden), r.tokens(batch, n, 2*hidden), r.tokens(batch, 1, dim)
	cut := func(x backend.Tensor) (q, k, v backend.Tensor) {
		return x.Cols(0, dim), x.Cols(dim, 2*dim), x.Cols(2*dim, 3*dim)
	}
	q, k, v := cut(qkv)
	dq, dk, dv := cut(dqkv)
	norm, rms, each, wide := r.norm(dim, 1e-6), r.headNorm(0, dim, true), r.headNorm(heads, d, false), r.norm(hidden, 1e-6)
	linear := func(out, in int, gated bool) backend.Linear {
		return r.linear(out, in, true, backend.LinearOptions{Gated: gated})
	}
	all, proj := linear(3*dim, dim, false), linear(dim, dim, false)
	fc1, gated, fc2 := linear(hidden, dim, false), linear(2*hidden, dim, true), linear(dim, hidden, false)
	products := func(in, out float64) float64 { return 2 * tokens * in * out / 1e9 }
	mlp, swiglu := products(dim, 2*hidden), products(dim, 3*hidden)
	pixels := r.tokens(batch, 3, 16*grid, 16*grid)
	embed := &backend.PatchEmbed{
		Patch: [2]int{16, 16}, Proj: r.linear(dim, 768, true, backend.LinearOptions{Exact: true}),
		Prefix: r.upload(r.normal(1, 1, dim)), Pos: r.upload(r.normal(1, n-1, dim)),
	}
	plain := backend.Attention{Heads: heads, Scale: 0.125}
	attention := 4 * images * n * n * dim / 1e9
	with := func(f func(a *backend.Attention)) backend.Attention {
		a := plain
		f(&a)
		return a
	}
	table, bias := r.relative(grid, grid, 1, heads), r.Alloc(heads, n, n)
	probs := r.Alloc(batch, heads, n, n)
	captures := with(func(a *backend.Attention) { a.Probs = probs })
	rope := with(func(a *backend.Attention) { a.Rope = r.rope(n, 1, d, false) })
	biased := with(func(a *backend.Attention) { a.Bias = bias })
	causal := with(func(a *backend.Attention) { a.Causal = true })
	relevance := with(func(a *backend.Attention) { a.Relevance = r.Alloc(batch, n, n) })
	probe := r.upload(r.normal(1, 1, 1, dim))
	probe.Shape[0], probe.Batch = batch, 0
	act := func(a backend.Activation) backend.Epilogue { return backend.Epilogue{Act: a} }
	attend := func(name string, a backend.Attention) operation {
		return operation{"Attention" + name, attention, func() { r.Attention(y, q, k, v, a) }}
	}
	return []operation{
		{"PatchEmbed", products(768, dim), func() { r.PatchEmbed(x, pixels, embed) }},
		{"LayerNorm", 0, func() { r.LayerNorm(y, x, norm) }},
		{"LayerNorm, root mean square", 0, func() { r.LayerNorm(y, x, rms) }},
		{"LayerNorm of heads", 0, func() { r.LayerNorm(y, x, each) }},
		{"Linear, queries, keys, values", products(dim, 3*dim), func() { r.Linear(qkv, x, all, backend.Epilogue{}) }},
		{"Linear, projection and residual", products(dim, dim), func() { r.Linear(y, x, proj, backend.Epilogue{Residual: y}) }},
		{"MLP, GELU", mlp, func() {
			r.Linear(h, x, fc1, act(backend.GELU))
			r.Linear(y, h, fc2, backend.Epilogue{Residual: y})
		}},
		{"MLP, SwiGLU", swiglu, func() {
			r.Linear(h, x, gated, act(backend.SwiGLU))
			r.Linear(y, h, fc2, backend.Epilogue{Residual: y})
		}},
		{"MLP, SwiGLU, inner norm", swiglu, func() {
			r.Linear(h, x, gated, act(backend.SwiGLU))
			r.LayerNorm(h, h, wide)
			r.Linear(y, h, fc2, backend.Epilogue{Residual: y})
		}},
		attend("", plain), attend(", all captured", captures), attend(", rope", rope), attend(", bias", biased), attend(", causal", causal),
		{"Attention of one row", 4 * images * n * dim / 1e9, func() { r.Attention(one, q.Rows(0, 1), k, v, plain) }},
		{"Attention of a probe", 4 * images * n * dim / 1e9, func() { r.Attention(one, probe, k, v, plain) }},
		{"RelativeBias", 0, func() { r.RelativeBias(bias, table, nil) }},
		{"Pool, mean of patches", 0, func() { r.Pool(one, x, backend.Span{Lo: 1, Hi: n}) }},
		{"Gather of one row", 0, func() { r.Gather(one, x, []int{n - 1}) }},
		{"PatchEmbedGrad", products(768, dim), func() { r.PatchEmbedGrad(pixels, x, embed) }},
		{"LayerNormGrad", 0, func() { r.LayerNormGrad(y, y, x, norm, none) }},
		{"LinearGrad, projection", products(dim, dim), func() { r.LinearGrad(y, x, proj, backend.Epilogue{}) }},
		{"MLP's gradient, GELU", mlp, func() {
			r.LinearGrad(h, x, fc2, backend.Epilogue{})
			r.LinearGrad(y, h, fc1, backend.Epilogue{Act: backend.GELU, Pre: pre.Cols(0, hidden)})
		}},
		{"MLP's gradient, SwiGLU", swiglu, func() {
			r.LinearGrad(h, x, fc2, backend.Epilogue{})
			r.LinearGrad(y, h, gated, backend.Epilogue{Act: backend.SwiGLU, Pre: pre})
		}},
		{"AttentionGrad", 2.5 * attention, func() { r.AttentionGrad(dq, dk, dv, x, q, k, v, plain) }},
		{"AttentionGrad, relevance alone", attention, func() { r.AttentionGrad(none, none, none, x, q, k, v, relevance) }},
		{"PoolGrad", 0, func() { r.PoolGrad(y, one, backend.Span{Lo: 1, Hi: n}) }},
		{"GatherGrad of one row", 0, func() { r.GatherGrad(y, one, []int{n - 1}) }},
	}
}
