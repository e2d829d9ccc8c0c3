package backendtest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/ref"
	"gorgonia.org/tensor"
)

// newRig opens a stream on b that is closed with the test.
func newRig(t testing.TB, b backend.Backend) *rig {
	t.Helper()
	stream, err := b.NewStream(backend.StreamOptions{Priority: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, stream.Close()) })
	return &rig{Stream: stream, t: t, b: b, rng: newRand()}
}

// stream tests memory and the order of things.
func (s suite) stream(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		r := newRig(t, s.b)
		require.NoError(t, r.Sync(), "nothing is queued")
		for _, shape := range [][]int{{5}, {3, 7}, {2, 3, 50}, {2, 3, 5, 7}} {
			x := r.Alloc(shape...)
			require.Equal(t, tensor.Shape(shape), x.Shape)
			src, got := r.normal(1, shape...), r.normal(1, shape...)
			r.Read(got, x)
			require.NoError(t, r.Sync())
			require.Equal(t, zeros(shape...).Float32s(), got.Float32s(), "memory starts as zero")
			want := append([]float32(nil), src.Float32s()...)
			r.Write(x, src)
			clear(src.Float32s()) // Write copies when it is called
			r.Read(got, x)
			require.NoError(t, r.Sync())
			require.Equal(t, want, got.Float32s())

			up := r.upload(got)
			require.Equal(t, tensor.Shape(shape), up.Shape)
			clear(got.Float32s())
			r.Read(got, up)
			require.NoError(t, r.Sync())
			require.Equal(t, want, got.Float32s(), "a constant is a copy")
		}
	})
	t.Run("views", func(t *testing.T) {
		r := newRig(t, s.b)
		x := r.full(7, 3, 5, 8)
		src := r.normal(1, 2, 2, 3)
		r.Write(x.First(2).Rows(1, 3).Cols(4, 7), src)
		all, part := zeros(3, 5, 8), zeros(2, 2, 3)
		r.Read(all, x)
		r.Read(part, x.First(2).Rows(1, 3).Cols(4, 7))
		require.NoError(t, r.Sync())
		require.Equal(t, src.Float32s(), part.Float32s())
		changed := 0
		for _, v := range all.Float32s() {
			if v != 7 {
				changed++
			}
		}
		require.Equal(t, 2*2*3, changed)
	})
	t.Run("batches", func(t *testing.T) {
		// One stream, several Syncs of the same and of other batches, as a
		// Session has them: no program may be taken for another.
		r, want := newRig(t, s.b), newRig(t, ref.Backend{})
		const most, n, dim, hidden = 5, 17, 32, 80
		type memory struct{ x, y, out backend.Tensor }
		memories := map[*rig]memory{}
		weights := map[*rig][2]backend.Linear{}
		norms := map[*rig]backend.Norm{}
		for _, g := range []*rig{r, want} {
			memories[g] = memory{g.Alloc(most, n, dim), g.Alloc(most, n, dim), g.Alloc(most, 1, dim)}
			weights[g] = [2]backend.Linear{g.linear(hidden, dim, true, backend.LinearOptions{}), g.linear(dim, hidden, true, backend.LinearOptions{})}
			norms[g] = g.norm(dim, 1e-6)
		}
		for i, batch := range []int{1, 5, 2, 2, 5, 1, 3} {
			read := map[*rig]*tensor.Dense{}
			for _, g := range []*rig{r, want} {
				m, w := memories[g], weights[g]
				x, y, out := m.x.First(batch), m.y.First(batch), m.out.First(batch)
				g.Write(x, g.normal(1, batch, n, dim))
				g.LayerNorm(y, x, norms[g])
				h := g.Temp(batch, n, hidden)
				g.Linear(h, y, w[0], backend.Epilogue{Act: backend.GELU})
				g.Linear(x, h, w[1], backend.Epilogue{Residual: x})
				if i%2 == 1 { // another program of the same batch
					g.LayerNorm(x, x, norms[g])
				}
				g.Pool(out, x, backend.Span{Lo: 0, Hi: 1 + i})
				read[g] = zeros(batch, 1, dim)
				g.Read(read[g], out)
				require.NoError(t, g.Sync())
			}
			near(t, fmt.Sprintf("sync %d of %d images", i, batch), read[r], read[want], limits["MLP"][s.p])
		}
	})
	t.Run("again", func(t *testing.T) {
		r := newRig(t, s.b)
		x, y := r.tokens(2, 17, 32), r.Alloc(2, 17, 32)
		w := r.linear(32, 32, true, backend.LinearOptions{})
		var first []float32
		for range 3 {
			got := zeros(2, 17, 32)
			r.Linear(y, x, w, backend.Epilogue{Act: backend.GELU})
			r.Read(got, y)
			require.NoError(t, r.Sync())
			if first == nil {
				first = got.Float32s()
			}
			require.Equal(t, first, got.Float32s())
		}
	})
}

// reads tests that Read has its place in the queue: it sees what is written
// before it, not after.
func (s suite) reads(t *testing.T) {
	s.compare(t, "MLP", false, func(r *rig) []backend.Tensor {
		x := r.tokens(2, 17, 32)
		w := r.linear(32, 32, true, backend.LinearOptions{})
		var kept []backend.Tensor
		for range 3 {
			r.Linear(x, r.tokens(2, 17, 32), w, backend.Epilogue{Residual: x})
			d := zeros(2, 17, 32)
			r.Read(d, x)
			r.LayerNorm(x, x, r.norm(32, 1e-6))
			require.NoError(t, r.Sync())
			kept = append(kept, r.upload(d))
		}
		return kept
	})
	// The same without a Sync between.
	r := newRig(t, s.b)
	x := r.full(1, 1, 2, 32)
	y := r.full(2, 1, 2, 32)
	before, between, after := zeros(1, 2, 32), zeros(1, 2, 32), zeros(1, 2, 32)
	r.Read(before, x)
	r.Gather(x, y, []int{0, 1})
	r.Read(between, x)
	r.LayerNorm(x, x, r.norm(32, 1e-6))
	r.Read(after, x)
	require.NoError(t, r.Sync())
	require.Equal(t, float32(1), before.Float32s()[5])
	require.Equal(t, float32(2), between.Float32s()[5])
	require.Less(t, after.Float32s()[5], float32(2))
}

// failure tests that the world's errors stick until Sync, and no longer.
func (s suite) failure(t *testing.T) {
	r := newRig(t, s.b)
	x := r.full(1, 1, 2, 32)
	huge := r.Alloc(1<<20, 1<<20, 1<<20)
	require.Equal(t, tensor.Shape{1 << 20, 1 << 20, 1 << 20}, huge.Shape)
	r.Write(x, r.normal(1, 1, 2, 32))
	r.Linear(x, x.Rows(0, 2), r.linear(32, 32, true, backend.LinearOptions{}), backend.Epilogue{Residual: x})
	got := r.normal(1, 1, 2, 32)
	before := append([]float32(nil), got.Float32s()...)
	r.Read(got, x)
	err := r.Sync()
	require.Error(t, err)
	require.Contains(t, err.Error(), "(1048576, 1048576, 1048576)", "the error names the operation's shape")
	require.Equal(t, before, got.Float32s(), "nothing runs after a failure")

	require.NoError(t, r.Sync(), "the stream starts afresh")
	r.Read(got, x)
	require.NoError(t, r.Sync())
	for _, v := range got.Float32s() {
		require.Equal(t, float32(1), v)
	}

	closed, err := s.b.NewStream(backend.StreamOptions{})
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	require.Error(t, closed.Sync())
}

// weights tests what NewLinear and Upload take and refuse.
func (s suite) weights(t *testing.T) {
	r := newRig(t, s.b)
	for name, c := range map[string]struct {
		weight, bias *tensor.Dense
		o            backend.LinearOptions
	}{
		"vector":      {weight: zeros(32)},
		"cube":        {weight: zeros(2, 3, 4)},
		"long bias":   {weight: zeros(8, 4), bias: zeros(9)},
		"matrix bias": {weight: zeros(8, 4), bias: zeros(1, 8)},
		"odd gated":   {weight: zeros(7, 4), o: backend.LinearOptions{Gated: true}},
		"float64":     {weight: tensor.New(tensor.WithShape(8, 4), tensor.Of(tensor.Float64))},
		"nil":         {},
	} {
		_, err := s.b.NewLinear(c.weight, c.bias, c.o)
		require.Error(t, err, name)
	}
	column, err := r.normal(1, 8, 4).Slice(nil, tensor.S(1, 3))
	require.NoError(t, err)
	_, err = s.b.NewLinear(column.(*tensor.Dense), nil, backend.LinearOptions{})
	require.Error(t, err, "columns of a matrix have gaps")
	_, err = s.b.Upload(column.(*tensor.Dense))
	require.Error(t, err, "columns of a matrix have gaps")
	_, err = s.b.Upload(nil)
	require.Error(t, err)

	weight, bias := r.normal(1, 8, 4), r.normal(1, 8)
	w, err := s.b.NewLinear(weight, bias, backend.LinearOptions{Exact: true})
	require.NoError(t, err)
	// One input of one picks a column, exactly.
	var want []float32
	for i, v := range bias.Float32s() {
		want = append(want, v+weight.Float32s()[i*4+2])
	}
	clear(weight.Float32s())
	clear(bias.Float32s())
	x, y, got := r.Alloc(1, 1, 4), r.full(7, 1, 1, 8), zeros(1, 1, 8)
	r.Write(x, dense([]float32{0, 0, 1, 0}, 1, 1, 4))
	r.Linear(y, x, w, backend.Epilogue{})
	r.Read(got, y)
	require.NoError(t, r.Sync())
	require.Equal(t, want, got.Float32s(), "NewLinear copies")

	constant := r.upload(weight)
	require.NoError(t, r.Stream.Sync())
	s.b.Free(backend.Tensor{})
	s.b.Free(constant)
	for range 2 {
		require.NoError(t, w.Close())
	}
}
