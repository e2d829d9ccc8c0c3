package cpu

import (
	"unsafe"

	"github.com/vitserve/vitserve/backend"
)

// A product is y = act(x·W + bias) + residual over m rows, for a range of
// panels and of inputs. x starts at input k0, in the layer's precision; y, res
// and pre start at the first column of panel p0.
type product struct {
	l      *linear
	act    backend.Activation
	y, x   rows
	scales unsafe.Pointer // int8: of x, [chunks][m]
	res    rows
	pre    rows // keeps the values before the activation
	m      int
	p0, p1 int            // panels
	k0, k1 int            // inputs
	acc    bool           // adds to y; no activation, residual or pre then
	hidden bool           // y is scratch with room up to the end of the last panel
	bf16   bool           // y is rows of bf16
	then   unsafe.Pointer // weights that are read next, or nil
	into   *into          // where columns of keys and values go in place of y, or nil
	at     part           // with into: the rows, those of an image
	done   int            // with into: the first token whose keys are not packed yet

	// What multiply works out once for all strips.
	kernels      []func(*gemmArgs)
	steps, chunk int // steps of four bytes: of all inputs, and of a chunk
}

// accumulate turns a residual into adding to y, where nothing comes between.
func (p *product) accumulate(aliased bool) {
	if p.res.p == nil || p.act != backend.Identity || p.pre.p != nil {
		return
	}
	if !aliased {
		copyRows(p.y, p.res, p.m, min(p.p1*p.l.width, p.l.columns())-p.p0*p.l.width)
	}
	p.res, p.acc = rows{}, true
}

// multiply computes p panel by panel, strip by strip. A row's result does not
// depend on the strip it falls into.
func (w *worker) multiply(p *product) {
	k, l := w.k, p.l
	unit := 1
	if p.into != nil {
		unit = p.into.a.unit()
	}
	units, most := (p.m+unit-1)/unit, k.rows/unit
	strips := (units + most - 1) / most
	each, longer := units/strips, units%strips // units of a strip, and how many strips have one more
	per := perStep(l.precision)
	p.kernels = [...][]func(*gemmArgs){backend.F32: k.gemm, backend.BF16: k.gemmBF16, backend.Int8: k.gemmInt8}[l.precision]
	p.steps, p.chunk = (p.k1-p.k0+per-1)/per, chunk/per
	share := (p.k1 - p.k0) / per * k.cols * 4 / strips
	for i := p.p0; i < p.p1; i++ {
		next := p.then
		if i+1 < p.p1 {
			next = l.panel(i+1, p.k0, k.cols)
		} else if next == nil {
			next = l.panel(i, p.k0, k.cols)
		}
		col := (i - p.p0) * l.width
		width := min(l.width, l.columns()-i*l.width)
		direct := !l.gated && !p.bf16 && p.pre.p == nil && p.res.p == nil && (width == k.cols || p.hidden)
		packed := p.into != nil && p.into.has(col)
		for s, r0 := 0, 0; s < strips; s++ {
			r := each
			if s < longer {
				r++
			}
			r = min(r*unit, p.m-r0)
			// Every strip fetches its share of the panel that comes next.
			w.args.next = unsafe.Add(next, share*s)
			if packed {
				w.packedProduct(p, i, r0, r)
			} else if !direct {
				w.tileProduct(p, i, r0, r, width)
			} else {
				y := p.y.from(r0, col)
				w.strip(p, i, r0, r, y, p.acc)
				if p.act != backend.Identity {
					k.act[p.act](y.p, y.ld, r, width)
				}
			}
			r0 += r
		}
	}
}

// strip multiplies r rows with panel i. It does so a chunk of inputs at a
// time, each added to what the ones before gave, so that the sums are those of
// an MLP that is computed in chunks, to the bit.
func (w *worker) strip(p *product, i, r0, r int, c rows, acc bool) {
	cols, l, a := w.k.cols, p.l, &w.args
	a.lda, a.c, a.ldc, a.acc, a.bias = p.x.ld, c.p, c.ld, 0, nil
	if acc {
		a.acc = 1
	}
	if l.bias != nil && p.k0 == 0 {
		a.bias = unsafe.Add(l.bias, i*cols*4)
	}
	if l.precision == backend.Int8 {
		a.colScale = unsafe.Add(l.scales, i*cols*4)
		a.offset = unsafe.Add(l.offsets, (p.k0/chunk*l.panels+i)*cols*4)
		a.rowScale = unsafe.Add(p.scales, r0*4)
	}
	a.a, a.b = p.x.row(r0), l.panel(i, p.k0, cols)
	kernel := p.kernels[r]
	for left := p.steps; ; {
		n := min(left, p.chunk)
		a.k = uintptr(n)
		kernel(a)
		if left -= n; left == 0 {
			return
		}
		a.acc, a.bias = 1, nil
		a.a, a.b = unsafe.Add(a.a, n*4), unsafe.Add(a.b, n*cols*4)
		a.next = unsafe.Add(a.next, n/4*line) // behind what the kernel has fetched
		if l.precision == backend.Int8 {
			a.offset = unsafe.Add(a.offset, l.panels*cols*4)
			a.rowScale = unsafe.Add(a.rowScale, p.m*4)
		}
	}
}

// tileProduct computes r rows of panel i beside y, for what cannot be done
// in place, and then writes y.
func (w *worker) tileProduct(p *product, i, r0, r, width int) {
	k, l := w.k, p.l
	tile := rows{w.tile, uintptr(k.cols) * 4}
	col := (i - p.p0) * l.width
	if p.acc {
		copyRows(tile, p.y.from(r0, col), r, width)
	}
	w.strip(p, i, r0, r, tile, p.acc)
	if p.pre.p != nil {
		copyRows(p.pre.from(r0, col), tile, r, width)
		if l.gated {
			copyRows(p.pre.from(r0, col+l.out/2), tile.from(0, l.width), r, width)
		}
	}
	if p.bf16 {
		// The whole width: what is behind the last column is zero.
		y := unsafe.Add(p.y.row(r0), col*2)
		switch {
		case l.gated:
			k.swigluBF16(y, p.y.ld, tile.p, tile.ld, r, l.width)
		case p.act != backend.Identity:
			k.actBF16[p.act](y, p.y.ld, tile.p, tile.ld, r, l.width)
		default:
			k.toBF16(y, p.y.ld, tile.p, tile.ld, r, l.width)
		}
		return
	}
	y := p.y.from(r0, col)
	if l.gated && p.hidden {
		k.swiglu(y.p, y.ld, tile.p, tile.ld, r, l.width)
		return
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
	copyRows(y, tile, r, width)
}

// lowBytes is the scratch that lower needs for m rows of n values.
func lowBytes(p backend.Precision, m, n int) int {
	if p == backend.F32 {
		return 0
	}
	return m * (lowStride(p, n) + roundUp((n+chunk-1)/chunk*4, line))
}

// lowStride is the bytes from one converted row of n values to the next.
func lowStride(p backend.Precision, n int) int {
	return rowStride((n + perStep(p) - 1) / perStep(p))
}

// lower sets p's x to a copy of m rows of n values in its layer's precision.
func (w *worker) lower(p *product, scratch unsafe.Pointer, x rows, n int) {
	precision := p.l.precision
	p.x = rows{scratch, uintptr(lowStride(precision, n))}
	switch precision {
	case backend.F32:
		p.x = x
	case backend.BF16:
		w.k.toBF16(p.x.p, p.x.ld, x.p, x.ld, p.m, n)
	case backend.Int8:
		p.scales = unsafe.Add(scratch, p.m*int(p.x.ld))
		for k0 := 0; k0 < n; k0 += chunk {
			x := x.from(0, k0)
			w.k.toU8(unsafe.Add(p.x.p, k0), p.x.ld, x.p, x.ld, p.m, min(chunk, n-k0), unsafe.Add(p.scales, k0/chunk*p.m*4))
		}
	}
}
