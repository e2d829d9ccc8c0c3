package backendtest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
)

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
