package vit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/ref"
	"gorgonia.org/tensor"
)

// tiny returns a small configuration with a class token and exact GELU.
func tiny() Config {
	return Config{
		Image: [2]int{16, 24}, Patch: [2]int{4, 4}, Prefix: 1, Dim: 32, Depth: 2, Heads: 2, Hidden: 80,
		Act: backend.GELU, Eps: 1e-6, Pool: []backend.Span{{Lo: 0, Hi: 1}}, Classes: 7,
	}
}

// families are small configurations of the kinds that checkpoints have.
var families = map[string]func(c *Config){
	"class token":            func(*Config) {},
	"class and distillation": func(c *Config) { c.Prefix, c.Pool = 2, []backend.Span{{Lo: 0, Hi: 1}, {Lo: 1, Hi: 2}} },
	"registers, swiglu":      func(c *Config) { c.Prefix, c.Act, c.Heads = 5, backend.SwiGLU, 4 },
	"mean, fc_norm": func(c *Config) {
		c.Pool, c.FinalNorm, c.Act = []backend.Span{{Lo: 1, Hi: 25}}, NormPooled, backend.GELUTanh
	},
	"class with mean":                    func(c *Config) { c.Pool = []backend.Span{{Lo: 0, Hi: 1}, {Lo: 1, Hi: 25}} },
	"no prefix":                          func(c *Config) { c.Prefix, c.Pool = 0, []backend.Span{{Lo: 0, Hi: 24}} },
	"pre-norm, quickgelu":                func(c *Config) { c.PreNorm, c.Act = true, backend.QuickGELU },
	"class, fc_norm":                     func(c *Config) { c.FinalNorm = NormPooled },
	"no norm":                            func(c *Config) { c.FinalNorm = NormNone },
	"one block":                          func(c *Config) { c.Depth = 1 },
	"leftover pixels":                    func(c *Config) { c.Image, c.Patch = [2]int{19, 26}, [2]int{4, 8} },
	"no head":                            func(c *Config) { c.Classes = 0 },
	"projection":                         func(c *Config) { c.PreNorm, c.Classes, c.Projection = true, 0, 20 },
	"root mean squares, query-key norms": func(c *Config) { c.RMS, c.QKNorm, c.Act = true, true, backend.SwiGLU },
	"query-key norms, few rows":          func(c *Config) { c.QKNorm, c.Pool, c.FinalNorm = true, []backend.Span{{Lo: 0, Hi: 1}}, NormPooled },
	"normed twice":                       func(c *Config) { c.FinalNorm = NormTwice },
	"norm of the embedding": func(c *Config) {
		c.EmbedNorm, c.RMS, c.Prefix, c.Pool = true, true, 0, []backend.Span{{Lo: 0, Hi: 24}}
	},
	"norms of the embedding": func(c *Config) {
		c.EmbedNorm, c.PreNorm, c.Prefix, c.Pool = true, true, 0, []backend.Span{{Lo: 0, Hi: 24}}
	},
	"parallel":       func(c *Config) { c.Form, c.QKNorm, c.PreNorm, c.RMS = FormParallel, true, true, true },
	"parallel, mean": func(c *Config) { c.Form, c.Pool = FormParallel, []backend.Span{{Lo: 1, Hi: 25}} },
	"norms after":    func(c *Config) { c.Form = FormPost },
	"norms after, mean": func(c *Config) {
		c.Form, c.Prefix, c.Heads, c.Pool, c.Act = FormPost, 0, 4, []backend.Span{{Lo: 0, Hi: 24}}, backend.GELUTanh
	},
	"probe": func(c *Config) {
		c.Prefix, c.Pool = 0, []backend.Span{{Lo: 0, Hi: 24}}
		c.Probe = Probe{Heads: 4, Hidden: 48, Act: backend.GELUTanh}
	},
	"probe, registers, fc_norm": func(c *Config) {
		c.Prefix, c.Pool, c.FinalNorm = 3, []backend.Span{{Lo: 3, Hi: 27}}, NormPooled
		c.Probe = Probe{Heads: 2, Hidden: 40, Act: backend.QuickGELU}
	},
	"probe without MLP": func(c *Config) { c.Pool, c.Probe = []backend.Span{{Lo: 0, Hi: 25}}, Probe{Heads: 1} },
	"maximum, fc_norm": func(c *Config) {
		c.Pool, c.FinalNorm, c.Reduce = []backend.Span{{Lo: 1, Hi: 25}}, NormPooled, ReduceMax
	},
	"maximum of all, normed before": func(c *Config) { c.Pool, c.Reduce = []backend.Span{{Lo: 0, Hi: 25}}, ReduceMax },
	"mean and maximum, normed twice": func(c *Config) {
		c.Prefix, c.Pool, c.FinalNorm, c.Reduce = 2, []backend.Span{{Lo: 2, Hi: 26}}, NormTwice, ReduceMeanMax
	},
	"mean and maximum, no norm": func(c *Config) {
		c.Prefix, c.Pool, c.FinalNorm, c.Reduce = 0, []backend.Span{{Lo: 0, Hi: 24}}, NormNone, ReduceMeanMax
	},
	"refined class token": func(c *Config) { c.Refine = true },
	"refined mean, fc_norm": func(c *Config) {
		c.Pool, c.FinalNorm, c.Refine = []backend.Span{{Lo: 0, Hi: 25}}, NormPooled, true
	},
	"one head, D 80": func(c *Config) { c.Dim, c.Heads = 80, 1 },
	"rotary halves":  func(c *Config) { c.Prefix, c.Rope = 5, RopeHalves },
	"rotary pairs, inner norms": func(c *Config) {
		c.Rope, c.Act, c.InnerNorm, c.HiddenNorm = RopePairs, backend.SwiGLU, true, true
		c.Pool, c.FinalNorm = []backend.Span{{Lo: 1, Hi: 25}}, NormPooled
	},
	"learned rotary pairs": func(c *Config) { c.Rope, c.RopeLearned = RopePairs, true },
	"relative positions":   func(c *Config) { c.Relative = true },
	"relative, no prefix": func(c *Config) {
		c.Relative, c.Prefix, c.Pool, c.InnerNorm = true, 0, []backend.Span{{Lo: 0, Hi: 24}}, true
	},
}

func family(name string) Config {
	c := tiny()
	families[name](&c)
	return c
}

func newSession(t *testing.T, b backend.Backend, c Config, w *Weights, batch int) *Session {
	t.Helper()
	m, err := New(b, c, w)
	require.NoError(t, err)
	s, err := m.NewSession(SessionOptions{MaxBatch: batch})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// photos returns pixels (batch, 3, H, W).
func photos(c Config, batch int, seed uint64) *tensor.Dense {
	rng := rand.New(rand.NewPCG(seed, 9))
	d := tensor.New(tensor.WithShape(batch, 3, c.Image[0], c.Image[1]), tensor.Of(tensor.Float32))
	for i := range d.Float32s() {
		d.Float32s()[i] = rng.Float32()
	}
	return d
}

// image returns the values of image b of a tensor.
func image(d *tensor.Dense, b int) []float32 {
	n := d.Shape().TotalSize() / d.Shape()[0]
	return d.Float32s()[b*n : (b+1)*n]
}

// requireNear fails unless every value is within tol of the naive answer.
func requireNear(t *testing.T, want []float64, got []float32, tol float64, name string) {
	t.Helper()
	require.Len(t, got, len(want), name)
	for i, v := range want {
		if !(math.Abs(float64(got[i])-v) <= tol) {
			require.FailNowf(t, "far from the naive transformer", "%s: value %d is %v, want %v ±%g", name, i, got[i], v, tol)
		}
	}
}

func flat(x [][]float64) (y []float64) {
	for _, row := range x {
		y = append(y, row...)
	}
	return y
}

// TestForwardIsNaive compares every family with the naive transformer:
// logits, features, tokens after every block and every probability.
func TestForwardIsNaive(t *testing.T) {
	for name := range families {
		t.Run(name, func(t *testing.T) {
			c := family(name)
			w := Random(c, 5)
			if name == "no prefix" { // biases and positions are optional
				w.Pos, w.PatchBias, w.HeadBias, w.Blocks[0].QKVBias, w.Blocks[1].QKVBias, w.Blocks[1].FC2Bias = nil, nil, nil, nil, nil, nil
			}
			s := newSession(t, ref.Backend{}, c, w, 3)
			pixels := photos(c, 2, 1)
			blocks := []int{-1}
			for i := range c.Depth {
				blocks = append(blocks, i)
			}
			lean, err := s.Forward(pixels, Wants{Features: true})
			require.NoError(t, err)
			full, err := s.Forward(pixels, Wants{Features: true, Tokens: blocks, AttnFull: true, Probe: true})
			require.NoError(t, err)
			require.Nil(t, lean.Attn)
			require.Nil(t, lean.Tokens)
			require.Len(t, full.Attn, c.Depth)
			for b := range 2 {
				want := runNaive(c, w, image(pixels, b))
				for kind, got := range map[string]*Output{"lean": lean, "full": full} {
					requireNear(t, want.features, image(got.Features, b), 2e-5, kind+" features")
					if c.Classes == 0 {
						require.Nil(t, got.Logits)
					} else {
						requireNear(t, want.logits, image(got.Logits, b), 2e-5, kind+" logits")
					}
				}
				if c.Probe.Heads > 0 {
					require.Equal(t, tensor.Shape{2, c.Probe.Heads, 1, c.Tokens()}, full.Probe.Shape())
					requireNear(t, flat(want.probe), image(full.Probe, b), 2e-6, "attention of the probe")
				} else {
					require.Nil(t, full.Probe)
				}
				for _, i := range blocks {
					require.Equal(t, tensor.Shape{2, c.Tokens(), c.Dim}, full.Tokens[i].Shape())
					requireNear(t, flat(want.tokens[i+1]), image(full.Tokens[i], b), 2e-5, fmt.Sprintf("tokens after block %d", i))
				}
				for i, probs := range want.probs {
					require.Equal(t, tensor.Shape{2, c.Heads, c.Tokens(), c.Tokens()}, full.Attn[i].Shape())
					var all []float64
					for _, head := range probs {
						all = append(all, flat(head)...)
					}
					requireNear(t, all, image(full.Attn[i], b), 2e-6, fmt.Sprintf("attention of block %d", i))
				}
			}
		})
	}
}

// TestWantsChangeNothing holds Forward to its word that no want changes a bit
// of another answer, also where the last block computes fewer tokens.
func TestWantsChangeNothing(t *testing.T) {
	for name := range families {
		t.Run(name, func(t *testing.T) {
			c := family(name)
			s := newSession(t, ref.Backend{}, c, Random(c, 5), 2)
			pixels := photos(c, 2, 1)
			full, err := s.Forward(pixels, Wants{Features: true, AttnFull: true, Tokens: []int{c.Depth - 1}})
			require.NoError(t, err)
			last := c.Tokens() - 1
			for _, w := range []Wants{
				{}, {Features: true}, {AttnRows: []int{0}}, {AttnRows: []int{2, 0, 2}}, {AttnRows: []int{last}}, {Tokens: []int{-1}}, {AttnFull: true, AttnRows: []int{1}},
			} {
				got, err := s.Forward(pixels, w)
				require.NoError(t, err)
				if c.Classes > 0 {
					require.Equal(t, full.Logits.Float32s(), got.Logits.Float32s(), "%+v", w)
					require.Equal(t, tensor.Shape{2, c.Classes}, got.Logits.Shape())
				}
				require.Equal(t, w.Features, got.Features != nil)
				if w.Features {
					require.Equal(t, tensor.Shape{2, c.Features()}, got.Features.Shape())
					require.Equal(t, full.Features.Float32s(), got.Features.Float32s())
				}
				if w.AttnRows == nil || w.AttnFull {
					continue
				}
				for layer, some := range got.Attn {
					require.Equal(t, tensor.Shape{2, c.Heads, len(w.AttnRows), c.Tokens()}, some.Shape())
					n := c.Tokens()
					for bh := range 2 * c.Heads {
						for i, r := range w.AttnRows {
							require.Equal(t, full.Attn[layer].Float32s()[(bh*n+r)*n:][:n], some.Float32s()[(bh*len(w.AttnRows)+i)*n:][:n])
						}
					}
				}
			}
		})
	}
}

// countingStream counts what the last blocks compute.
type countingBackend struct {
	backend.Backend
	rows          *[]int // of every Linear
	syncs, allocs *int
}

type countingStream struct {
	backend.Stream
	b countingBackend
}

func (b countingBackend) NewStream(o backend.StreamOptions) (backend.Stream, error) {
	s, err := b.Backend.NewStream(o)
	return &countingStream{s, b}, err
}

func (s *countingStream) Linear(y, x backend.Tensor, w backend.Linear, e backend.Epilogue) {
	*s.b.rows = append(*s.b.rows, x.Shape[1])
	s.Stream.Linear(y, x, w, e)
}

func (s *countingStream) Sync() error { *s.b.syncs++; return s.Stream.Sync() }

func (s *countingStream) Alloc(shape ...int) backend.Tensor {
	*s.b.allocs++
	return s.Stream.Alloc(shape...)
}

func (s *countingStream) Temp(shape ...int) backend.Tensor {
	*s.b.allocs++
	return s.Stream.Temp(shape...)
}

// TestForwardWork checks that the last block computes the rows that are
// wanted and no others, in one Sync and without allocating activations.
func TestForwardWork(t *testing.T) {
	var rows []int
	var syncs, allocs int
	c := tiny()
	s := newSession(t, countingBackend{ref.Backend{}, &rows, &syncs, &allocs}, c, Random(c, 5), 2)
	n := c.Tokens()
	first := []int{n, n, n, n} // qkv, proj, fc1, fc2
	for _, x := range []struct {
		w    Wants
		last int
	}{
		{Wants{}, 1}, {Wants{AttnRows: []int{0}}, 1}, {Wants{AttnRows: []int{3, 1}}, 4}, {Wants{AttnFull: true}, n}, {Wants{Tokens: []int{0}}, 1}, {Wants{Tokens: []int{1}}, n},
	} {
		// The first Forward may make room for captures.
		_, err := s.Forward(photos(c, 1, 1), x.w)
		require.NoError(t, err)
		rows, syncs, allocs = nil, 0, 0
		_, err = s.Forward(photos(c, 1, 1), x.w)
		require.NoError(t, err)
		require.Equal(t, append(first[:4:4], x.last, n, x.last, x.last, x.last, 1), rows, "%+v: q, kv, proj, fc1, fc2, head", x.w)
		require.Equal(t, 1, syncs)
		require.Zero(t, allocs)
	}
}

// TestSessionReuse runs one session over batches of changing size and wants.
func TestSessionReuse(t *testing.T) {
	c := family("registers, swiglu")
	w := Random(c, 5)
	s := newSession(t, ref.Backend{}, c, w, 4)
	pixels := photos(c, 4, 1)
	want, err := s.Forward(pixels, Wants{AttnFull: true, Tokens: []int{0}})
	require.NoError(t, err)
	for i, n := range []int{1, 4, 2, 3, 1, 4} {
		part := tensor.New(tensor.WithShape(n, 3, c.Image[0], c.Image[1]), tensor.WithBacking(pixels.Float32s()[:n*3*c.Image[0]*c.Image[1]]))
		var wants Wants
		switch i % 3 {
		case 1:
			wants = Wants{AttnFull: true}
		case 2:
			wants = Wants{AttnRows: []int{0}, Tokens: []int{0}}
		}
		got, err := s.Forward(part, wants)
		require.NoError(t, err)
		require.Equal(t, want.Logits.Float32s()[:n*c.Classes], got.Logits.Float32s())
		if wants.AttnFull {
			for l := range got.Attn {
				require.Equal(t, want.Attn[l].Float32s()[:got.Attn[l].Shape().TotalSize()], got.Attn[l].Float32s())
			}
		}
		if wants.Tokens != nil {
			require.Equal(t, want.Tokens[0].Float32s()[:n*c.Tokens()*c.Dim], got.Tokens[0].Float32s())
		}
	}
}

// TestForwardRefuses checks what comes from outside.
func TestForwardRefuses(t *testing.T) {
	c := tiny()
	m, err := New(ref.Backend{}, c, Random(c, 1))
	require.NoError(t, err)
	n := c.Tokens()
	s, err := m.NewSession(SessionOptions{MaxBatch: 2, MaxCapture: 4 * c.Depth * c.Heads * n * n})
	require.NoError(t, err)
	column, err := photos(c, 2, 1).Slice(nil, nil, nil, tensor.S(0, c.Image[1]-1))
	require.NoError(t, err)
	one := photos(c, 1, 1)
	for name, x := range map[string]struct {
		pixels *tensor.Dense
		w      Wants
		says   string
	}{
		"nothing":           {nil, Wants{}, "nil"},
		"one image unnamed": {tensor.New(tensor.WithShape(3, 16, 24), tensor.Of(tensor.Float32)), Wants{}, "pixels (3, 16, 24), want (B, 3, 16, 24)"},
		"turned":            {tensor.New(tensor.WithShape(1, 3, 24, 16), tensor.Of(tensor.Float32)), Wants{}, "pixels (1, 3, 24, 16), want (B, 3, 16, 24)"},
		"bytes":             {tensor.New(tensor.WithShape(1, 3, 16, 24), tensor.Of(tensor.Uint8)), Wants{}, "want float32"},
		"a view":            {column.(*tensor.Dense), Wants{}, "want contiguous rows"},
		"too many":          {photos(c, 3, 1), Wants{}, "3 images, want 1 to 2"},
		"block over":        {one, Wants{Tokens: []int{2}}, "tokens after block 2, want -1 to 1"},
		"block under":       {one, Wants{Tokens: []int{-2}}, "tokens after block -2"},
		"row over":          {one, Wants{AttnRows: []int{n}}, "attention of row 25, want 0 to 24"},
		"row under":         {one, Wants{AttnRows: []int{-1}}, "attention of row -1"},
		"captures":          {photos(c, 2, 1), Wants{AttnFull: true}, "captures of 2 images"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Forward(x.pixels, x.w)
			require.ErrorContains(t, err, x.says)
		})
	}
	_, err = s.Forward(one, Wants{AttnFull: true})
	require.NoError(t, err, "one image is within the limit")
	require.NoError(t, s.Close())
	_, err = s.Forward(one, Wants{})
	require.ErrorContains(t, err, "closed")
	for _, batch := range []int{-1, maxBatch + 1} {
		_, err = m.NewSession(SessionOptions{MaxBatch: batch})
		require.ErrorContains(t, err, "want 1 to")
	}
}

// TestNotFinite documents that values are the caller's to look at.
func TestNotFinite(t *testing.T) {
	c := tiny()
	w := Random(c, 1)
	w.Head.Float32s()[0] = float32(math.NaN())
	got, err := newSession(t, ref.Backend{}, c, w, 1).Forward(photos(c, 1, 1), Wants{})
	require.NoError(t, err)
	require.True(t, math.IsNaN(float64(got.Logits.Float32s()[0])))
	require.False(t, math.IsNaN(float64(got.Logits.Float32s()[1])))
}
