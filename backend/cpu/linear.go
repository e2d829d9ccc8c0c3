package cpu

import (
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// linear is a weight matrix in panels: cols outputs side by side, input by
// input, so that a panel is read from one end to the other and is small
// enough for the second-level cache. Inputs come one float32, two bf16 or four
// s8 at a time, four bytes an output whatever the precision. The panel of a
// gated layer holds cols/2 gates and then the cols/2 values that belong to
// them.
type linear struct {
	owner     *Backend
	precision backend.Precision
	in, out   int
	gated     bool
	panels    int
	width     int            // columns of y that a panel gives
	depth     int            // steps of four bytes in a column of a panel
	weight    unsafe.Pointer // [panels][depth][cols]
	bias      unsafe.Pointer // [panels][cols], or nil
	scales    unsafe.Pointer // int8: [panels][cols]
	offsets   unsafe.Pointer // int8: [chunks][panels][cols] int32, see gemmInt8

	piece piece
	grad  struct { // see transposed
		sync.Mutex
		l *linear
	}
}

// chunk is how many inputs of an int8 layer share the scale of a row of x,
// and how many hidden columns of an MLP are computed at a time: as many as
// the second-level cache holds beside the rows. It is a multiple of every
// panel's width.
const chunk = 768

// perStep returns how many values lie in four bytes.
func perStep(p backend.Precision) int {
	return [...]int{backend.F32: 1, backend.BF16: 2, backend.Int8: 4}[p]
}

// In implements backend.Linear.
func (l *linear) In() int { return l.in }

// Out implements backend.Linear.
func (l *linear) Out() int { return l.out }

// columns returns how many columns y has.
func (l *linear) columns() int {
	if l.gated {
		return l.out / 2
	}
	return l.out
}

// panel returns where panel i starts with input k0.
func (l *linear) panel(i, k0, cols int) unsafe.Pointer {
	return unsafe.Add(l.weight, (i*l.depth+k0/perStep(l.precision))*cols*4)
}

// NewLinear implements backend.Backend.
func (b *Backend) NewLinear(weight, bias *tensor.Dense, o backend.LinearOptions) (backend.Linear, error) {
	w, err := backend.HostFloats(weight)
	if err != nil {
		return nil, fmt.Errorf("cpu: weight: %w", err)
	}
	shape := weight.Shape()
	if len(shape) != 2 || shape[0] < 1 || shape[1] < 1 || o.Gated && shape[0]%2 != 0 {
		return nil, fmt.Errorf("cpu: weight %v with gated %v, want (out, in), out even if gated", shape, o.Gated)
	}
	l := &linear{owner: b, precision: b.precision, out: shape[0], in: shape[1], gated: o.Gated, width: b.k.cols}
	if o.Exact {
		l.precision = backend.F32
	}
	if l.gated {
		l.width /= 2
	}
	l.panels = (l.columns() + l.width - 1) / l.width
	per := perStep(l.precision)
	l.depth = (l.in + per - 1) / per
	var biases []float32
	if bias != nil {
		if biases, err = backend.HostFloats(bias); err != nil {
			return nil, fmt.Errorf("cpu: bias: %w", err)
		}
		if bias.Dims() != 1 || len(biases) != l.out {
			return nil, fmt.Errorf("cpu: bias %v, weight %v", bias.Shape(), shape)
		}
	}
	if err := l.alloc(biases != nil); err != nil {
		return nil, fmt.Errorf("cpu: linear layer %v: %w", shape, err)
	}
	l.packAll(w, biases)
	return l, nil
}

// alloc lays the layer out in memory that is freed when nobody knows the
// layer any more.
func (l *linear) alloc(bias bool) error {
	cols := l.owner.k.cols
	row := l.panels * cols * 4
	size := l.depth * row
	rows := []*unsafe.Pointer{}
	if bias {
		rows = append(rows, &l.bias)
	}
	if l.precision == backend.Int8 {
		rows = append(rows, &l.scales, &l.offsets)
		size += ((l.in+chunk-1)/chunk - 1) * row
	}
	p, blk, err := l.owner.weights.alloc(size + len(rows)*row)
	if err != nil {
		return err
	}
	l.weight = p
	for i, r := range rows {
		*r = unsafe.Add(p, (l.depth+i)*row)
	}
	l.piece = own(l, piece{arena: &l.owner.weights, block: blk})
	return nil
}

// Close implements backend.Linear.
func (l *linear) Close() error {
	l.grad.Lock()
	defer l.grad.Unlock()
	l.piece.free()
	if l.grad.l != nil {
		l.grad.l.piece.free()
		l.grad.l.weight = nil
	}
	l.weight, l.grad.l = nil, nil
	return nil
}

// packAll packs all panels on as many goroutines as the backend has threads.
func (l *linear) packAll(w, bias []float32) {
	var next atomic.Int32
	var wait sync.WaitGroup
	for range min(l.owner.Info().Threads, l.panels) {
		wait.Go(func() {
			for p := int(next.Add(1)) - 1; p < l.panels; p = int(next.Add(1)) - 1 {
				l.pack(p, w, bias)
			}
		})
	}
	wait.Wait()
}

// pack fills panel p. What is behind the last output stays zero.
func (l *linear) pack(p int, w, bias []float32) {
	k := l.owner.k
	n := min(l.width, l.columns()-p*l.width)
	for half := 0; half < k.cols; half += l.width {
		first := p * l.width // row of w
		if half > 0 {
			first += l.out / 2
		}
		x := rows{unsafe.Pointer(&w[first*l.in]), uintptr(l.in) * 4}
		if l.precision != backend.F32 {
			x = l.lowered(p*k.cols+half, x, n)
		}
		k.transpose(unsafe.Add(l.panel(p, 0, k.cols), half*4), uintptr(k.cols)*4, x.p, x.ld, n, l.depth)
		if bias != nil {
			copy(floats(unsafe.Add(l.bias, (p*k.cols+half)*4), n), bias[first:])
		}
	}
}

// lowered returns n rows of a weight in the layer's precision. The first is
// for output col of the packed ones.
func (l *linear) lowered(col int, x rows, n int) rows {
	k := l.owner.k
	size := l.depth * 4
	low := make([]uint8, n*size)
	y := rows{unsafe.Pointer(&low[0]), uintptr(size)}
	if l.precision == backend.BF16 {
		k.toBF16(y.p, y.ld, x.p, x.ld, n, l.in)
		return y
	}
	// A scale for each output, so that its largest weight is ±127.
	k.toU8(y.p, y.ld, x.p, x.ld, n, l.in, unsafe.Add(l.scales, col*4))
	for i := range n {
		row := low[i*size:][:size]
		for k0 := 0; k0 < size; k0 += chunk {
			sum := int32(0)
			for j := k0; j < min(k0+chunk, size); j++ {
				row[j] ^= 128 // from zero point 128 to a sign
				sum += int32(int8(row[j]))
			}
			*(*int32)(unsafe.Add(l.offsets, (k0/chunk*l.panels*k.cols+col+i)*4)) = -128 * sum
		}
	}
	return y
}
