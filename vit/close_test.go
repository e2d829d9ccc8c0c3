package vit

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/cpu"
)

// TestModelClose: a closed model's memory comes back, that of its gradients
// too, and the model beside it is well.
func TestModelClose(t *testing.T) {
	b, err := cpu.New(backend.Options{Threads: 2})
	require.NoError(t, err)
	defer b.Close()
	c := deitTi()
	c.Depth = 2
	stays, err := New(b, c, Random(c, 1))
	require.NoError(t, err)
	run := func(m *Model, gradient bool) []float32 {
		s, err := m.NewSession(SessionOptions{})
		require.NoError(t, err)
		defer s.Close()
		tr := trace(t, s, photos(c, 1, 1), Wants{})
		if gradient {
			derive(t, tr, AtLogits(OneHot(c.Classes, 3)), GradWants{Pixels: true})
		}
		return tr.Output.Logits.Float32s()
	}
	want := run(stays, false)
	var before int
	for round := range 4 {
		m, err := New(b, c, Random(c, uint64(round)))
		require.NoError(t, err)
		loaded := b.Bytes()
		run(m, true)
		require.GreaterOrEqual(t, b.Bytes(), loaded+b.GradientBytes(), "gradients have weights of their own")
		require.Positive(t, b.GradientBytes())
		for range 2 {
			require.NoError(t, m.Close())
		}
		if round == 0 {
			before = b.Bytes() // with the scratch that gradients took
		}
		require.Equal(t, before, b.Bytes(), "round %d", round)
		require.Zero(t, b.GradientBytes())
		require.Equal(t, want, run(stays, false))
	}
	require.Less(t, before, 2*4*int(Params(c))+64<<20)

	s, err := stays.NewSession(SessionOptions{})
	require.NoError(t, err)
	require.NoError(t, stays.Close())
	require.Panics(t, func() { _, _ = s.Forward(photos(c, 1, 1), Wants{}) }, "a session that outlived its model")
	require.NoError(t, s.Close())
}
