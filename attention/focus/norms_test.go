package focus_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/attention/focus"
	"gorgonia.org/tensor"
)

// TestNormRolloutGolden holds the map to PyTorch, which makes every vector
// that a head moves: of two images at once.
func TestNormRolloutGolden(t *testing.T) {
	m, err := focus.Find("normrollout")
	require.NoError(t, err)
	options := []focus.Options{{}, {Discard: 0.5}, {Start: 2}} // NORM_OPTIONS of testdata/make_maps.py
	for _, kind := range goldenKinds {
		if kind == "timm_norm_after" {
			continue // the norm behind a block's heads is none of the paper's
		}
		t.Run(kind, func(t *testing.T) {
			x, _ := goldenImages(t, kind)
			want, cells := npy(t, "testdata", kind+"_norms.npy"), x.Grid[0]*x.Grid[1]
			require.Equal(t, tensor.Shape{len(options), 2, cells}, want.Shape())
			for i, o := range options {
				require.NoError(t, m.Check(o, x.Shape))
				out, err := x.Model.(vitserve.View).Session.Forward(x.Pixels, vitserve.WantsOf(focus.Question{Method: m.Name, Options: o}, x.Shape))
				require.NoError(t, err)
				r := vitserve.RecordOf(x.Shape, out)
				for b := range 2 {
					got, err := m.Map(context.Background(), focus.Subject{Record: r.Image(b)}, o)
					require.NoError(t, err)
					w, name := want.Float32s()[(i*2+b)*cells:][:cells], fmt.Sprintf("%+v image %d", o, b)
					require.Greater(t, pearson(w, got.Values.Float32s()), 0.9999, name)
					for j, v := range w {
						require.InDelta(t, v, got.Values.Float32s()[j], 1e-6+1e-4*float64(v), "%s cell %d", name, j)
					}
				}
			}
		})
	}
}

// TestLooksGolden holds what the last block looks at, and rollout, to PyTorch.
func TestLooksGolden(t *testing.T) {
	for _, kind := range goldenKinds[6:] {
		x, _ := goldenImages(t, kind)
		want, cells := npy(t, "testdata", kind+"_looks.npy"), x.Grid[0]*x.Grid[1]
		for i, q := range []focus.Question{{Method: "raw"}, {Method: "raw", Options: focus.Options{Head: 2}}, {Method: "rollout"}} {
			out, err := x.Model.(vitserve.View).Session.Forward(x.Pixels, vitserve.WantsOf(q, x.Shape))
			require.NoError(t, err)
			m, err := focus.Find(q.Method)
			require.NoError(t, err)
			for b := range 2 {
				got, err := m.Map(context.Background(), focus.Subject{Record: vitserve.RecordOf(x.Shape, out).Image(b)}, q.Options)
				require.NoError(t, err)
				require.InDeltaSlice(t, want.Float32s()[(i*2+b)*cells:][:cells], got.Values.Float32s(), 1e-6, "%s %+v", kind, q)
			}
		}
	}
}

// TestProbeGolden holds what a probe looks at to PyTorch, and what that looks
// at through the layers.
func TestProbeGolden(t *testing.T) {
	x, _ := goldenImages(t, "timm_map")
	want, cells := npy(t, "testdata", "timm_map_looks.npy"), x.Grid[0]*x.Grid[1]
	for i, q := range []focus.Question{{Method: "raw"}, {Method: "raw", Options: focus.Options{Head: 2}}, {Method: "rollout"}} {
		require.NoError(t, q.Check(x.Shape))
		out, err := x.Model.(vitserve.View).Session.Forward(x.Pixels, vitserve.WantsOf(q, x.Shape))
		require.NoError(t, err)
		require.Equal(t, q.Method == "raw", len(out.Attn) == 0, "the layers' attention is not computed for the probe's")
		r := vitserve.RecordOf(x.Shape, out)
		m, err := focus.Find(q.Method)
		require.NoError(t, err)
		for b := range 2 {
			got, err := m.Map(context.Background(), focus.Subject{Record: r.Image(b)}, q.Options)
			require.NoError(t, err)
			require.Zero(t, got.Layer)
			require.InDeltaSlice(t, want.Float32s()[(i*2+b)*cells:][:cells], got.Values.Float32s(), 1e-6)
		}
	}
	// A layer that is named is read as in any model without a class token.
	m, err := focus.Find("raw")
	require.NoError(t, err)
	for _, o := range []focus.Options{{Layer: 1}, {Query: []int{0, 1}}} {
		out, err := x.Model.(vitserve.View).Session.Forward(x.Pixels, vitserve.WantsOf(focus.Question{Method: "raw", Options: focus.Options{Layer: o.Layer}, Queries: nil}, x.Shape))
		require.NoError(t, err)
		if len(o.Query) > 0 {
			out, err = x.Model.(vitserve.View).Session.Forward(x.Pixels, vitserve.WantsOf(focus.Question{Method: "raw", Queries: [][]int{o.Query}}, x.Shape))
			require.NoError(t, err)
		}
		got, err := m.Map(context.Background(), focus.Subject{Record: vitserve.RecordOf(x.Shape, out).Image(0)}, o)
		require.NoError(t, err)
		require.Positive(t, got.Layer)
	}
	// A record of other layers than the probe's lacks it.
	_, err = m.Map(context.Background(), focus.Subject{Record: &focus.Record{Shape: x.Shape, Attn: []*tensor.Dense{tensor.New(tensor.WithShape(1, 3, 16, 16), tensor.Of(tensor.Float32))}}}, focus.Options{})
	require.ErrorIs(t, err, focus.ErrRows)
}

// moves returns a record of one head in two layers, whose values are as long
// as told.
func moves(lengths ...float32) *focus.Record {
	n := len(lengths)
	r := &focus.Record{Shape: focus.Shape{Grid: [2]int{1, n - 1}, Prefix: 1}}
	for range 2 {
		attn, gram := make([]float32, n*n), make([]float32, n)
		for i := range attn {
			attn[i] = 1 / float32(n)
		}
		for i, v := range lengths {
			gram[i] = v * v
		}
		r.Attn = append(r.Attn, tensor.New(tensor.WithShape(1, 1, n, n), tensor.WithBacking(attn)))
		r.Gram = append(r.Gram, tensor.New(tensor.WithShape(1, n, 1, 1), tensor.WithBacking(gram)))
	}
	return r
}

// TestNormRolloutLengths: of even attention, what is short counts little; a
// layer that moves nothing leaves every token to itself; NaN is no picture.
func TestNormRolloutLengths(t *testing.T) {
	m, err := focus.Find("normrollout")
	require.NoError(t, err)
	got, err := m.Map(context.Background(), focus.Subject{Record: moves(1, 3, 0, 4).Image(0)}, focus.Options{})
	require.NoError(t, err)
	// A row is lengths/8; half of it is added twice, and once to each token's own half.
	lengths := []float64{1, 3, 0, 4}
	for j, v := range got.Values.Float32s() {
		direct := lengths[j+1] / 8
		require.InDelta(t, direct/4+direct/4+direct/4, v, 1e-6)
	}
	require.InDelta(t, 1-0.75*7/8, got.OnPrefix, 1e-6)

	_, err = m.Map(context.Background(), focus.Subject{Record: moves(0, 0, 0, 0).Image(0)}, focus.Options{})
	require.ErrorIs(t, err, focus.ErrFlat)
	_, err = m.Map(context.Background(), focus.Subject{Record: moves(1, 2, 3, float32(math.NaN())).Image(0)}, focus.Options{})
	require.ErrorIs(t, err, focus.ErrNotFinite)
	_, err = m.Map(context.Background(), focus.Subject{Record: moves(1, 2, 3, 4).Image(0)}, focus.Options{Fusion: focus.Max})
	require.ErrorIs(t, err, focus.ErrOption)

	// Heads that cancel move nothing, however much they attend.
	r := moves(1, 1, 1, 1)
	for l := range r.Attn {
		n := 4
		attn, gram := make([]float32, 2*n*n), make([]float32, 0, 4*n)
		for i := range attn {
			attn[i] = 1 / float32(n)
		}
		for j := range n {
			sign := float32(1)
			if j == 2 {
				sign = -1
			}
			gram = append(gram, 1, sign, sign, 1)
		}
		r.Attn[l] = tensor.New(tensor.WithShape(1, 2, n, n), tensor.WithBacking(attn))
		r.Gram[l] = tensor.New(tensor.WithShape(1, n, 2, 2), tensor.WithBacking(gram))
	}
	got, err = m.Map(context.Background(), focus.Subject{Record: r.Image(0)}, focus.Options{})
	require.NoError(t, err)
	require.Zero(t, got.Values.Float32s()[1])
	require.Positive(t, got.Values.Float32s()[0])
}
