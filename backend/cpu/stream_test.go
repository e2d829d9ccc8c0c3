package cpu

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// dense returns host values around zero.
func dense(rng *rand.Rand, shape ...int) *tensor.Dense {
	d := tensor.New(tensor.WithShape(shape...), tensor.Of(tensor.Float32))
	for i := range d.Float32s() {
		d.Float32s()[i] = float32(rng.NormFloat64())
	}
	return d
}

func newRand() *rand.Rand { return rand.New(rand.NewPCG(4, 2)) }

func upload(t testing.TB, b *Backend, d *tensor.Dense) backend.Tensor {
	u, err := b.Upload(d)
	require.NoError(t, err)
	return u
}

func newLinear(t testing.TB, b *Backend, rng *rand.Rand, out, in int, o backend.LinearOptions) backend.Linear {
	w := dense(rng, out, in)
	for i := range w.Float32s() {
		w.Float32s()[i] /= float32(in)
	}
	l, err := b.NewLinear(w, dense(rng, out), o)
	require.NoError(t, err)
	return l
}

func newTestStream(t testing.TB, b *Backend, priority int) *stream {
	s, err := b.NewStream(backend.StreamOptions{Priority: priority})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s.(*stream)
}

// blocks are encoder blocks that a test enqueues.
type blocks struct {
	depth, dim, heads         int
	norm                      backend.Norm
	qkv, proj, fc1, fc2, head backend.Linear
	x, y, h, a, pooled, out   backend.Tensor
}

func newBlocks(t testing.TB, b *Backend, s *stream, batch, n, depth, dim, heads int) *blocks {
	rng := newRand()
	e := &blocks{
		depth: depth, dim: dim, heads: heads,
		norm: backend.Norm{Weight: upload(t, b, dense(rng, dim)), Bias: upload(t, b, dense(rng, dim)), Eps: 1e-6},
		qkv:  newLinear(t, b, rng, 3*dim, dim, backend.LinearOptions{}),
		proj: newLinear(t, b, rng, dim, dim, backend.LinearOptions{}),
		fc1:  newLinear(t, b, rng, 4*dim, dim, backend.LinearOptions{}),
		fc2:  newLinear(t, b, rng, dim, 4*dim, backend.LinearOptions{}),
		head: newLinear(t, b, rng, 10, dim, backend.LinearOptions{Exact: true}),
		x:    s.Alloc(batch, n, dim), y: s.Alloc(batch, n, dim), h: s.Temp(batch, n, 4*dim), a: s.Alloc(batch, n, 3*dim),
		pooled: s.Alloc(batch, 1, dim), out: s.Alloc(batch, 1, 10),
	}
	s.Write(e.x, dense(rng, batch, n, dim))
	return e
}

func (e *blocks) enqueue(s *stream) {
	for range e.depth {
		s.LayerNorm(e.y, e.x, e.norm)
		s.Linear(e.a, e.y, e.qkv, backend.Epilogue{})
		s.Attention(e.y, e.a.Cols(0, e.dim), e.a.Cols(e.dim, 2*e.dim), e.a.Cols(2*e.dim, 3*e.dim), backend.Attention{Heads: e.heads, Scale: 0.1})
		s.Linear(e.x, e.y, e.proj, backend.Epilogue{Residual: e.x})
		s.LayerNorm(e.y, e.x, e.norm)
		s.Linear(e.h, e.y, e.fc1, backend.Epilogue{Act: backend.GELU})
		s.Linear(e.x, e.h, e.fc2, backend.Epilogue{Residual: e.x})
	}
	s.Pool(e.pooled, e.x, backend.Span{Lo: 0, Hi: 1})
	s.LayerNorm(e.pooled, e.pooled, e.norm)
	s.Linear(e.out, e.pooled, e.head, backend.Epilogue{})
}

// TestBarriers counts what the compiler could not do without: one wait a
// layer, for all keys and values, and one before the last token is pooled;
// none where workers have whole images.
func TestBarriers(t *testing.T) {
	for name, c := range map[string]struct{ batch, threads, segments int }{
		"one image, one thread":      {1, 1, 1},
		"one image, two threads":     {1, 2, 4 + 2},
		"three images, two threads":  {3, 2, 4 + 2},
		"two images, two threads":    {2, 2, 1},
		"eight images, four threads": {8, 4, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := openTest(t, available()[0], backend.Options{Threads: c.threads})
			s := newTestStream(t, b, 0)
			e := newBlocks(t, b, s, c.batch, 17, 4, 64, 2)
			e.enqueue(s)
			require.NoError(t, s.Sync())
			require.Len(t, s.programs[0].segments, c.segments)
			if c.threads > 1 && c.segments == 1 {
				require.Nil(t, s.kv[0].mem, "keys and values are not shared")
			}
			require.Nil(t, e.h.Mem.(*mem).base, "the hidden layer is never materialised")
		})
	}
}

func TestProgramsAreCompiledOnce(t *testing.T) {
	b := openTest(t, available()[0], backend.Options{Threads: 2})
	s := newTestStream(t, b, 0)
	e := newBlocks(t, b, s, 2, 17, 2, 64, 2)
	read := tensor.New(tensor.WithShape(2, 1, 10), tensor.Of(tensor.Float32))
	forward := func() {
		e.enqueue(s)
		s.Read(read, e.out)
		require.NoError(t, s.Sync())
	}
	forward()
	require.LessOrEqual(t, testing.AllocsPerRun(20, forward), 20.0, "a forward pass of a known program makes next to no garbage")
	require.Len(t, s.programs, 1)
	s.LayerNorm(e.y.First(1), e.x.First(1), e.norm)
	require.NoError(t, s.Sync())
	forward()
	require.Len(t, s.programs, 2)

	y := s.Alloc(2, 1, 64)
	for i := range maxPrograms + 10 {
		s.Gather(y, e.x, []int{i % 17})
		require.NoError(t, s.Sync())
	}
	require.Len(t, s.programs, 3, "other rows are no other program")
	for i := range maxPrograms + 10 {
		s.LayerNorm(e.y, e.x, backend.Norm{Weight: e.norm.Weight, Bias: e.norm.Bias, Eps: float32(i)})
		require.NoError(t, s.Sync())
	}
	require.Len(t, s.programs, maxPrograms, "the cache is bounded")
}

// TestWriteKeepsItsPlace writes to what an operation enqueued before reads.
func TestWriteKeepsItsPlace(t *testing.T) {
	b := openTest(t, available()[0], backend.Options{Threads: 2})
	s := newTestStream(t, b, 0)
	rng := newRand()
	x, y := s.Alloc(1, 4, 32), s.Alloc(1, 4, 32)
	first, second, got := dense(rng, 1, 4, 32), dense(rng, 1, 4, 32), dense(rng, 1, 4, 32)
	s.Write(x, first)
	s.Gather(y, x, []int{0, 1, 2, 3})
	s.Write(x, second)
	s.Read(got, y)
	require.NoError(t, s.Sync())
	require.Equal(t, first.Float32s(), got.Float32s())
	s.Read(got, x)
	require.NoError(t, s.Sync())
	require.Equal(t, second.Float32s(), got.Float32s())
}

// TestMemory tests that what is freed is freed, and counted.
func TestMemory(t *testing.T) {
	b := openTest(t, available()[0], backend.Options{Threads: 2})
	before := b.Bytes()
	s, err := b.NewStream(backend.StreamOptions{})
	require.NoError(t, err)
	s.Alloc(4, 1000, 1000)
	require.GreaterOrEqual(t, b.Bytes(), before+4*4*1000*1000)
	require.NoError(t, s.Close())
	require.Equal(t, before, b.Bytes())

	weight := tensor.New(tensor.WithShape(1024, 4096), tensor.Of(tensor.Float32))
	for range 20 {
		_, err := b.NewLinear(weight, nil, backend.LinearOptions{}) // 16 MiB
		require.NoError(t, err)
	}
	for end := time.Now().Add(10 * time.Second); b.Bytes() > before+64<<20; time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(end), "%d bytes are held for weights that nobody knows", b.Bytes())
		runtime.GC()
	}
}

func TestClosed(t *testing.T) {
	b, err := open(backend.Options{Threads: 2}, available()[0])
	require.NoError(t, err)
	s, err := b.NewStream(backend.StreamOptions{})
	require.NoError(t, err)
	x := s.Alloc(1, 2, 32)
	require.NoError(t, b.Close())
	require.NoError(t, b.Close(), "closing twice is closing once")
	s.Write(x, dense(newRand(), 1, 2, 32))
	s.Gather(x, x, []int{0, 1})
	require.ErrorIs(t, s.Sync(), errClosed)
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Sync(), errClosed)
	_, err = b.NewStream(backend.StreamOptions{})
	require.ErrorIs(t, err, errClosed)
	_, err = b.Upload(dense(newRand(), 3))
	require.ErrorIs(t, err, errClosed)
	_, err = b.NewLinear(dense(newRand(), 3, 3), nil, backend.LinearOptions{})
	require.ErrorIs(t, err, errClosed)
}
