package focus

import (
	"context"
	"math"
	"slices"
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
	m, err := Find(AutoMethod)
	require.NoError(t, err)
	// tried returns what auto shows of image 1, and which of its trials that is.
	tried := func() (best int, shown Focus, err error) {
		x := a.subject()
		patch := x.Patch
		x.Record = r.Image(1)
		x.Patch = patch
		made, err := m.Maps(context.Background(), x, Options{})
		if err != nil {
			return 0, shown, err
		}
		require.Len(t, made.Maps, 1)
		require.Len(t, made.Maps[0], 1)
		shown = made.Maps[0][0]
		return slices.IndexFunc(shown.Trials, func(f Focus) bool { return f.Map == shown.Map }), shown, shown.Err
	}
	best, shown, err := tried()
	trials := shown.Trials
	require.NoError(t, err)
	require.Equal(t, &Target{Class: 1}, shown.Target)
	require.Equal(t, trials[best].Method.Name, shown.Method.Name)
	require.Equal(t, trials[best].Options, shown.Options)
	require.Equal(t, trials[best].Evidence, shown.Evidence)
	require.Len(t, trials, 4, "those without gradients")
	for i, trial := range trials {
		require.NoError(t, trial.Err)
		want, err := trial.Method.Map(context.Background(), Subject{Record: r.Image(1)}, trial.Options)
		require.NoError(t, err)
		require.Equal(t, want.Values.Float32s(), trial.Map.Values.Float32s())
		e, err := Evaluate(context.Background(), a.subject(), 1, want)
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
	best, shown, err = tried()
	trials = shown.Trials
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
	_, shown, err = tried()
	require.ErrorIs(t, err, ErrNotFinite)
	require.Equal(t, AutoMethod, shown.Method.Name)
	r = only(record(1, 2, 2, 2, 1, grid), 0)
	_, _, err = tried()
	require.ErrorIs(t, err, ErrRows)
}
