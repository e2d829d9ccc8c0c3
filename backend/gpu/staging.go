//go:build cgo && linux

package gpu

import (
	"errors"
	"unsafe"

	"github.com/vitserve/vitserve/backend/gpu/device"
)

// staging is pinned memory of the host that a Sync's copies go through.
type staging struct {
	blocks []*device.Pinned
	used   int // bytes of the last block
}

// staged is a piece of it.
type staged struct {
	p    *device.Pinned
	at   int
	size int // bytes
}

// floats are its values.
func (h staged) floats() []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(h.p.Bytes[h.at:]))), h.size/4)
}

// ints are they as whole numbers.
func (h staged) ints() []int32 {
	return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(h.p.Bytes[h.at:]))), h.size/4)
}

// copy is the operation of copying n values at some byte of memory.
func (h staged) copy(kind int32, mem uint64, at int) device.Op {
	return device.Op{Kind: kind, Mem: [device.Mems]uint64{mem}, Host: h.p.Address(h.at), At: uint64(4 * at), Size: uint64(h.size)}
}

// take returns room for n values.
func (g *staging) take(d *device.Device, n int) (staged, error) {
	bytes := (4*n + 63) / 64 * 64
	if len(g.blocks) == 0 || g.used+bytes > len(g.blocks[len(g.blocks)-1].Bytes) {
		size := 64 << 10
		if len(g.blocks) > 0 {
			size = 2 * len(g.blocks[len(g.blocks)-1].Bytes)
		}
		p, err := d.Pin(max(size, bytes))
		if err != nil {
			return staged{}, err
		}
		g.blocks, g.used = append(g.blocks, p), 0
	}
	h := staged{g.blocks[len(g.blocks)-1], g.used, 4 * n}
	g.used += bytes
	return h, nil
}

// mark is how far it is taken; back makes it so again.
func (g *staging) mark() [2]int { return [2]int{len(g.blocks), g.used} }

func (g *staging) back(mark [2]int) {
	if len(g.blocks) == mark[0] {
		g.used = mark[1]
	}
}

// reset gives all back to be taken again. The largest block is kept.
func (g *staging) reset(d *device.Device) error {
	var errs []error
	for len(g.blocks) > 1 {
		errs = append(errs, d.Unpin(g.blocks[0]))
		g.blocks = g.blocks[1:]
	}
	g.used = 0
	return errors.Join(errs...)
}

// close gives the memory back.
func (g *staging) close(d *device.Device) error {
	var errs []error
	for _, p := range g.blocks {
		errs = append(errs, d.Unpin(p))
	}
	g.blocks = nil
	return errors.Join(errs...)
}
