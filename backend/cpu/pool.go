package cpu

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// patience is how long a thread spins for work or for its peers before it
// sleeps. Waking a sleeper takes 60 to 150 µs, and a layer of a small model
// hardly more, so that threads must be awake between layers; an idle process
// must not use the CPU.
const patience = 100 * time.Microsecond

// pool is the threads of a backend. Worker 0 is whoever calls run.
type pool struct {
	gate    gate
	workers []*worker
	job     job
	failed  atomic.Pointer[error]
	left    atomic.Int32 // workers still at the job
	asleep  atomic.Bool  // the caller waits on done
	done    chan struct{}
	exited  sync.WaitGroup
}

// job is a piece of a program for the workers to run side by side.
type job struct {
	steps    []step
	pcs      []int       // next step of each worker that takes part
	reads    [][]float32 // where Read operations write to
	priority int
}

// worker is a thread's own things.
type worker struct {
	k    *kernels
	id   int
	args gemmArgs       // of the kernel that runs
	tile unsafe.Pointer // one tile of C
	job  *job

	scratch unsafe.Pointer // as much as the program asked for, undefined at the start of a step
	bytes   int
	piece   *block

	state atomic.Uint32
	wake  chan struct{}
	_     [line]byte // workers spin on state: no line of it is shared
}

// States of a worker.
const (
	idle     uint32 = iota
	posted          // there is a job for it
	sleeping        // as idle, but it must be woken
	quitting
)

func newPool(k *kernels, threads int, a *arena) (*pool, error) {
	p := &pool{done: make(chan struct{}, 1)}
	p.gate.init()
	for i := range threads {
		tile, _, err := a.alloc(k.rows * k.cols * 4)
		if err != nil {
			return nil, err
		}
		p.workers = append(p.workers, &worker{k: k, id: i, tile: tile, wake: make(chan struct{}, 1)})
	}
	for _, w := range p.workers[1:] {
		p.exited.Go(func() { p.serve(w) })
	}
	return p, nil
}

// close waits for the program that runs, lets no other in and ends the threads.
func (p *pool) close() {
	if !p.gate.close() {
		return
	}
	for _, w := range p.workers[1:] {
		w.post(quitting)
	}
	p.exited.Wait()
}

// reserve gives every worker so many bytes of scratch.
func (p *pool) reserve(a *arena, bytes int) error {
	for _, w := range p.workers {
		if w.bytes >= bytes {
			continue
		}
		scratch, piece, err := a.alloc(bytes)
		if err != nil {
			return err
		}
		if w.piece != nil {
			a.free(w.piece)
		}
		w.scratch, w.piece, w.bytes = scratch, piece, bytes
	}
	return nil
}

// post hands a worker its next state and wakes it if need be.
func (w *worker) post(state uint32) {
	if w.state.Swap(state) == sleeping {
		w.wake <- struct{}{}
	}
}

// serve runs jobs until the pool is closed.
func (p *pool) serve(w *worker) {
	for {
		w.await()
		if !w.state.CompareAndSwap(posted, idle) {
			return
		}
		w.run(p)
		if p.left.Add(-1) == 0 && p.asleep.CompareAndSwap(true, false) {
			p.done <- struct{}{}
		}
	}
}

// await returns when there is something to do.
func (w *worker) await() {
	if spin(func() bool { return w.state.Load() != idle }) {
		return
	}
	if w.state.CompareAndSwap(idle, sleeping) {
		<-w.wake
	}
}

// spin waits for a while until ready.
func spin(ready func() bool) bool {
	var start time.Time
	for i := 1; ; i++ {
		if ready() {
			return true
		}
		if i%64 != 0 {
			continue
		}
		switch {
		case start.IsZero():
			start = time.Now()
		case time.Since(start) > patience:
			return false
		}
		if i%1024 == 0 {
			runtime.Gosched() // there may be fewer processors than workers
		}
	}
}

// run lets workers run the steps of a job from where each of them stands, and
// returns when all have stopped. Whether they came to the end is for the
// caller to see.
func (p *pool) run(j job) error {
	p.job = j
	p.failed.Store(nil)
	defer func() { p.job = job{} }()
	p.left.Store(int32(len(j.pcs) - 1))
	for _, w := range p.workers[1:len(j.pcs)] {
		w.post(posted)
	}
	p.workers[0].run(p)
	spin(func() bool { return p.left.Load() == 0 })
	// A worker that was held up between finishing the job before and looking
	// at asleep may wake this one too early: hence the loop.
	for p.left.Load() > 0 {
		p.asleep.Store(true)
		if p.left.Load() > 0 || !p.asleep.CompareAndSwap(true, false) {
			<-p.done
		}
	}
	if err := p.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// run runs steps until the last one, or until someone more important waits.
// A panic is a defect of this package; it ends the program that met it and
// not the process, whose other requests are well.
func (w *worker) run(p *pool) {
	w.job = &p.job
	pc := &w.job.pcs[w.id]
	defer func() {
		w.args = gemmArgs{} // memory may be unmapped before the next job
		if r := recover(); r != nil {
			stack := make([]byte, 4<<10)
			err := fmt.Errorf("cpu: panic in %T: %v\n%s", p.job.steps[*pc], r, stack[:runtime.Stack(stack, false)])
			p.failed.CompareAndSwap(nil, &err)
		}
	}()
	for ; *pc < len(p.job.steps) && !p.gate.wanted(p.job.priority); *pc++ {
		p.job.steps[*pc].run(w)
	}
}

// exec runs a program.
func (p *pool) exec(prog *program, reads [][]float32, priority int, a *arena) error {
	ticket, err := p.gate.enter(priority, 0)
	if err != nil {
		return err
	}
	for _, steps := range prog.segments {
		clear(prog.pcs)
		for more := true; more; {
			if p.gate.wanted(priority) {
				p.gate.leave()
				if ticket, err = p.gate.enter(priority, ticket); err != nil {
					return err
				}
			}
			if err = p.reserve(a, prog.scratch); err == nil {
				err = p.run(job{steps: steps, pcs: prog.pcs, reads: reads, priority: priority})
			}
			if err != nil {
				p.gate.leave()
				return err
			}
			more = slices.Min(prog.pcs) < len(steps)
		}
	}
	p.gate.leave()
	runtime.KeepAlive(prog)
	return nil
}
