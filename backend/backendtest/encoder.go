package backendtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/ref"
	"gorgonia.org/tensor"
)

func newRand() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// An encoder is a small Vision Transformer written against the seam alone.
type encoder struct {
	b                                   backend.Backend
	grid, patch, dim, heads, depth, mlp int
	act                                 backend.Activation
	embed                               backend.PatchEmbed
	norm1, norm2                        []backend.Norm
	qkv, proj, fc1, fc2                 []backend.Linear
	norm                                backend.Norm
	head                                backend.Linear
}

const encoderClasses = 10

// newEncoder makes the same weights on every backend.
func newEncoder(t *testing.T, b backend.Backend, grid, dim, heads int, act backend.Activation) *encoder {
	r := &rig{t: t, b: b, rng: newRand()}
	e := &encoder{b: b, grid: grid, patch: 4, dim: dim, heads: heads, depth: 2, mlp: 3*dim + 1, act: act}
	e.embed = backend.PatchEmbed{
		Patch:  [2]int{e.patch, e.patch},
		Proj:   r.linear(dim, 3*e.patch*e.patch, true, backend.LinearOptions{Exact: true}),
		Prefix: r.upload(r.normal(1, 1, dim)),
		Pos:    r.upload(r.normal(0.5, grid*grid, dim)),
	}
	gated, width := act == backend.SwiGLU, e.mlp
	if gated {
		width *= 2
	}
	for range e.depth {
		e.norm1 = append(e.norm1, r.norm(dim, 1e-6))
		e.qkv = append(e.qkv, r.linear(3*dim, dim, true, backend.LinearOptions{}))
		e.proj = append(e.proj, r.linear(dim, dim, true, backend.LinearOptions{}))
		e.norm2 = append(e.norm2, r.norm(dim, 1e-6))
		e.fc1 = append(e.fc1, r.linear(width, dim, true, backend.LinearOptions{Gated: gated}))
		e.fc2 = append(e.fc2, r.linear(dim, e.mlp, true, backend.LinearOptions{}))
	}
	e.norm = r.norm(dim, 1e-6)
	e.head = r.linear(encoderClasses, dim, true, backend.LinearOptions{Exact: true})
	return e
}

// images returns pixels in [0, 1].
func (e *encoder) images(batch int, seed uint64) *tensor.Dense {
	rng := rand.New(rand.NewPCG(seed, 3))
	d := zeros(batch, 3, e.grid*e.patch, e.grid*e.patch)
	for i := range d.Float32s() {
		d.Float32s()[i] = rng.Float32()
	}
	return d
}

// encode returns logits (B, 1, K), tokens (B, N, C) and the class row's
// probabilities of the last block (B, H, 1, N), on a stream of its own.
func (e *encoder) encode(pixels *tensor.Dense) ([]*tensor.Dense, error) { return e.encodeOn(0, pixels) }

// encodeOn is encode on so many threads.
func (e *encoder) encodeOn(threads int, pixels *tensor.Dense) ([]*tensor.Dense, error) {
	s, err := e.b.NewStream(backend.StreamOptions{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	s.Threads(threads)
	batch, n, dim := pixels.Shape()[0], 1+e.grid*e.grid, e.dim
	in := s.Alloc(pixels.Shape()...)
	x, y, o := s.Alloc(batch, n, dim), s.Alloc(batch, n, dim), s.Alloc(batch, n, dim)
	qkv := s.Alloc(batch, n, 3*dim)
	probs := s.Alloc(batch, e.heads, 1, n)
	pooled, logits := s.Alloc(batch, 1, dim), s.Alloc(batch, 1, encoderClasses)
	s.Write(in, pixels)
	s.PatchEmbed(x, in, &e.embed)
	for i := range e.depth {
		s.LayerNorm(y, x, e.norm1[i])
		s.Linear(qkv, y, e.qkv[i], backend.Epilogue{})
		a := backend.Attention{Heads: e.heads, Scale: float32(1 / math.Sqrt(float64(dim/e.heads))), Spend: true}
		if i == e.depth-1 {
			a.Rows, a.Probs = []int{0}, probs
		}
		s.Attention(o, qkv.Cols(0, dim), qkv.Cols(dim, 2*dim), qkv.Cols(2*dim, 3*dim), a)
		s.Linear(x, o, e.proj[i], backend.Epilogue{Residual: x})
		s.LayerNorm(y, x, e.norm2[i])
		h := s.Temp(batch, n, e.mlp)
		s.Linear(h, y, e.fc1[i], backend.Epilogue{Act: e.act})
		s.Linear(x, h, e.fc2[i], backend.Epilogue{Residual: x})
	}
	s.Pool(pooled, x, backend.Span{Lo: 0, Hi: 1})
	s.LayerNorm(pooled, pooled, e.norm)
	s.Linear(logits, pooled, e.head, backend.Epilogue{})
	out := []*tensor.Dense{zeros(batch, 1, encoderClasses), zeros(batch, n, dim), zeros(batch, e.heads, 1, n)}
	s.Read(out[0], logits)
	s.Read(out[1], x)
	s.Read(out[2], probs)
	return out, s.Sync()
}

var encoders = []struct {
	batch, grid, dim, heads int
	act                     backend.Activation
}{
	{3, 4, 50, 2, backend.GELU},
	{2, 14, 64, 2, backend.GELUTanh},
	{5, 2, 64, 1, backend.SwiGLU},
	{2, 3, 80, 1, backend.QuickGELU},
}

// encoder compares whole forward passes.
func (s suite) encoder(t *testing.T) {
	for _, c := range encoders {
		t.Run(fmt.Sprintf("%d×%d×%d", c.batch, 1+c.grid*c.grid, c.dim), func(t *testing.T) {
			e := newEncoder(t, s.b, c.grid, c.dim, c.heads, c.act)
			got, err := e.encode(e.images(c.batch, 1))
			require.NoError(t, err)
			want, err := newEncoder(t, ref.Backend{}, c.grid, c.dim, c.heads, c.act).encode(e.images(c.batch, 1))
			require.NoError(t, err)
			for i := range want {
				near(t, fmt.Sprintf("output %d", i), got[i], want[i], limits["Encoder"][s.p])
			}
		})
	}
}

// company tests that an image gets the same bits alone and at every place of
// a batch.
func (s suite) company(t *testing.T) {
	for _, c := range encoders {
		t.Run(fmt.Sprintf("%d×%d×%d", c.batch, 1+c.grid*c.grid, c.dim), func(t *testing.T) {
			e := newEncoder(t, s.b, c.grid, c.dim, c.heads, c.act)
			image := e.images(1, 7)
			alone, err := e.encode(image)
			require.NoError(t, err)
			n := image.Shape().TotalSize()
			for _, batch := range []int{2, 3, 5, 8} {
				for first := range 2 { // at every other place, then at the others
					pixels := e.images(batch, uint64(batch))
					for place := first; place < batch; place += 2 {
						copy(pixels.Float32s()[place*n:], image.Float32s())
					}
					got, err := e.encode(pixels)
					require.NoError(t, err)
					for place := first; place < batch; place += 2 {
						for i, a := range alone {
							n := a.Shape().TotalSize()
							require.Equal(t, bits(a.Float32s()), bits(got[i].Float32s()[place*n:(place+1)*n]),
								"output %d of image %d of %d", i, place, batch)
						}
					}
				}
			}
		})
	}
}

func bits(f []float32) []uint32 {
	u := make([]uint32, len(f))
	for i, v := range f {
		u[i] = math.Float32bits(v)
	}
	return u
}

// poison tests that an image that is not a number stays with itself.
func (s suite) poison(t *testing.T) {
	e := newEncoder(t, s.b, 4, 50, 2, backend.GELU)
	pixels := e.images(3, 1)
	want, err := e.encode(pixels)
	require.NoError(t, err)
	n := pixels.Shape().TotalSize() / 3
	for i := range n {
		pixels.Float32s()[n+i] = float32(math.NaN())
	}
	got, err := e.encode(pixels)
	require.NoError(t, err)
	for i, w := range want {
		n := w.Shape().TotalSize() / 3
		g, w := got[i].Float32s(), w.Float32s()
		require.Equal(t, bits(w[:n]), bits(g[:n]))
		require.Equal(t, bits(w[2*n:]), bits(g[2*n:]))
		require.True(t, math.IsNaN(float64(g[n])), "the second image is not a number")
	}
}

// concurrency tests that streams of several goroutines share the backend and
// its weights and nothing else, on however many of its threads each of them is.
func (s suite) concurrency(t *testing.T) {
	e := newEncoder(t, s.b, 4, 50, 2, backend.GELU)
	const streams, rounds = 4, 3
	var want [streams][]*tensor.Dense
	for i := range streams {
		var err error
		want[i], err = e.encode(e.images(1+i, uint64(i)))
		require.NoError(t, err)
	}
	var wait sync.WaitGroup
	for i := range streams {
		wait.Go(func() {
			for round := range rounds {
				got, err := e.encodeOn((i+round)%3, e.images(1+i, uint64(i)))
				if err != nil {
					t.Error(err)
					return
				}
				for j, w := range want[i] {
					for k, v := range w.Float32s() {
						if got[j].Float32s()[k] != v {
							t.Errorf("stream %d, output %d, value %d: %v, want %v", i, j, k, got[j].Float32s()[k], v)
							return
						}
					}
				}
			}
		})
	}
	wait.Wait()
}
