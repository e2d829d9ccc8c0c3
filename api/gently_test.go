package api

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestGently: errors and panics come to who waits, and nothing of the thread is
// left to the goroutines after.
func TestGently(t *testing.T) {
	require.NoError(t, gently(func() error { return nil }))
	wanted := errors.New("broken")
	require.ErrorIs(t, gently(func() error { return wanted }), wanted)
	require.PanicsWithValue(t, "index 7", func() {
		defer func() {
			p := recover()
			require.Contains(t, p, "index 7\n")
			require.Contains(t, p, "TestGently", "the stack of the fault")
			panic("index 7")
		}()
		_ = gently(func() error { panic("index 7") })
	})
}
