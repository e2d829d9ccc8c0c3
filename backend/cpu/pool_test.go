package cpu

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
)

// stepFunc is a step for tests.
type stepFunc func(w *worker)

func (f stepFunc) run(w *worker) { f(w) }

func testProgram(workers int, segments ...[]step) *program {
	return &program{segments: segments, pcs: make([]int, workers)}
}

// TestSegments tests that every worker runs every step once, and none begins
// a segment before all have ended the one before.
func TestSegments(t *testing.T) {
	const workers, segments = 4, 50
	b := openTest(t, &portable, backend.Options{Threads: workers})
	var runs atomic.Int32
	var all [][]step
	for i := range segments {
		all = append(all, []step{
			stepFunc(func(w *worker) { runs.Add(1) }),
			stepFunc(func(w *worker) {
				if w.id == i%workers {
					time.Sleep(time.Duration(i%3) * 100 * time.Microsecond) // longer than anyone spins
				}
				runs.Add(1)
			}),
		})
		all[i] = append([]step{stepFunc(func(w *worker) {
			if n := runs.Load(); int(n) < i*workers*2 {
				t.Errorf("worker %d begins segment %d after %d steps", w.id, i, n)
			}
		})}, all[i]...)
	}
	p := testProgram(workers, all...)
	for range 3 {
		runs.Store(0)
		require.NoError(t, b.pool.exec(p, nil, 0, &b.own))
		require.EqualValues(t, segments*workers*2, runs.Load())
	}
}

// TestPanic tests that a defect in a step is an error of the program that met
// it, in the caller's part as in a worker's, and of no other.
func TestPanic(t *testing.T) {
	b := openTest(t, &portable, backend.Options{Threads: 3})
	for id := range 3 {
		bad := testProgram(3, []step{stepFunc(func(w *worker) {
			if w.id == id {
				panic("a defect")
			}
		})})
		require.ErrorContains(t, b.pool.exec(bad, nil, 0, &b.own), "a defect")
		require.NoError(t, b.pool.exec(testProgram(3, []step{stepFunc(func(*worker) {})}), nil, 0, &b.own))
	}
}

// TestEarlyWake tests that a worker that was held up between ending the job
// before and waking the caller, who is at the next job by then, does not end
// the wait for that one.
func TestEarlyWake(t *testing.T) {
	b := openTest(t, &portable, backend.Options{Threads: 2})
	p := b.pool
	var ended atomic.Bool
	require.NoError(t, p.run(job{pcs: make([]int, 2), steps: []step{stepFunc(func(w *worker) {
		if w.id == 0 {
			return
		}
		for !p.asleep.CompareAndSwap(true, false) { // as serve does after the job before
			time.Sleep(100 * time.Microsecond)
		}
		p.done <- struct{}{}
		time.Sleep(5 * time.Millisecond)
		ended.Store(true)
	})}}))
	require.True(t, ended.Load(), "run has returned while a worker is at its step")
}

// TestPriority tests that a more important program runs as soon as the steps
// under way have ended, and that the other one then goes on where it was.
func TestPriority(t *testing.T) {
	b := openTest(t, &portable, backend.Options{Threads: 2})
	started, high := make(chan struct{}), make(chan error, 1)
	var order []string
	var mu sync.Mutex
	note := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, s)
	}
	queued := func() bool {
		b.pool.gate.mu.Lock()
		defer b.pool.gate.mu.Unlock()
		return len(b.pool.gate.queue) > 0
	}
	low := testProgram(2, []step{
		stepFunc(func(w *worker) {
			if w.id == 0 {
				note("low begins")
				close(started)
			}
			for w.id == 0 && !queued() {
				time.Sleep(time.Millisecond)
			}
		}),
		stepFunc(func(w *worker) {
			if w.id == 0 {
				note("low ends")
			}
		}),
	})
	go func() {
		<-started
		high <- b.pool.exec(testProgram(2, []step{stepFunc(func(w *worker) {
			if w.id == 0 {
				note("high")
			}
		})}), nil, 1, &b.own)
	}()
	require.NoError(t, b.pool.exec(low, nil, 0, &b.own))
	require.NoError(t, <-high)
	require.Equal(t, []string{"low begins", "high", "low ends"}, order)
}

// TestGateIsFair tests who comes next.
func TestGateIsFair(t *testing.T) {
	var g gate
	g.init()
	first, err := g.enter(0, 0)
	require.NoError(t, err)
	var order []int
	var wait sync.WaitGroup
	for i, w := range []struct {
		priority int
		ticket   uint64
	}{{0, 0}, {-1, 0}, {2, 0}, {0, 0}, {2, 0}, {0, first}} {
		wait.Go(func() {
			_, err := g.enter(w.priority, w.ticket)
			if err != nil {
				t.Error(err)
			}
			order = append(order, i)
			g.leave()
		})
		require.Eventually(t, func() bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return len(g.queue) == i+1
		}, 10*time.Second, 100*time.Microsecond)
	}
	require.True(t, g.wanted(1))
	require.False(t, g.wanted(2))
	g.leave()
	wait.Wait()
	require.Equal(t, []int{2, 4, 5, 0, 3, 1}, order)
	require.True(t, g.close())
	require.False(t, g.close())
}

// TestCloseWaits tests that a program that runs ends, and one that waits is
// refused.
func TestCloseWaits(t *testing.T) {
	b, err := open(backend.Options{Threads: 2}, &portable)
	require.NoError(t, err)
	running, release, waited := make(chan struct{}), make(chan struct{}), make(chan error, 2)
	go func() {
		waited <- b.pool.exec(testProgram(2, []step{stepFunc(func(w *worker) {
			if w.id == 0 {
				close(running)
			}
			<-release
		})}), nil, 0, &b.own)
	}()
	<-running
	go func() { waited <- b.pool.exec(testProgram(2, nil), nil, 0, &b.own) }()
	require.Eventually(t, func() bool {
		b.pool.gate.mu.Lock()
		defer b.pool.gate.mu.Unlock()
		return len(b.pool.gate.queue) == 1
	}, 10*time.Second, time.Millisecond)
	closed := make(chan error)
	go func() { closed <- b.Close() }()
	require.ErrorIs(t, <-waited, errClosed)
	select {
	case <-closed:
		t.Fatal("closed while a program runs")
	case <-time.After(10 * time.Millisecond):
	}
	close(release)
	require.NoError(t, <-waited)
	require.NoError(t, <-closed)
}
