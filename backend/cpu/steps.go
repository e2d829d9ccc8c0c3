package cpu

import (
	"math"
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
	panels         [][2]int // of each worker
	then           unsafe.Pointer
	into           *into // if y has keys and values
}

// linear compiles the operation. Where there are fewer rows than workers,
// the weights are what takes time, and each worker has columns of its own.
func (c *compiler) linear(o *op) {
	s := &linearStep{l: o.l, act: o.act, y: o.y, x: o.x, res: o.res, pre: o.pre, aliased: o.res == o.y}
	s.parts = c.splitFlat(s.l.rows(), &s.y, &s.x, &s.res, &s.pre)
	s.inPlace = overlap(o.x, o.y) || !o.pre.none() && overlap(o.x, o.pre)
	scratch := lowBytes(s.l.precision, maxRows, s.l.in)
	if s.l.precision == backend.F32 && s.inPlace {
		scratch = maxRows * rowStride(s.l.in)
	}
	if !s.inPlace && o.y.b*o.y.n < c.workers && o.l.panels >= 2*c.workers {
		whole := split(o.y.b, o.y.n, 1, maxRows)[0]
		s.y, s.x, s.res, s.pre = o.y, o.x, o.res, o.pre
		for w := range c.workers {
			s.parts[w] = whole
			s.panels = append(s.panels, [2]int{s.l.panels * w / c.workers, s.l.panels * (w + 1) / c.workers})
		}
		c.add(s, scratch, access{o.y, true, anything}, access{o.pre, true, anything}, access{o.x, false, anything}, access{o.res, false, anything})
		return
	}
	for range c.workers {
		s.panels = append(s.panels, [2]int{0, s.l.panels})
	}
	c.fetches(o.l, &s.then)
	c.add(s, scratch, access{o.y, true, ownRows}, access{o.pre, true, ownRows}, access{o.x, false, ownRows}, access{o.res, false, ownRows})
}

// linearInto compiles a Linear whose keys and values go straight into the
// panels of the attention that reads them.
func (c *compiler) linearInto(o *op, to *into, packed access) {
	s := &linearStep{l: o.l, y: o.y, x: o.x, into: to}
	s.parts = split(o.y.b, o.y.n, c.workers, s.l.rows())
	for range c.workers {
		s.panels = append(s.panels, [2]int{0, s.l.panels})
	}
	c.fetches(o.l, &s.then)
	c.add(s, lowBytes(s.l.precision, maxRows, s.l.in)+maxRows*c.k.cols*4+to.a.stripBytes(c.k),
		access{o.y, true, ownRows}, access{o.x, false, ownRows}, packed)
}

// rowStride is the bytes from one row of n values to the next in scratch
// memory, padded as tensors are.
func rowStride(n int) int { return roundUp(n*4, line) + line }

func (s *linearStep) run(w *worker) {
	p0, p1 := s.panels[w.id][0], s.panels[w.id][1]
	col := p0 * s.l.width
	for _, p := range s.parts[w.id] {
		m := product{
			l: s.l, act: s.act, m: p.hi - p.lo, p0: p0, p1: p1, k1: s.l.in, then: s.then, into: s.into, at: p,
			y: s.y.at(p.b, p.lo).from(0, col), res: s.res.at(p.b, p.lo).from(0, col), pre: s.pre.at(p.b, p.lo).from(0, col),
		}
		x := s.x.at(p.b, p.lo)
		if s.inPlace && s.l.precision == backend.F32 {
			copied := rows{w.scratch, uintptr(rowStride(s.l.in))}
			copyRows(copied, x, m.m, s.l.in)
			x = copied
		}
		w.lower(&m, w.scratch, x, s.l.in)
		m.accumulate(s.aliased)
		w.multiply(&m)
	}
}

// mlpStep is a Linear into a Temp and the Linear that reads it, a chunk of
// hidden columns at a time. What comes of a chunk is added to y.
type mlpStep struct {
	fc1, fc2       *linear
	act            backend.Activation
	y, x, res, pre view
	aliased        bool
	parts          [][]part
	then           unsafe.Pointer
}

func (c *compiler) mlp(first, next *op) {
	s := &mlpStep{
		fc1: first.l, fc2: next.l, act: first.act,
		y: next.y, x: first.x, res: next.res, pre: first.pre, aliased: next.res == next.y,
	}
	s.parts = c.splitFlat(s.fc1.rows(), &s.y, &s.x, &s.res, &s.pre)
	c.fetches(s.fc1, &s.then)
	c.add(s, lowBytes(s.fc1.precision, maxRows, s.fc1.in)+lowBytes(s.fc2.precision, maxRows, chunk)+maxRows*rowStride(chunk),
		access{next.y, true, ownRows}, access{first.pre, true, ownRows}, access{first.x, false, ownRows}, access{next.res, false, ownRows})
}

func (s *mlpStep) run(w *worker) {
	cols := w.k.cols
	for _, p := range s.parts[w.id] {
		up := product{l: s.fc1, act: s.act, m: p.hi - p.lo, k1: s.fc1.in, hidden: true, bf16: s.fc2.precision == backend.BF16}
		down := product{l: s.fc2, m: p.hi - p.lo, p1: s.fc2.panels, y: s.y.at(p.b, p.lo), res: s.res.at(p.b, p.lo)}
		w.lower(&up, w.scratch, s.x.at(p.b, p.lo), s.fc1.in)
		low := unsafe.Add(w.scratch, lowBytes(s.fc1.precision, up.m, s.fc1.in))
		up.y = rows{unsafe.Add(low, lowBytes(s.fc2.precision, up.m, chunk)), uintptr(rowStride(chunk))}
		if up.bf16 {
			up.y = rows{low, uintptr(lowStride(backend.BF16, chunk))}
		}
		down.accumulate(s.aliased)
		for k0 := 0; k0 < s.fc2.in; k0 += chunk {
			down.k0, down.k1 = k0, min(k0+chunk, s.fc2.in)
			up.p0, up.p1 = k0/s.fc1.width, min((k0+chunk)/s.fc1.width, s.fc1.panels)
			up.pre = s.pre.at(p.b, p.lo).from(0, k0)
			up.then = s.fc2.panel(0, k0, cols)
			down.then = s.then
			if up.p1 < s.fc1.panels {
				down.then = s.fc1.panel(up.p1, 0, cols)
			}
			w.multiply(&up)
			if up.bf16 {
				down.x = up.y
			} else {
				w.lower(&down, low, up.y, down.k1-down.k0)
			}
			w.multiply(&down)
			down.acc = true
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
	then        unsafe.Pointer
}

func (c *compiler) patchEmbed(o *op) {
	s := &patchStep{l: o.l, y: o.y, x: o.x, prefix: o.prefix, pos: o.pos, patch: o.patch, grid: o.grid}
	s.parts = split(s.y.b, s.y.n, c.workers, maxRows)
	c.fetches(s.l, &s.then)
	c.add(s, maxRows*s.stride()+lowBytes(s.l.precision, maxRows, s.l.in), access{o.y, true, ownRows}, access{o.x, false, ownImage},
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
		m := product{l: s.l, m: p.hi - lo, p1: s.l.panels, k1: s.l.in, y: s.y.at(p.b, lo), then: s.then}
		if m.m == 0 {
			continue
		}
		for i := range m.m {
			s.cut(cut.row(i), p.b, lo-prefix+i)
		}
		w.lower(&m, unsafe.Add(w.scratch, maxRows*s.stride()), cut, s.l.in)
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
			copy(floats(unsafe.Add(dst, (c*ph+i)*pw*4), pw), floats(line.p, pw))
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
	s.parts = split(s.y.b, 1, c.workers, math.MaxInt)
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

// readStep copies to the host.
type readStep struct {
	x     view
	slot  int
	image int // of the host's tensor, that image 0 of x is
	parts [][]part
}

func (c *compiler) read(o *op) {
	s := &readStep{x: o.x, slot: o.read, image: o.image, parts: split(o.x.b, o.x.n, c.workers, math.MaxInt)}
	c.add(s, 0, access{o.x, false, ownRows})
}

func (s *readStep) run(w *worker) {
	dst := w.job.reads[s.slot]
	for _, p := range s.parts[w.id] {
		for i := p.lo; i < p.hi; i++ {
			copy(dst[((s.image+p.b)*s.x.n+i)*s.x.c:], floats(s.x.at(p.b, i).p, s.x.c))
		}
	}
}
