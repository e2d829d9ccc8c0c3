//go:build cgo && linux

package gpu

import (
	"math"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/gpu/standin"
	"github.com/vitserve/vitserve/backend/ref"
	"gorgonia.org/tensor"
)

// onEach runs a test on the stand-in and on the OpenCL device that is
// installed.
func onEach(t *testing.T, test func(t *testing.T, b *Backend)) {
	standin.Each(t, func(t *testing.T, name string) { test(t, openTest(t, name)) })
}

// TestShortLife: a short life of a backend, begin to end, gives the oracle's
// answer, twice.
func TestShortLife(t *testing.T) {
	want, err := pass(ref.Backend{})
	require.NoError(t, err)
	onEach(t, func(t *testing.T, b *Backend) {
		for range 2 {
			got, err := pass(b)
			require.NoError(t, err)
			for i, v := range want {
				require.InDelta(t, v, got[i], 1e-4*max(1, math.Abs(float64(v))), "value %d", i)
			}
		}
	})
}

// TestThreads: what one thread of the system has opened, others use and give
// back.
func TestThreads(t *testing.T) {
	onEach(t, func(t *testing.T, b *Backend) {
		want, err := pass(b)
		require.NoError(t, err)
		type answer struct {
			got []float32
			err error
		}
		answers := make(chan answer)
		for range 3 {
			go func() {
				runtime.LockOSThread() // and never unlocked: the thread ends with it
				got, err := pass(b)
				answers <- answer{got, err}
			}()
		}
		for range 3 {
			a := <-answers
			require.NoError(t, a.err)
			require.Equal(t, want, a.got)
		}
	})
}

// TestPieces: weights that are larger than what goes to the device at once
// are there whole, and a gated layer's rows in their order.
func TestPieces(t *testing.T) {
	onEach(t, func(t *testing.T, b *Backend) {
		large := numbers(stage/4/1000+5, 1000)
		up, err := b.Upload(large)
		require.NoError(t, err)
		defer b.Free(up)
		s, err := b.NewStream(backend.StreamOptions{})
		require.NoError(t, err)
		got := tensor.New(tensor.WithShape(large.Shape()...), tensor.Of(tensor.Float32))
		s.Read(got, up)
		require.NoError(t, s.Sync())
		require.Equal(t, large.Float32s(), got.Float32s())
		require.NoError(t, s.Close())
	})
}

// TestTiles: the outputs of a product have the same bits in tiles of 64 and of
// 128, which many rows get.
func TestTiles(t *testing.T) {
	onEach(t, func(t *testing.T, b *Backend) {
		const in, out, rows = 777, 130, 60
		weight := tensor.New(tensor.WithShape(out, in), tensor.Of(tensor.Float32))
		x := tensor.New(tensor.WithShape(1, rows, in), tensor.Of(tensor.Float32))
		for i := range weight.Float32s() {
			weight.Float32s()[i] = float32(math.Sin(float64(i)))
		}
		for i := range x.Float32s() {
			x.Float32s()[i] = float32(math.Cos(float64(3 * i)))
		}
		w, err := b.NewLinear(weight, nil, backend.LinearOptions{})
		require.NoError(t, err)
		answer := func(images int) []float32 {
			s, err := b.NewStream(backend.StreamOptions{})
			require.NoError(t, err)
			defer func() { require.NoError(t, s.Close()) }()
			to, from := s.Alloc(images, rows, out), s.Alloc(images, rows, in) // at the end of the memory
			many := tensor.New(tensor.WithShape(images, rows, in), tensor.Of(tensor.Float32))
			for i := range images {
				copy(many.Float32s()[i*rows*in:], x.Float32s())
			}
			got := tensor.New(tensor.WithShape(images, rows, out), tensor.Of(tensor.Float32))
			s.Write(from, many)
			s.Linear(to, from, w, backend.Epilogue{})
			s.Read(got, to)
			require.NoError(t, s.Sync())
			return got.Float32s()
		}
		want := answer(1)
		images := 2*max(b.d.Units, 1)*128/rows + 1
		require.Less(t, images, 3000)
		got := answer(images)
		for i := range images {
			require.Equal(t, want, got[i*rows*out:][:rows*out], "image %d", i)
		}
	})
}

// TestOutputs: where there are more outputs than a grid has threads, each is
// computed: memory is zero to its end.
func TestOutputs(t *testing.T) {
	standin.CUDA(t)
	b := openTest(t, "cuda")
	s, err := b.NewStream(backend.StreamOptions{})
	require.NoError(t, err)
	const most = 256 << 16
	x, got := s.Alloc(1, 2, most/2+500), tensor.New(tensor.WithShape(1, 2, 1000), tensor.Of(tensor.Float32))
	s.Read(got, x.Cols(most/2-500, most/2+500))
	require.NoError(t, s.Sync())
	require.Equal(t, make([]float32, 2000), got.Float32s())
	require.NoError(t, s.Close())
}

// TestWide: heads that are wider than what is in LOCAL memory at a time give
// the oracle's answers, forward and backward.
func TestWide(t *testing.T) {
	const n, d = 50, 200
	values := func(shape ...int) *tensor.Dense {
		x := tensor.New(tensor.WithShape(shape...), tensor.Of(tensor.Float32))
		for i := range x.Float32s() {
			x.Float32s()[i] = float32(math.Sin(float64(i * i)))
		}
		return x
	}
	answers := func(t *testing.T, b backend.Backend) (all []float32) {
		s, err := b.NewStream(backend.StreamOptions{})
		require.NoError(t, err)
		x, probs := s.Alloc(1, n, 3*d), s.Alloc(1, 1, n, n)
		o, grad := s.Alloc(1, n, d), s.Alloc(1, n, 3*d)
		s.Write(x, values(1, n, 3*d))
		q, k, v := x.Cols(0, d), x.Cols(d, 2*d), x.Cols(2*d, 3*d)
		s.Attention(o, q, k, v, backend.Attention{Heads: 1, Scale: 0.07, Probs: probs})
		s.AttentionGrad(grad.Cols(0, d), grad.Cols(d, 2*d), grad.Cols(2*d, 3*d), o, q, k, v, backend.Attention{Heads: 1, Scale: 0.07})
		for _, from := range []backend.Tensor{o, probs, grad} {
			got := tensor.New(tensor.WithShape(from.Shape...), tensor.Of(tensor.Float32))
			s.Read(got, from)
			require.NoError(t, s.Sync())
			all = append(all, got.Float32s()...)
		}
		require.NoError(t, s.Close())
		return all
	}
	want := answers(t, ref.Backend{})
	onEach(t, func(t *testing.T, b *Backend) { require.InDeltaSlice(t, want, answers(t, b), 1e-5) })
}

// TestFirstHidden: rows that see nothing of the first keys and something of
// later ones give the oracle's answer.
func TestFirstHidden(t *testing.T) {
	const n, d, hidden = 50, 16, 40
	mask := tensor.New(tensor.WithShape(1, n, n), tensor.Of(tensor.Float32))
	for i := range mask.Float32s() {
		if i%n < hidden {
			mask.Float32s()[i] = float32(math.Inf(-1))
		}
	}
	answer := func(t *testing.T, b backend.Backend) []float32 {
		bias, err := b.Upload(mask)
		require.NoError(t, err)
		s, err := b.NewStream(backend.StreamOptions{})
		require.NoError(t, err)
		x, o := s.Alloc(1, n, d), s.Alloc(1, n, d)
		s.Write(x, numbers(1, n, d))
		s.Attention(o, x, x, x, backend.Attention{Heads: 1, Scale: 0.1, Bias: bias})
		got := tensor.New(tensor.WithShape(1, n, d), tensor.Of(tensor.Float32))
		s.Read(got, o)
		require.NoError(t, s.Sync())
		require.NoError(t, s.Close())
		b.Free(bias)
		return got.Float32s()
	}
	want := answer(t, ref.Backend{})
	onEach(t, func(t *testing.T, b *Backend) { require.InDeltaSlice(t, want, answer(t, b), 1e-5) })
}

// TestTempPlaces: a temp that an earlier Sync had lies beside one that is new.
func TestTempPlaces(t *testing.T) {
	onEach(t, func(t *testing.T, b *Backend) {
		weight, err := b.Upload(numbers(8))
		require.NoError(t, err)
		defer b.Free(weight)
		norm := backend.Norm{Weight: weight, Bias: weight, Eps: 1e-6}
		answer := func(before bool) []float32 {
			s, err := b.NewStream(backend.StreamOptions{})
			require.NoError(t, err)
			defer func() { require.NoError(t, s.Close()) }()
			x, y, old, fresh := s.Alloc(1, 3, 8), s.Alloc(1, 3, 8), s.Temp(1, 3, 8), s.Temp(1, 3, 8)
			s.Write(x, numbers(1, 3, 8))
			if before {
				s.LayerNorm(old, x, norm)
				s.LayerNorm(y, old, norm)
				require.NoError(t, s.Sync())
			}
			s.LayerNorm(fresh, x, norm)
			s.LayerNorm(old, fresh, norm)
			s.LayerNorm(y, fresh, norm)
			got := numbers(1, 3, 8)
			s.Read(got, y)
			require.NoError(t, s.Sync())
			return got.Float32s()
		}
		require.Equal(t, answer(false), answer(true))
	})
}
