// Package batch groups the requests of many goroutines into the batches of a
// device, which has one lane or several side by side. A batch grows because
// the lanes are busy: what arrives meanwhile is taken together next. Waiting
// for company is optional and off by default.
//
// A place in the queue is reserved before the costly preparation of a request
// (decoding a picture) and used after it, so that a full queue turns requests
// away while they are still cheap.
package batch

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// Errors of a Queue.
var (
	ErrBusy   = errors.New("queue is full")
	ErrClosed = errors.New("queue is closed")
	ErrPanic  = errors.New("batch panicked")
)

// Priority orders waiting items: no item of a lower priority is taken while
// one of a higher waits.
type Priority int

// Priorities.
const (
	High Priority = iota
	Low
	priorities
)

// Options size a Queue.
type Options struct {
	MaxBatch int           // items that one call of run takes, at least 1
	Lanes    int           // calls of run at the same time; 0: 1
	MaxQueue int           // places of each priority, reserved or waiting, at least 1
	Delay    time.Duration // how long the oldest item waits for a batch to fill while a lane is idle; 0: not at all
}

// Validate says what is wrong with o, if anything.
func (o Options) Validate() error {
	switch {
	case o.MaxBatch < 1:
		return fmt.Errorf("batch: max batch %d, want at least 1", o.MaxBatch)
	case o.Lanes < 0:
		return fmt.Errorf("batch: %d lanes, want at least 0", o.Lanes)
	case o.MaxQueue < 1:
		return fmt.Errorf("batch: max queue %d, want at least 1", o.MaxQueue)
	case o.Delay < 0:
		return fmt.Errorf("batch: delay %v, want at least 0", o.Delay)
	}
	return nil
}

// Result is what became of one item.
type Result[Out any] struct {
	Out    Out
	Queued time.Duration // from Do to the start of its batch
	Ran    time.Duration // what its batch took
	Batch  int           // items in its batch
}

// Pass says where a call of run stands.
type Pass struct {
	Lane int // 0 to Lanes-1; no lane has two calls at a time, and low ones are preferred
	Load int // items in this call and in others, waiting, and on their way, for which places are reserved
}

// Queue hands batches of items to its lanes. Its methods are safe for use by
// several goroutines.
type Queue[In, Out any] struct {
	o     Options
	run   func(Pass, []In) ([]Out, error)
	wake  chan struct{} // a token: something changed for an idle lane
	lanes sync.WaitGroup

	mu      sync.Mutex
	waiting [priorities]list.List // of *item[In, Out], oldest first
	places  [priorities]int       // reserved or waiting
	fair    [priorities]fairness
	lane    []bool // that are in use
	running int    // items in calls of run
	closed  bool
	pace    time.Duration // running mean of what an item takes
	done    work
}

type item[In, Out any] struct {
	turn
	ctx   context.Context
	in    In
	since time.Time
	done  chan outcome[Out] // buffered: no lane waits for a caller that left
}

type outcome[Out any] struct {
	result Result[Out]
	err    error
}

// New starts the lanes. They call run with one to o.MaxBatch items, at most
// o.Lanes calls at a time; run returns an Out for every In, in order, or an
// error for all. A panic in run becomes an error in the chain of which is
// ErrPanic. New panics if o is invalid.
func New[In, Out any](o Options, run func(Pass, []In) ([]Out, error)) *Queue[In, Out] {
	if err := o.Validate(); err != nil {
		panic(err)
	}
	o.Lanes = max(o.Lanes, 1)
	q := &Queue[In, Out]{o: o, run: run, wake: make(chan struct{}, 1), lane: make([]bool, o.Lanes)}
	for range o.Lanes {
		q.lanes.Go(q.work)
	}
	return q
}

// A Slot is a reserved place in a Queue. It is used by one goroutine, for one
// Do, and released in any case.
type Slot[In, Out any] struct {
	q    *Queue[In, Out]
	p    Priority
	who  string
	cost float64
	gone bool // released, or handed over to an item
}

// Reserve takes a place, or fails at once with ErrBusy or ErrClosed. It is
// ReserveFor of somebody without a name, and of the cost 1.
func (q *Queue[In, Out]) Reserve(p Priority) (*Slot[In, Out], error) { return q.ReserveFor(p, "", 1) }

// ReserveFor takes a place for a client. One that is alone may have all;
// beside others, each may have its share of MaxQueue even when it is full, up
// to twice as many in all. What waits is taken from the clients in turn, by
// what it costs.
func (q *Queue[In, Out]) ReserveFor(p Priority, who string, cost float64) (*Slot[In, Out], error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, ErrClosed
	}
	if !q.fair[p].admits(who, q.places[p], q.o.MaxQueue) {
		return nil, ErrBusy
	}
	q.places[p]++
	q.fair[p].enter(who)
	return &Slot[In, Out]{q: q, p: p, who: who, cost: cost}, nil
}

// Release gives the place back if Do has not used it. It may be called more
// than once.
func (s *Slot[In, Out]) Release() {
	if s.gone {
		return
	}
	s.gone = true
	s.q.mu.Lock()
	s.q.leave(s.p, s.who)
	s.q.mu.Unlock()
}

// Do waits for the answer to in, or for ctx. An item whose ctx ends before
// its batch starts is never computed, and its place is free at once. When ctx
// ends later, its lane may still be reading in after Do returned: the
// caller must not write to it again. A Slot serves one Do; a second panics.
func (s *Slot[In, Out]) Do(ctx context.Context, in In) (Result[Out], error) {
	if s.gone {
		panic("batch: Do on a slot that is used or released")
	}
	s.gone = true
	q := s.q
	it := &item[In, Out]{ctx: ctx, in: in, since: time.Now(), done: make(chan outcome[Out], 1)}
	q.mu.Lock()
	if err := ctx.Err(); err != nil {
		q.leave(s.p, s.who)
		q.mu.Unlock()
		return Result[Out]{}, err
	}
	it.turn = q.fair[s.p].queue(s.who, s.cost)
	at := q.waiting[s.p].PushBack(it)
	q.mu.Unlock()
	q.signal()

	select {
	case o := <-it.done:
		return o.result, o.err
	case <-ctx.Done():
	}
	q.mu.Lock()
	// Remove of an element that a lane took already does nothing and
	// leaves the list's length as it is.
	before := q.waiting[s.p].Len()
	q.waiting[s.p].Remove(at)
	if q.waiting[s.p].Len() < before {
		q.leave(s.p, s.who)
	}
	q.mu.Unlock()
	return Result[Out]{}, ctx.Err()
}

// Do reserves a place and uses it.
func (q *Queue[In, Out]) Do(ctx context.Context, p Priority, in In) (Result[Out], error) {
	s, err := q.Reserve(p)
	if err != nil {
		return Result[Out]{}, err
	}
	return s.Do(ctx, in)
}

// Len returns how many places of priority p are taken, reserved or waiting.
func (q *Queue[In, Out]) Len(p Priority) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.places[p]
}

// RetryAfter estimates how long what is queued now will take.
func (q *Queue[In, Out]) RetryAfter() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 1
	for p := range q.places {
		n += q.places[p]
	}
	return time.Duration(n) * q.pace
}

// Close refuses new reservations, waits until every reserved place is
// answered or released, and ends the lanes. It may be called more than once.
func (q *Queue[In, Out]) Close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
	q.lanes.Wait()
}

// leave gives a place back. The caller holds mu.
func (q *Queue[In, Out]) leave(p Priority, who string) {
	q.places[p]--
	q.fair[p].leave(who)
	if q.closed {
		q.signal()
	}
}

func (q *Queue[In, Out]) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *Queue[In, Out]) work() {
	for {
		pass, batch := q.take()
		if batch == nil {
			q.signal() // the others end, too
			return
		}
		q.serve(pass, batch)
	}
}

// take waits for the next batch; nil when the queue is closed and empty.
func (q *Queue[In, Out]) take() (Pass, []*item[In, Out]) {
	for {
		q.mu.Lock()
		batch, wait := q.collect()
		if len(batch) > 0 {
			pass := q.begin(batch)
			q.mu.Unlock()
			q.signal() // there may be something left for another lane
			return pass, batch
		}
		ended := q.closed && q.places == [priorities]int{}
		q.mu.Unlock()
		switch {
		case ended:
			return Pass{}, nil
		case wait > 0:
			full := time.NewTimer(wait)
			select {
			case <-q.wake:
			case <-full.C:
			}
			full.Stop()
		default:
			<-q.wake
		}
	}
}

// begin takes a lane. The caller holds mu.
func (q *Queue[In, Out]) begin(batch []*item[In, Out]) Pass {
	p := Pass{Lane: slices.Index(q.lane, false)}
	q.lane[p.Lane] = true
	q.running += len(batch)
	for _, it := range batch {
		q.done.begin(it.cost)
	}
	p.Load = q.running
	for _, n := range q.places {
		p.Load += n
	}
	return p
}

// end gives the lane back.
func (q *Queue[In, Out]) end(p Pass, batch []*item[In, Out], ran time.Duration, failed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, cost := len(batch), 0.0
	for _, it := range batch {
		cost += it.cost
		failed = failed || it.ctx.Err() != nil // it may have ended early
	}
	q.done.ended(cost, ran, failed)
	each := ran / time.Duration(q.running) // those of other lanes take as long
	if q.pace == 0 {
		q.pace = each
	}
	q.pace += (each - q.pace) / 8
	q.running -= n
	q.lane[p.Lane] = false
}

// collect takes the items of the next batch out of the queue, or says how
// long to wait for more of them. Of what waits it takes a lane's fair share.
// The caller holds mu.
func (q *Queue[In, Out]) collect() (batch []*item[In, Out], wait time.Duration) {
	var n int
	var oldest time.Time
	for p := range q.waiting {
		n += q.waiting[p].Len()
		if front := q.waiting[p].Front(); front != nil {
			if since := front.Value.(*item[In, Out]).since; oldest.IsZero() || since.Before(oldest) {
				oldest = since
			}
		}
	}
	if n == 0 {
		return nil, 0
	}
	if n < q.o.MaxBatch && q.o.Delay > 0 && !q.closed {
		if wait := q.o.Delay - time.Since(oldest); wait > 0 {
			return nil, wait
		}
	}
	share := min((n-1)/q.o.Lanes+1, q.o.MaxBatch)
	for p := range q.waiting {
		for len(batch) < share && q.waiting[p].Len() > 0 {
			next := q.next(Priority(p))
			it := next.Value.(*item[In, Out])
			if len(batch) > 0 && it.ctx.Err() == nil && it.cost > company*batch[0].cost {
				return batch, 0 // who is cheap does not wait for who is dear
			}
			q.waiting[p].Remove(next)
			q.places[p]--
			q.fair[p].leave(it.who)
			// Its caller sees its context end and leaves by itself.
			if it.ctx.Err() == nil {
				q.fair[p].began(it.turn)
				batch = append(batch, it)
			}
		}
	}
	return batch, 0
}

// next returns what of a priority is to be taken next: of those whose turn it
// is, the oldest. The caller holds mu.
func (q *Queue[In, Out]) next(p Priority) *list.Element {
	next := q.waiting[p].Front()
	for e := next.Next(); e != nil; e = e.Next() {
		if e.Value.(*item[In, Out]).start < next.Value.(*item[In, Out]).start {
			next = e
		}
	}
	return next
}

// serve runs a batch and answers its items.
func (q *Queue[In, Out]) serve(pass Pass, batch []*item[In, Out]) {
	in := make([]In, len(batch))
	for i, it := range batch {
		in[i] = it.in
	}
	start := time.Now()
	out, err := q.guard(pass, in)
	ran := time.Since(start)
	if err == nil && len(out) != len(in) {
		err = fmt.Errorf("batch: %d answers to %d items", len(out), len(in))
	}
	q.end(pass, batch, ran, err != nil)

	for i, it := range batch {
		if err != nil {
			it.done <- outcome[Out]{err: err}
			continue
		}
		it.done <- outcome[Out]{result: Result[Out]{
			Out: out[i], Queued: start.Sub(it.since), Ran: ran, Batch: len(batch),
		}}
	}
}

// guard turns a panic of run into an error, so that callers are answered.
func (q *Queue[In, Out]) guard(p Pass, in []In) (out []Out, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v\n%s", ErrPanic, p, debug.Stack())
		}
	}()
	return q.run(p, in)
}
