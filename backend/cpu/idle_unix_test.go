//go:build unix

package cpu

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
)

func cpuTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestIdle tests that workers sleep where there is nothing to do.
func TestIdle(t *testing.T) {
	b := openTest(t, available()[0], backend.Options{Threads: 4})
	s := newTestStream(t, b, 0)
	e := newBlocks(t, b, s, 1, 17, 2, 64, 2)
	e.enqueue(s)
	require.NoError(t, s.Sync())
	time.Sleep(10 * time.Millisecond)
	before := cpuTime(t)
	time.Sleep(500 * time.Millisecond)
	require.Less(t, cpuTime(t)-before, 50*time.Millisecond)
}
