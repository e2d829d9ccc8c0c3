package cpu

import (
	"math"

	"github.com/vitserve/vitserve/backend"
)

// listing is where an operation's tokens are in job.rows: one list for all
// images, or one for each.
type listing struct {
	lo, n int // the first of all, and of a list
	each  bool
	image int // that image 0 of the operation's views is
}

func (o *op) listing(n int) listing { return listing{o.lo, n, o.each, o.image} }

// of returns the list of image b.
func (l listing) of(w *worker, b int) []int {
	lo := l.lo
	if l.each {
		lo += (l.image + b) * l.n
	}
	return w.job.rows[lo : lo+l.n]
}

// list enqueues an operation with its tokens.
func (s *stream) list(o op, tokens []int) {
	o.lo, o.hi = len(s.rows), len(s.rows)+len(tokens)
	s.rows = append(s.rows, tokens...)
	s.ops = append(s.ops, o)
}

// Gather implements backend.Stream.
func (s *stream) Gather(y, x backend.Tensor, rows []int) {
	backend.CheckGather(y, x, rows)
	s.list(op{code: opGather, y: newView(y), x: newView(x), each: len(rows) > y.Shape[1]}, rows)
}

// GatherGrad implements backend.Gradients.
func (s *stream) GatherGrad(dx, dy backend.Tensor, rows []int) {
	backend.CheckGatherGrad(dx, dy, rows)
	s.list(op{code: opGatherGrad, y: newView(dx), x: newView(dy), each: len(rows) > dy.Shape[1]}, rows)
}

// RelativeBias implements backend.Stream. Without a list of tokens all are
// there, in their order.
func (s *stream) RelativeBias(y backend.Tensor, p *backend.Relative, tokens []int) {
	backend.CheckRelativeBias(y, p, tokens)
	d := len(y.Shape)
	s.list(op{
		code: opRelativeBias, y: newView(y), weight: newView(p.Table), grid: p.Grid, unturned: p.Prefix,
		heads: y.Shape[d-3], each: d == 4, all: tokens == nil,
	}, tokens)
}

// gatherStep keeps named rows of every image.
type gatherStep struct {
	y, x  view
	rows  listing
	parts [][]part
}

func (c *compiler) gather(o *op) {
	s := &gatherStep{y: o.y, x: o.x, rows: o.listing(o.y.n)}
	s.parts = split(s.y.b, s.y.n, c.workers, math.MaxInt)
	c.add(s, 0, access{o.y, true, ownRows}, access{o.x, false, ownImage})
}

func (s *gatherStep) run(w *worker) {
	for _, p := range s.parts[w.id] {
		rows := s.rows.of(w, p.b)
		for i := p.lo; i < p.hi; i++ {
			copyRows(s.y.at(p.b, i), s.x.at(p.b, rows[i]), 1, s.y.c)
		}
	}
}

// gatherGradStep adds up what came of each row.
type gatherGradStep struct {
	y, x  view
	rows  listing
	parts [][]part
}

func (c *compiler) gatherGrad(o *op) {
	s := &gatherGradStep{y: o.y, x: o.x, rows: o.listing(o.x.n)}
	s.parts = split(s.y.b, s.y.n, c.workers, math.MaxInt)
	c.add(s, 0, access{o.y, true, ownRows}, access{o.x, false, ownImage})
}

func (s *gatherGradStep) run(w *worker) {
	for _, p := range s.parts[w.id] {
		for i := p.lo; i < p.hi; i++ {
			clear(floats(s.y.at(p.b, i).p, s.y.c))
		}
		for i, r := range s.rows.of(w, p.b) {
			if p.lo <= r && r < p.hi {
				y, x := s.y.at(p.b, r), s.x.at(p.b, i)
				w.k.add(y.p, y.ld, x.p, x.ld, 1, s.y.c)
			}
		}
	}
}

// relativeStep expands a table of biases.
type relativeStep struct {
	at     backend.Relative // but for its table
	y      view             // (H, R, N); of each image (B, H·R, N)
	table  view
	heads  int
	all    bool
	tokens listing
	parts  [][]part
}

func (c *compiler) relativeBias(o *op) {
	s := &relativeStep{
		at: backend.Relative{Grid: o.grid, Prefix: o.unturned}, y: o.y, table: o.weight, heads: o.heads, all: o.all, tokens: o.listing(o.y.c),
	}
	s.parts = split(s.y.b, s.y.n, c.workers, math.MaxInt)
	c.add(s, s.table.n*4, access{o.y, true, ownRows}, access{o.weight, false, anything})
}

func (s *relativeStep) run(w *worker) {
	for _, p := range s.parts[w.id] {
		queries, first := s.y.n, p.b // of a head, and the head of row 0
		if s.tokens.each {
			queries, first = s.y.n/s.heads, 0
		}
		for i := p.lo; i < p.hi; i++ {
			if i == p.lo || i%queries == 0 {
				s.head(w, first+i/queries)
			}
			y := floats(s.y.at(p.b, i).p, s.y.c)
			if s.all {
				s.row(w, y, i%queries)
				continue
			}
			biases, tokens := s.biases(w), s.tokens.of(w, p.b)
			for j := range y {
				y[j] = biases[len(biases)-1-s.at.Row(tokens[i%queries], tokens[j])]
			}
		}
	}
}

// biases are those of the head that the worker is at, the last row of the
// table first: along a row of patches they then lie in their order.
func (s *relativeStep) biases(w *worker) []float32 { return floats(w.scratch, s.table.n) }

// head fetches the biases of head h.
func (s *relativeStep) head(w *worker, h int) {
	biases := s.biases(w)
	for i := range biases {
		biases[len(biases)-1-i] = *(*float32)(s.table.at(0, i).from(0, h).p)
	}
}

// row writes the biases of token i among all tokens.
func (s *relativeStep) row(w *worker, y []float32, i int) {
	biases := s.biases(w)
	at := func(j int) int { return len(biases) - 1 - s.at.Row(i, j) }
	for j := range s.at.Prefix {
		y[j] = biases[at(j)]
	}
	patches := y[s.at.Prefix:]
	if i < s.at.Prefix {
		for j := range patches {
			patches[j] = biases[at(s.at.Prefix)]
		}
		return
	}
	cols := s.at.Grid[1]
	for from := biases[at(s.at.Prefix):]; ; from = from[2*cols-1:] {
		copy(patches[:cols], from)
		if patches = patches[cols:]; len(patches) == 0 {
			return
		}
	}
}
