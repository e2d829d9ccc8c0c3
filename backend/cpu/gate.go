package cpu

import (
	"math"
	"sync"
	"sync/atomic"
)

// gate lends workers to programs: to the most important that waits, and to
// the one that came first among equals. It gets as many as it wants, or those
// that are free: nobody waits beside an idle worker.
type gate struct {
	mu      sync.Mutex
	free    []*worker
	all     int
	closed  bool
	empty   chan struct{} // closed when a closed gate has all its workers back
	tickets uint64
	queue   []*turn
	most    atomic.Int64 // priority of the most important waiter
}

// turn is a program's visit, or several: it keeps its ticket when it leaves
// for somebody more important, and so comes back before its equals.
type turn struct {
	priority int
	want     int       // workers at most
	workers  []*worker // while it is in
	ticket   uint64
	in       chan error
}

func (g *gate) init(workers []*worker) {
	g.free = append(g.free, workers...)
	g.all = len(workers)
	g.empty = make(chan struct{})
	g.most.Store(math.MinInt64)
}

// enter waits for t's workers.
func (g *gate) enter(t *turn) error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return errClosed
	}
	if t.ticket == 0 {
		g.tickets++
		t.ticket, t.in = g.tickets, make(chan error, 1)
	}
	g.queue = append(g.queue, t)
	g.admit()
	g.mu.Unlock()
	return <-t.in
}

// leave gives t's workers back.
func (g *gate) leave(t *turn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.free = append(g.free, t.workers...)
	t.workers = t.workers[:0]
	g.admit()
	if g.closed && len(g.free) == g.all {
		close(g.empty)
	}
}

// admit lets in who is next while there are workers. The caller holds mu.
func (g *gate) admit() {
	for len(g.queue) > 0 && len(g.free) > 0 {
		next := 0
		for i, t := range g.queue {
			best := g.queue[next]
			if t.priority > best.priority || t.priority == best.priority && t.ticket < best.ticket {
				next = i
			}
		}
		t := g.queue[next]
		rest := max(len(g.free)-t.want, 0)
		t.workers = append(t.workers, g.free[rest:]...)
		g.free = g.free[:rest]
		g.queue = append(g.queue[:next], g.queue[next+1:]...)
		t.in <- nil
	}
	most := int64(math.MinInt64)
	for _, t := range g.queue {
		most = max(most, int64(t.priority))
	}
	g.most.Store(most)
}

// wanted reports whether somebody more important than priority waits.
func (g *gate) wanted(priority int) bool { return g.most.Load() > int64(priority) }

// close refuses all who wait or come later, and returns when nobody is in.
// It reports false to all but its first caller.
func (g *gate) close() bool {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		<-g.empty
		return false
	}
	g.closed = true
	for _, t := range g.queue {
		t.in <- errClosed
	}
	g.queue = nil
	g.admit()
	if len(g.free) == g.all {
		close(g.empty)
	}
	g.mu.Unlock()
	<-g.empty
	return true
}
