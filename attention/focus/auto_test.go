package focus

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAuto(t *testing.T) {
	grid := [2]int{4, 7}
	a := newAdditive(t, 3, grid, 28)
	r := record(9, 2, 3, 2, 1, grid)
	// The class token's row of head 1 in the last layer is what the model
	// goes by, and that of head 2 the contrary, twice as strong.
	_, heads, _, n := r.shape()
	last := r.Attn[2].Float32s()[1*heads*n*n:]
	for i, w := range a.weights {
		last[1+i] = float32(w) / 3
		last[n*n+1+i] = float32(2*(0.5-w)) / 28
	}
	best, trials, err := Auto(context.Background(), a.subject(), nil, r, 1)
	require.NoError(t, err)
	require.Len(t, trials, 4, "those without gradients")
	for i, trial := range trials {
		require.NoError(t, trial.Err)
		m, err := Find(trial.Method)
		require.NoError(t, err)
		want, err := m.Map(r, 1, trial.Options)
		require.NoError(t, err)
		require.Equal(t, want.Values.Float32s(), trial.Map.Values.Float32s())
		e, err := Evaluate(context.Background(), a.subject(), want)
		require.NoError(t, err)
		require.Equal(t, e, trial.Evidence)
		require.LessOrEqual(t, trial.Evidence.Score(), trials[best].Evidence.Score(), "candidate %d", i)
	}

	// One that is flat takes no part.
	for h := range heads {
		for i := range n {
			last[h*n*n+i] = 1 / float32(n)
		}
	}
	best, trials, err = Auto(context.Background(), a.subject(), nil, r, 1)
	require.NoError(t, err)
	require.ErrorIs(t, trials[0].Err, ErrFlat)
	require.Nil(t, trials[0].Evidence)
	require.NotZero(t, best)
	require.NoError(t, trials[best].Err)

	for _, layer := range r.Attn {
		for i := range layer.Float32s() {
			layer.Float32s()[i] = float32(math.NaN())
		}
	}
	_, _, err = Auto(context.Background(), a.subject(), nil, r, 1)
	require.ErrorIs(t, err, ErrNotFinite)
	_, _, err = Auto(context.Background(), a.subject(), nil, only(record(1, 1, 2, 2, 1, grid), 0), 0)
	require.ErrorIs(t, err, ErrRows)
}
