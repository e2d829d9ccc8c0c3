package cpu

import (
	"math"
	"slices"
	"unsafe"

	"github.com/vitserve/vitserve/backend"
)

// attention is an operation of that name. Keys and values are packed as
// weights are, head by head: the transposed keys in panels of tokens, the
// values in panels of head columns. A strip of queries then takes a product,
// a softmax and a product, its scores in the first-level cache; the N×N
// matrix never is. What a row becomes depends on nothing but the row.
type attention struct {
	heads, d      int // heads, columns of a head
	o, q, k, v    view
	bf16          bool    // products of bf16; the softmax is float32
	scale         float32 // given to the softmax; 1 where the queries are scaled
	scaled        float32 // what copies of the queries are multiplied with; 0: none are made
	bias          view    // (H, R, N); of each image (B, H·R, N)
	each          bool    // that is so
	causal        bool    // row r sees keys 0 to r
	cos, sin      view    // of one image for all, or of each
	unturned      int
	interleaved   bool
	probs         view
	captured      []int // rows kept in probs
	all           bool
	keys, values  layout
	shared        *mem // keys and values of all heads of all images, or nil
	packed, parts [][]part
}

// layout is that of n columns of depth steps of four bytes in panels of cols,
// the last one half as wide where that is enough.
type layout struct{ n, depth, cols int }

// count returns how many there are.
func (p layout) count() int { return (p.n + p.cols - 1) / p.cols }

// width returns the columns of panel i.
func (p layout) width(i int) int {
	if p.n-i*p.cols <= p.cols/2 {
		return p.cols / 2
	}
	return p.cols
}

// at is where panel i starts, in bytes.
func (p layout) at(i int) int { return i * p.cols * p.depth * 4 }

// bytes is the size of all.
func (p layout) bytes() int { return roundUp(p.at(p.count()), line) }

// attention compiles the operation. l is the Linear before it if that packs,
// and is compiled with it; or nil. Otherwise, where workers have whole images,
// each packs a head for itself just before it reads it; where not, all pack
// what is theirs into memory of the stream. There they wait for one another.
func (c *compiler) attention(o, l *op) error {
	a := newAttention(o)
	a.o, a.probs, a.captured, a.all = o.y, o.probs, c.p.ints[o.lo:o.hi], o.all
	if !a.bias.none() || !a.cos.none() || a.scale <= 0 {
		a.scale, a.scaled = 1, o.scale
	}
	a.keys = layout{a.k.n, a.d, c.k.cols}
	a.values = layout{a.d, a.k.n, c.k.cols}
	if a.bf16 = c.k.attention(c.s.b.precision) == backend.BF16; a.bf16 {
		a.keys.depth, a.values.depth = (a.d+1)/2, (a.k.n+1)/2
	}
	a.parts = split(a.q.b, a.q.n, c.workers, math.MaxInt)
	constants := []access{{a.bias, false, anything}, {a.cos, false, anything}, {a.sin, false, anything}}
	whole := a.q.b%c.workers == 0
	if whole && l == nil {
		c.add((*ownAttention)(a), a.headBytes()+a.stripBytes(c.k), append(constants,
			access{o.y, true, ownRows}, access{o.probs, true, ownImage},
			access{o.x, false, ownRows}, access{o.k, false, ownImage}, access{o.v, false, ownImage})...)
		return nil
	}
	size, parity := a.heads*a.headBytes()/4, 0
	if !whole {
		parity = c.layers % 2
		c.layers++
	}
	var err error
	if a.shared, err = c.s.shared(parity, a.q.b*size); err != nil {
		return err
	}
	written := access{view{mem: a.shared, b: a.q.b, n: 1, c: size, row: size, batch: size}, true, anything}
	probs := access{o.probs, true, anything}
	if whole {
		written.scope, probs.scope = ownImage, ownImage
	}
	read := written
	read.write = false
	if l != nil {
		c.linearInto(l, &into{a, o.k.off - l.y.off, o.v.off - l.y.off}, written)
	} else {
		a.packed = split(a.k.b, a.k.n, c.workers, math.MaxInt)
		c.add((*packKeysValues)(a), a.stripBytes(c.k), append(constants, written, access{o.k, false, ownRows}, access{o.v, false, ownRows})...)
	}
	c.add((*sharedAttention)(a), a.stripBytes(c.k), append(constants, access{o.y, true, ownRows}, probs, access{o.x, false, ownRows}, read)...)
	return nil
}

// newAttention returns what the operation and its gradient have in common.
func newAttention(o *op) *attention {
	return &attention{
		heads: o.heads, d: o.x.c / o.heads, q: o.x, k: o.k, v: o.v, scale: o.scale, bias: o.bias, each: o.each, causal: o.causal,
		cos: o.cos, sin: o.sin, unturned: o.unturned, interleaved: o.interleaved,
	}
}

// shared returns memory for the keys and values of every second layer, so
// that no worker waits before it packs those of the next, or of all layers
// where none reads another's.
func (s *stream) shared(parity, floats int) (*mem, error) {
	m := &s.kv[parity]
	if m.mem == nil || m.mem.floats < floats {
		if m.mem != nil {
			s.arena.free(m.block)
			s.programs = nil // they were made with the old memory
			s.outgrown++
		}
		p, blk, err := s.arena.alloc(floats * 4)
		if err != nil {
			m.mem = nil
			return nil, err
		}
		m.mem, m.block = &mem{base: p, floats: floats}, blk
	}
	return m.mem, nil
}

// headBytes is the size of the packed keys and values of a head.
func (a *attention) headBytes() int { return a.keys.bytes() + a.values.bytes() }

// scoreStride is the bytes from one row of scores to the next.
func (a *attention) scoreStride() int { return rowStride(a.keys.count() * a.keys.cols) }

// queryStride is the same of copied queries and keys.
func (a *attention) queryStride() int { return rowStride(a.d) }

// A strip's scratch: its scores, in bf16 their probabilities as the second
// product takes them, and copies of queries or keys in two forms.
func (a *attention) stripBytes(k *kernels) int {
	n := k.rows*a.scoreStride() + 2*max(k.rows, k.cols)*a.queryStride()
	if a.bf16 {
		n += k.rows * a.scoreStride()
	}
	return n
}

// queries is where copies of queries or keys go.
func (a *attention) queries(k *kernels, strip unsafe.Pointer) (turned, low rows) {
	ld := a.queryStride()
	turned = rows{unsafe.Add(strip, k.rows*a.scoreStride()), uintptr(ld)}
	return turned, rows{unsafe.Add(turned.p, max(k.rows, k.cols)*ld), uintptr(ld)}
}

// probabilities is where those of bf16 go.
func (a *attention) probabilities(k *kernels, strip unsafe.Pointer) rows {
	_, low := a.queries(k, strip)
	return rows{unsafe.Add(low.p, max(k.rows, k.cols)*a.queryStride()), uintptr(a.scoreStride())}
}

// head is where the packed keys of a head lie; its values follow.
func (a *attention) head(b, h int) unsafe.Pointer {
	return unsafe.Add(a.shared.base, (b*a.heads+h)*a.headBytes())
}

// ownAttention packs and reads each head of the worker's own images.
type ownAttention attention

func (s *ownAttention) run(w *worker) {
	a := (*attention)(s)
	strip := unsafe.Add(w.scratch, a.headBytes())
	for _, p := range a.parts[w.id] {
		for h := range a.heads {
			a.pack(w, w.scratch, strip, h, part{p.b, 0, a.k.n})
			a.attend(w, w.scratch, strip, h, p)
		}
	}
}

// sharedAttention reads what all workers packed.
type sharedAttention attention

func (s *sharedAttention) run(w *worker) {
	a := (*attention)(s)
	for _, p := range a.parts[w.id] {
		for h := range a.heads {
			a.attend(w, a.head(p.b, h), w.scratch, h, p)
		}
	}
}

// attend computes some rows of a head, strip by strip.
func (a *attention) attend(w *worker, head, strip unsafe.Pointer, h int, p part) {
	n := p.hi - p.lo
	strips := (n + w.k.rows - 1) / w.k.rows
	for s := range strips {
		lo, hi := p.lo+n*s/strips, p.lo+n*(s+1)/strips
		// The queries that come next were written long ago.
		if s < strips-1 {
			a.fetch(w, h, part{p.b, hi, min(hi+w.k.rows, p.hi)})
		} else if h < a.heads-1 {
			a.fetch(w, h+1, part{p.b, p.lo, min(p.lo+w.k.rows, p.hi)})
		}
		a.strip(w, head, strip, h, part{p.b, lo, hi})
	}
}

// fetch brings some rows of a head's queries into the cache.
func (a *attention) fetch(w *worker, h int, p part) {
	if w.k.fetch != nil {
		q := a.q.at(p.b, p.lo).from(0, h*a.d)
		w.k.fetch(q.p, q.ld, p.hi-p.lo, a.d)
	}
}

// strip computes the rows of one strip: o = softmax(q kᵀ·scale + bias) v.
func (a *attention) strip(w *worker, head, strip unsafe.Pointer, h int, p part) {
	r := p.hi - p.lo
	scores := rows{strip, uintptr(a.scoreStride())}
	q := a.q.at(p.b, p.lo).from(0, h*a.d)
	turned, low := a.queries(w.k, strip)
	if a.scaled != 0 {
		a.turn(w.k, turned, q, p.b, h, p.lo, r, a.scaled)
		q = turned
	}
	if a.bf16 {
		w.k.toBF16(low.p, low.ld, q.p, q.ld, r, a.d)
		q = low
	}
	g := &w.args
	g.a, g.lda, g.k, g.bias, g.acc = q.p, q.ld, uintptr(a.keys.depth), nil, 0
	if !a.bias.none() {
		copyRows(scores, a.biases(p.b, h, p.lo), r, a.keys.n)
		g.acc = 1
	}
	g.ldc = scores.ld
	for i := range a.panels(p) {
		g.b = unsafe.Add(head, a.keys.at(i))
		g.next = g.b
		g.c = scores.from(0, i*a.keys.cols).p
		a.gemm(w, r, a.keys.width(i))
	}
	probs := a.softmax(w, scores, strip, h, p)

	o := a.o.at(p.b, p.lo).from(0, h*a.d)
	g.a, g.lda, g.k, g.acc = probs.p, probs.ld, uintptr(a.values.depth), 0
	for i := range a.values.count() {
		first, width := i*a.values.cols, a.values.width(i)
		g.b = unsafe.Add(head, a.keys.bytes()+a.values.at(i))
		g.next = g.b
		if first+width <= a.d {
			g.c, g.ldc = o.from(0, first).p, o.ld
			a.gemm(w, r, width)
			continue
		}
		tile := rows{w.tile, uintptr(width) * 4}
		g.c, g.ldc = tile.p, tile.ld
		a.gemm(w, r, width)
		copyRows(o.from(0, first), tile, r, a.d-first)
	}
}

// gemm runs the kernel for r rows and a panel that may be half as wide.
func (a *attention) gemm(w *worker, r, width int) {
	kernel := w.k.gemm
	switch half := width < w.k.cols; {
	case a.bf16 && half:
		kernel = w.k.halfBF16
	case a.bf16:
		kernel = w.k.gemmBF16
	case half:
		kernel = w.k.half
	}
	kernel[r](&w.args)
}

// softmax turns a strip's scores into probabilities, keeps those that were
// asked for, and returns the rows of the second product.
func (a *attention) softmax(w *worker, scores rows, strip unsafe.Pointer, h int, p part) rows {
	r, n := p.hi-p.lo, a.keys.n
	switch {
	case a.causal:
		w.k.causal(scores, p.lo, r, n, a.scale)
	case a.bf16 && !a.captures(p):
		probs := a.probabilities(w.k, strip)
		w.k.softmaxBF16(probs.p, probs.ld, scores.p, scores.ld, r, n, a.scale)
		return probs
	default:
		w.k.softmax(scores.p, scores.ld, r, n, a.scale)
	}
	a.capture(scores, h, p)
	if !a.bf16 {
		return scores
	}
	probs := a.probabilities(w.k, strip)
	w.k.toBF16(probs.p, probs.ld, scores.p, scores.ld, r, n)
	return probs
}

// captures reports whether any of the rows of p is kept.
func (a *attention) captures(p part) bool {
	return !a.probs.none() && (a.all || slices.ContainsFunc(a.captured, func(row int) bool { return p.lo <= row && row < p.hi }))
}

// capture keeps the probabilities of rows that were asked for.
func (a *attention) capture(scores rows, h int, p part) {
	switch {
	case a.probs.none():
	case a.all:
		copyRows(a.probs.at(p.b, h*a.q.n+p.lo), scores, p.hi-p.lo, a.keys.n)
	default:
		for slot, row := range a.captured {
			if p.lo <= row && row < p.hi {
				copyRows(a.probs.at(p.b, h*len(a.captured)+slot), scores.from(row-p.lo, 0), 1, a.keys.n)
			}
		}
	}
}
