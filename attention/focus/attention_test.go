package focus

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/tensor"
)

func requireMap(t *testing.T, r *Record, want []float64, m *Map) {
	t.Helper()
	rows, cols := m.Grid()
	require.Equal(t, r.Grid, [2]int{rows, cols})
	prefix, all := 0.0, 0.0
	for i, w := range want {
		all += w
		if i < r.Prefix {
			prefix += w
			continue
		}
		require.InDelta(t, w, m.Values.Float32s()[i-r.Prefix], 1e-9+2e-5*w, "token %d", i)
	}
	require.InDelta(t, prefix/all, m.OnPrefix, 1e-6)
}

var kinds = []struct {
	name   string
	prefix int
	pooled bool
	grid   [2]int
}{
	{"class token", 1, false, [2]int{4, 4}},
	{"distilled", 2, false, [2]int{3, 3}},
	{"class token and registers, not square", 5, false, [2]int{2, 5}},
	{"no class token", 0, false, [2]int{5, 3}},
	{"registers without class token", 4, true, [2]int{3, 4}},
}

func TestRollout(t *testing.T) {
	for i, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			r := record(uint64(i), 3, 4, 3, k.prefix, k.grid)
			r.Pooled = k.pooled
			for _, o := range []Options{
				{},
				{Fusion: Mean, Discard: 0.3},
				{Fusion: Max},
				{Fusion: Max, Discard: 0.9},
				{Fusion: Min},
				{Fusion: Min, Discard: 0.5},
				{Start: 3},
				{Query: []int{1, 2}},
				{Query: []int{0, 1}, Discard: 0.4},
				{Compat: VitExplain},
				{Compat: VitExplain, Fusion: Max, Discard: 0.9},
				{Compat: VitExplain, Fusion: Min, Discard: 0.1, Start: 2},
			} {
				for b := range 3 {
					m, err := rollout(r, b, o)
					require.NoError(t, err, "%+v", o)
					requireMap(t, r, rolloutReference(r, b, o), m)
					require.Zero(t, m.Layer)
				}
			}
		})
	}
}

// Equal attention values at the threshold of the discard ratio fall in the
// order of their index, and element (0, 0) is spared but counted.
func TestRolloutTies(t *testing.T) {
	r := &Record{Shape: Shape{Grid: [2]int{1, 3}, Prefix: 1}}
	probs := []float32{
		0.1, 0.2, 0.3, 0.4,
		0.2, 0.2, 0.2, 0.4,
		0.1, 0.1, 0.2, 0.6,
		0.5, 0.2, 0.2, 0.1,
	}
	r.Attn = []*tensor.Dense{tensor.New(tensor.WithShape(1, 1, 4, 4), tensor.WithBacking(probs))}
	for k := range 16 {
		o := Options{Discard: float64(k) / 16}
		want := rolloutReference(r, 0, o)
		m, err := rollout(r, 0, o)
		if want[1] == 0 && want[2] == 0 && want[3] == 0 {
			require.ErrorIs(t, err, ErrFlat)
			continue
		}
		require.NoError(t, err, k)
		for i, w := range want[1:] {
			require.InDelta(t, w, m.Values.Float32s()[i], 1e-6, "%d of 16 discarded", k)
		}
	}
}

func TestKthLowest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	nan := float32(math.NaN())
	for n := 1; n < 40; n++ {
		for range 20 {
			x := make([]float32, n)
			for i := range x {
				x[i] = float32(rng.IntN(7))
			}
			sorted := slices.Clone(x)
			slices.Sort(sorted)
			for k := 1; k <= n; k++ {
				require.Equal(t, sorted[k-1], kthLowest(slices.Clone(x), k))
			}
		}
		x := make([]float32, n)
		for i := range x {
			x[i] = nan
		}
		x[n/2] = 1
		require.Equal(t, float32(1), kthLowest(x, 1))
	}
}

func TestRaw(t *testing.T) {
	for i, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			r := record(uint64(i)+10, 2, 3, 4, k.prefix, k.grid)
			r.Pooled = k.pooled
			_, _, _, n := r.shape()
			for _, o := range []Options{
				{}, {Layer: 1}, {Layer: 3, Head: 2}, {Head: 4, Fusion: Max}, {Fusion: Max}, {Fusion: Min, Layer: 2}, {Query: []int{1, 1}},
			} {
				l := (o.Layer + 2) % 3 // the last where none is asked for
				f := fused(r, l, 1, o.Fusion)
				want := make([]float64, n)
				asking := []int{0}
				if o.Query != nil {
					asking[0] = k.prefix + k.grid[1] + 1
				} else if k.prefix == 0 || k.pooled {
					asking = asking[:0]
					for q := k.prefix; q < n; q++ {
						asking = append(asking, q)
					}
				}
				for _, q := range asking {
					for j := range want {
						v := f[q][j]
						if o.Head > 0 {
							v = at(r, l, 1, o.Head-1, q, j)
						}
						want[j] += v / float64(len(asking))
					}
				}
				m, err := raw(r, 1, o)
				require.NoError(t, err)
				requireMap(t, r, want, m)
				require.Equal(t, l+1, m.Layer)
				require.Equal(t, o.Head, m.Head)

				// The same map from no more rows than the method asks for.
				method, err := Find("raw")
				require.NoError(t, err)
				if rows := method.rows(o, r.Shape); rows != nil {
					require.Equal(t, asking, rows)
					again, err := raw(only(r, rows...), 1, o)
					require.NoError(t, err)
					require.Equal(t, m.Values.Float32s(), again.Values.Float32s())
				}
			}
		})
	}
}

func TestRowsMissing(t *testing.T) {
	r := only(record(3, 1, 2, 2, 1, [2]int{3, 3}), 0)
	_, err := rollout(r, 0, Options{})
	require.ErrorIs(t, err, ErrRows)
	_, err = raw(r, 0, Options{Query: []int{1, 1}})
	require.ErrorIs(t, err, ErrRows)
	_, err = raw(r, 0, Options{})
	require.NoError(t, err)
	_, err = normRollout(record(3, 1, 2, 2, 1, [2]int{3, 3}), 0, Options{})
	require.ErrorIs(t, err, ErrRows)
	r.Gram = r.Attn
	_, err = normRollout(r, 0, Options{})
	require.ErrorIs(t, err, ErrRows)
}

func TestMass(t *testing.T) {
	values := []float32{0.1, 0.4, 0.2, 0.3}
	for mass, want := range map[float64][]float32{
		1:    {0.1, 0.4, 0.2, 0.3},
		0.95: {0.1, 0.4, 0.2, 0.3},
		0.85: {0, 0.4, 0.2, 0.3},
		0.5:  {0, 0.4, 0, 0.3},
		0.35: {0, 0.4, 0, 0},
	} {
		got := slices.Clone(values)
		keepMass(got, mass)
		require.Equal(t, want, got, "mass %g", mass)
	}
	signed := []float32{-3, 0.4, -0.1, 0.6} // what speaks against has no share
	keepMass(signed, 0.9)
	require.Equal(t, []float32{0, 0.4, 0, 0.6}, signed)
	r := record(5, 1, 2, 2, 1, [2]int{4, 4})
	m, err := raw(r, 0, Options{Mass: 0.5})
	require.NoError(t, err)
	whole, err := raw(r, 0, Options{})
	require.NoError(t, err)
	require.Less(t, sum(m), sum(whole)*0.65)
	require.Greater(t, sum(m), sum(whole)*0.499)
}

func sum(m *Map) (s float64) {
	for _, v := range m.Values.Float32s() {
		s += float64(v)
	}
	return s
}

func TestOptionsRefused(t *testing.T) {
	r := record(1, 1, 3, 2, 1, [2]int{3, 5})
	for _, c := range []struct {
		method string
		o      Options
		says   string
	}{
		{"raw", Options{Layer: 4}, "1 to 3"},
		{"raw", Options{Layer: -1}, "1 to 3"},
		{"raw", Options{Head: 3}, "1 to 2"},
		{"raw", Options{Fusion: "median"}, "mean, max, min"},
		{"raw", Options{Discard: 0.5}, "layer, head"},
		{"raw", Options{Compat: VitExplain}, "layer, head"},
		{"raw", Options{Query: []int{3, 0}}, "0,0 to 2,4"},
		{"raw", Options{Query: []int{0, 5}}, "0,0 to 2,4"},
		{"raw", Options{Query: []int{1}}, "0,0 to 2,4"},
		{"raw", Options{Mass: 1.5}, "0 to 1"},
		{"rollout", Options{Layer: 1}, "discard, start, query, compat"},
		{"rollout", Options{Head: 1}, "discard, start, query, compat"},
		{"rollout", Options{Discard: 1}, "0 to below 1"},
		{"rollout", Options{Discard: math.NaN()}, "0 to below 1"},
		{"rollout", Options{Discard: -0.1}, "0 to below 1"},
		{"rollout", Options{Start: 4}, "1 to 3"},
		{"rollout", Options{Compat: "chefer"}, "vit-explain"},
	} {
		t.Run(fmt.Sprintf("%s %+v", c.method, c.o), func(t *testing.T) {
			m, err := Find(c.method)
			require.NoError(t, err)
			_, err = m.Map(context.Background(), Subject{Record: r.Image(0)}, c.o)
			require.ErrorIs(t, err, ErrOption)
			require.ErrorContains(t, err, c.says)
			require.EqualError(t, m.Check(c.o, r.sized()), err.Error())
		})
	}
	_, err := Find("magic")
	require.ErrorIs(t, err, ErrOption)
	require.ErrorContains(t, err, "raw, rollout")
	require.Equal(t, []string{"raw", "rollout", "normrollout"}, Names(FromAttention))
	require.Equal(t, []string{"occlusion", "rise"}, Names(FromParts))
}

func TestFlatAndBroken(t *testing.T) {
	for _, name := range Names(FromAttention) { // those that read recorded attention
		m, err := Find(name)
		require.NoError(t, err)
		alike := func() *tensor.Dense { return tensor.Ones(tensor.Float32, 1, 10, 2, 2) }
		r := record(1, 1, 2, 2, 1, [2]int{3, 3})
		r.Gram = []*tensor.Dense{alike(), alike()}
		for _, a := range r.Attn {
			for i := range a.Float32s() {
				a.Float32s()[i] = 0.1
			}
		}
		_, err = m.Map(context.Background(), Subject{Record: r.Image(0)}, Options{})
		require.ErrorIs(t, err, ErrFlat, m.Name)

		r = record(1, 1, 2, 2, 1, [2]int{3, 3})
		r.Gram = []*tensor.Dense{alike(), alike()}
		r.Attn[1].Float32s()[4] = float32(math.NaN())
		_, err = m.Map(context.Background(), Subject{Record: r.Image(0)}, Options{})
		require.ErrorIs(t, err, ErrNotFinite, m.Name)
	}
}

func TestRecordOfAnotherShapePanics(t *testing.T) {
	r := record(1, 1, 2, 2, 1, [2]int{3, 3})
	r.Prefix = 2
	require.PanicsWithValue(t, "attention: record of layer 1 is (1, 2, 10, 10), want (B, H, 11, 11) as in every layer",
		func() { _, _ = raw(r, 0, Options{}) })
	require.Panics(t, func() { _, _ = raw(record(1, 2, 1, 1, 1, [2]int{2, 2}), 2, Options{}) })
}
