package focus_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/backend/ref"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/vit"
)

func randomMap(seed uint64) *focus.Map {
	rng := rand.New(rand.NewPCG(seed, 1))
	return fixed([2]int{6, 9}, func(int, int) float64 { return rng.NormFloat64() })
}

func TestCompare(t *testing.T) {
	grid := [2]int{2, 4}
	of := func(v ...float64) *focus.Map { return fixed(grid, func(r, c int) float64 { return v[r*4+c] }) }
	a := of(1, 2, 3, 4, 5, 6, 7, 8)
	require.Equal(t, focus.Likeness{Spearman: 1, Absolute: 1, SSIM: 1}, focus.Compare(a, a))

	// Ranks alone count: an increasing function of the values has the same.
	require.InDelta(t, 1, focus.Compare(a, of(1, 4, 9, 16, 25, 36, 49, 64)).Spearman, 1e-12)

	// The opposite sign: every rank is turned round, no size is changed.
	l := focus.Compare(a, of(-1, -2, -3, -4, -5, -6, -7, -8))
	require.InDelta(t, -1, l.Spearman, 1e-12)
	require.InDelta(t, 1, l.Absolute, 1e-12)
	require.Less(t, l.SSIM, 0.0)

	// Spearman's 1 - 6 Σd²/(n(n²-1)) where no values are equal: Σd² = 8 of n = 8.
	require.InDelta(t, 1-6*8.0/(8*63), focus.Compare(a, of(2, 1, 4, 3, 6, 5, 8, 7)).Spearman, 1e-12)
	// Equal values share a rank: (1.5, 1.5, 3, 4 …) against 1 … 8 is √(1 - 6/504).
	require.InDelta(t, 0.994030, focus.Compare(a, of(1, 1, 3, 4, 5, 6, 7, 8)).Spearman, 1e-6)

	// A window of one is equation 13 without variances: of x = 1, 0, 0 and y = 1, 1, 0.
	one := func(v ...float64) *focus.Map {
		return fixed([2]int{1, 3}, func(_, c int) float64 { return v[c] })
	}
	require.InDelta(t, (1+1e-4/(1+1e-4)+1)/3, focus.Compare(one(1, 0, 0), one(1, 1, 0)).SSIM, 1e-9)
	require.InDelta(t, focus.Compare(randomMap(1), randomMap(2)).SSIM, focus.Compare(randomMap(2), randomMap(1)).SSIM, 1e-12)
	require.Panics(t, func() { focus.Compare(a, one(1, 2, 3)) })
}

func TestCheckSanity(t *testing.T) {
	m := randomMap(1)
	for _, c := range []struct {
		says     string
		shuffled func(from int, seed uint64) (*focus.Map, error)
	}{
		{"stays alike (1.00)", func(int, uint64) (*focus.Map, error) { return m, nil }},
		{"nothing of the map is left", func(from int, seed uint64) (*focus.Map, error) { return randomMap(uint64(from+9)*97 + seed), nil }},
		{"no map at all", func(int, uint64) (*focus.Map, error) { return nil, focus.ErrFlat }},
		{"some of the map is left", func(from int, seed uint64) (*focus.Map, error) {
			other := randomMap(50 + seed)
			return fixed([2]int{6, 9}, func(r, c int) float64 {
				return 0.35*float64(m.Values.Float32s()[r*9+c]) + float64(other.Values.Float32s()[r*9+c])
			}), nil
		}},
	} {
		s, err := focus.CheckSanity(m, 12, 1, c.shuffled)
		require.NoError(t, err)
		require.Contains(t, s.Verdict, c.says)
		var from []int
		for _, stage := range s.Stages {
			from = append(from, stage.From)
		}
		require.Equal(t, []int{12, 11, 6, 0, -1}, from)
	}
	broken := errors.New("device lost")
	_, err := focus.CheckSanity(m, 12, 1, func(int, uint64) (*focus.Map, error) { return nil, broken })
	require.ErrorIs(t, err, broken)
	_, err = focus.CheckSanity(fixed([2]int{2, 2}, func(int, int) float64 { return 1 }), 12, 1, nil)
	require.ErrorIs(t, err, focus.ErrFlat)
	one, err := focus.CheckSanity(m, 1, 1, func(int, uint64) (*focus.Map, error) { return m, nil })
	require.NoError(t, err)
	require.Len(t, one.Stages, 3, "the head, the one block, the embedding")
}

// TestSanityOfModels: attention in front of what is shuffled is as it was,
// gradients are not; of a model that forgot everything nothing is as it was.
func TestSanityOfModels(t *testing.T) {
	for _, kind := range goldenKinds {
		t.Run(kind, func(t *testing.T) {
			x, c := goldenImages(t, kind)
			ck, err := models.Open("../../models/testdata/golden/"+kind, models.Options{})
			require.NoError(t, err)
			defer ck.Close()
			maps := func(name string, from int, seed uint64) (*focus.Map, error) {
				model, err := ck.ShuffledModel(ref.Backend{}, from, seed)
				require.NoError(t, err)
				defer model.Close()
				s, err := model.NewSession(vit.SessionOptions{MaxBatch: 2})
				require.NoError(t, err)
				defer s.Close()
				m, err := focus.Find(name)
				require.NoError(t, err)
				y := x
				if m.From == focus.FromAttention {
					out, err := s.Forward(x.Pixels, vitserve.WantsOf(focus.Question{Method: name}, x.Shape))
					require.NoError(t, err)
					y.Record = vitserve.RecordOf(x.Shape, out)
				}
				y.Model, y.Targets = vitserve.View{Session: s}, []focus.Target{{Class: 2}}
				d, err := m.Maps(context.Background(), y, focus.Options{})
				require.NoError(t, err)
				return d.Maps[0][0].Map, d.Maps[0][0].Err
			}
			check := func(name string) *focus.Sanity {
				whole, err := maps(name, c.Depth+1, 0)
				require.NoError(t, err)
				s, err := focus.CheckSanity(whole, c.Depth, 3, func(from int, seed uint64) (*focus.Map, error) { return maps(name, from, seed) })
				require.NoError(t, err)
				return s
			}
			attends := check("rollout")
			require.Equal(t, focus.Likeness{Spearman: 1, Absolute: 1, SSIM: 1}, attends.Stages[0].Likeness)
			require.Contains(t, attends.Verdict, "of no class")
			require.Less(t, attends.Stages[len(attends.Stages)-1].Spearman, 0.9)
			require.Equal(t, attends, check("rollout"), "the same seed, the same numbers")

			derived := check("inputgradient")
			require.Less(t, derived.Stages[0].Spearman, 0.99)
			require.NotContains(t, derived.Verdict, "of no class")
		})
	}
}
