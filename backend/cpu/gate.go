package cpu

import (
	"math"
	"sync"
	"sync/atomic"
)

// gate lets one program in at a time: the most important that waits, and the
// one that came first among equals.
type gate struct {
	mu      sync.Mutex
	busy    bool
	closed  bool
	empty   chan struct{} // closed when the last one leaves a closed gate
	tickets uint64
	queue   []*waiter
	most    atomic.Int64 // priority of the most important waiter
}

type waiter struct {
	priority int
	ticket   uint64
	refused  bool
	in       chan struct{}
}

func (g *gate) init() {
	g.empty = make(chan struct{})
	g.most.Store(math.MinInt64)
}

// enter waits for its turn and returns a ticket; ticket 0 draws one. Who left
// for somebody more important comes back with the ticket it had, before its
// equals.
func (g *gate) enter(priority int, ticket uint64) (uint64, error) {
	g.mu.Lock()
	if ticket == 0 {
		g.tickets++
		ticket = g.tickets
	}
	if g.closed || !g.busy {
		defer g.mu.Unlock()
		if g.closed {
			return 0, errClosed
		}
		g.busy = true
		return ticket, nil
	}
	w := &waiter{priority: priority, ticket: ticket, in: make(chan struct{})}
	g.queue = append(g.queue, w)
	g.publish()
	g.mu.Unlock()
	<-w.in
	if w.refused {
		return 0, errClosed
	}
	return ticket, nil
}

// leave lets the next one in.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.queue) == 0 {
		g.busy = false
		if g.closed {
			close(g.empty)
		}
		return
	}
	next := 0
	for i, w := range g.queue {
		best := g.queue[next]
		if w.priority > best.priority || w.priority == best.priority && w.ticket < best.ticket {
			next = i
		}
	}
	w := g.queue[next]
	g.queue = append(g.queue[:next], g.queue[next+1:]...)
	g.publish()
	close(w.in)
}

func (g *gate) publish() {
	most := int64(math.MinInt64)
	for _, w := range g.queue {
		most = max(most, int64(w.priority))
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
	for _, w := range g.queue {
		w.refused = true
		close(w.in)
	}
	g.queue = nil
	g.publish()
	if !g.busy {
		close(g.empty)
	}
	g.mu.Unlock()
	<-g.empty
	return true
}
