// Package backendtest holds every backend to backend/ref: one suite of every
// operation, with one tolerance for each operation and precision. A backend
// with several kernels runs it once for each.
package backendtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/ref"
	"gorgonia.org/tensor"
)

// limits bound nmse, which is mse(got, want) / mse(0, want), of each
// operation in each precision. Those of F32 were measured on the kernels of
// backend/cpu, then doubled; rounding every input of a product to bf16 (2⁻⁹
// at most) gives about 3e-6 a layer, and to eight bits of its row's range
// about 2e-4. Norms and pooling are float32 in every precision, an Exact
// Linear has the limit of F32, and Gather copies.
var limits = map[string]map[backend.Precision]float64{
	"PatchEmbed": {backend.F32: 4e-13, backend.BF16: 4e-13, backend.Int8: 4e-13},
	"LayerNorm":  {backend.F32: 4e-14, backend.BF16: 4e-14, backend.Int8: 4e-14},
	"Linear":     {backend.F32: 2e-12, backend.BF16: 5e-5, backend.Int8: 2e-3},
	"MLP":        {backend.F32: 1e-12, backend.BF16: 1e-4, backend.Int8: 4e-3},
	"Attention":  {backend.F32: 6e-13, backend.BF16: 1e-4, backend.Int8: 1e-4},
	"Temps":      {backend.F32: 7e-13, backend.BF16: 2.6e-5, backend.Int8: 4.4e-4},
	"Layers":     {backend.F32: 1.3e-12, backend.BF16: 4.4e-4, backend.Int8: 4.4e-4},
	"Pool":       {backend.F32: 2e-13, backend.BF16: 2e-13, backend.Int8: 2e-13},
	"Gather":     {backend.F32: 0, backend.BF16: 0, backend.Int8: 0},
	"Encoder":    {backend.F32: 8e-13, backend.BF16: 1e-3, backend.Int8: 2e-2},

	// Whole encoders, with norms in between; their gradients look at taps as
	// the layers before them were rounded.
	"Families":     {backend.F32: 2.3e-12, backend.BF16: 1.5e-4, backend.Int8: 4.9e-3},
	"FamiliesGrad": {backend.F32: 2.3e-12, backend.BF16: 1.5e-4, backend.Int8: 4.9e-3},

	// Gradients are computed in float32 in every precision, through weights
	// as they were rounded.
	"LayerNormGrad": {backend.F32: 4e-13},
	"LinearGrad":    {backend.F32: 2e-12, backend.BF16: 5e-5, backend.Int8: 2e-3},
	"MLPGrad":       {backend.F32: 1e-12, backend.BF16: 1e-4, backend.Int8: 4e-3},
	"AttentionGrad": {backend.F32: 2e-12},
	"PoolGrad":      {backend.F32: 2e-13},
	"GatherGrad":    {backend.F32: 6e-15},
}

// worst is how many times the root of its limit a single value may be off,
// in units of itself and of the root mean square of what is wanted: nmse
// alone does not see one wrong value among many.
const worst = 12

// Run runs the suite on b, which was opened with precision p.
func Run(t *testing.T, b backend.Backend, p backend.Precision) {
	s := suite{b: b, p: p}
	require.NotEmpty(t, b.Name())
	require.NotEmpty(t, b.Info().Device)
	require.GreaterOrEqual(t, b.Info().Threads, 1)
	require.Positive(t, b.Peak(time.Millisecond), "GFLOP/s")
	t.Run("PatchEmbed", s.patchEmbed)
	t.Run("LayerNorm", s.layerNorm)
	t.Run("Norms", s.norms)
	t.Run("HeadByHead", s.headByHead)
	t.Run("Linear", s.linear)
	t.Run("Activations", s.activations)
	t.Run("MLP", s.mlp)
	t.Run("Temps", s.temps)
	t.Run("Attention", s.attention)
	t.Run("Places", s.places)
	t.Run("PlacesSubset", s.placesSubset)
	t.Run("Hidden", s.hidden)
	t.Run("Spent", s.spent)
	t.Run("Pool", s.pool)
	t.Run("Gather", s.gather)
	t.Run("RelativeBias", s.relativeBias)
	t.Run("LayerByLayer", s.layerByLayer)
	t.Run("Stream", s.stream)
	t.Run("Reads", s.reads)
	t.Run("Failure", s.failure)
	t.Run("Panics", s.panics)
	t.Run("Weights", s.weights)
	t.Run("Encoder", s.encoder)
	t.Run("Families", s.families)
	t.Run("FamiliesCompany", s.familiesCompany)
	t.Run("Company", s.company)
	t.Run("Subset", s.subset)
	t.Run("Poison", s.poison)
	t.Run("Concurrency", s.concurrency)
	t.Run("Gradients", s.gradients)
}

type suite struct {
	b backend.Backend
	p backend.Precision
}

// A rig makes the operands of a case. Two rigs with the same seed make the
// same operands on two backends.
type rig struct {
	backend.Stream
	t   testing.TB
	b   backend.Backend
	rng *rand.Rand
}

// compare runs a case on the backend and on ref and compares the tensors
// that it returns. exact takes the limit of F32.
func (s suite) compare(t *testing.T, op string, exact bool, f func(r *rig) []backend.Tensor) {
	t.Helper()
	got := runCase(t, s.b, f)
	want := runCase(t, ref.Backend{}, f)
	p := s.p
	if exact {
		p = backend.F32
	}
	require.Len(t, got, len(want))
	for i := range want {
		near(t, fmt.Sprintf("output %d", i), got[i], want[i], limits[op][p])
	}
}

// runCase returns what f's tensors hold after one Sync.
func runCase(t *testing.T, b backend.Backend, f func(r *rig) []backend.Tensor) []*tensor.Dense {
	t.Helper()
	stream, err := b.NewStream(backend.StreamOptions{})
	require.NoError(t, err)
	defer func() { require.NoError(t, stream.Close()) }()
	outs := f(&rig{Stream: stream, t: t, b: b, rng: newRand()})
	var read []*tensor.Dense
	for _, o := range outs {
		d := zeros(o.Shape...)
		stream.Read(d, o)
		read = append(read, d)
	}
	require.NoError(t, stream.Sync())
	return read
}

// near fails unless got is within limit of want, as a whole and value by
// value.
func near(t testing.TB, name string, got, want *tensor.Dense, limit float64) {
	t.Helper()
	g, w := got.Float32s(), want.Float32s()
	require.Equal(t, want.Shape(), got.Shape(), name)
	var off, all float64
	for _, v := range w {
		all += float64(v) * float64(v)
	}
	n := math.Max(float64(len(w)), 1)
	rms := math.Sqrt(all / n)
	most, at := 0.0, 0 // the worst value, in units of itself and of rms
	for i, v := range w {
		d := math.Abs(float64(g[i]) - float64(v))
		if v != v || math.IsInf(float64(v), 0) {
			require.FailNowf(t, "the oracle's answer is not finite", "%s: value %d is %v", name, i, v)
		}
		if d != d { // NaN compares with nothing
			require.FailNowf(t, "not a number", "%s: value %d of %v is %v, want %v", name, i, want.Shape(), g[i], v)
		}
		off += d * d
		if d > 0 {
			d /= math.Abs(float64(v)) + rms
		}
		if d > most {
			most, at = d, i
		}
	}
	nmse := off / math.Max(all, math.SmallestNonzeroFloat64)
	if off == 0 {
		nmse = 0
	}
	if nmse > limit || most > worst*math.Sqrt(limit) {
		require.FailNowf(t, "too far from the oracle",
			"%s %v: nmse %.3g, limit %.3g; worst is value %d: %v, want %v (rms %.3g)",
			name, want.Shape(), nmse, limit, at, g[at], w[at], rms)
	}
	if testing.Verbose() {
		t.Logf("%s %v: nmse %.2g of %.2g, worst %.2g of %.2g", name, want.Shape(), nmse, limit,
			most, worst*math.Sqrt(limit))
	}
}

func zeros(shape ...int) *tensor.Dense {
	return tensor.New(tensor.WithShape(shape...), tensor.Of(tensor.Float32))
}

func dense(values []float32, shape ...int) *tensor.Dense {
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(values))
}

// normal returns a host tensor of the standard normal distribution.
func (r *rig) normal(std float64, shape ...int) *tensor.Dense {
	d := zeros(shape...)
	values := d.Float32s()
	for i := range values {
		values[i] = float32(r.rng.NormFloat64() * std)
	}
	return d
}

// tokens returns a tensor on the stream of the standard normal distribution.
func (r *rig) tokens(shape ...int) backend.Tensor {
	x := r.Alloc(shape...)
	r.Write(x, r.normal(1, shape...))
	return x
}

// full returns a tensor on the stream whose every value is v: what an
// operation must not touch keeps it.
func (r *rig) full(v float32, shape ...int) backend.Tensor {
	x := r.Alloc(shape...)
	d := zeros(shape...)
	values := d.Float32s()
	for i := range values {
		values[i] = v
	}
	r.Write(x, d)
	return x
}

// upload returns a constant of the backend.
func (r *rig) upload(d *tensor.Dense) backend.Tensor {
	x, err := r.b.Upload(d)
	require.NoError(r.t, err)
	return x
}

// linear returns a weight (out, in) that keeps the variance of its input.
func (r *rig) linear(out, in int, bias bool, o backend.LinearOptions) backend.Linear {
	var bv *tensor.Dense
	if bias {
		bv = r.normal(0.5, out)
	}
	l, err := r.b.NewLinear(r.normal(1/math.Sqrt(float64(in)), out, in), bv, o)
	require.NoError(r.t, err)
	require.Equal(r.t, []int{out, in}, []int{l.Out(), l.In()})
	return l
}

// norm returns a layer norm near the identity.
func (r *rig) norm(c int, eps float32) backend.Norm {
	weight := r.normal(0.2, c)
	for i := range weight.Float32s() {
		weight.Float32s()[i]++
	}
	return backend.Norm{Weight: r.upload(weight), Bias: r.upload(r.normal(0.2, c)), Eps: eps}
}
