package cpu

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// linear is a weight matrix in panels: cols outputs side by side, input by
// input, [panels][in][cols], so that a panel is read from one end to the
// other and is small enough for the second-level cache. The panel of a gated
// layer holds cols/2 gates and then the cols/2 values that belong to them.
type linear struct {
	owner   *Backend
	in, out int
	gated   bool
	panels  int
	width   int            // columns of y that a panel gives
	weight  unsafe.Pointer // [panels][in][cols]
	bias    unsafe.Pointer // [panels][cols], or nil
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
	l := &linear{owner: b, out: shape[0], in: shape[1], gated: o.Gated, width: b.k.cols}
	if l.gated {
		l.width /= 2
	}
	l.panels = (l.columns() + l.width - 1) / l.width
	var biases []float32
	if bias != nil {
		if biases, err = backend.HostFloats(bias); err != nil {
			return nil, fmt.Errorf("cpu: bias: %w", err)
		}
		if bias.Dims() != 1 || len(biases) != l.out {
			return nil, fmt.Errorf("cpu: bias %v, weight %v", bias.Shape(), shape)
		}
	}
	floatsOf := l.panels * l.in * b.k.cols
	p, blk, err := b.weights.alloc((floatsOf + l.panels*b.k.cols) * 4)
	if err != nil {
		return nil, fmt.Errorf("cpu: linear layer %v: %w", shape, err)
	}
	l.weight = p
	if biases != nil {
		l.bias = unsafe.Add(p, floatsOf*4)
	}
	for p := range l.panels {
		l.pack(b.k, p, w, biases)
	}
	runtime.AddCleanup(l, b.weights.free, blk)
	return l, nil
}

// pack fills panel p. What is behind the last output stays zero.
func (l *linear) pack(k *kernels, p int, w, bias []float32) {
	panel := unsafe.Add(l.weight, p*l.in*k.cols*4)
	n := min(l.width, l.columns()-p*l.width)
	for half := 0; half < k.cols; half += l.width {
		first := p * l.width // row of w
		if half > 0 {
			first += l.out / 2
		}
		k.transpose(unsafe.Add(panel, half*4), uintptr(k.cols)*4, unsafe.Pointer(&w[first*l.in]), uintptr(l.in)*4, n, l.in)
		if bias != nil {
			copy(floats(unsafe.Add(l.bias, (p*k.cols+half)*4), n), bias[first:])
		}
	}
}

// A product is y = act(x·W + bias) + residual over m rows, for a range of
// panels and of inputs. x starts at input k0, y, res and pre at the first
// column of panel p0.
type product struct {
	l         *linear
	act       backend.Activation
	y, x, res rows
	pre       rows // keeps the values before the activation
	m         int
	p0, p1    int  // panels
	k0, k1    int  // inputs
	acc       bool // adds to y; no activation, residual or pre then
	room      bool // y may be written up to the end of the last panel
}

// multiply computes p strip by strip. A row's result does not depend on the
// strip it falls into.
func (w *worker) multiply(p *product) {
	k, l := w.k, p.l
	strips := (p.m + k.rows - 1) / k.rows
	if strips == 0 {
		return
	}
	a := &w.args
	a.lda, a.k, a.bias = p.x.ld, uintptr(p.k1-p.k0), nil
	panelBytes := l.in * k.cols * 4
	touched := uintptr(p.k1-p.k0) / 4 * line // what a strip prefetches of the next panel
	for i := p.p0; i < p.p1; i++ {
		a.b = unsafe.Add(l.weight, i*panelBytes+p.k0*k.cols*4)
		if l.bias != nil && p.k0 == 0 {
			a.bias = unsafe.Add(l.bias, i*k.cols*4)
		}
		next := a.b
		if i+1 < p.p1 {
			next = unsafe.Add(a.b, panelBytes)
		}
		col := (i - p.p0) * l.width
		width := min(l.width, l.columns()-i*l.width)
		direct := !l.gated && p.pre.p == nil && (width == k.cols || p.room) && (p.res.p == nil)
		for s, r0 := 0, 0; s < strips; s++ {
			r1 := p.m * (s + 1) / strips
			r := r1 - r0
			a.a = p.x.row(r0)
			a.next = next
			if ahead := uintptr(s) * touched; int(ahead) < (p.k1-p.k0)*k.cols*4 {
				a.next = unsafe.Add(next, ahead)
			}
			y := p.y.from(r0, col)
			if !direct {
				w.tileProduct(p, y, r0, r, i, width)
			} else {
				a.c, a.ldc, a.acc = y.p, y.ld, 0
				if p.acc {
					a.acc = 1
				}
				k.gemm[r](a)
				if p.act != backend.Identity {
					k.act[p.act](y.p, y.ld, r, width)
				}
			}
			r0 = r1
		}
	}
}

// tileProduct computes r rows of panel i beside y, for what cannot be done
// in place, and then writes y.
func (w *worker) tileProduct(p *product, y rows, r0, r, i, width int) {
	k, l, a := w.k, p.l, &w.args
	tile := rows{w.tile, uintptr(k.cols) * 4}
	a.c, a.ldc, a.acc = tile.p, tile.ld, 0
	k.gemm[r](a)
	col := (i - p.p0) * l.width
	if p.pre.p != nil {
		copyRows(p.pre.from(r0, col), tile, r, width)
		if l.gated {
			copyRows(p.pre.from(r0, col+l.out/2), tile.from(0, l.width), r, width)
		}
	}
	switch {
	case l.gated:
		k.swiglu(tile.p, tile.ld, tile.p, tile.ld, r, l.width)
	case p.act != backend.Identity:
		k.act[p.act](tile.p, tile.ld, r, width)
	}
	if res := p.res.from(r0, col); res.p != nil {
		k.add(tile.p, tile.ld, res.p, res.ld, r, width)
	}
	if p.acc {
		k.add(tile.p, tile.ld, y.p, y.ld, r, width)
	}
	copyRows(y, tile, r, width)
}
