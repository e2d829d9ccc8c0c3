package cpu

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"unsafe"

	"github.com/vitserve/vitserve/backend"
)

var errClosed = errors.New("cpu: closed")

// line is the alignment of everything: a cache line, and a 512-bit register.
const line = 64

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// arena hands out zeroed memory of blocks that it maps, and counts it.
type arena struct {
	mu      sync.Mutex
	block   int // bytes of a block, unless a piece is larger
	blocks  []*block
	current *block // where the next small piece goes
	closed  bool
}

// block is a mapping; it is given back when its last piece is.
type block struct {
	data  []byte
	unmap func()
	used  int
	inUse int // pieces
}

// alloc returns zeroed memory of so many bytes, aligned to a line, and the
// block to give to free.
func (a *arena) alloc(bytes int) (unsafe.Pointer, *block, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, nil, errClosed
	}
	if bytes > maxFloats*4 {
		return nil, nil, fmt.Errorf("more memory than %d values", maxFloats)
	}
	bytes = max(roundUp(bytes, line), line)
	b := a.current
	if b == nil || b.used+bytes > len(b.data) {
		data, unmap, err := mapMemory(max(a.block, bytes))
		if err != nil {
			return nil, nil, fmt.Errorf("%d bytes of memory: %w", bytes, err)
		}
		b = &block{data: data, unmap: unmap}
		a.blocks = append(a.blocks, b)
		if old := a.current; old == nil || len(b.data)-bytes > len(old.data)-old.used {
			a.current = b
			a.drop(old)
		}
	}
	p := unsafe.Pointer(&b.data[b.used])
	b.used += bytes
	b.inUse++
	return p, b, nil
}

// free gives a piece of a block back.
func (a *arena) free(b *block) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b.inUse--
	if b.inUse == 0 && b == a.current {
		a.current = nil
	}
	a.drop(b)
}

// piece is memory that is given back when its owner is closed or, if nobody
// does that, when nobody knows the owner any more.
type piece struct {
	arena   *arena
	block   *block
	cleanup runtime.Cleanup
}

// own makes p the piece of an owner.
func own[T any](owner *T, p piece) piece {
	p.cleanup = runtime.AddCleanup(owner, p.arena.free, p.block)
	return p
}

// free gives the memory back, once.
func (p *piece) free() {
	if p.arena != nil {
		p.cleanup.Stop()
		p.arena.free(p.block)
		*p = piece{}
	}
}

// drop unmaps b if nothing uses it nor will.
func (a *arena) drop(b *block) {
	if a.closed || b == nil || b.inUse > 0 || b == a.current {
		return
	}
	for i := range a.blocks {
		if a.blocks[i] == b {
			a.blocks = append(a.blocks[:i], a.blocks[i+1:]...)
			break
		}
	}
	b.unmap()
}

// bytes returns how much is mapped.
func (a *arena) bytes() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, b := range a.blocks {
		n += len(b.data)
	}
	return n
}

// close unmaps everything.
func (a *arena) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for _, b := range a.blocks {
		b.unmap()
	}
	a.blocks, a.current = nil, nil
}

// mem is the memory of one tensor.
type mem struct {
	base   unsafe.Pointer // nil for a Temp that was never materialised
	floats int
	temp   bool
	piece  piece // of an uploaded constant
}

// Floats implements backend.Memory.
func (m *mem) Floats() int { return m.floats }

// Temporary implements backend.Memory.
func (m *mem) Temporary() bool { return m.temp }

// maxFloats bounds the memory of one tensor, 4 TiB, so that sizes in bytes
// cannot overflow.
const maxFloats = 1 << 40

// newTensor lays out a tensor without memory. Rows are padded by a line, so
// that equal columns of neighbouring rows fall into different cache sets.
func newTensor(shape []int) backend.Tensor {
	t := backend.Tensor{Shape: slices.Clone(shape)}
	d := len(shape)
	if d == 0 || slices.Min(shape) < 1 {
		panic(fmt.Sprintf("cpu: memory for %v", t.Shape))
	}
	t.Row = shape[d-1]
	if d > 1 {
		t.Row = roundUp(t.Row, line/4) + line/4
	}
	floats := t.Row
	for i, n := range shape[:d-1] {
		if d > 2 && i == 0 {
			continue
		}
		floats = times(floats, n)
	}
	t.Batch = floats
	if d > 2 {
		floats = times(floats, shape[0])
	}
	t.Mem = &mem{floats: floats}
	return t
}

// times is n·m, or more than maxFloats.
func times(n, m int) int {
	if n > maxFloats/m {
		return maxFloats + 1
	}
	return n * m
}

// view is a backend.Tensor as b images of n rows of c values. Strides that
// nobody takes are 0, so that equal views are equal values.
type view struct {
	mem             *mem
	off, batch, row int // in values
	b, n, c         int
}

func newView(t backend.Tensor) view {
	if t.IsZero() {
		return view{}
	}
	m, ok := t.Mem.(*mem)
	if !ok {
		panic(fmt.Sprintf("cpu: tensor %v of another backend (%T)", t.Shape, t.Mem))
	}
	v := view{mem: m, off: t.Offset, b: 1, n: 1, c: 1}
	d := len(t.Shape)
	if d > 0 {
		v.c = t.Shape[d-1]
	}
	if d == 2 {
		v.n = t.Shape[0]
	}
	if d > 2 {
		v.b = t.Shape[0]
		for _, n := range t.Shape[1 : d-1] {
			v.n *= n
		}
	}
	if v.b > 1 {
		v.batch = t.Batch
	}
	if v.n > 1 {
		v.row = t.Row
	}
	return v
}

func (v view) none() bool { return v.mem == nil }

// rows is where some rows lie: the first one, and bytes to the next.
type rows struct {
	p  unsafe.Pointer
	ld uintptr
}

// at returns the rows of image b from r on; the zero view has zero rows.
func (v view) at(b, r int) rows {
	if v.mem == nil {
		return rows{}
	}
	return rows{unsafe.Add(v.mem.base, (v.off+b*v.batch+r*v.row)*4), uintptr(v.row) * 4}
}

// row returns row i.
func (r rows) row(i int) unsafe.Pointer { return unsafe.Add(r.p, uintptr(i)*r.ld) }

// from returns the rows from column c and row i on; zero rows stay so.
func (r rows) from(i, c int) rows {
	if r.p == nil {
		return r
	}
	return rows{unsafe.Add(r.p, uintptr(i)*r.ld+uintptr(c)*4), r.ld}
}

// flat returns v as one image of b·n rows, if it is evenly spaced.
func (v view) flat() (view, bool) {
	switch {
	case v.mem == nil || v.b == 1:
		return v, true
	case v.n == 1 && v.batch > 0:
		v.row = v.batch
	case v.row == 0 || v.batch != v.n*v.row:
		return v, false
	}
	v.b, v.n, v.batch = 1, v.b*v.n, 0
	return v, true
}

// copyRows copies m rows of n values.
func copyRows(dst, src rows, m, n int) {
	for i := range m {
		copy(floats(dst.row(i), n), floats(src.row(i), n))
	}
}
