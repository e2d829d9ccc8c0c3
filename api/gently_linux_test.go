package api

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestLowerPriority(t *testing.T) {
	// The system call returns 20 less the priority.
	priority := func() int {
		p, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid())
		require.NoError(t, err)
		return 20 - p
	}
	before := priority()
	require.NoError(t, gently(func() error {
		require.Equal(t, min(before+10, 19), priority())
		return nil
	}))
	for range 100 {
		require.Equal(t, before, priority())
	}
}
