//go:build cgo && linux

// Package gpu computes a Vision Transformer on a GPU, by NVIDIA's driver
// ("cuda") or by OpenCL ("opencl"). A stream records operations; Sync makes
// launches of them and runs them in one call of the driver, which waits. The
// kernels are one source for both, in package kernels.
//
// Results are the same to the bit for any neighbours in the batch: every
// output is summed in one order, whichever tile it lies in, and has one owner.
package gpu

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/gpu/device"
	"github.com/vitserve/vitserve/backend/gpu/kernels"
	"gorgonia.org/tensor"
)

func init() {
	for _, name := range []string{"cuda", "opencl"} {
		backend.Register(name, func(o backend.Options) (backend.Backend, error) { return open(name, o) })
	}
}

var errClosed = errors.New("gpu: closed")

// Backend is a GPU. It implements backend.Backend.
type Backend struct {
	d       *device.Device
	driver  string
	ordinal int
	numbers map[string]int32 // of kernels

	use sync.RWMutex // held for reading by what computes, for writing by Close

	mu      sync.Mutex // guards what follows
	closed  bool
	queue   *device.Queue // of uploads
	staging *device.Pinned
	weights map[*memory]struct{} // of Uploads and Linears
	streams map[*stream]struct{}
	unfreed error // of memory that would not be given back
}

var _ backend.Backend = (*Backend)(nil)

// stage is how many bytes of weights go to the device at once.
const stage = 4 << 20

func open(driver string, o backend.Options) (*Backend, error) {
	if o.Precision != backend.F32 {
		return nil, fmt.Errorf("gpu: %s in %v: %w: it computes in %v", driver, o.Precision, backend.ErrUnsupported, backend.F32)
	}
	ordinal := 0
	if o.Device != "" {
		number, ok := strings.CutPrefix(o.Device, driver+":")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || n < 0 || n > 1<<20 {
			return nil, fmt.Errorf("gpu: device %q, want %s:0 or another number: %w", o.Device, driver, backend.ErrUnsupported)
		}
		ordinal = n
	}
	d, err := device.Open(driver, ordinal)
	if err != nil {
		return nil, fmt.Errorf("gpu: %s:%d: %w", driver, ordinal, err)
	}
	b := &Backend{
		d: d, driver: driver, ordinal: ordinal, numbers: map[string]int32{},
		weights: map[*memory]struct{}{}, streams: map[*stream]struct{}{},
	}
	if err := b.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("gpu: %s: %w", b.Name(), err), b.Close())
	}
	return b, nil
}

// prepare brings the kernels to the device.
func (b *Backend) prepare() (err error) {
	names := kernels.Names()
	for i, name := range names {
		b.numbers[name] = int32(i)
	}
	source := kernels.Source()
	if b.driver == "cuda" {
		if source, err = kernels.PTX(); err != nil {
			return err
		}
	}
	if err := b.d.Build(source, names); err != nil {
		return fmt.Errorf("kernels: %w", err)
	}
	if b.queue, err = b.d.NewQueue(0); err != nil {
		return err
	}
	b.staging, err = b.d.Pin(stage)
	return err
}

// Name implements backend.Backend.
func (b *Backend) Name() string { return fmt.Sprintf("%s/%s %v", b.driver, b.d.Name, backend.F32) }

// Info implements backend.Backend.
func (b *Backend) Info() backend.Info {
	return backend.Info{Device: fmt.Sprintf("%s:%d", b.driver, b.ordinal), Threads: 1, Precision: backend.F32}
}

// Bytes returns how much memory the backend holds on the device and, pinned,
// on the host.
func (b *Backend) Bytes() int { return b.d.Used() }

// Lost reports whether the device is lost: then nothing of the backend works
// any more, and no other backend of the process can open it.
func (b *Backend) Lost() bool { return b.d.Lost() }

// Peak implements backend.Backend: of a kernel that multiplies and adds in
// registers, on every multiprocessor.
func (b *Backend) Peak(d time.Duration) float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0
	}
	m, err := b.d.Alloc(4 * 256)
	if err != nil {
		return 0
	}
	defer b.d.Free(m)
	best, turns := 0.0, int32(16)
	for end := time.Now().Add(d); ; {
		op := launch(b.numbers["peak"], [3]int{max(8*b.d.Units, 1), 1, 1}, kernels.Peak{Turns: turns}, m.Handle)
		begin := time.Now()
		if err := b.queue.Run([]device.Op{op}); err != nil {
			return 0
		}
		took := time.Since(begin)
		best = max(best, 2*8*256*float64(op.Grid[0])*float64(turns)/float64(took.Nanoseconds()))
		if time.Now().After(end) {
			return best
		}
		if took < d/8 && turns < 1<<20 { // so that the launch costs nothing beside it
			turns *= 2
		}
	}
}

// launch is the operation of a kernel in work-groups of 256 threads.
func launch[T any](number int32, grid [3]int, params T, mems ...uint64) device.Op {
	op := device.Op{Kind: device.Launch, Kernel: number, Threads: 256, Used: uint32(len(mems)), Bytes: uint32(unsafe.Sizeof(params))}
	for i, n := range grid {
		op.Grid[i] = uint32(n)
	}
	copy(op.Mem[:], mems)
	copy(op.Params[:], unsafe.Slice((*byte)(unsafe.Pointer(&params)), unsafe.Sizeof(params)))
	return op
}

// memory is what a backend.Tensor looks at. It implements backend.Memory.
type memory struct {
	shape  tensor.Shape
	floats int
	temp   bool
	s      *stream    // whose it is; nil: the backend's
	mem    device.Mem // zero: none yet, or no more
	at     int        // in values
	in     *program   // a temp: which has found it a place
}

// Floats implements backend.Memory.
func (m *memory) Floats() int { return m.floats }

// Temporary implements backend.Memory.
func (m *memory) Temporary() bool { return m.temp }

// Upload implements backend.Backend.
func (b *Backend) Upload(t *tensor.Dense) (backend.Tensor, error) {
	values, err := backend.HostFloats(t)
	if err != nil {
		return backend.Tensor{}, fmt.Errorf("gpu: upload: %w", err)
	}
	if len(t.Shape()) == 0 {
		panic("gpu: upload of a tensor without dimensions")
	}
	m := &memory{shape: t.Shape().Clone(), floats: len(values)}
	if err := b.keep(m, values, len(values), nil); err != nil {
		return backend.Tensor{}, fmt.Errorf("gpu: upload %v: %w", t.Shape(), err)
	}
	return m.tensor(), nil
}

// tensor returns the view of all of m.
func (m *memory) tensor() backend.Tensor {
	t := backend.Tensor{Mem: m, Shape: m.shape, Row: m.shape[len(m.shape)-1], Batch: 1}
	for _, n := range m.shape[1:] {
		t.Batch *= n
	}
	return t
}

// keep gives m memory of its own and brings rows of so many values to it, in
// the order that from says, nil for their own.
func (b *Backend) keep(m *memory, values []float32, columns int, from func(row int) int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errClosed
	}
	mem, err := b.d.Alloc(max(4*len(values), 4))
	if err != nil {
		return err
	}
	// Pieces of rows, as many as the staging takes.
	room := unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b.staging.Bytes))), stage/4)
	for at := 0; at < len(values) && err == nil; {
		n := 0
		for n < len(room) && at+n < len(values) {
			row, column := (at+n)/columns, (at+n)%columns
			if from != nil {
				row = from(row)
			}
			n += copy(room[n:], values[row*columns+column:][:columns-column])
		}
		err = b.queue.Run([]device.Op{{
			Kind: device.Write, Mem: [device.Mems]uint64{mem.Handle}, Host: b.staging.Address(0), At: uint64(4 * at), Size: uint64(4 * n),
		}})
		at += n
	}
	if err != nil {
		return errors.Join(err, b.d.Free(mem))
	}
	m.mem = mem
	b.weights[m] = struct{}{}
	return nil
}

// free gives memory of keep back.
func (b *Backend) free(m *memory) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.weights[m]; !ok {
		return nil
	}
	delete(b.weights, m)
	mem := m.mem
	m.mem = device.Mem{}
	return b.d.Free(mem)
}

// Free implements backend.Backend.
func (b *Backend) Free(t backend.Tensor) {
	if t.IsZero() {
		return
	}
	m, ok := t.Mem.(*memory)
	if !ok || m.s != nil {
		panic(fmt.Sprintf("gpu: free of a tensor %v that was not uploaded", t.Shape))
	}
	if err := b.free(m); err != nil {
		b.mu.Lock()
		b.unfreed = errors.Join(b.unfreed, err)
		b.mu.Unlock()
	}
}

// linear implements backend.Linear. The rows of a gated layer's two halves
// take turns, gate then value, so that both are in one tile.
type linear struct {
	b            *Backend
	in, out      int
	gated        bool
	weight, bias *memory // bias may be nil
}

// In implements backend.Linear.
func (l *linear) In() int { return l.in }

// Out implements backend.Linear.
func (l *linear) Out() int { return l.out }

// Close implements backend.Linear.
func (l *linear) Close() error {
	if l.weight == nil {
		return nil
	}
	err := l.b.free(l.weight)
	if l.bias != nil {
		err = errors.Join(err, l.b.free(l.bias))
	}
	l.weight, l.bias = nil, nil
	return err
}

// NewLinear implements backend.Backend.
func (b *Backend) NewLinear(weight, bias *tensor.Dense, o backend.LinearOptions) (backend.Linear, error) {
	w, err := backend.HostFloats(weight)
	if err != nil {
		return nil, fmt.Errorf("gpu: weight: %w", err)
	}
	s := weight.Shape()
	if len(s) != 2 || o.Gated && s[0]%2 != 0 {
		return nil, fmt.Errorf("gpu: weight %v with gated %v, want (out, in), out even if gated", s, o.Gated)
	}
	l := &linear{b: b, out: s[0], in: s[1], gated: o.Gated, weight: &memory{floats: len(w)}}
	var from func(int) int
	if o.Gated {
		from = func(row int) int { return row/2 + row%2*l.out/2 }
	}
	if bias != nil {
		v, err := backend.HostFloats(bias)
		if err != nil {
			return nil, fmt.Errorf("gpu: bias: %w", err)
		}
		if bias.Dims() != 1 || len(v) != l.out {
			return nil, fmt.Errorf("gpu: bias %v, weight %v", bias.Shape(), s)
		}
		l.bias = &memory{floats: len(v)}
		if err := b.keep(l.bias, v, 1, from); err != nil {
			return nil, fmt.Errorf("gpu: bias %v: %w", bias.Shape(), err)
		}
	}
	if err := b.keep(l.weight, w, l.in, from); err != nil {
		err = fmt.Errorf("gpu: weight %v: %w", s, err)
		if l.bias != nil {
			err = errors.Join(err, b.free(l.bias))
		}
		return nil, err
	}
	return l, nil
}

// NewStream implements backend.Backend.
func (b *Backend) NewStream(o backend.StreamOptions) (backend.Stream, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, errClosed
	}
	q, err := b.d.NewQueue(o.Priority)
	if err != nil {
		return nil, fmt.Errorf("gpu: stream: %w", err)
	}
	s := &stream{b: b, q: q}
	b.streams[s] = struct{}{}
	return s, nil
}

// Close implements backend.Backend. It waits for the streams that compute.
func (b *Backend) Close() error {
	b.use.Lock()
	defer b.use.Unlock()
	b.mu.Lock()
	streams := b.streams
	b.streams = nil
	b.mu.Unlock()
	var errs []error
	for s := range streams {
		errs = append(errs, s.release())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	for m := range b.weights {
		errs = append(errs, b.d.Free(m.mem))
	}
	clear(b.weights)
	if b.staging != nil {
		errs = append(errs, b.d.Unpin(b.staging))
	}
	if b.queue != nil {
		errs = append(errs, b.queue.Close())
	}
	errs = append(errs, b.unfreed, b.d.Close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("gpu: close: %w", err)
	}
	return nil
}
