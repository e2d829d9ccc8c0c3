package cpu

import (
	"unsafe"

	"github.com/vitserve/vitserve/backend"
)

// into says which columns of a Linear's y are keys and values that go into
// the panels of an attention, and not to y.
type into struct {
	a            *attention
	keys, values int // the first column of each
}

// has reports whether column j is one of them. All columns of a panel of
// weights are, or none.
func (t *into) has(j int) bool {
	n := t.a.heads * t.a.d
	return t.keys <= j && j < t.keys+n || t.values <= j && j < t.values+n
}

// packs reports whether the keys and values of an attention come from the
// Linear before it, which can pack them as it computes them, strip by strip.
// The other workers have read the memory that they go to, and to get it back
// takes long, which nobody notices while there is a strip to compute. What a
// core's cache holds anyway is packed as fast afterwards.
func (c *compiler) packs(l, a *op) bool {
	inside := func(v *view) bool { // y, from where a panel of weights and one of the attention begin
		from := v.off - l.y.off
		return v.mem == l.y.mem && v.b == l.y.b && v.n == l.y.n && v.row == l.y.row && v.batch == l.y.batch &&
			from >= 0 && from+v.c <= l.y.c && from%c.k.cols == 0 && v.c/a.heads%c.k.cols == 0
	}
	return a.code == opAttention && a.spend && c.packedBytes(a) > c.s.b.cached &&
		l.y.b*l.y.n >= c.workers && l.act == backend.Identity && !l.l.gated && l.res.none() && l.pre.none() && a.cos.none() &&
		inside(&a.k) && inside(&a.v) && !overlap(a.k, a.v) && !overlap(a.x, a.k) && !overlap(a.x, a.v) && !overlap(l.x, l.y)
}

// packedBytes is about what the keys and values of an image take.
func (c *compiler) packedBytes(a *op) int {
	return 2 * a.k.n * a.k.c * 4 / perStep(c.k.attention(c.s.b.precision))
}

// unit is how many tokens are packed together.
func (a *attention) unit() int {
	if a.bf16 {
		return 2
	}
	return 1
}

// packKeysValues packs the worker's rows of keys and values.
type packKeysValues attention

func (s *packKeysValues) run(w *worker) {
	a := (*attention)(s)
	for _, p := range a.packed[w.id] {
		for h := range a.heads {
			a.pack(w, a.head(p.b, h), w.scratch, h, p)
		}
	}
}

// pack writes the keys and values of some tokens into their panels.
func (a *attention) pack(w *worker, head, strip unsafe.Pointer, h int, p part) {
	a.packKeys(w, head, strip, a.k.at(p.b, p.lo).from(0, h*a.d), p, h, 0, a.d)
	v := a.v.at(p.b, p.lo).from(0, h*a.d)
	for i := range a.values.count() {
		first := i * a.values.cols
		a.packValues(w, head, v.from(0, first), p.lo, p.hi, i, min(a.values.width(i), a.d-first))
	}
}

// packKeys writes n columns of the keys of head h, from column j on, of the
// tokens of p.
func (a *attention) packKeys(w *worker, head, strip unsafe.Pointer, k rows, p part, h, j, n int) {
	turned, low := a.queries(w.k, strip)
	per := a.unit()
	for t := p.lo; t < p.hi; {
		i := t / a.keys.cols
		first, end := i*a.keys.cols, min(p.hi, (i+1)*a.keys.cols)
		k := k.from(t-p.lo, 0)
		if !a.cos.none() {
			a.turn(w.k, turned, k, p.b, h, t, end-t, 1)
			k = turned
		}
		if a.bf16 {
			w.k.toBF16(low.p, low.ld, k.p, k.ld, end-t, n)
			k = low
		}
		width := a.keys.width(i) * 4
		panel := unsafe.Add(head, a.keys.at(i)+(t-first)*4+j/per*width)
		w.k.transpose(panel, uintptr(width), k.p, k.ld, end-t, (n+per-1)/per)
		t = end
	}
}

// valuePanel is where token t is in panel i of a head's values.
func (a *attention) valuePanel(head unsafe.Pointer, i, t int) rows {
	width := a.values.width(i) * 4
	return rows{unsafe.Add(head, a.keys.bytes()+a.values.at(i)+t/a.unit()*width), uintptr(width)}
}

// packValues writes n columns of panel i of a head's values, of tokens lo to hi.
func (a *attention) packValues(w *worker, head unsafe.Pointer, v rows, lo, hi, i, n int) {
	panel := a.valuePanel(head, i, lo)
	if a.bf16 {
		w.k.pairs(panel.p, panel.ld, v.p, v.ld, hi-lo, n)
		return
	}
	copyRows(panel, v, hi-lo, n)
}

// packedProduct computes r rows of panel i of weights, which are keys or
// values, and packs them.
func (w *worker) packedProduct(p *product, i, r0, r int) {
	a, cols := p.into.a, w.k.cols
	lo := p.at.lo + r0
	hi := lo + r
	if j := i*cols - p.into.values; 0 <= j && j < a.heads*a.d {
		head, panel := a.head(p.at.b, j/a.d), j%a.d/cols
		if !a.bf16 {
			w.strip(p, i, r0, r, a.valuePanel(head, panel, lo), false)
			return
		}
		tile := rows{w.tile, uintptr(cols) * 4}
		w.strip(p, i, r0, r, tile, false)
		a.packValues(w, head, tile, lo, hi, panel, cols)
		return
	}
	// Keys are packed in whole blocks of tokens, for stores that are cut off
	// take long, and not before the strip that follows has been computed.
	scratch := unsafe.Add(w.scratch, lowBytes(p.l.precision, p.m, p.l.in))
	panel := rows{scratch, uintptr(cols) * 4}
	scratch = unsafe.Add(scratch, p.m*cols*4)
	w.strip(p, i, r0, r, panel.from(r0, 0), false)
	if r0 == 0 {
		p.done = lo
	}
	ready := lo - lo%(cols/2)
	if r0+r == p.m {
		ready = hi
	}
	if ready > p.done {
		j := i*cols - p.into.keys
		a.packKeys(w, a.head(p.at.b, j/a.d), scratch, panel.from(p.done-p.at.lo, 0), part{p.at.b, p.done, ready}, j/a.d, j%a.d, cols)
		p.done = ready
	}
}
