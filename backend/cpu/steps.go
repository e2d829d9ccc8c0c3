package cpu

import (
	"unsafe"

	"github.com/vitserve/vitserve/backend"
)

// linearStep is y = act(x Wᵀ + b) + residual.
type linearStep struct {
	l              *linear
	act            backend.Activation
	y, x, res, pre view
	aliased        bool // the residual is y
	inPlace        bool // x is y, or overlaps it
	parts          [][]part
}

func (c *compiler) linear(o *op) {
	s := &linearStep{l: o.l, act: o.act, y: o.y, x: o.x, res: o.res, pre: o.pre, aliased: same(o.res, o.y)}
	flatten(&s.y, &s.x, &s.res, &s.pre)
	s.parts = split(s.y.b, s.y.n, c.workers, maxRows)
	scratch := 0
	if s.inPlace = overlap(o.x, o.y) || !o.pre.none() && overlap(o.x, o.pre); s.inPlace {
		scratch = maxRows * rowStride(s.l.in)
	}
	c.add(s, scratch, access{o.y, true, ownRows}, access{o.pre, true, ownRows}, access{o.x, false, ownRows}, access{o.res, false, ownRows})
}

// rowStride is the bytes from one row of n values to the next in scratch
// memory, padded as tensors are.
func rowStride(n int) int { return roundUp(n*4, line) + line }

func (s *linearStep) run(w *worker) {
	for _, p := range s.parts[w.id] {
		m := product{
			l: s.l, act: s.act, m: p.hi - p.lo, p1: s.l.panels, k1: s.l.in,
			y: s.y.at(p.b, p.lo), x: s.x.at(p.b, p.lo), res: s.res.at(p.b, p.lo), pre: s.pre.at(p.b, p.lo),
		}
		if s.inPlace {
			x := rows{w.scratch, uintptr(rowStride(s.l.in))}
			copyRows(x, m.x, m.m, s.l.in)
			m.x = x
		}
		m.accumulate(s.aliased)
		w.multiply(&m)
	}
}

// accumulate turns a residual into adding to y, where nothing comes between.
func (p *product) accumulate(aliased bool) {
	if p.res.p == nil || p.act != backend.Identity || p.pre.p != nil {
		return
	}
	if !aliased {
		copyRows(p.y, p.res, p.m, p.l.columns())
	}
	p.res, p.acc = rows{}, true
}

// mlpStep is a Linear into a Temp and the Linear that reads it, in chunks of
// hidden columns that stay in the second-level cache. What comes of a chunk is
// added to y.
type mlpStep struct {
	fc1, fc2       *linear
	act            backend.Activation
	y, x, res, pre view
	aliased        bool
	chunk          int // panels of fc1
	parts          [][]part
}

// maxHidden is how many hidden columns a chunk has at most.
const maxHidden = 768

func (c *compiler) mlp(first, next *op) {
	s := &mlpStep{
		fc1: first.l, fc2: next.l, act: first.act,
		y: next.y, x: first.x, res: next.res, pre: first.pre, aliased: same(next.res, next.y),
	}
	flatten(&s.y, &s.x, &s.res, &s.pre)
	s.parts = split(s.y.b, s.y.n, c.workers, maxRows)
	panels := s.fc1.panels
	chunks := (panels*s.fc1.width + maxHidden - 1) / maxHidden
	s.chunk = (panels + chunks - 1) / chunks
	c.add(s, maxRows*s.hiddenStride(), access{next.y, true, ownRows}, access{first.pre, true, ownRows},
		access{first.x, false, ownRows}, access{next.res, false, ownRows})
}

// hiddenStride is the bytes from one row of the hidden layer to the next.
func (s *mlpStep) hiddenStride() int { return rowStride(s.chunk * s.fc1.width) }

func (s *mlpStep) run(w *worker) {
	hidden := rows{w.scratch, uintptr(s.hiddenStride())}
	for _, p := range s.parts[w.id] {
		up := product{l: s.fc1, act: s.act, m: p.hi - p.lo, k1: s.fc1.in, x: s.x.at(p.b, p.lo), y: hidden, room: true}
		down := product{l: s.fc2, m: p.hi - p.lo, p1: s.fc2.panels, x: hidden, y: s.y.at(p.b, p.lo), res: s.res.at(p.b, p.lo)}
		down.accumulate(s.aliased)
		for p0 := 0; p0 < s.fc1.panels; p0 += s.chunk {
			up.p0, up.p1 = p0, min(p0+s.chunk, s.fc1.panels)
			up.pre = s.pre.at(p.b, p.lo).from(0, p0*s.fc1.width)
			w.multiply(&up)
			down.k0, down.k1 = up.p0*s.fc1.width, min(up.p1*s.fc1.width, s.fc2.in)
			w.multiply(&down)
			down.acc = true
		}
	}
}

// normStep is a LayerNorm.
type normStep struct {
	y, x         view
	weight, bias view
	eps          float32
	parts        [][]part
}

func (c *compiler) layerNorm(o *op) {
	s := &normStep{y: o.y, x: o.x, weight: o.weight, bias: o.bias, eps: o.eps}
	flatten(&s.y, &s.x)
	s.parts = split(s.y.b, s.y.n, c.workers, s.y.n+1)
	c.add(s, 0, access{o.y, true, ownRows}, access{o.x, false, ownRows},
		access{o.weight, false, anything}, access{o.bias, false, anything})
}

func (s *normStep) run(w *worker) {
	weight, bias := s.weight.at(0, 0).p, s.bias.at(0, 0).p
	for _, p := range s.parts[w.id] {
		y, x := s.y.at(p.b, p.lo), s.x.at(p.b, p.lo)
		for i := range p.hi - p.lo {
			w.k.layerNorm(y.row(i), x.row(i), weight, bias, s.y.c, s.eps)
		}
	}
}

// patchStep cuts patches out of pixels and projects them.
type patchStep struct {
	l           *linear
	y, x        view
	prefix, pos view
	patch, grid [2]int
	parts       [][]part
}

func (c *compiler) patchEmbed(o *op) {
	s := &patchStep{l: o.l, y: o.y, x: o.x, prefix: o.prefix, pos: o.pos, patch: o.patch, grid: o.grid}
	s.parts = split(s.y.b, s.y.n, c.workers, maxRows)
	c.add(s, maxRows*s.stride(), access{o.y, true, ownRows}, access{o.x, false, ownImage},
		access{o.prefix, false, anything}, access{o.pos, false, anything})
}

// stride is the bytes from one cut patch to the next.
func (s *patchStep) stride() int { return rowStride(s.l.in) }

func (s *patchStep) run(w *worker) {
	cut := rows{w.scratch, uintptr(s.stride())}
	prefix := 0
	if !s.prefix.none() {
		prefix = s.prefix.n
	}
	for _, p := range s.parts[w.id] {
		lo := p.lo
		for ; lo < min(p.hi, prefix); lo++ {
			copyRows(s.y.at(p.b, lo), s.prefix.at(0, lo), 1, s.y.c)
		}
		m := product{l: s.l, m: p.hi - lo, p1: s.l.panels, k1: s.l.in, x: cut, y: s.y.at(p.b, lo)}
		if m.m == 0 {
			continue
		}
		for i := range m.m {
			s.cut(cut.row(i), p.b, lo-prefix+i)
		}
		m.res = s.pos.at(0, lo-prefix)
		m.accumulate(false)
		w.multiply(&m)
	}
}

// cut copies patch n of image b, channel by channel, row by row.
func (s *patchStep) cut(dst unsafe.Pointer, b, n int) {
	ph, pw := s.patch[0], s.patch[1]
	y, x := n/s.grid[1]*ph, n%s.grid[1]*pw
	for c := range 3 {
		for i := range ph {
			line := s.x.at(b, c*s.grid[0]+y+i).from(0, x)
			copy(floats(dst, pw), floats(line.p, pw))
			dst = unsafe.Add(dst, pw*4)
		}
	}
}

// poolStep writes means of spans of rows.
type poolStep struct {
	y, x  view
	spans []int // first, end, first, end …
	parts [][]part
}

func (c *compiler) pool(o *op) {
	s := &poolStep{y: o.y, x: o.x, spans: c.p.ints[o.lo:o.hi]}
	s.parts = split(s.y.b, 1, c.workers, 1)
	c.add(s, 0, access{o.y, true, ownRows}, access{o.x, false, ownImage})
}

func (s *poolStep) run(w *worker) {
	for _, p := range s.parts[w.id] {
		for i := 0; i < len(s.spans); i += 2 {
			y := s.y.at(p.b, 0).from(0, i/2*s.x.c)
			x := s.x.at(p.b, s.spans[i])
			n := s.spans[i+1] - s.spans[i]
			copyRows(y, x, 1, s.x.c)
			for j := 1; j < n; j++ {
				w.k.add(y.p, y.ld, x.row(j), x.ld, 1, s.x.c)
			}
			if n > 1 {
				mean := floats(y.p, s.x.c)
				for j := range mean {
					mean[j] /= float32(n)
				}
			}
		}
	}
}

// gatherStep keeps named rows of every image.
type gatherStep struct {
	y, x  view
	rows  []int
	parts [][]part
}

func (c *compiler) gather(o *op) {
	s := &gatherStep{y: o.y, x: o.x, rows: c.p.ints[o.lo:o.hi]}
	s.parts = split(s.y.b, s.y.n, c.workers, s.y.n+1)
	c.add(s, 0, access{o.y, true, ownRows}, access{o.x, false, ownImage})
}

func (s *gatherStep) run(w *worker) {
	for _, p := range s.parts[w.id] {
		for i := p.lo; i < p.hi; i++ {
			copyRows(s.y.at(p.b, i), s.x.at(p.b, s.rows[i]), 1, s.y.c)
		}
	}
}

// readStep copies to the host.
type readStep struct {
	x     view
	slot  int
	parts [][]part
}

func (c *compiler) read(o *op) {
	s := &readStep{x: o.x, slot: o.read, parts: split(o.x.b, o.x.n, c.workers, o.x.n+1)}
	c.add(s, 0, access{o.x, false, ownRows})
}

func (s *readStep) run(w *worker) {
	dst := w.job.reads[s.slot]
	for _, p := range s.parts[w.id] {
		for i := p.lo; i < p.hi; i++ {
			copy(dst[(p.b*s.x.n+i)*s.x.c:], floats(s.x.at(p.b, i).p, s.x.c))
		}
	}
}
