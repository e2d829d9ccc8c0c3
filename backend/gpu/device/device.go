//go:build cgo && linux

package device

/*
#cgo LDFLAGS: -ldl -lpthread
#cgo CFLAGS: -O2 -Wall
#include <stdlib.h>
#include "device.h"

static int d_count(const driver *v, int *n, char *err) { return v->count(n, err); }
static int d_open(const driver *v, int i, device **d, device_info *info, char *err) { return v->open(i, d, info, err); }
static int d_close(const driver *v, device *d, char *err) { return v->close(d, err); }
static int d_alloc(const driver *v, device *d, size_t n, uint64_t *m, char *err) { return v->alloc(d, n, m, err); }
static int d_free(const driver *v, device *d, uint64_t m, char *err) { return v->free(d, m, err); }
static int d_pin(const driver *v, device *d, size_t n, void **p, uint64_t *h, char *err) { return v->pin(d, n, p, h, err); }
static int d_unpin(const driver *v, device *d, void *p, uint64_t h, char *err) { return v->unpin(d, p, h, err); }
static int d_build(const driver *v, device *d, const char *s, size_t n, const char **k, int count, char *err) { return v->build(d, s, n, k, count, err); }
static int d_queue(const driver *v, device *d, int priority, queue **q, char *err) { return v->queue(d, priority, q, err); }
static int d_unqueue(const driver *v, queue *q, char *err) { return v->unqueue(q, err); }
static int d_run(const driver *v, queue *q, const device_op *o, int n, char *err) { return v->run(q, o, n, err); }
*/
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/vitserve/vitserve/backend"
)

// A Device is an open GPU. It is safe for use by several goroutines.
type Device struct {
	Name    string // as the driver says it
	Units   int    // multiprocessors
	Memory  int    // bytes it has
	Largest int    // bytes of the largest piece of memory

	v    *C.driver
	d    *C.device
	used atomic.Int64 // bytes of memory, pinned memory included
	lost atomic.Bool
}

// Pinned is memory of the host that the device reads and writes.
type Pinned struct {
	Bytes  []byte
	host   unsafe.Pointer
	handle C.uint64_t
}

// Address is what an Op names byte at of it by.
func (p *Pinned) Address(at int) uint64 { return uint64(uintptr(p.host)) + uint64(at) }

// A Queue runs operations in their order. One goroutine at a time.
type Queue struct {
	d *Device
	q *C.queue
}

// Op is device_op.
var _ [unsafe.Sizeof(Op{}) - C.sizeof_device_op]struct{}
var _ [C.sizeof_device_op - unsafe.Sizeof(Op{})]struct{}

func driver(name string) *C.driver {
	if name == "cuda" {
		return (*C.driver)(unsafe.Pointer(&C.cuda_driver))
	}
	return (*C.driver)(unsafe.Pointer(&C.opencl_driver))
}

// call runs a function of C and turns what it returns into an error.
func call(f func(err *C.char) C.int) error {
	text := (*C.char)(C.calloc(1, C.DEVICE_ERR))
	defer C.free(unsafe.Pointer(text))
	code := f(text)
	if code == C.DEVICE_OK {
		return nil
	}
	err := errors.New(strings.TrimSpace(C.GoString(text)))
	switch code {
	case C.DEVICE_ABSENT, C.DEVICE_UNSUPPORTED:
		return fmt.Errorf("%w: %w", backend.ErrUnsupported, err)
	case C.DEVICE_NO_MEMORY:
		return fmt.Errorf("%w: %w", backend.ErrNoMemory, err)
	case C.DEVICE_LOST:
		return fmt.Errorf("%w: %w", backend.ErrLost, err)
	}
	return err
}

// call is call of the package, and nothing at all once the device is lost.
func (d *Device) call(f func(err *C.char) C.int) error {
	if d.lost.Load() {
		return backend.ErrLost
	}
	err := call(f)
	if errors.Is(err, backend.ErrLost) {
		d.lost.Store(true)
	}
	return err
}

// last is call, also of a device that is lost: it gives things back. That the
// device is lost is told once.
func (d *Device) last(f func(err *C.char) C.int) error {
	err := call(f)
	if errors.Is(err, backend.ErrLost) && d.lost.Swap(true) {
		return nil
	}
	return err
}

// Count returns how many devices a driver, "cuda" or "opencl", has.
func Count(name string) (int, error) {
	var n C.int
	err := call(func(err *C.char) C.int { return C.d_count(driver(name), &n, err) })
	return int(n), err
}

// Open opens the device of a number.
func Open(name string, ordinal int) (*Device, error) {
	d := &Device{v: driver(name)}
	var info C.device_info
	if err := call(func(err *C.char) C.int { return C.d_open(d.v, C.int(ordinal), &d.d, &info, err) }); err != nil {
		return nil, err
	}
	d.Name, d.Units = strings.TrimSpace(C.GoString(&info.name[0])), int(info.units)
	d.Memory, d.Largest = int(info.memory), int(info.largest)
	return d, nil
}

// Close gives everything back. Queues and memory are given back before.
func (d *Device) Close() error {
	return d.last(func(err *C.char) C.int { return C.d_close(d.v, d.d, err) })
}

// Used returns how many bytes of memory are in use, those of the host that are
// pinned included.
func (d *Device) Used() int { return int(d.used.Load()) }

// Lost reports whether the device is lost: nothing works any more.
func (d *Device) Lost() bool { return d.lost.Load() }

// Alloc returns memory of so many bytes, at least one.
func (d *Device) Alloc(bytes int) (Mem, error) {
	var p C.uint64_t
	if err := d.call(func(err *C.char) C.int { return C.d_alloc(d.v, d.d, C.size_t(bytes), &p, err) }); err != nil {
		return Mem{}, err
	}
	d.used.Add(int64(bytes))
	return Mem{Handle: uint64(p), Bytes: bytes}, nil
}

// Free gives memory back.
func (d *Device) Free(m Mem) error {
	if m.Handle == 0 {
		return nil
	}
	d.used.Add(-int64(m.Bytes))
	return d.last(func(err *C.char) C.int { return C.d_free(d.v, d.d, C.uint64_t(m.Handle), err) })
}

// Pin returns pinned memory of so many bytes, at least one.
func (d *Device) Pin(bytes int) (*Pinned, error) {
	p := &Pinned{}
	if err := d.call(func(err *C.char) C.int { return C.d_pin(d.v, d.d, C.size_t(bytes), &p.host, &p.handle, err) }); err != nil {
		return nil, err
	}
	d.used.Add(int64(bytes))
	p.Bytes = unsafe.Slice((*byte)(p.host), bytes)
	return p, nil
}

// Unpin gives pinned memory back.
func (d *Device) Unpin(p *Pinned) error {
	d.used.Add(-int64(len(p.Bytes)))
	return d.last(func(err *C.char) C.int { return C.d_unpin(d.v, d.d, p.host, p.handle, err) })
}

// Build compiles or loads kernels, of which an Op names one by its place in
// the list. It is called once, before there are queues.
func (d *Device) Build(source []byte, kernels []string) error {
	src := C.CBytes(append(source[:len(source):len(source)], 0))
	defer C.free(src)
	names := unsafe.Slice((**C.char)(C.calloc(C.size_t(len(kernels)), C.size_t(unsafe.Sizeof(uintptr(0))))), len(kernels))
	defer C.free(unsafe.Pointer(unsafe.SliceData(names)))
	for i, k := range kernels {
		names[i] = C.CString(k)
		defer C.free(unsafe.Pointer(names[i]))
	}
	return d.call(func(err *C.char) C.int {
		return C.d_build(d.v, d.d, (*C.char)(src), C.size_t(len(source)), unsafe.SliceData(names), C.int(len(kernels)), err)
	})
}

// NewQueue returns a queue; one of higher priority takes over where a device
// knows priorities.
func (d *Device) NewQueue(priority int) (*Queue, error) {
	q := &Queue{d: d}
	err := d.call(func(err *C.char) C.int { return C.d_queue(d.v, d.d, C.int(priority), &q.q, err) })
	if err != nil {
		return nil, err
	}
	return q, nil
}

// Close gives the queue back.
func (q *Queue) Close() error {
	return q.d.last(func(err *C.char) C.int { return C.d_unqueue(q.d.v, q.q, err) })
}

// Run runs operations and waits for them, in one call of C.
func (q *Queue) Run(ops []Op) error {
	if len(ops) == 0 {
		return nil
	}
	return q.d.call(func(err *C.char) C.int {
		return C.d_run(q.d.v, q.q, (*C.device_op)(unsafe.Pointer(unsafe.SliceData(ops))), C.int(len(ops)), err)
	})
}
