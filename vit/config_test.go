package vit

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/ref"
	"gorgonia.org/tensor"
)

func TestConfigValidate(t *testing.T) {
	for name := range families {
		require.NoError(t, family(name).Validate(), name)
	}
	for _, c := range []struct {
		change func(c *Config)
		says   string
	}{
		{func(c *Config) { *c = Config{} }, "image height 0, want 1 to 16384; image width 0"},
		{func(c *Config) { c.Image[1] = math.MaxInt }, "image width"},
		{func(c *Config) { c.Patch = [2]int{17, 4} }, "patch height 17, image height 16"},
		{func(c *Config) { c.Image, c.Patch = [2]int{1024, 1024}, [2]int{1, 1} }, "tokens 1048577, want 1 to 65536"},
		{func(c *Config) { c.Prefix = -1 }, "prefix tokens -1"},
		{func(c *Config) { c.Heads = 3 }, "heads 3, want a divisor of dim 32"},
		{func(c *Config) { c.Heads = 0 }, "heads 0, want 1 to 32"},
		{func(c *Config) { c.Depth = 1 << 40 }, "depth 1099511627776"},
		{func(c *Config) { c.Hidden = 0 }, "MLP dim 0"},
		{func(c *Config) { c.Classes = -1 }, "classes -1"},
		{func(c *Config) { c.Act = backend.Identity }, "activation identity"},
		{func(c *Config) { c.Act = 99 }, "activation Activation(99)"},
		{func(c *Config) { c.Eps = 0 }, "norm epsilon 0"},
		{func(c *Config) { c.Eps = float32(math.NaN()) }, "norm epsilon NaN"},
		{func(c *Config) { c.FinalNorm = 4 }, "FinalNorm(4)"},
		{func(c *Config) { c.Form = 3 }, "form Form(3), want one of pre, parallel, post"},
		{func(c *Config) { c.EmbedNorm = true }, "a norm of the projected patches beside 1 prefix tokens"},
		{func(c *Config) { c.Probe = Probe{Heads: 3} }, "probe heads 3, want a divisor of dim 32; a probe over [{0 1}], want one span up to token 25"},
		{func(c *Config) { c.Probe = Probe{Heads: 2, Hidden: 8, Act: backend.SwiGLU} }, "probe activation swiglu"},
		{func(c *Config) { c.Pool = nil }, "pooled spans 0"},
		{func(c *Config) { c.Reduce = 3 }, "tokens reduced to Reduce(3), want one of mean, maximum"},
		{func(c *Config) { c.Reduce, c.Refine = ReduceMax, true }, "a maximum of 1 spans, refined true, probed false, want one span that is neither"},
		{func(c *Config) {
			c.Refine, c.Pool, c.Probe = true, []backend.Span{{Lo: 0, Hi: 25}}, Probe{Heads: 2}
		}, "refined and pooled by a probe"},
		{func(c *Config) { c.Pool = []backend.Span{{Lo: 3, Hi: 3}} }, "pooled span 3 to 3"},
		{func(c *Config) { c.Pool = []backend.Span{{Lo: 0, Hi: 26}} }, "pooled span 0 to 26, want a part of 0 to 25"},
		{func(c *Config) { c.Pool, c.FinalNorm = []backend.Span{{Lo: 0, Hi: 1}, {Lo: 1, Hi: 2}}, NormPooled }, "final norm pooled over 2 spans"},
		{func(c *Config) { c.Heads, c.Eps = 5, -1 }, "heads 5, want a divisor of dim 32; norm epsilon -1"},
	} {
		bad := tiny()
		c.change(&bad)
		require.ErrorContains(t, bad.Validate(), c.says)
		_, err := New(ref.Backend{}, bad, &Weights{})
		require.ErrorContains(t, err, c.says, "New asks Validate")
	}
}

func TestNewNamesEveryProblem(t *testing.T) {
	c := tiny()
	w := Random(c, 1)
	w.Prefix = nil
	w.Blocks[0].FC1 = tensor.New(tensor.WithShape(32, 80), tensor.Of(tensor.Float32))
	w.Blocks[1].Norm2.Bias = tensor.New(tensor.WithShape(1, 32), tensor.Of(tensor.Float32))
	w.PreNorm.Weight = w.Norm.Weight
	w.Head = tensor.New(tensor.WithShape(7, 32), tensor.Of(tensor.Float64))
	_, err := New(ref.Backend{}, c, w)
	require.EqualError(t, err, "vit: weights: prefix tokens is missing, want (1, 32); "+
		"pre-norm.weight is (32), want none; block 0 fc1.weight is (32, 80), want (80, 32); "+
		"block 1 norm2.bias is (1, 32), want (32); head.weight: backend: host tensor (7, 32) of float64, want float32")

	_, err = New(ref.Backend{}, c, &Weights{Blocks: make([]BlockWeights, 3)})
	require.EqualError(t, err, "vit: weights: 3 blocks, want 2")
	_, err = New(ref.Backend{}, c, &Weights{Blocks: make([]BlockWeights, 2)})
	require.ErrorContains(t, err, "block 0 qkv.weight is missing, want (96, 32)")
	require.ErrorContains(t, err, "and 1 more")
}

func TestModelKeepsNothing(t *testing.T) {
	c := tiny()
	w := Random(c, 1)
	m, err := New(ref.Backend{}, c, w)
	require.NoError(t, err)
	require.Equal(t, c, m.Config())
	require.Equal(t, "ref", m.Backend().Name())
	m.Config().Pool[0].Hi = 9
	c.Pool[0].Hi = 9
	require.Equal(t, 1, m.Config().Pool[0].Hi)

	s, err := m.NewSession(SessionOptions{})
	require.NoError(t, err)
	want, err := s.Forward(photos(c, 1, 1), Wants{})
	require.NoError(t, err)
	for _, x := range w.slots(tiny()) { // as Close of a memory map does
		if *x.at != nil {
			clear((*x.at).Float32s())
		}
	}
	got, err := s.Forward(photos(c, 1, 1), Wants{})
	require.NoError(t, err)
	require.Equal(t, want.Logits.Float32s(), got.Logits.Float32s())
}

func TestRandom(t *testing.T) {
	c := tiny()
	require.Equal(t, Random(c, 1), Random(c, 1))
	require.NotEqual(t, Random(c, 1).Head.Float32s(), Random(c, 2).Head.Float32s())
	var sum, squares float64
	values := Random(c, 1).Blocks[0].QKV.Float32s()
	for _, v := range values {
		require.LessOrEqual(t, math.Abs(float64(v)), 2*math.Sqrt(3)/math.Sqrt(32)+1e-6)
		sum += float64(v)
		squares += float64(v) * float64(v)
	}
	n := float64(len(values))
	require.InDelta(t, 0, sum/n, 0.02)
	require.InDelta(t, 1.0/32, squares/n, 0.002)
	require.PanicsWithError(t, Config{}.Validate().Error(), func() { Random(Config{}, 1) })
}

// deitTi and vitB are the configurations of DeiT-tiny and of ViT-B/16.
// Touvron et al., https://arxiv.org/abs/2012.12877, table 1.
func deitTi() Config {
	c := vitB()
	c.Dim, c.Heads, c.Hidden = 192, 3, 768
	return c
}

// Dosovitskiy et al., https://arxiv.org/abs/2010.11929, table 1.
func vitB() Config {
	return Config{
		Image: [2]int{224, 224}, Patch: [2]int{16, 16}, Prefix: 1, Dim: 768, Depth: 12, Heads: 12, Hidden: 3072,
		Act: backend.GELU, Eps: 1e-6, Pool: []backend.Span{{Lo: 0, Hi: 1}}, Classes: 1000,
	}
}

func TestParams(t *testing.T) {
	// What timm 1.0 counts for vit_base_patch16_224 and
	// deit_tiny_patch16_224: sum(p.numel() for p in model.parameters()).
	// There the class token's position is a parameter of its own.
	require.EqualValues(t, 86567656-768, Params(vitB()))
	require.EqualValues(t, 5717416-192, Params(deitTi()))
}

func TestFLOPs(t *testing.T) {
	full := vitB()
	full.Pool = []backend.Span{{Lo: 0, Hi: 197}} // every token is computed
	require.InDelta(t, 35.13e9, FLOPs(full), 0.01e9)

	// What is saved: of the last block, all but one token's queries,
	// attention, projection and MLP.
	const n, c, m = 197, 768, 3072
	saved := int64(2 * (n - 1) * (2*c*c + 2*n*c + 2*c*m))
	require.Equal(t, FLOPs(full)-saved, FLOPs(vitB()))

	gated := full
	gated.Act = backend.SwiGLU
	require.Equal(t, FLOPs(full)+12*2*n*c*m, FLOPs(gated))
}
