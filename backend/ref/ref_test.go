package ref

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// The oracle has no oracle: here are answers from paper, from identities and
// from other formulas.

func host(values []float32, shape ...int) *tensor.Dense {
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(values))
}

func newStream(t *testing.T) backend.Stream {
	t.Helper()
	s, err := Backend{}.NewStream(backend.StreamOptions{})
	require.NoError(t, err)
	return s
}

func put(s backend.Stream, values []float32, shape ...int) backend.Tensor {
	x := s.Alloc(shape...)
	s.Write(x, host(values, shape...))
	return x
}

func upload(t *testing.T, values []float32, shape ...int) backend.Tensor {
	t.Helper()
	x, err := Backend{}.Upload(host(values, shape...))
	require.NoError(t, err)
	return x
}

func weight(t *testing.T, o backend.LinearOptions, w []float32, out, in int, bias ...float32) backend.Linear {
	t.Helper()
	var b *tensor.Dense
	if bias != nil {
		b = host(bias, out)
	}
	l, err := Backend{}.NewLinear(host(w, out, in), b, o)
	require.NoError(t, err)
	return l
}

// get runs what is queued and returns x's values.
func get(t *testing.T, s backend.Stream, x backend.Tensor) []float32 {
	t.Helper()
	d := tensor.New(tensor.WithShape(x.Shape...), tensor.Of(tensor.Float32))
	s.Read(d, x)
	require.NoError(t, s.Sync())
	return d.Float32s()
}

func random(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

func TestOpen(t *testing.T) {
	b, err := backend.Open("ref", backend.Options{})
	require.NoError(t, err)
	require.Equal(t, "ref", b.Name())
	require.NoError(t, b.Close())
	_, err = backend.Open("ref", backend.Options{Precision: backend.Int8})
	require.ErrorIs(t, err, backend.ErrUnsupported)
	_, err = backend.Open("ref", backend.Options{Device: "cuda:0"})
	require.ErrorIs(t, err, backend.ErrUnsupported)
	require.ErrorContains(t, err, `"cuda:0", want "cpu"`)
}

func TestPatchEmbedByHand(t *testing.T) {
	s := newStream(t)
	// One image of 2×5 with channels 0…9, 10…19, 20…29; patches of 2×2, the
	// last column is over. Output 0 picks channel 0's top left pixel,
	// output 1 adds channel 2's lower right and takes 1 off.
	pixels := make([]float32, 30)
	for i := range pixels {
		pixels[i] = float32(i)
	}
	p := &backend.PatchEmbed{
		Patch: [2]int{2, 2},
		Proj: weight(t, backend.LinearOptions{Exact: true}, []float32{
			1, 0, 0, 0 /**/, 0, 0, 0, 0 /**/, 0, 0, 0, 0,
			1, 0, 0, 0 /**/, 0, 0, 0, 0 /**/, 0, 0, 0, 1,
		}, 2, 12, 0, -1),
		Prefix: upload(t, []float32{-5, -6}, 1, 2),
		Pos:    upload(t, []float32{100, 200, 300, 400}, 2, 2),
	}
	x := s.Alloc(1, 3, 2)
	s.PatchEmbed(x, put(s, pixels, 1, 3, 2, 5), p)
	require.Equal(t, []float32{
		-5, -6,
		0 + 100, 0 + 26 - 1 + 200,
		2 + 300, 2 + 28 - 1 + 400,
	}, get(t, s, x))
}

func TestLayerNormByHand(t *testing.T) {
	s := newStream(t)
	// Mean 2, variance ((-2)² + 0 + 2²)/3 = 8/3, with 1/3 added: 3.
	n := backend.Norm{Weight: upload(t, []float32{1, 1, 3}, 3), Bias: upload(t, []float32{0, 5, 1}, 3), Eps: 1.0 / 3}
	y := s.Alloc(1, 1, 3)
	s.LayerNorm(y, put(s, []float32{0, 2, 4}, 1, 1, 3), n)
	require.InDeltaSlice(t, []float64{-2 / math.Sqrt(3), 5, 3*2/math.Sqrt(3) + 1}, widen(get(t, s, y)), 1e-6)
}

func widen(x []float32) (y []float64) {
	for _, v := range x {
		y = append(y, float64(v))
	}
	return y
}

// TestLayerNormStatistics: without weight and bias a row has mean 0 and
// variance 1, wherever it lay.
func TestLayerNormStatistics(t *testing.T) {
	s := newStream(t)
	rng := rand.New(rand.NewPCG(1, 1))
	const c = 77
	x := random(rng, 3*c)
	for i := range x {
		x[i] = 40 + 3*x[i]
	}
	one := make([]float32, c)
	for i := range one {
		one[i] = 1
	}
	y := s.Alloc(1, 3, c)
	s.LayerNorm(y, put(s, x, 1, 3, c), backend.Norm{Weight: upload(t, one, c), Bias: upload(t, make([]float32, c), c), Eps: 1e-12})
	got := get(t, s, y)
	for r := range 3 {
		var sum, squares float64
		for _, v := range got[r*c : (r+1)*c] {
			sum += float64(v) / c
			squares += float64(v) * float64(v) / c
		}
		require.InDelta(t, 0, sum, 1e-7)
		require.InDelta(t, 1, squares, 1e-6)
	}
}

func TestLinearByHand(t *testing.T) {
	s := newStream(t)
	w := weight(t, backend.LinearOptions{}, []float32{1, 2, 3, 4, 5, 6}, 2, 3, 10, 20)
	x := put(s, []float32{1, 0, -1, 2, 2, 2}, 1, 2, 3)
	res := put(s, []float32{100, 200, 300, 400}, 1, 2, 2)
	pre := s.Alloc(1, 2, 2)
	s.Linear(res, x, w, backend.Epilogue{Residual: res, Pre: pre})
	require.Equal(t, []float32{100 + 8, 200 + 18, 300 + 22, 400 + 50}, get(t, s, res))
	require.Equal(t, []float32{8, 18, 22, 50}, get(t, s, pre))

	// gate (1, 0), value (3, 7): gate·σ(gate)·value.
	gated := weight(t, backend.LinearOptions{Gated: true}, []float32{1, 0, 3, 7}, 4, 1)
	y := s.Alloc(1, 1, 2)
	s.Linear(y, put(s, []float32{1}, 1, 1, 1), gated, backend.Epilogue{Act: backend.SwiGLU})
	require.InDeltaSlice(t, []float64{3 / (1 + math.Exp(-1)), 0}, widen(get(t, s, y)), 1e-6)
}

// TestActivations holds the formulas to values computed with 30 digits,
// by mpmath 1.3.0: x*ncdf(x), x/2*(1+tanh(…)), x/(1+exp(-1.702*x)).
func TestActivations(t *testing.T) {
	for _, c := range []struct {
		act     backend.Activation
		x, want float64
	}{
		{backend.Identity, -3.25, -3.25},
		{backend.GELU, 1, 0.841344746068542948585232545632},
		{backend.GELU, -1, -0.158655253931457051414767454368},
		{backend.GELU, 3, 2.9959503059051097164200445557},
		{backend.GELUTanh, 1, 0.841191990608276704781995777045},
		{backend.GELUTanh, -2, -0.0454023059122249812189586138493},
		{backend.QuickGELU, 1, 0.845795765932821295707106826525},
		{backend.QuickGELU, -1, -0.154204234067178704292893173475},
	} {
		require.InDelta(t, c.want, activations[c.act](c.x), 1e-15, "%v of %v", c.act, c.x)
	}
	// Far out they are the identity and zero.
	for _, act := range []backend.Activation{backend.GELU, backend.GELUTanh, backend.QuickGELU} {
		require.Equal(t, 60.0, activations[act](60), act)
		require.InDelta(t, 0, activations[act](-60), 1e-40, act)
	}
}

func TestAttentionByHand(t *testing.T) {
	s := newStream(t)
	// One head of one dimension, two tokens: logits q·k·2, and a bias.
	q := put(s, []float32{1, 0}, 1, 2, 1)
	k := put(s, []float32{0, float32(math.Log(3) / 2)}, 1, 2, 1)
	v := put(s, []float32{4, 8}, 1, 2, 1)
	o, probs := s.Alloc(1, 2, 1), s.Alloc(1, 1, 2, 2)
	s.Attention(o, q, k, v, backend.Attention{Heads: 1, Scale: 2, Probs: probs})
	// Row 0: logits 0 and log 3, probabilities 1/4 and 3/4. Row 1: even.
	require.InDeltaSlice(t, []float64{7, 6}, widen(get(t, s, o)), 1e-6)
	require.InDeltaSlice(t, []float64{0.25, 0.75, 0.5, 0.5}, widen(get(t, s, probs)), 1e-6)

	// The bias turns row 0 even and row 1 to 9 : 1.
	bias := upload(t, []float32{float32(math.Log(3)), 0, float32(math.Log(9)), 0}, 1, 2, 2)
	row := s.Alloc(1, 1, 1, 2)
	s.Attention(o, q, k, v, backend.Attention{Heads: 1, Scale: 2, Bias: bias, Rows: []int{1}, Probs: row})
	require.InDeltaSlice(t, []float64{6, 4.4}, widen(get(t, s, o)), 1e-6)
	require.InDeltaSlice(t, []float64{0.9, 0.1}, widen(get(t, s, row)), 1e-6)
}

// TestAttentionIdentities: rows of probabilities sum to one; equal keys are
// looked at evenly; the order of keys does not matter; heads do not mix.
func TestAttentionIdentities(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	const n, heads, d = 9, 3, 4
	const c = heads * d
	s := newStream(t)
	qv, kv, vv := random(rng, n*c), random(rng, n*c), random(rng, n*c)
	o, probs := s.Alloc(1, n, c), s.Alloc(1, heads, n, n)
	a := backend.Attention{Heads: heads, Scale: 0.7, Probs: probs}
	s.Attention(o, put(s, qv, 1, n, c), put(s, kv, 1, n, c), put(s, vv, 1, n, c), a)
	want, p := get(t, s, o), get(t, s, probs)
	for r := range heads * n {
		sum := 0.0
		for _, v := range p[r*n : (r+1)*n] {
			require.Greater(t, v, float32(0))
			sum += float64(v)
		}
		require.InDelta(t, 1, sum, 1e-6)
	}

	backwards := func(x []float32) (y []float32) {
		for i := n - 1; i >= 0; i-- {
			y = append(y, x[i*c:(i+1)*c]...)
		}
		return y
	}
	s.Attention(o, put(s, qv, 1, n, c), put(s, backwards(kv), 1, n, c), put(s, backwards(vv), 1, n, c), a)
	require.InDeltaSlice(t, widen(want), widen(get(t, s, o)), 1e-6)

	s.Attention(o, put(s, qv, 1, n, c), s.Alloc(1, n, c), put(s, vv, 1, n, c), a)
	mean := s.Alloc(1, 1, c)
	s.Pool(mean, put(s, vv, 1, n, c), backend.Span{Lo: 0, Hi: n})
	even, middle := get(t, s, o), get(t, s, mean)
	for r := range n {
		require.InDeltaSlice(t, widen(middle), widen(even[r*c:(r+1)*c]), 1e-6)
	}

	for i := range n { // another first head leaves the others alone
		for j := range d {
			kv[i*c+j] *= -2
		}
	}
	s.Attention(o, put(s, qv, 1, n, c), put(s, kv, 1, n, c), put(s, vv, 1, n, c), a)
	other := get(t, s, o)
	for i := range n {
		require.Equal(t, want[i*c+d:(i+1)*c], other[i*c+d:(i+1)*c])
		require.NotEqual(t, want[i*c:i*c+d], other[i*c:i*c+d])
	}
}

// TestRopeIsRelative: with rotary angles in proportion to the position, the
// logit of a query and a key depends on their distance alone, in both
// pairings, and prefix tokens are not turned.
func TestRopeIsRelative(t *testing.T) {
	const n, d, prefix = 6, 4, 1
	for _, interleaved := range []bool{false, true} {
		cos, sin := make([]float32, (n-prefix)*d), make([]float32, (n-prefix)*d)
		for i := range n - prefix {
			for pair, frequency := range []float64{1, 0.1} {
				for _, j := range [][2]int{{pair, pair + 2}, {2 * pair, 2*pair + 1}}[map[bool]int{false: 0, true: 1}[interleaved]] {
					cos[i*d+j] = float32(math.Cos(float64(i) * frequency))
					sin[i*d+j] = float32(math.Sin(float64(i) * frequency))
				}
			}
		}
		rope := &backend.Rope{Cos: upload(t, cos, n-prefix, d), Sin: upload(t, sin, n-prefix, d), Prefix: prefix, Interleaved: interleaved}
		token := []float32{0.3, -1.2, 0.7, 0.4}
		var same []float32
		for range n {
			same = append(same, token...)
		}
		s := newStream(t)
		x, o, probs := put(s, same, 1, n, d), s.Alloc(1, n, d), s.Alloc(1, 1, n, n)
		s.Attention(o, x, x, x, backend.Attention{Heads: 1, Scale: 1, Rope: rope, Probs: probs})
		p := get(t, s, probs)
		logit := func(i, j int) float64 { return math.Log(float64(p[i*n+j])) - math.Log(float64(p[i*n+i])) }
		for distance := 1; distance < n-prefix; distance++ {
			for i := prefix; i+distance < n; i++ {
				require.InDelta(t, logit(prefix, prefix+distance), logit(i, i+distance), 1e-5)
				require.InDelta(t, logit(prefix, prefix+distance), logit(i+distance, i), 1e-5, "and is symmetric")
			}
			require.Less(t, logit(prefix, prefix+distance), 0.0, "equal tokens fit best where they stand")
		}
		// By hand: token · token turned by one step.
		first, second := [2]int{0, 2}, [2]int{1, 3}
		if interleaved {
			first, second = [2]int{0, 1}, [2]int{2, 3}
		}
		norm := func(pair [2]int) float64 {
			return float64(token[pair[0]]*token[pair[0]] + token[pair[1]]*token[pair[1]])
		}
		want := norm(first)*(math.Cos(1)-1) + norm(second)*(math.Cos(0.1)-1)
		require.InDelta(t, want, logit(prefix, prefix+1), 1e-5)
		// The prefix token is as it was: position 0, like the first patch.
		require.InDelta(t, 0, logit(0, 1), 1e-6)
	}
}

func TestPoolAndGatherByHand(t *testing.T) {
	s := newStream(t)
	x := put(s, []float32{1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60}, 2, 3, 2)
	y := s.Alloc(2, 1, 4)
	s.Pool(y, x, backend.Span{Lo: 0, Hi: 1}, backend.Span{Lo: 0, Hi: 3})
	require.Equal(t, []float32{1, 2, 3, 4, 10, 20, 30, 40}, get(t, s, y))
	z := s.Alloc(2, 2, 2)
	s.Gather(z, x, []int{2, 0})
	require.Equal(t, []float32{5, 6, 1, 2, 50, 60, 10, 20}, get(t, s, z))
}

// TestTemp: a Temp is read as often as anyone likes and holds nothing when the
// next Sync begins; what is no token of an operation that takes Temps is none.
func TestTemp(t *testing.T) {
	w := weight(t, backend.LinearOptions{}, []float32{1}, 1, 1)
	s := newStream(t)
	x, h := put(s, []float32{3}, 1, 1, 1), s.Temp(1, 1, 1)
	y, z := s.Alloc(1, 1, 1), s.Alloc(1, 1, 1)
	s.Linear(h, x, w, backend.Epilogue{})
	s.Linear(y, h, w, backend.Epilogue{})
	s.Linear(z, h, w, backend.Epilogue{Residual: y})
	require.Equal(t, []float32{6}, get(t, s, z))
	s.Linear(z, h, w, backend.Epilogue{})
	require.True(t, math.IsNaN(float64(get(t, s, z)[0])), "nothing is left of the Sync before")
	require.PanicsWithValue(t, "backend: Linear: residual (1, 1, 1) is a Temp", func() { s.Linear(y, x, w, backend.Epilogue{Residual: h}) })
}
