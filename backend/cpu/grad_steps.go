package cpu

import (
	"math"
)

// patchGradStep multiplies tokens with the transposed projection and lays the
// patches back into the pixels.
type patchGradStep struct {
	l           *linear
	y, x        view // pixels, tokens
	prefix      int
	patch, grid [2]int
	parts       [][]part
}

func (c *compiler) patchEmbedGrad(o *op) {
	s := &patchGradStep{l: o.l, y: o.y, x: o.x, patch: o.patch, grid: o.grid}
	if !o.prefix.none() {
		s.prefix = o.prefix.n
	}
	s.parts = split(s.x.b, s.x.n, c.workers, maxRows)
	c.then = nil
	c.add(s, maxRows*rowStride(s.l.out), access{o.y, true, ownImage}, access{o.x, false, ownRows})
}

func (s *patchGradStep) run(w *worker) {
	patches := rows{w.scratch, uintptr(rowStride(s.l.out))}
	for _, p := range s.parts[w.id] {
		lo := max(p.lo, s.prefix)
		m := product{l: s.l, m: p.hi - lo, p1: s.l.panels, k1: s.l.in, y: patches, x: s.x.at(p.b, lo)}
		if m.m > 0 {
			w.multiply(&m)
		}
		for i := range m.m {
			s.lay(patches.from(i, 0), p.b, lo-s.prefix+i)
		}
		if p.hi == s.x.n {
			s.clear(p.b)
		}
	}
}

// lay copies patch n into image b, channel by channel, row by row.
func (s *patchGradStep) lay(patch rows, b, n int) {
	ph, pw := s.patch[0], s.patch[1]
	y, x := n/s.grid[1]*ph, n%s.grid[1]*pw
	for c := range 3 {
		for i := range ph {
			copy(floats(s.y.at(b, c*s.grid[0]+y+i).from(0, x).p, pw), floats(patch.from(0, (c*ph+i)*pw).p, pw))
		}
	}
}

// clear zeroes the pixels behind the last whole patch.
func (s *patchGradStep) clear(b int) {
	height, right := s.grid[0], s.grid[1]*s.patch[1]
	bottom := height / s.patch[0] * s.patch[0]
	for i := range s.y.n {
		row := floats(s.y.at(b, i).p, s.y.c)
		if i%height >= bottom {
			clear(row)
		} else {
			clear(row[right:])
		}
	}
}

// poolGradStep spreads gradients of means over their spans.
type poolGradStep struct {
	y, x  view
	spans []int // first, end, first, end …
	parts [][]part
}

func (c *compiler) poolGrad(o *op) {
	s := &poolGradStep{y: o.y, x: o.x, spans: c.p.ints[o.lo:o.hi]}
	s.parts = split(s.y.b, s.y.n, c.workers, math.MaxInt)
	c.add(s, 0, access{o.y, true, ownRows}, access{o.x, false, ownImage})
}

func (s *poolGradStep) run(w *worker) {
	n := s.y.c
	for _, p := range s.parts[w.id] {
		for r := p.lo; r < p.hi; r++ {
			y := floats(s.y.at(p.b, r).p, n)
			clear(y)
			for i := 0; i < len(s.spans); i += 2 {
				if r < s.spans[i] || r >= s.spans[i+1] {
					continue
				}
				count := float32(s.spans[i+1] - s.spans[i])
				for j, v := range floats(s.x.at(p.b, 0).from(0, i/2*n).p, n) {
					y[j] += v / count
				}
			}
		}
	}
}
