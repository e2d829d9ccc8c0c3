package cpu

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// patience is how long a thread spins for work or for its peers before it
// sleeps. Waking a sleeper takes 60 to 150 µs and may put it on the processor
// of who wakes it, and a layer of a small model takes hardly more, so that
// threads must be awake between layers; an idle process must not use the CPU.
const patience = time.Millisecond

// pool is the threads of a backend. Who calls exec is one of those that work.
type pool struct {
	gate    gate
	workers []*worker
	exited  sync.WaitGroup
	epoch   time.Time
}

// job is a piece of a program for some workers to run side by side. It is cut
// into shares that look at nothing of each other's, one for each worker that
// the program was compiled for; fewer workers take several shares each.
type job struct {
	steps    []step
	pcs      []int       // next step of each share
	workers  int         // that run it
	reads    [][]float32 // where Read operations write to
	rows     []int       // of Gather and the like
	priority int
	gate     *gate
	epoch    time.Time // of the pool

	failed atomic.Pointer[error]
	left   atomic.Int32 // workers still at the job
	asleep atomic.Bool  // the caller waits on done
	done   chan struct{}
}

// worker is a thread's own things.
type worker struct {
	k    *kernels
	id   int            // the share that it is at
	args gemmArgs       // of the kernel that runs
	tile unsafe.Pointer // one tile of C
	job  *job

	scratch unsafe.Pointer // as much as the program asked for, undefined at the start of a step
	bytes   int
	piece   *block

	advanced atomic.Int64 // nanoseconds from the pool's epoch to the end of the last step

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
	p := &pool{epoch: time.Now()}
	for range threads {
		tile, _, err := a.alloc(k.rows * k.cols * 4)
		if err != nil {
			return nil, err
		}
		p.workers = append(p.workers, &worker{k: k, tile: tile, wake: make(chan struct{}, 1)})
	}
	p.gate.init(p.workers)
	for _, w := range p.workers {
		p.exited.Go(w.serve)
	}
	return p, nil
}

// close waits for the programs that run, lets no other in and ends the threads.
func (p *pool) close() {
	if !p.gate.close() {
		return
	}
	for _, w := range p.workers {
		w.post(quitting)
	}
	p.exited.Wait()
}

// reserve gives a worker so many bytes of scratch.
func (w *worker) reserve(a *arena, bytes int) error {
	if w.bytes >= bytes {
		return nil
	}
	scratch, piece, err := a.alloc(bytes)
	if err != nil {
		return err
	}
	if w.piece != nil {
		a.free(w.piece)
	}
	w.scratch, w.piece, w.bytes = scratch, piece, bytes
	return nil
}

// post hands a worker its next state and wakes it if need be.
func (w *worker) post(state uint32) {
	if w.state.Swap(state) == sleeping {
		w.wake <- struct{}{}
	}
}

// serve runs jobs until the pool is closed.
func (w *worker) serve() {
	for {
		w.await()
		if !w.state.CompareAndSwap(posted, idle) {
			return
		}
		j := w.job // it may have another when this one has no worker left
		w.run(j)
		if j.left.Add(-1) == 0 && j.asleep.CompareAndSwap(true, false) {
			j.done <- struct{}{}
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

// run lets workers run the steps from where each share stands, the first of
// them on the calling goroutine, and returns when all have stopped. Whether
// they came to the end is for the caller to see.
func (j *job) run(workers []*worker) error {
	j.workers = len(workers)
	j.failed.Store(nil)
	j.left.Store(int32(len(workers) - 1))
	for i, w := range workers {
		w.job, w.id = j, i
		if i > 0 {
			w.post(posted)
		}
	}
	workers[0].run(j)
	spin(func() bool { return j.left.Load() == 0 })
	// A worker that was held up between finishing the piece before and looking
	// at asleep may wake this one too early: hence the loop.
	for j.left.Load() > 0 {
		j.asleep.Store(true)
		if j.left.Load() > 0 || !j.asleep.CompareAndSwap(true, false) {
			<-j.done
		}
	}
	if err := j.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// run runs the steps of the worker's shares until the last one, or until
// someone more important waits. A panic is a defect of this package; it ends
// the program that met it and not the process, whose other requests are well.
func (w *worker) run(j *job) {
	defer func() {
		w.args = gemmArgs{} // memory may be unmapped before the next job
		if r := recover(); r != nil {
			stack := make([]byte, 4<<10)
			err := fmt.Errorf("cpu: panic in %T: %v\n%s", j.steps[j.pcs[w.id]], r, stack[:runtime.Stack(stack, false)])
			j.failed.CompareAndSwap(nil, &err)
		}
	}()
	for ; w.id < len(j.pcs); w.id += j.workers {
		for pc := &j.pcs[w.id]; *pc < len(j.steps); *pc++ {
			if j.gate.wanted(j.priority) {
				return
			}
			j.steps[*pc].run(w)
			w.advanced.Store(int64(time.Since(j.epoch)))
		}
	}
}

// exec runs a program on as many workers as it was compiled for, or on those
// that other programs leave.
func (p *pool) exec(prog *program, reads [][]float32, priority int, a *arena) error {
	j := &prog.job
	j.reads, j.priority, j.gate, j.epoch = reads, priority, &p.gate, p.epoch
	t := &turn{priority: priority, want: len(j.pcs)}
	err := p.gate.enter(t)
	if err != nil {
		return err
	}
	for _, steps := range prog.segments {
		j.steps = steps
		clear(j.pcs)
		for more := true; more; {
			if p.gate.wanted(priority) {
				p.gate.leave(t)
				if err = p.gate.enter(t); err != nil {
					return err
				}
			}
			for _, w := range t.workers {
				err = errors.Join(err, w.reserve(a, prog.scratch))
			}
			if err == nil {
				err = j.run(t.workers)
			}
			if err != nil {
				p.gate.leave(t)
				return err
			}
			more = slices.Min(j.pcs) < len(steps)
		}
	}
	p.gate.leave(t)
	j.steps, j.reads, j.rows = nil, nil, nil
	runtime.KeepAlive(prog)
	return nil
}

// advanced returns when a worker last came to the end of a step.
func (p *pool) advanced() time.Time {
	var last int64
	for _, w := range p.workers {
		last = max(last, w.advanced.Load())
	}
	return p.epoch.Add(time.Duration(last))
}
