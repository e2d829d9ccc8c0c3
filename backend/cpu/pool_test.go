package cpu

import (
	"slices"
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
	p := newProgram(workers)
	p.segments = segments
	return p
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
	var ended atomic.Bool
	p := testProgram(2)
	p.segments = [][]step{{stepFunc(func(w *worker) {
		if w.id == 0 {
			return
		}
		for !p.job.asleep.CompareAndSwap(true, false) { // as serve does after the piece before
			time.Sleep(100 * time.Microsecond)
		}
		p.job.done <- struct{}{}
		time.Sleep(5 * time.Millisecond)
		ended.Store(true)
	})}}
	require.NoError(t, b.pool.exec(p, nil, 0, &b.own))
	require.True(t, ended.Load(), "exec has returned while a worker is at its step")
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

// TestGateIsFair tests who comes next, and with how many workers.
func TestGateIsFair(t *testing.T) {
	var g gate
	g.init(make([]*worker, 4))
	first, small, rest := &turn{want: 2}, &turn{want: 1}, &turn{want: 4}
	for i, w := range []*turn{first, small, rest} {
		require.NoError(t, g.enter(w))
		require.Len(t, w.workers, []int{2, 1, 1}[i], "those that are left")
	}
	var order []int
	var wait sync.WaitGroup
	for i, w := range []*turn{
		{priority: 2, want: 4}, {priority: -1, want: 4}, {priority: 2, want: 4}, {priority: 0, want: 4}, {priority: 2, want: 4},
		{priority: 0, want: 4, ticket: first.ticket, in: make(chan error, 1)}, {priority: -1, want: 1},
	} {
		wait.Go(func() {
			if err := g.enter(w); err != nil {
				t.Error(err)
			}
			order = append(order, i) // nobody else is in: the second to come holds three
			g.leave(w)
		})
		require.Eventually(t, func() bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return len(g.queue) == i+1
		}, 10*time.Second, 100*time.Microsecond)
	}
	require.True(t, g.wanted(1))
	require.False(t, g.wanted(2))
	g.leave(small)
	wait.Wait()
	require.Equal(t, []int{0, 2, 4, 5, 3, 1, 6}, order)
	require.False(t, g.wanted(-2))
	g.leave(first)
	g.leave(rest)
	require.True(t, g.close())
	require.False(t, g.close())
	require.ErrorIs(t, g.enter(&turn{want: 1}), errClosed)
}

// TestSideBySide tests that programs that together want no more workers than
// there are run at the same time, and that no worker is at two of them.
func TestSideBySide(t *testing.T) {
	b := openTest(t, &portable, backend.Options{Threads: 3})
	var mu sync.Mutex
	busy := map[*worker]bool{}
	met := make(chan struct{})
	var wait sync.WaitGroup
	for _, workers := range []int{1, 2} {
		wait.Go(func() {
			p := testProgram(workers, []step{stepFunc(func(w *worker) {
				mu.Lock()
				if busy[w] {
					t.Error("a worker is at two jobs")
				}
				busy[w] = true
				if len(busy) == 3 {
					close(met)
				}
				mu.Unlock()
				select {
				case <-met:
				case <-time.After(10 * time.Second):
					t.Error("alone")
				}
			})})
			if err := b.pool.exec(p, nil, 0, &b.own); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
}

// TestFewerWorkers tests that a program that gets fewer workers than it was
// compiled for runs every share, segment by segment.
func TestFewerWorkers(t *testing.T) {
	b := openTest(t, &portable, backend.Options{Threads: 5})
	other := &turn{want: 3}
	require.NoError(t, b.pool.gate.enter(other))
	var mu sync.Mutex
	var order [][2]int // segment, share
	workers := map[*worker]bool{}
	var segments [][]step
	for segment := range 3 {
		segments = append(segments, []step{stepFunc(func(w *worker) {
			time.Sleep(time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			order = append(order, [2]int{segment, w.id})
			workers[w] = true
		})})
	}
	require.NoError(t, b.pool.exec(testProgram(5, segments...), nil, 0, &b.own))
	b.pool.gate.leave(other)
	require.Len(t, workers, 2)
	for segment := range 3 {
		part := order[segment*5:][:5]
		slices.SortFunc(part, func(a, b [2]int) int { return a[1] - b[1] })
		require.Equal(t, [][2]int{{segment, 0}, {segment, 1}, {segment, 2}, {segment, 3}, {segment, 4}}, part)
	}
	require.Len(t, order, 15)
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

// TestAdvanced tests that every step takes the time of the last one forward,
// long before the program ends.
func TestAdvanced(t *testing.T) {
	b := openTest(t, &portable, backend.Options{Threads: 2})
	began := time.Now()
	var before time.Time
	wait := stepFunc(func(*worker) { time.Sleep(time.Millisecond) })
	look := stepFunc(func(*worker) { before = b.Advanced() })
	p := testProgram(1, []step{wait, look})
	require.NoError(t, b.pool.exec(p, nil, 0, &b.own))
	require.True(t, before.After(began), "the first of two steps")
	require.True(t, b.Advanced().After(before))
	require.False(t, b.Advanced().After(time.Now()))
}
