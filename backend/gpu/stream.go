//go:build cgo && linux

package gpu

import (
	"errors"
	"fmt"
	"math"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/gpu/device"
	"gorgonia.org/tensor"
)

// stream implements backend.Stream: it records operations, and Sync runs them.
type stream struct {
	b *Backend
	q *device.Queue

	fresh []*memory    // tensors that Sync gives memory to
	arena []device.Mem // of tensors
	unset []device.Mem // of arena, not yet zero
	room  device.Mem   // what temps and scratch lie in, from one Sync to the next
	stage staging

	ops    []operation
	reads  []read
	err    error
	closed bool
}

// operation adds the launches of an operation to a program.
type operation struct {
	write bool // from the host: it happens even if something else has failed
	add   func(p *program)
}

// read is what goes to the host when all has run.
type read struct {
	dst []float32
	src []float32 // pinned
}

// line is what tensors are aligned to, in values.
const line = 64

// fail keeps the first failure.
func (s *stream) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// do records an operation unless something has failed.
func (s *stream) do(write bool, add func(p *program)) {
	if s.closed {
		s.fail(errClosed)
	}
	if s.err == nil {
		s.ops = append(s.ops, operation{write, add})
	}
}

// newMemory is a tensor without memory. What no device could hold fails
// before one is asked.
func (s *stream) newMemory(shape []int) *memory {
	m := &memory{shape: tensor.Shape(shape).Clone(), floats: 1, s: s}
	most := s.b.d.Largest / 4
	for _, n := range shape {
		if n < 1 {
			panic(fmt.Sprintf("gpu: alloc %v", tensor.Shape(shape)))
		}
		if m.floats > most/n {
			s.fail(fmt.Errorf("gpu: tensor %v: %w: more than the %d bytes that %s gives at once", m.shape, backend.ErrNoMemory, s.b.d.Largest, s.b.d.Name))
			m.floats = math.MaxInt
			return m
		}
		m.floats *= n
	}
	return m
}

// Alloc implements backend.Stream. The memory is there from the next Sync on.
func (s *stream) Alloc(shape ...int) backend.Tensor {
	m := s.newMemory(shape)
	if m.floats < math.MaxInt {
		s.fresh = append(s.fresh, m)
	}
	return m.tensor()
}

// Temp implements backend.Stream: every Sync finds it a place among those that
// it needs.
func (s *stream) Temp(shape ...int) backend.Tensor {
	m := s.newMemory(shape)
	m.temp = true
	return m.tensor()
}

// Threads implements backend.Stream: a GPU is not made of them.
func (s *stream) Threads(int) {}

// Write implements backend.Stream.
func (s *stream) Write(dst backend.Tensor, src *tensor.Dense) {
	values := backend.CheckHost("Write", dst, src)
	if s.closed {
		s.fail(errClosed)
	}
	if s.err != nil {
		return
	}
	host, err := s.stage.take(s.b.d, len(values))
	if err != nil {
		s.fail(fmt.Errorf("gpu: write to %v: %w", dst.Shape, err))
		return
	}
	copy(host.floats(), values)
	s.do(true, func(p *program) { p.write(dst, host) })
}

// Read implements backend.Stream.
func (s *stream) Read(dst *tensor.Dense, src backend.Tensor) {
	values := backend.CheckHost("Read", src, dst)
	s.do(false, func(p *program) { p.read(values, src) })
}

// place gives memory to tensors, in one piece if the device gives it.
func (s *stream) place(all []*memory) error {
	for len(all) > 0 {
		floats, n := 0, 0
		for ; n < len(all); n++ {
			size := (all[n].floats + line - 1) / line * line
			if n > 0 && floats+size > s.b.d.Largest/4 {
				break
			}
			all[n].at = floats
			floats += size
		}
		mem, err := s.b.d.Alloc(4 * floats)
		if err != nil {
			return fmt.Errorf("gpu: memory for %d tensors, the first of them %v, of %d bytes: %w", n, all[0].shape, 4*floats, err)
		}
		for _, m := range all[:n] {
			m.mem = mem
		}
		s.arena, s.unset = append(s.arena, mem), append(s.unset, mem)
		all = all[n:]
	}
	return nil
}

// Sync implements backend.Stream.
func (s *stream) Sync() error {
	if s.closed {
		return errClosed
	}
	s.b.use.RLock()
	defer s.b.use.RUnlock()
	if s.q == nil {
		return errClosed // with the backend
	}
	if s.b.d.Lost() {
		s.fail(fmt.Errorf("gpu: %s: %w", s.b.Name(), backend.ErrLost))
	}
	fresh := s.fresh
	s.fresh = nil
	if err := s.place(fresh); err != nil {
		s.fail(err)
	}
	err := s.err
	if err == nil {
		err = s.run(false)
	} else if !s.b.d.Lost() {
		err = errors.Join(err, s.run(true))
	}
	if err == nil {
		for _, r := range s.reads {
			copy(r.dst, r.src)
		}
	}
	s.err = nil
	clear(s.ops)
	clear(s.reads)
	s.ops, s.reads = s.ops[:0], s.reads[:0]
	if unpin := s.stage.reset(s.b.d); err == nil {
		err = unpin
	}
	return err
}

// run runs what is queued, or only what came from the host.
func (s *stream) run(writes bool) error {
	mark := s.stage.mark()
	for {
		p := s.compile(writes)
		if p.err != nil {
			return p.err
		}
		if len(p.missing) > 0 { // memory that an earlier Sync could not get
			if err := s.place(p.missing); err != nil {
				return err
			}
		} else if 4*p.scratch > s.room.Bytes {
			if err := s.grow(4 * p.scratch); err != nil {
				return err
			}
		} else {
			if err := s.q.Run(p.ops); err != nil {
				return fmt.Errorf("gpu: %s: %w", s.b.Name(), err)
			}
			s.unset = nil
			return nil
		}
		s.stage.back(mark)
	}
}

// grow makes room for the temps and the scratch of a Sync.
func (s *stream) grow(bytes int) error {
	err := s.b.d.Free(s.room)
	s.room = device.Mem{}
	if err == nil {
		s.room, err = s.b.d.Alloc(bytes)
	}
	if err != nil {
		return fmt.Errorf("gpu: %d bytes between operations: %w", bytes, err)
	}
	return nil
}

// compile makes launches of what is queued.
func (s *stream) compile(writes bool) *program {
	p := &program{s: s, writes: writes}
	s.reads = s.reads[:0]
	for _, m := range s.unset {
		p.zero(m)
	}
	for _, o := range s.ops {
		if o.write || !writes {
			o.add(p)
		}
	}
	return p
}

// Close implements backend.Stream.
func (s *stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	s.b.use.RLock()
	defer s.b.use.RUnlock()
	s.b.mu.Lock()
	delete(s.b.streams, s)
	s.b.mu.Unlock()
	return s.release()
}

// release gives back all that the device has given.
func (s *stream) release() error {
	if s.q == nil {
		return nil
	}
	errs := []error{s.stage.close(s.b.d), s.b.d.Free(s.room)}
	for _, m := range s.arena {
		errs = append(errs, s.b.d.Free(m))
	}
	errs = append(errs, s.q.Close())
	s.q, s.arena, s.room, s.ops, s.reads = nil, nil, device.Mem{}, nil, nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("gpu: close a stream: %w", err)
	}
	return nil
}
