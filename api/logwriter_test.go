package api_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
)

// reader is a reader of logs that may stall, or go away.
type reader struct {
	mu   sync.Mutex // held while it stalls
	gone bool
	logs
}

func (r *reader) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return 0, errors.New("broken pipe")
	}
	return r.logs.Write(p)
}

func TestLogWriter(t *testing.T) {
	r := &reader{}
	var l *api.LogWriter
	l = api.NewLogWriter(r, func(lost int64) { fmt.Fprintf(r, "lost %d\n", lost) })
	fmt.Fprintln(l, "first")
	require.Eventually(t, func() bool { return r.String() == "first\n" }, 5*time.Second, time.Millisecond)

	r.mu.Lock() // it stalls
	line := strings.Repeat("x", 1023) + "\n"
	began := time.Now()
	for range 5000 {
		n, err := l.Write([]byte(line))
		require.NoError(t, err)
		require.Equal(t, len(line), n)
	}
	require.Less(t, time.Since(began), 5*time.Second)
	lost := l.Lost()
	require.Greater(t, lost, int64(2900), "a megabyte waits, and perhaps another in a write")
	require.Less(t, lost, int64(4000))
	r.mu.Unlock()
	require.Eventually(t, func() bool { return strings.Contains(r.String(), fmt.Sprintf("lost %d\n", lost)) }, 5*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return strings.Count(r.String(), "x\n") == 5000-int(lost) }, 5*time.Second, time.Millisecond, "what was not lost")

	r.mu.Lock()
	r.gone = true
	r.mu.Unlock()
	fmt.Fprintln(l, "to nobody")
	l.Close(time.Minute)
	n, err := l.Write([]byte("late"))
	require.NoError(t, err)
	require.Equal(t, 4, n)
	require.Equal(t, lost+1, l.Lost())

	stalls := &reader{}
	stalls.mu.Lock()
	l = api.NewLogWriter(stalls, func(int64) {})
	fmt.Fprintln(l, "never read")
	began = time.Now()
	l.Close(50 * time.Millisecond)
	require.Less(t, time.Since(began), 5*time.Second)
	stalls.mu.Unlock()
}
