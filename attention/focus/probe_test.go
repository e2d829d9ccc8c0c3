package focus

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/patch"
	"gorgonia.org/tensor"
)

// additive is a model of two classes: class 1 has as probability the sum of
// the weights of the patches whose pixels it finds as they were, in parts.
type additive struct {
	t       *testing.T
	grid    [2]int
	weights []float64 // sum 1
	image   []float32 // as it was
	size    int       // height and width
	batch   int
	asked   int
	fail    error
}

func newAdditive(t *testing.T, seed uint64, grid [2]int, size int) *additive {
	rng := rand.New(rand.NewPCG(seed, 2))
	a := &additive{t: t, grid: grid, size: size, weights: make([]float64, grid[0]*grid[1])}
	var sum float64
	for i := range a.weights {
		a.weights[i] = rng.ExpFloat64()
		sum += a.weights[i]
	}
	for i := range a.weights {
		a.weights[i] /= sum
	}
	for range 3 * size * size {
		a.image = append(a.image, 0.1+0.8*rng.Float32())
	}
	return a
}

func (a *additive) subject() Subject {
	image := tensor.New(tensor.WithShape(1, 3, a.size, a.size), tensor.WithBacking(slices.Clone(a.image)))
	shape := Shape{Grid: a.grid, Patch: [2]int{a.size / a.grid[0], a.size / a.grid[1]}}
	return Subject{Record: &Record{Shape: shape}, Model: a, Pixels: image, Targets: []Target{{Class: 1}}, Batch: a.batch}
}

func two(p []float64) *tensor.Dense {
	var out []float32
	for _, v := range p {
		out = append(out, float32(1-v), float32(v))
	}
	return tensor.New(tensor.WithShape(len(p), 2), tensor.WithBacking(out))
}

func (a *additive) Probabilities(_ context.Context, pixels *tensor.Dense) (*tensor.Dense, error) {
	n := pixels.Shape()[0]
	require.LessOrEqual(a.t, n, max(a.batch, defaultBatch))
	a.asked += n
	var p []float64
	for b := range n {
		x := pixels.Float32s()[b*len(a.image) : (b+1)*len(a.image)]
		same, total := 0.0, 0.0
		for i, v := range x[:a.size*a.size] {
			w := a.weights[i/a.size/(a.size/a.grid[0])*a.grid[1]+i%a.size/(a.size/a.grid[1])]
			total += w
			if v == a.image[i] {
				same += w
			}
		}
		p = append(p, same/total)
	}
	return two(p), a.fail
}

func (a *additive) Kept(_ context.Context, pixels *tensor.Dense, keep [][]int) (*tensor.Dense, error) {
	require.Equal(a.t, tensor.Shape{1, 3, a.size, a.size}, pixels.Shape())
	a.asked += len(keep)
	var p []float64
	for _, k := range keep {
		require.Len(a.t, k, len(keep[0]), "lists are of one length")
		require.NotEmpty(a.t, k)
		sum, last := 0.0, -1
		for _, i := range k {
			require.Greater(a.t, i, last, "lists are ascending")
			require.Less(a.t, i, len(a.weights))
			sum, last = sum+a.weights[i], i
		}
		p = append(p, sum)
	}
	return two(p), a.fail
}

// Tokens are as alike as can be: none is an outlier.
func (a *additive) Tokens(_ context.Context, pixels *tensor.Dense) (*tensor.Dense, error) {
	return tensor.Ones(tensor.Float32, pixels.Shape()[0], 1+len(a.weights), 1), a.fail
}

func (a *additive) Trace(context.Context, *tensor.Dense, bool, []int) (Trace, error) {
	return nil, ErrGradients
}

// Of a model whose patches add up, occlusion must find the weights.
func TestOcclusion(t *testing.T) {
	a := newAdditive(t, 1, [2]int{4, 5}, 20)
	m, err := occlusion(context.Background(), asked{a.subject(), 1}, Options{})
	require.NoError(t, err)
	for i, w := range a.weights {
		require.InDelta(t, w, m.Values.Float32s()[i], 1e-6)
	}
	require.Equal(t, 1+20, a.asked)

	m, err = occlusion(context.Background(), asked{a.subject(), 1}, Options{Window: 2})
	require.NoError(t, err)
	// The corner is in one window: itself and its three neighbours.
	require.InDelta(t, a.weights[0]+a.weights[1]+a.weights[5]+a.weights[6], m.Values.Float32s()[0], 1e-6)
	// The cell beside it is in two.
	require.InDelta(t, (a.weights[0]+2*a.weights[1]+a.weights[2]+a.weights[5]+2*a.weights[6]+a.weights[7])/2,
		m.Values.Float32s()[1], 1e-6)
}

func TestRise(t *testing.T) {
	a := newAdditive(t, 2, [2]int{14, 14}, 28)
	a.batch = 33
	m, err := rise(context.Background(), asked{a.subject(), 1}, Options{Masks: 6000})
	require.NoError(t, err)
	require.Equal(t, 6000, a.asked)
	require.Greater(t, pearson(a.weights, m.Values.Float32s()), 0.4, "smooth masks blur the weights")

	// A model that looks at one place is found out.
	spot := make([]float64, 14*14)
	for i := range spot {
		spot[i] = 1e-4
		if r, c := i/14, i%14; r >= 3 && r < 6 && c >= 8 && c < 11 {
			spot[i] = 1
		}
	}
	a.weights = spot
	m, err = rise(context.Background(), asked{a.subject(), 1}, Options{Seed: 1})
	require.NoError(t, err)
	s := m.Summary(cropped(140, 140, patch.Rect{W: 140, H: 140}))
	require.InDelta(t, 95, s.Peak.X+s.Peak.W/2, 15)
	require.InDelta(t, 45, s.Peak.Y+s.Peak.H/2, 15)

	again, err := rise(context.Background(), asked{a.subject(), 1}, Options{Seed: 1})
	require.NoError(t, err)
	require.Equal(t, m.Values.Float32s(), again.Values.Float32s(), "one seed, one map")
	other, err := rise(context.Background(), asked{a.subject(), 1}, Options{Seed: 2})
	require.NoError(t, err)
	require.NotEqual(t, m.Values.Float32s(), other.Values.Float32s())
}

func pearson(a []float64, b []float32) float64 {
	var sa, sb, saa, sbb, sab float64
	for i := range a {
		x, y := a[i], float64(b[i])
		sa, sb, saa, sbb, sab = sa+x, sb+y, saa+x*x, sbb+y*y, sab+x*y
	}
	n := float64(len(a))
	return (n*sab - sa*sb) / math.Sqrt((n*saa-sa*sa)*(n*sbb-sb*sb))
}

func TestEvidence(t *testing.T) {
	a := newAdditive(t, 3, [2]int{4, 7}, 28) // 28 patches: one a step
	weights := make([]float32, len(a.weights))
	for i, w := range a.weights {
		weights[i] = float32(w)
	}
	right := newTestMap(4, 7, weights...)
	e, err := Evaluate(context.Background(), a.subject(), 1, right)
	require.NoError(t, err)
	require.Equal(t, 2*EvidenceSteps+2*PerturbationSteps, a.asked)

	order := slices.Clone(a.weights)
	slices.Sort(order)
	slices.Reverse(order)
	given := 0.0
	require.Len(t, e.DeletionCurve, EvidenceSteps+1)
	require.Len(t, e.InsertionCurve, EvidenceSteps+1)
	var want float64
	for step := range EvidenceSteps + 1 {
		require.InDelta(t, 1-given, e.DeletionCurve[step], 1e-5)
		require.InDelta(t, given, e.InsertionCurve[step], 1e-5)
		if step < EvidenceSteps {
			want += (given + order[step]/2) / EvidenceSteps
			given += order[step]
		}
	}
	require.InDelta(t, want, e.Insertion, 1e-5)
	require.InDelta(t, 1-want, e.Deletion, 1e-5)
	require.InDelta(t, 2*want-1, e.Score(), 1e-5)

	// The reversed map is as bad as the right one is good.
	for i := range weights {
		weights[i] = -weights[i]
	}
	wrong, err := Evaluate(context.Background(), a.subject(), 1, newTestMap(4, 7, weights...))
	require.NoError(t, err)
	require.InDelta(t, -e.Score(), wrong.Score(), 1e-5)
	require.Less(t, e.Positive, e.Negative)
	require.InDelta(t, e.Positive, wrong.Negative, 0.13, "stretched to pixels, and its ties, it is nearly the mirror image")

	// What is kept falls as more is taken.
	for _, curve := range [][]bool{e.PositiveCurve, e.NegativeCurve} {
		require.Len(t, curve, PerturbationSteps)
		for i := 1; i < len(curve); i++ {
			require.False(t, curve[i] && !curve[i-1])
		}
	}
}

func TestProbesRefuse(t *testing.T) {
	a := newAdditive(t, 4, [2]int{4, 4}, 16)
	ctx := context.Background()
	for _, c := range []struct {
		method string
		o      Options
	}{
		{"occlusion", Options{Window: 4}}, {"occlusion", Options{Window: -1}}, {"occlusion", Options{Masks: 3}},
		{"occlusion", Options{Layer: 1}}, {"occlusion", Options{Query: []int{0, 0}}},
		{"rise", Options{Masks: -1}}, {"rise", Options{Masks: maxMasks + 1}}, {"rise", Options{Keep: 1}},
		{"rise", Options{Keep: math.NaN()}}, {"rise", Options{Window: 2}}, {"rise", Options{Discard: 0.5}},
	} {
		m, err := Find(c.method)
		require.NoError(t, err)
		_, err = m.Map(ctx, a.subject(), c.o)
		require.ErrorIs(t, err, ErrOption, "%s %+v", c.method, c.o)
		require.ErrorIs(t, m.Check(c.o, Shape{Grid: a.grid, Depth: 3, Heads: 3}), ErrOption)
		_, err = m.Map(context.Background(), Subject{Record: record(1, 1, 1, 1, 1, a.grid).Image(0)}, Options{})
		require.ErrorIs(t, err, ErrOption)
		require.Equal(t, []int{}, m.rows(Options{}, Shape{Grid: a.grid, Prefix: 1}))
	}
	require.Zero(t, a.asked)

	occlusion, err := Find("occlusion")
	require.NoError(t, err)
	s := a.subject()
	s.Targets[0].Class = 2
	_, err = occlusion.Map(ctx, s, Options{})
	require.ErrorIs(t, err, ErrOption)
	require.ErrorContains(t, err, "0 to 1")
	_, err = Evaluate(ctx, s, 2, newTestMap(4, 4, make([]float32, 16)...))
	require.ErrorIs(t, err, ErrFlat)
	_, err = Evaluate(ctx, a.subject(), 1, newTestMap(2, 2, 1, 2, 3, 4))
	require.ErrorContains(t, err, "[4 4]")

	s = a.subject()
	s.Patch = [2]int{4, 5}
	require.Panics(t, func() { _, _ = occlusion.Map(ctx, s, Options{}) })

	a.weights = make([]float64, 16) // a model that looks at nothing
	_, err = occlusion.Map(ctx, a.subject(), Options{})
	require.ErrorIs(t, err, ErrFlat)

	a.fail = errors.New("device lost")
	for _, m := range Methods() {
		if m.From == FromParts {
			_, err = m.Map(ctx, a.subject(), Options{})
			require.ErrorIs(t, err, a.fail)
			stopped, cancel := context.WithCancel(ctx)
			cancel()
			before := a.asked
			_, err = m.Map(stopped, a.subject(), Options{})
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, before, a.asked)
		}
	}
	_, err = Evaluate(ctx, a.subject(), 1, newTestMap(4, 4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16))
	require.ErrorIs(t, err, a.fail)
}
