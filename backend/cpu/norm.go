package cpu

import (
	"math"
	"unsafe"
)

// normStep is a LayerNorm.
type normStep struct {
	y, x, res    view
	weight, bias view
	eps          float32
	rms          bool
	heads        int
	parts        [][]part
}

func (c *compiler) layerNorm(o *op) {
	s := &normStep{y: o.y, x: o.x, res: o.res, weight: o.weight, bias: o.bias, eps: o.eps, rms: o.rms, heads: o.heads}
	s.parts = c.splitFlat(math.MaxInt, &s.y, &s.x, &s.res)
	scratch := 0
	if !s.res.none() {
		scratch = rowStride(s.y.c)
	}
	c.add(s, scratch, access{o.y, true, ownRows}, access{o.x, false, ownRows}, access{o.res, false, ownRows},
		access{o.weight, false, anything}, access{o.bias, false, anything})
}

func (s *normStep) run(w *worker) {
	weight, bias, added := s.weight.at(0, 0).p, s.bias.at(0, 0).p, !s.res.none()
	n := s.y.c / s.heads
	for _, p := range s.parts[w.id] {
		y, x, res := s.y.at(p.b, p.lo), s.x.at(p.b, p.lo), s.res.at(p.b, p.lo)
		for i := range p.hi - p.lo {
			to, from := y.row(i), x.row(i)
			if added {
				to = w.scratch
			}
			for h := range s.heads {
				if s.rms {
					w.k.rmsNorm(unsafe.Add(to, h*n*4), unsafe.Add(from, h*n*4), weight, n, s.eps)
				} else {
					w.k.layerNorm(unsafe.Add(to, h*n*4), unsafe.Add(from, h*n*4), weight, bias, n, s.eps)
				}
			}
			if added {
				w.k.add(to, 0, res.row(i), 0, 1, s.y.c)
				copy(floats(y.row(i), s.y.c), floats(to, s.y.c))
			}
		}
	}
}

// normGradStep is a LayerNormGrad.
type normGradStep struct {
	y, dy, x, res view
	weight        view
	eps           float32
	rms           bool
	heads         int
	parts         [][]part
}

func (c *compiler) layerNormGrad(o *op) {
	s := &normGradStep{y: o.y, dy: o.dy, x: o.x, res: o.res, weight: o.weight, eps: o.eps, rms: o.rms, heads: o.heads}
	s.parts = c.splitFlat(math.MaxInt, &s.y, &s.dy, &s.x, &s.res)
	c.add(s, 0, access{o.y, true, ownRows}, access{o.dy, false, ownRows}, access{o.x, false, ownRows}, access{o.res, false, ownRows},
		access{o.weight, false, anything})
}

func (s *normGradStep) run(w *worker) {
	weight, n := s.weight.at(0, 0).p, s.y.c/s.heads
	grad := w.k.layerNormGrad
	if s.rms {
		grad = w.k.rmsNormGrad
	}
	for _, p := range s.parts[w.id] {
		for h := range s.heads {
			at := func(v view) rows { return v.at(p.b, p.lo).from(0, h*n) }
			y, dy, x, res := at(s.y), at(s.dy), at(s.x), at(s.res)
			for i := range p.hi - p.lo {
				grad(y.row(i), dy.row(i), x.row(i), weight, res.from(i, 0).p, n, s.eps)
			}
		}
	}
}
