package cpu

import (
	"math"
	"unsafe"
)

// attentionGrad is an operation of that name, which is two steps. For each
// head of an image, a block of queries at a time, with P = softmax(S):
//
//	S = q kᵀ·scale + bias    dP = do vᵀ    dS = P ∘ (dP - rowsum(P ∘ dP))
//	dq = dS k·scale          dk += dSᵀ q·scale          dv += Pᵀ do
//
// so that no more of the N×N matrices exists than a block of rows. Sums over
// queries go block by block in their order. Relevance, a mean over heads, is
// computed by rows, from products of its own.
//
// Dao, "FlashAttention-2", https://arxiv.org/abs/2307.08691, algorithm 2, has
// the same formulas.
type attentionGrad struct {
	attention
	do, dq, dk, dv, dprobs, share view

	tokens layout // keys or values, transposed: [d][tokens]
	deep   layout // keys: [tokens][d]
	block  layout // queries or do of a block: [rows][d]
	units  [][2]int
}

// gradBlock bounds the rows of a block: as many as make a product worth its
// while, and few enough for the second-level cache.
const gradBlock = 128

func (c *compiler) attentionGrad(o *op) {
	g := &attentionGrad{
		attention: *newAttention(o),
		do:        o.dy, dq: o.y, dk: o.dk, dv: o.dv, dprobs: o.probs, share: o.share,
	}
	g.tokens = layout{g.k.n, g.d, c.k.cols}
	g.deep = layout{g.d, g.k.n, c.k.cols}
	g.block = layout{g.d, min(gradBlock, g.q.n), c.k.cols}
	g.keys = g.tokens // for the stride of scores
	reads := []access{
		{o.bias, false, anything}, {o.cos, false, anything}, {o.sin, false, anything},
		{o.x, false, ownImage}, {o.k, false, ownImage}, {o.v, false, ownImage}, {o.dy, false, ownImage},
	}
	c.then = nil
	if !g.dq.none() || !g.dk.none() || !g.dv.none() || !g.dprobs.none() {
		units := g.q.b * g.heads
		for w := range c.workers {
			g.units = append(g.units, [2]int{units * w / c.workers, units * (w + 1) / c.workers})
		}
		c.add((*headGrad)(g), g.scratch(), append(reads,
			access{o.y, true, ownImage}, access{o.dk, true, ownImage}, access{o.dv, true, ownImage}, access{o.probs, true, ownImage})...)
	}
	if !g.share.none() {
		g.parts = split(g.q.b, g.q.n, c.workers, math.MaxInt)
		c.add((*relevanceStep)(g), g.scratch(), append(reads, access{o.share, true, ownRows})...)
	}
}

// gradMemory is the scratch of a worker.
type gradMemory struct {
	keys, values, deep unsafe.Pointer
	block              unsafe.Pointer // panels of q or do
	scores, dprobs     rows           // of a block
	turned             rows           // queries of a block, or keys of a panel
	flipped            rows           // a block of P or dS, transposed
}

func (g *attentionGrad) blockRows() int { return max(g.block.depth, g.tokens.cols) }

func (g *attentionGrad) scratch() int {
	return 2*g.tokens.bytes() + g.deep.bytes() + g.block.bytes() +
		2*g.block.depth*g.scoreStride() + g.blockRows()*g.queryStride() + g.k.n*rowStride(g.block.depth)
}

func (g *attentionGrad) memory(p unsafe.Pointer) (m gradMemory) {
	taken := 0
	take := func(bytes int) unsafe.Pointer {
		at := unsafe.Add(p, taken)
		taken += bytes
		return at
	}
	m.keys, m.values = take(g.tokens.bytes()), take(g.tokens.bytes())
	m.deep, m.block = take(g.deep.bytes()), take(g.block.bytes())
	scores := uintptr(g.scoreStride())
	m.scores = rows{take(g.block.depth * g.scoreStride()), scores}
	m.dprobs = rows{take(g.block.depth * g.scoreStride()), scores}
	m.turned = rows{take(g.blockRows() * g.queryStride()), uintptr(g.queryStride())}
	m.flipped = rows{take(g.k.n * rowStride(g.block.depth)), uintptr(rowStride(g.block.depth))}
	return m
}

// headGrad derives heads of the worker's.
type headGrad attentionGrad

func (s *headGrad) run(w *worker) {
	g := (*attentionGrad)(s)
	for u := g.units[w.id][0]; u < g.units[w.id][1]; u++ {
		g.head(w, u/g.heads, u%g.heads)
	}
}

// head derives head h of image b.
func (g *attentionGrad) head(w *worker, b, h int) {
	m := g.memory(w.scratch)
	col := h * g.d
	queries, keys := !g.dq.none(), !g.dk.none()
	scores := queries || keys || !g.dv.none()
	dprobs := queries || keys || !g.dprobs.none()
	if scores {
		g.packKeys(w, m, b, h, queries)
	}
	if dprobs {
		g.packTokens(w, m.values, g.v.at(b, 0).from(0, col))
	}
	blocks := (g.q.n + gradBlock - 1) / gradBlock
	for i := range blocks {
		lo, hi := g.q.n*i/blocks, g.q.n*(i+1)/blocks
		n, add := hi-lo, i > 0
		block := layout{g.d, n, g.block.cols}
		do := g.do.at(b, lo).from(0, col)
		if scores {
			g.softmaxRows(w, m, b, h, lo, n)
		}
		if dprobs {
			w.times(m.dprobs, do, n, m.values, g.tokens, false, true)
		}
		if !g.dprobs.none() {
			copyRows(g.dprobs.at(b, h*g.q.n+lo), m.dprobs, n, g.k.n)
		}
		if !g.dv.none() {
			w.k.transpose(m.flipped.p, m.flipped.ld, m.scores.p, m.scores.ld, n, g.k.n)
			g.packDeep(m.block, do, block)
			w.times(g.dv.at(b, 0).from(0, col), m.flipped, g.k.n, m.block, block, add, false)
		}
		if !queries && !keys {
			continue
		}
		w.k.softmaxGrad(m.dprobs.p, m.dprobs.ld, m.scores.p, m.scores.ld, n, g.k.n)
		if queries {
			dq := g.dq.at(b, lo).from(0, col)
			w.times(dq, m.dprobs, n, m.deep, g.deep, false, false)
			g.unturn(dq, b, h, lo, n)
		}
		if keys {
			w.k.transpose(m.flipped.p, m.flipped.ld, m.dprobs.p, m.dprobs.ld, n, g.k.n)
			g.packDeep(m.block, m.turned, block)
			w.times(g.dk.at(b, 0).from(0, col), m.flipped, g.k.n, m.block, block, add, false)
		}
	}
	if keys {
		g.unturn(g.dk.at(b, 0).from(0, col), b, h, 0, g.k.n)
	}
}

// softmaxRows computes the probabilities of n queries from lo on in m.scores,
// and leaves the queries, turned and scaled, in m.turned.
func (g *attentionGrad) softmaxRows(w *worker, m gradMemory, b, h, lo, n int) {
	g.turn(w.k, m.turned, g.q.at(b, lo).from(0, h*g.d), b, h, lo, n, g.scale)
	if !g.bias.none() {
		copyRows(m.scores, g.biases(b, h, lo), n, g.k.n)
	}
	w.times(m.scores, m.turned, n, m.keys, g.tokens, !g.bias.none(), true)
	if g.causal {
		w.k.causal(m.scores, lo, n, g.k.n, 1)
		return
	}
	w.k.softmax(m.scores.p, m.scores.ld, n, g.k.n, 1)
}

// packKeys packs the turned keys of a head, transposed, and for queries also
// as they are and scaled.
func (g *attentionGrad) packKeys(w *worker, m gradMemory, b, h int, queries bool) {
	k := g.k.at(b, 0).from(0, h*g.d)
	for i := range g.tokens.count() {
		lo := i * g.tokens.cols
		n := min(g.tokens.cols, g.k.n-lo)
		if queries {
			g.turn(w.k, m.turned, k.from(lo, 0), b, h, lo, n, g.scale)
			for j := range g.deep.count() {
				width := g.deep.width(j)
				panel := unsafe.Add(m.deep, g.deep.at(j)+lo*width*4)
				copyRows(rows{panel, uintptr(width) * 4}, m.turned.from(0, j*g.deep.cols), n, min(width, g.d-j*g.deep.cols))
			}
		}
		x := k.from(lo, 0)
		if !g.cos.none() {
			g.turn(w.k, m.turned, x, b, h, lo, n, 1)
			x = m.turned
		}
		w.k.transpose(unsafe.Add(m.keys, g.tokens.at(i)), uintptr(g.tokens.width(i))*4, x.p, x.ld, n, g.d)
	}
}

// packTokens packs tokens transposed.
func (g *attentionGrad) packTokens(w *worker, to unsafe.Pointer, x rows) {
	for i := range g.tokens.count() {
		lo := i * g.tokens.cols
		x := x.from(lo, 0)
		w.k.transpose(unsafe.Add(to, g.tokens.at(i)), uintptr(g.tokens.width(i))*4, x.p, x.ld, min(g.tokens.cols, g.k.n-lo), g.d)
	}
}

// packDeep packs rows as they are.
func (g *attentionGrad) packDeep(to unsafe.Pointer, x rows, p layout) {
	for j := range p.count() {
		width := p.width(j)
		copyRows(rows{unsafe.Add(to, p.at(j)), uintptr(width) * 4}, x.from(0, j*p.cols), p.depth, min(width, p.n-j*p.cols))
	}
}

// unturn turns gradients at n turned queries or keys of head h, of token t of
// image b and those behind it, back.
func (g *attentionGrad) unturn(x rows, b, h, t, n int) {
	if g.cos.none() {
		return
	}
	apart, step := g.d/2, 1
	if g.interleaved {
		apart, step = 1, 2
	}
	first := max(g.unturned-t, 0)
	if first >= n {
		return
	}
	cosines, sines := g.angles(b, h, t+first)
	for i := first; i < n; i++ {
		v, cos, sin := floats(x.row(i), g.d), floats(cosines.row(i-first), g.d), floats(sines.row(i-first), g.d)
		for pair := range g.d / 2 {
			p, q := pair*step, pair*step+apart
			v[p], v[q] = v[p]*cos[p]+v[q]*sin[q], v[q]*cos[q]-v[p]*sin[p]
		}
	}
}

// relevanceStep computes the heads' mean of max(0, P ∘ dP) for the worker's
// rows of queries.
type relevanceStep attentionGrad

func (s *relevanceStep) run(w *worker) {
	g := (*attentionGrad)(s)
	m := g.memory(w.scratch)
	for _, p := range g.parts[w.id] {
		for h := range g.heads {
			g.packKeys(w, m, p.b, h, false)
			g.packTokens(w, m.values, g.v.at(p.b, 0).from(0, h*g.d))
			for lo := p.lo; lo < p.hi; lo += g.block.depth {
				n := min(g.block.depth, p.hi-lo)
				g.softmaxRows(w, m, p.b, h, lo, n)
				w.times(m.dprobs, g.do.at(p.b, lo).from(0, h*g.d), n, m.values, g.tokens, false, true)
				share := g.share.at(p.b, lo)
				if h == 0 {
					for i := range n {
						clear(floats(share.row(i), g.k.n))
					}
				}
				w.k.relevance(share.p, share.ld, m.scores.p, m.dprobs.p, m.scores.ld, n, g.k.n)
			}
		}
		for i := p.lo; i < p.hi; i++ {
			row := floats(g.share.at(p.b, i).p, g.k.n)
			for j := range row {
				row[j] /= float32(g.heads)
			}
		}
	}
}

// times is c = x·b, or c += x·b, for m rows of x and columns in panels. A
// roomy c has space up to the end of the last panel.
func (w *worker) times(c, x rows, m int, b unsafe.Pointer, p layout, acc, roomy bool) {
	g := &w.args
	strips := (m + w.k.rows - 1) / w.k.rows
	g.lda, g.k, g.bias, g.acc = x.ld, uintptr(p.depth), nil, 0
	if acc {
		g.acc = 1
	}
	for i := range p.count() {
		kernel, width := w.k.gemm, p.width(i)
		if width < p.cols {
			kernel = w.k.half
		}
		g.b = unsafe.Add(b, p.at(i))
		g.next = g.b
		n := min(width, p.n-i*p.cols)
		for s := range strips {
			r0, r1 := m*s/strips, m*(s+1)/strips
			y := c.from(r0, i*p.cols)
			g.a = x.row(r0)
			if n == width || roomy {
				g.c, g.ldc = y.p, y.ld
				kernel[r1-r0](g)
				continue
			}
			tile := rows{w.tile, uintptr(width) * 4}
			if acc {
				copyRows(tile, y, r1-r0, n)
			}
			g.c, g.ldc = tile.p, tile.ld
			kernel[r1-r0](g)
			copyRows(y, tile, r1-r0, n)
		}
	}
}
