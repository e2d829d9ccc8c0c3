//go:build cgo && linux

package gpu

import (
	"fmt"
	"math"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/gpu/device"
	"github.com/vitserve/vitserve/backend/gpu/kernels"
)

// program is what a Sync runs. It is made anew when it turns out that memory
// is missing.
type program struct {
	s       *stream
	ops     []device.Op
	writes  bool      // nothing but copies from the host
	scratch int       // values of the stream's room that are taken
	missing []*memory // tensors without memory
	err     error
}

func (p *program) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// take returns where n values of the stream's room are free.
func (p *program) take(n int) int {
	at := p.scratch
	p.scratch += (n + line - 1) / line * line
	return at
}

// at returns the memory that a tensor looks at and where in it.
func (p *program) at(t backend.Tensor) (mem uint64, offset int) {
	if t.IsZero() {
		return 0, 0
	}
	m, ok := t.Mem.(*memory)
	if !ok {
		panic(fmt.Sprintf("gpu: a tensor %v of another backend (%T)", t.Shape, t.Mem))
	}
	switch {
	case m.temp:
		if m.in != p {
			m.in, m.at = p, p.take(m.floats)
		}
		return p.s.room.Handle, m.at + t.Offset
	case m.mem.Handle == 0 && m.s == p.s && m.floats < math.MaxInt:
		p.missing = append(p.missing, m)
	case m.mem.Handle == 0:
		p.fail(fmt.Errorf("gpu: a tensor %v has no memory", t.Shape))
	}
	return m.mem.Handle, m.at + t.Offset
}

// extent returns the images, rows and columns of a tensor, as Tensor counts
// them.
func extent(t backend.Tensor) (images, rows, columns int) {
	d := len(t.Shape)
	images, rows, columns = 1, 1, t.Shape[d-1]
	for i, n := range t.Shape[:d-1] {
		if i == 0 && d > 2 {
			images = n
		} else {
			rows *= n
		}
	}
	return images, rows, columns
}

// view returns a tensor's memory and where in it tokens are.
func (p *program) view(t backend.Tensor) (uint64, kernels.View) {
	mem, at := p.at(t)
	return mem, kernels.View{Off: int64(at), Batch: int64(t.Batch), Row: int64(t.Row)}
}

// heads returns the same for heads: from one to the next are so many values.
func (p *program) heads(t backend.Tensor, head int) (uint64, kernels.HeadView) {
	mem, at := p.at(t)
	return mem, kernels.HeadView{Off: int64(at), Batch: int64(t.Batch), Head: int64(head), Row: int64(t.Row)}
}

// add adds a launch. Grids and counts that the kernels' whole numbers do not
// hold are refused.
func add[T any](p *program, kernel string, grid [3]int, params T, mems ...uint64) {
	if grid[0] > math.MaxInt32 || grid[1] > math.MaxUint16 || grid[2] > math.MaxUint16 {
		p.fail(fmt.Errorf("gpu: %s: a grid of %d groups is too large: %w", kernel, grid, backend.ErrUnsupported))
		return
	}
	number, ok := p.s.b.numbers[kernel]
	if !ok {
		panic("gpu: no kernel " + kernel)
	}
	p.ops = append(p.ops, launch(number, grid, params, mems...))
}

// whole returns n for a kernel.
func (p *program) whole(n int) int32 {
	if n > math.MaxInt32 {
		p.fail(fmt.Errorf("gpu: %d rows are more than a kernel counts: %w", n, backend.ErrUnsupported))
	}
	return int32(n)
}

func ceil(n, by int) int { return (n + by - 1) / by }

// outputs is the grid of kernels of a thread an output.
func outputs(all int) [3]int { return [3]int{min(ceil(all, 256), 1<<16), 1, 1} }

// list brings whole numbers to the device and returns where they are.
func (p *program) list(values []int) (mem uint64, offset int64) {
	host, err := p.s.stage.take(p.s.b.d, len(values))
	if err != nil {
		p.fail(fmt.Errorf("gpu: a list of %d rows: %w", len(values), err))
		return 0, 0
	}
	for i, v := range values {
		host.ints()[i] = int32(v)
	}
	at := p.take(len(values))
	p.ops = append(p.ops, host.copy(device.Write, p.s.room.Handle, at))
	return p.s.room.Handle, int64(at)
}

// zero makes an arena's memory zero.
func (p *program) zero(m device.Mem) {
	all := m.Bytes / 4 // whole lines
	add(p, "copy_rows", outputs(all), kernels.Rows{All: int64(all), N: p.whole(all / line), C: line, Y: kernels.View{Row: line}}, m.Handle, 0, 0)
}

// write brings staged values to a tensor.
func (p *program) write(dst backend.Tensor, host staged) {
	if m, ok := dst.Mem.(*memory); p.writes && (!ok || m.mem.Handle == 0) {
		return // it has failed to be there
	}
	mem, at := p.at(dst)
	if dense(dst) {
		p.ops = append(p.ops, host.copy(device.Write, mem, at))
		return
	}
	from := p.take(host.size / 4)
	p.ops = append(p.ops, host.copy(device.Write, p.s.room.Handle, from))
	_, to := p.view(dst)
	p.copyRows(mem, to, p.s.room.Handle, p.packed(dst, from), dst)
}

// read brings a tensor to staged values, and from there to dst.
func (p *program) read(dst []float32, src backend.Tensor) {
	mem, at := p.at(src)
	host, err := p.s.stage.take(p.s.b.d, len(dst))
	if err != nil {
		p.fail(fmt.Errorf("gpu: read of %v: %w", src.Shape, err))
		return
	}
	if !dense(src) {
		to := p.take(len(dst))
		_, from := p.view(src)
		p.copyRows(p.s.room.Handle, p.packed(src, to), mem, from, src)
		mem, at = p.s.room.Handle, to
	}
	p.ops = append(p.ops, host.copy(device.Read, mem, at))
	p.s.reads = append(p.s.reads, read{dst, host.floats()})
}

// dense reports whether a tensor's values lie one behind the other.
func dense(t backend.Tensor) bool {
	images, rows, columns := extent(t)
	return (rows == 1 || t.Row == columns) && (images == 1 || t.Batch == rows*columns)
}

// packed is the view of t's values one behind the other.
func (p *program) packed(t backend.Tensor, at int) kernels.View {
	_, rows, columns := extent(t)
	return kernels.View{Off: int64(at), Batch: int64(rows * columns), Row: int64(columns)}
}

// copyRows copies as many rows as t has.
func (p *program) copyRows(y uint64, to kernels.View, x uint64, from kernels.View, t backend.Tensor) {
	images, rows, columns := extent(t)
	all := images * rows * columns
	add(p, "copy_rows", outputs(all), kernels.Rows{Y: to, X: from, All: int64(all), N: p.whole(rows), C: p.whole(columns)}, y, x, 0)
}
