package backendtest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
)

// panics tests that wrong shapes are refused where they are enqueued, and
// that the message names what was found and what was wanted.
func (s suite) panics(t *testing.T) {
	r := newRig(t, s.b)
	var (
		none    backend.Tensor
		x       = r.Alloc(2, 5, 32)
		y       = r.Alloc(2, 5, 48)
		short   = r.Alloc(2, 4, 32)
		shared  = backend.Tensor{Mem: x.Mem, Shape: x.Shape.Clone(), Row: x.Row}
		outside = backend.Tensor{Mem: x.Mem, Offset: 1, Shape: x.Shape, Batch: x.Batch, Row: 1 << 40}
		w       = r.linear(48, 32, true, backend.LinearOptions{})
		gated   = r.linear(48, 32, true, backend.LinearOptions{Gated: true})
		proj    = r.linear(32, 3*4*4, true, backend.LinearOptions{Exact: true})
		norm    = r.norm(32, 1e-6)
		wide    = r.norm(48, 1e-6)
		pixels  = r.Alloc(2, 3, 8, 8)
		rope    = r.rope(5, 1, 8, false)
		heads   = backend.Attention{Heads: 4, Scale: 1}
	)
	with := func(f func(a *backend.Attention)) backend.Attention {
		a := heads
		f(&a)
		return a
	}
	for name, c := range map[string]struct {
		f    func()
		says []string
	}{
		"patch of another size":   {func() { r.PatchEmbed(short, pixels, &backend.PatchEmbed{Patch: [2]int{8, 8}, Proj: proj}) }, []string{"(32, 48)", "(32, 192)"}},
		"patch over the image":    {func() { r.PatchEmbed(short, pixels, &backend.PatchEmbed{Patch: [2]int{16, 4}, Proj: proj}) }, []string{"[16 4]", "(2, 3, 8, 8)"}},
		"patches into few tokens": {func() { r.PatchEmbed(x, pixels, &backend.PatchEmbed{Patch: [2]int{4, 4}, Proj: proj}) }, []string{"(2, 5, 32)", "(2, 4, 32)"}},
		"pixels without channels": {func() { r.PatchEmbed(short, x, &backend.PatchEmbed{Patch: [2]int{4, 4}, Proj: proj}) }, []string{"(2, 5, 32)", "(B, 3, H, W)"}},
		"positions of another grid": {func() {
			r.PatchEmbed(short, pixels, &backend.PatchEmbed{Patch: [2]int{4, 4}, Proj: proj, Pos: r.upload(zeros(9, 32))})
		}, []string{"(9, 32)", "(4, 32)"}},

		"norm of another width": {func() { r.LayerNorm(x, x, wide) }, []string{"(48)", "(32)"}},
		"norm of heads that do not divide": {func() {
			n := norm
			n.Heads = 5
			r.LayerNorm(x, x, n)
		}, []string{"5 heads", "(2, 5, 32)"}},
		"norm of heads of another width": {func() {
			n := norm
			n.Heads = 4
			r.LayerNorm(x, x, n)
		}, []string{"weight", "(32)", "(8)"}},
		"norm added to another shape": {func() {
			n := norm
			n.Residual = short
			r.LayerNorm(x, x, n)
		}, []string{"residual (2, 4, 32)", "(2, 5, 32)"}},
		"root mean square with a bias": {func() {
			n := norm
			n.RMS = true
			r.LayerNorm(x, x, n)
		}, []string{"bias (32)", "(2, 5, 32)"}},
		"norm into another shape":   {func() { r.LayerNorm(short, x, norm) }, []string{"(2, 4, 32)", "(2, 5, 32)"}},
		"norm of nothing":           {func() { r.LayerNorm(x, none, norm) }, []string{"LayerNorm"}},
		"norm into a shared batch":  {func() { r.LayerNorm(shared, x, norm) }, []string{"(2, 5, 32)", "stride 0"}},
		"view outside its memory":   {func() { r.LayerNorm(x, outside, norm) }, []string{"(2, 5, 32)", "memory"}},
		"linear of another width":   {func() { r.Linear(x, y, w, backend.Epilogue{}) }, []string{"(2, 5, 48)", "(48, 32)"}},
		"linear into another shape": {func() { r.Linear(x, x, w, backend.Epilogue{}) }, []string{"(2, 5, 32)", "(2, 5, 48)"}},
		"residual of another shape": {func() { r.Linear(y, x, w, backend.Epilogue{Residual: x}) }, []string{"(2, 5, 32)", "(2, 5, 48)"}},
		"pre of another shape":      {func() { r.Linear(y, x, w, backend.Epilogue{Pre: x}) }, []string{"(2, 5, 32)", "(2, 5, 48)"}},
		"gelu on a gated weight":    {func() { r.Linear(y, x, gated, backend.Epilogue{Act: backend.GELU}) }, []string{"gelu", "(48, 32)"}},
		"swiglu on a plain weight":  {func() { r.Linear(y, x, w, backend.Epilogue{Act: backend.SwiGLU}) }, []string{"swiglu", "(48, 32)"}},
		"gated into the full width": {func() { r.Linear(y, x, gated, backend.Epilogue{Act: backend.SwiGLU}) }, []string{"(2, 5, 48)", "(2, 5, 24)"}},

		"heads that do not divide": {func() { r.Attention(x, x, x, x, backend.Attention{Heads: 5}) }, []string{"5 heads", "(2, 5, 32)"}},
		"keys without values":      {func() { r.Attention(x, x, x, short, heads) }, []string{"(2, 4, 32)", "(2, 5, 32)"}},
		"keys of another width":    {func() { r.Attention(x, x, y, y, heads) }, []string{"(2, 5, 48)", "(2, 5, 32)"}},
		"attention of other rows":  {func() { r.Attention(short, x, x, x, heads) }, []string{"(2, 4, 32)", "(2, 5, 32)"}},
		"rope for more queries":    {func() { r.Attention(x, x, short, short, with(func(a *backend.Attention) { a.Rope = rope })) }, []string{"(2, 5, 32)", "(2, 4, 32)", "rope"}},
		"causal with more queries": {func() { r.Attention(x, x, short, short, with(func(a *backend.Attention) { a.Causal = true })) }, []string{"(2, 5, 32)", "(2, 4, 32)", "causal"}},
		"rope of another grid":     {func() { r.Attention(short, short, short, short, with(func(a *backend.Attention) { a.Rope = rope })) }, []string{"(4, 8)", "(3, 8)"}},
		"rope of other images": {func() {
			r.Attention(x, x, x, x, with(func(a *backend.Attention) { a.Rope = r.keptRope(3, 5, 1, 8, false) }))
		}, []string{"(3, 4, 8)", "(2, 4, 8)"}},
		"bias of fewer queries": {func() {
			r.Attention(x, x, x, x, with(func(a *backend.Attention) { a.Bias = r.Alloc(4, 4, 5) }))
		}, []string{"(4, 4, 5)", "(4, 5, 5)"}},
		"bias of other images": {func() {
			r.Attention(x, x, x, x, with(func(a *backend.Attention) { a.Bias = r.Alloc(3, 4, 5, 5) }))
		}, []string{"(3, 4, 5, 5)", "(2, 4, 5, 5)"}},
		"bias of another shape":  {func() { r.Attention(x, x, x, x, with(func(a *backend.Attention) { a.Bias = x })) }, []string{"(2, 5, 32)", "(4, 5, 5)"}},
		"probs of another shape": {func() { r.Attention(x, x, x, x, with(func(a *backend.Attention) { a.Probs = r.Alloc(2, 4, 1, 5) })) }, []string{"(2, 4, 1, 5)", "(2, 4, 5, 5)"}},
		"captured row outside": {func() {
			r.Attention(x, x, x, x, with(func(a *backend.Attention) { a.Rows, a.Probs = []int{5}, r.Alloc(2, 4, 1, 5) }))
		}, []string{"row 5", "(2, 5, 32)"}},
		"span outside":              {func() { r.Pool(x.Rows(0, 1), x, backend.Span{Lo: 1, Hi: 6}) }, []string{"{1 6}", "(2, 5, 32)"}},
		"empty span":                {func() { r.Pool(x.Rows(0, 1), x, backend.Span{Lo: 1, Hi: 1}) }, []string{"{1 1}", "(2, 5, 32)"}},
		"pool into another shape":   {func() { r.Pool(short, x, backend.Span{Lo: 0, Hi: 1}) }, []string{"(2, 4, 32)", "(2, 1, 32)"}},
		"gathered row outside":      {func() { r.Gather(x.Rows(0, 1), x, []int{-1}) }, []string{"row -1", "(2, 5, 32)"}},
		"gather of other images":    {func() { r.Gather(short, x, []int{1, 2, 3, 4, 1, 2}) }, []string{"(2, 4, 32)", "(2, 6, 32)"}},
		"bias of another grid":      {func() { r.RelativeBias(r.Alloc(4, 5, 5), r.relative(2, 3, 1, 4), nil) }, []string{"(4, 5, 5)", "[2 3]"}},
		"bias of other heads":       {func() { r.RelativeBias(r.Alloc(3, 5, 5), r.relative(2, 2, 1, 4), nil) }, []string{"table (12, 4)", "(12, 3)"}},
		"bias of a token outside":   {func() { r.RelativeBias(r.Alloc(4, 1, 2), r.relative(2, 2, 1, 4), []int{0, 5}) }, []string{"token 5", "(4, 1, 2)"}},
		"bias of an image less":     {func() { r.RelativeBias(r.Alloc(2, 4, 2, 2), r.relative(2, 2, 1, 4), []int{0, 1}) }, []string{"(2, 4, 2, 2)", "2 tokens"}},
		"bias of more queries":      {func() { r.RelativeBias(r.Alloc(4, 3, 2), r.relative(2, 2, 1, 4), []int{0, 1}) }, []string{"(4, 3, 2)"}},
		"gather into another shape": {func() { r.Gather(short, x, []int{1}) }, []string{"(2, 4, 32)", "(2, 1, 32)"}},

		"write of another shape": {func() { r.Write(x, zeros(2, 5, 48)) }, []string{"(2, 5, 48)", "(2, 5, 32)"}},
		"read of another shape":  {func() { r.Read(zeros(1, 32), x.Rows(0, 1).First(1)) }, []string{"(1, 32)", "(1, 1, 32)"}},
		"alloc of nothing":       {func() { r.Alloc(2, 0, 32) }, []string{"(2, 0, 32)"}},
		"weight of elsewhere":    {func() { r.Linear(y, x, foreign{}, backend.Epilogue{}) }, []string{"(48, 32)"}},
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
	for says, f := range r.tempPanics() {
		message := func() (m any) {
			defer func() { m = recover() }()
			f()
			return nil
		}()
		require.Contains(t, fmt.Sprint(message), says)
		require.Contains(t, fmt.Sprint(message), "is a Temp")
	}
	require.NoError(t, r.Sync(), "what panicked was not enqueued")
}

// foreign is a weight (48, 32) of no backend.
type foreign struct{}

func (foreign) In() int      { return 32 }
func (foreign) Out() int     { return 48 }
func (foreign) Close() error { return nil }
