// Package cpu computes a Vision Transformer on the processor. The queue of a
// stream becomes a program that every worker thread runs on its own rows of
// tokens; weights lie in panels; the arithmetic is a table of kernels in
// portable Go, AVX2 or AVX-512, of which the machine's fastest is chosen.
//
// Results are the same to the bit for any number of threads and any
// neighbours in the batch: which rows share a kernel call decides nothing
// about the order of a sum.
package cpu

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

func init() {
	backend.Register("cpu", func(o backend.Options) (backend.Backend, error) { return New(o) })
}

// Variable names the environment variable that forces an implementation of
// the arithmetic, "portable" for example, on those who test it.
const Variable = "VITSERVE_CPU"

// Backend is the processor. It implements backend.Backend.
type Backend struct {
	k         *kernels
	precision backend.Precision
	pool      *pool
	weights   arena // of Linears and Uploads
	gradients arena // of transposed weights
	own       arena // of the workers
	cached    int   // bytes of activations that a core's cache holds from one operation to the next; see packs

	mu      sync.Mutex
	closed  bool
	streams map[*stream]struct{}
}

var _ backend.Backend = (*Backend)(nil)

// New opens the processor with the fastest kernels it can run.
func New(o backend.Options) (*Backend, error) {
	k, err := choose(os.Getenv(Variable))
	if err != nil {
		return nil, err
	}
	return open(o, k)
}

// device names the only one there is.
const device = "cpu"

func open(o backend.Options, k *kernels) (*Backend, error) {
	if o.Device != "" && o.Device != device {
		return nil, fmt.Errorf("cpu: device %q, want %q: %w", o.Device, device, backend.ErrUnsupported)
	}
	if int(o.Precision) >= len(k.missing) {
		return nil, fmt.Errorf("cpu: %v: %w", o.Precision, backend.ErrUnsupported)
	}
	if missing := k.missing[o.Precision]; len(missing) > 0 {
		return nil, fmt.Errorf("cpu: %v with %s kernels: %w: it lacks %s", o.Precision, k.name, backend.ErrUnsupported, strings.Join(missing, ", "))
	}
	threads := o.Threads
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	b := &Backend{k: k, precision: o.Precision, cached: 512 << 10, streams: map[*stream]struct{}{}}
	b.weights.block, b.gradients.block, b.own.block = 32<<20, 32<<20, 1<<20
	var err error
	if b.pool, err = newPool(k, threads, &b.own); err != nil {
		b.own.close()
		return nil, err
	}
	return b, nil
}

// Name implements backend.Backend.
func (b *Backend) Name() string {
	name := fmt.Sprintf("cpu/%s %v", b.k.name, b.precision)
	if a := b.k.attention(b.precision); a != b.precision {
		name += fmt.Sprintf(", attention %v", a)
	}
	return name
}

// Info implements backend.Backend.
func (b *Backend) Info() backend.Info {
	return backend.Info{Device: device, Threads: len(b.pool.workers), Precision: b.precision}
}

// Peak implements backend.Backend: the best of the vector widths that the
// machine has, whichever computes here, and of all turns that fit in about d.
func (b *Backend) Peak(d time.Duration) float64 { return peak(len(b.pool.workers), d) }

// Bytes returns how much memory the backend holds: weights, workers' scratch
// and the activations of open streams.
func (b *Backend) Bytes() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.weights.bytes() + b.gradients.bytes() + b.own.bytes()
	for s := range b.streams {
		n += s.arena.bytes()
	}
	return n
}

// GradientBytes returns how much of Bytes are weights that gradients made for
// themselves.
func (b *Backend) GradientBytes() int { return b.gradients.bytes() }

// Upload implements backend.Backend.
func (b *Backend) Upload(t *tensor.Dense) (backend.Tensor, error) {
	src, err := backend.HostFloats(t)
	if err != nil {
		return backend.Tensor{}, fmt.Errorf("cpu: upload: %w", err)
	}
	if len(t.Shape()) == 0 {
		panic("cpu: upload of a tensor without dimensions")
	}
	d := newTensor(t.Shape())
	m := d.Mem.(*mem)
	p, blk, err := b.weights.alloc(m.floats * 4)
	if err != nil {
		return backend.Tensor{}, fmt.Errorf("cpu: upload %v: %w", t.Shape(), err)
	}
	m.base = p
	m.piece = own(m, piece{arena: &b.weights, block: blk})
	write(newView(d), src)
	return d, nil
}

// Free implements backend.Backend.
func (b *Backend) Free(t backend.Tensor) {
	if t.IsZero() {
		return
	}
	m := newView(t).mem
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.piece.arena == nil && m.base != nil {
		panic(fmt.Sprintf("cpu: free of a tensor %v that was not uploaded", t.Shape))
	}
	m.piece.free()
	m.base = nil
}

// write copies dense host values into a view.
func write(v view, src []float32) {
	for b := range v.b {
		for i := range v.n {
			copy(floats(v.at(b, i).p, v.c), src[(b*v.n+i)*v.c:])
		}
	}
}

// NewStream implements backend.Backend.
func (b *Backend) NewStream(o backend.StreamOptions) (backend.Stream, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, errClosed
	}
	s := &stream{b: b, priority: o.Priority, atOnce: maxRows}
	s.arena.block = 1 << 20
	b.streams[s] = struct{}{}
	return s, nil
}

// Advanced returns when a program last came a step further, a small part of a
// layer, so that one who watches can tell a long pass from one that hangs.
func (b *Backend) Advanced() time.Time { return b.pool.advanced() }

func (b *Backend) isClosed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed
}

// Close implements backend.Backend. It waits for the programs that run.
func (b *Backend) Close() error {
	b.pool.close()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for s := range b.streams {
		s.arena.close()
	}
	clear(b.streams)
	b.weights.close()
	b.gradients.close()
	b.own.close()
	return nil
}
