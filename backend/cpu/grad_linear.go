package cpu

import (
	"math"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/vitserve/vitserve/backend"
)

// transposed returns the layer whose outputs are l's inputs, without bias, in
// float32 whatever l is in. It is made of l's panels when it is first asked
// for, and its memory is counted apart.
func (l *linear) transposed() (*linear, error) {
	l.grad.Lock()
	defer l.grad.Unlock()
	if l.grad.l != nil {
		return l.grad.l, nil
	}
	cols := l.owner.k.cols
	t := &linear{owner: l.owner, precision: backend.F32, in: l.out, out: l.in, width: cols, depth: l.out}
	t.panels = (t.out + cols - 1) / cols
	p, blk, err := l.owner.gradients.alloc(t.panels * t.depth * cols * 4)
	if err != nil {
		return nil, err
	}
	t.weight = p
	t.piece = own(t, piece{arena: &l.owner.gradients, block: blk})
	var next atomic.Int32
	var wait sync.WaitGroup
	for range min(l.owner.Info().Threads, l.panels) {
		wait.Go(func() {
			for i := int(next.Add(1)) - 1; i < l.panels; i = int(next.Add(1)) - 1 {
				l.transposePanel(t, i)
			}
		})
	}
	wait.Wait()
	l.grad.l = t
	return t, nil
}

// transposePanel writes what is in panel i of l to where it belongs in t.
func (l *linear) transposePanel(t *linear, i int) {
	k := l.owner.k
	panel := rows{l.panel(i, 0, k.cols), uintptr(k.cols) * 4}
	if l.precision != backend.F32 {
		panel.p = unsafe.Pointer(unsafe.SliceData(l.widened(i)))
	}
	n := min(l.width, l.columns()-i*l.width)
	for half := 0; half < k.cols; half += l.width {
		first := i * l.width // output of l
		if half > 0 {
			first += l.out / 2
		}
		for j := range t.panels {
			x := panel.from(j*k.cols, half)
			y := unsafe.Add(t.panel(j, 0, k.cols), first*k.cols*4)
			k.transpose(y, uintptr(k.cols)*4, x.p, x.ld, min(k.cols, l.in-j*k.cols), n)
		}
	}
}

// widened returns panel i in float32, [in][cols].
func (l *linear) widened(i int) []float32 {
	cols, per := l.owner.k.cols, perStep(l.precision)
	wide := make([]float32, l.depth*per*cols)
	for step := range l.depth {
		for j := range cols {
			four := *(*uint32)(unsafe.Add(l.weight, ((i*l.depth+step)*cols+j)*4))
			for v := range per {
				at := (step*per+v)*cols + j
				if l.precision == backend.BF16 {
					wide[at] = math.Float32frombits(four >> (16 * v) << 16)
				} else {
					wide[at] = float32(int8(four>>(8*v))) * *(*float32)(unsafe.Add(l.scales, (i*cols+j)*4))
				}
			}
		}
	}
	return wide
}

// actGrad turns m rows dy of n columns, from column col of the activation on,
// into dy ∘ act'(pre). The gradient at the values of a gated layer goes to
// values, the one at its gates to dy.
func (w *worker) actGrad(act backend.Activation, dy, values, pre rows, m, n, hidden int) {
	if act == backend.SwiGLU {
		w.k.swigluGrad(dy.p, values.p, dy.ld, pre.p, pre.from(0, hidden).p, pre.ld, m, n)
		return
	}
	w.k.actGrad[act](dy.p, dy.ld, pre.p, pre.ld, m, n)
}

// linearGradStep is dx = (dy ∘ act'(pre)) W + residual, by the transposed
// layer.
type linearGradStep struct {
	l              *linear
	act            backend.Activation
	y, x, res, pre view
	aliased        bool
	parts          [][]part
	panels         [][2]int // of each worker
}

// linearGrad compiles the operation; as with linear, workers share columns
// where there are not rows enough.
func (c *compiler) linearGrad(o *op) {
	s := &linearGradStep{l: o.l, act: o.act, y: o.y, x: o.x, res: o.res, pre: o.pre, aliased: o.res == o.y}
	scope := ownRows
	if o.y.b*o.y.n < c.workers {
		scope = anything
		whole := split(o.y.b, o.y.n, 1, maxRows)[0]
		for w := range c.workers {
			s.parts = append(s.parts, whole)
			s.panels = append(s.panels, [2]int{s.l.panels * w / c.workers, s.l.panels * (w + 1) / c.workers})
		}
	} else {
		s.parts = c.splitFlat(maxRows, &s.y, &s.x, &s.res, &s.pre)
		for range c.workers {
			s.panels = append(s.panels, [2]int{0, s.l.panels})
		}
	}
	c.then = nil
	c.add(s, maxRows*rowStride(s.l.in), access{o.y, true, scope}, access{o.x, false, scope}, access{o.pre, false, scope}, access{o.res, false, scope})
}

func (s *linearGradStep) run(w *worker) {
	p0, p1 := s.panels[w.id][0], s.panels[w.id][1]
	if p0 == p1 {
		return
	}
	n, col := s.x.c, p0*s.l.width
	for _, p := range s.parts[w.id] {
		m := product{
			l: s.l, m: p.hi - p.lo, p0: p0, p1: p1, k1: s.l.in,
			y: s.y.at(p.b, p.lo).from(0, col), res: s.res.at(p.b, p.lo).from(0, col),
			x: rows{w.scratch, uintptr(rowStride(s.l.in))},
		}
		copyRows(m.x, s.x.at(p.b, p.lo), m.m, n)
		w.actGrad(s.act, m.x, m.x.from(0, n), s.pre.at(p.b, p.lo), m.m, n, n)
		m.accumulate(s.aliased)
		if s.act != backend.SwiGLU {
			w.multiply(&m)
			continue
		}
		// In the order of mlpGradStep, whose sums are to be the same.
		x := m.x
		for k0 := 0; k0 < n; k0 += chunk {
			k1 := min(k0+chunk, n)
			m.x, m.k0, m.k1 = x.from(0, k0), k0, k1
			w.multiply(&m)
			m.acc = true
			m.x, m.k0, m.k1 = x.from(0, n+k0), n+k0, n+k1
			w.multiply(&m)
		}
	}
}

// mlpGradStep is a LinearGrad into a Temp and the LinearGrad that reads it, a
// chunk of hidden columns at a time, as in mlpStep.
type mlpGradStep struct {
	fc2, fc1       *linear // transposed
	act            backend.Activation
	y, x, res, pre view
	hidden         int // columns of the Temp
	aliased        bool
	parts          [][]part
}

func (c *compiler) mlpGrad(first, next *op) {
	s := &mlpGradStep{
		fc2: first.l, fc1: next.l, act: next.act, hidden: first.y.c,
		y: next.y, x: first.x, res: next.res, pre: next.pre, aliased: next.res == next.y,
	}
	s.parts = c.splitFlat(maxRows, &s.y, &s.x, &s.res, &s.pre)
	c.then = nil
	c.add(s, 2*maxRows*rowStride(chunk),
		access{next.y, true, ownRows}, access{first.x, false, ownRows}, access{next.pre, false, ownRows}, access{next.res, false, ownRows})
}

func (s *mlpGradStep) run(w *worker) {
	for _, p := range s.parts[w.id] {
		tile := rows{w.scratch, uintptr(rowStride(chunk))}
		up := product{l: s.fc2, m: p.hi - p.lo, k1: s.fc2.in, hidden: true, y: tile, x: s.x.at(p.b, p.lo)}
		values := tile.from(up.m, 0)
		down := product{l: s.fc1, m: up.m, p1: s.fc1.panels, y: s.y.at(p.b, p.lo), res: s.res.at(p.b, p.lo)}
		down.accumulate(s.aliased)
		for k0 := 0; k0 < s.hidden; k0 += chunk {
			n := min(chunk, s.hidden-k0)
			up.p0, up.p1 = k0/s.fc2.width, min((k0+chunk)/s.fc2.width, s.fc2.panels)
			up.then = s.fc1.panel(0, k0, w.k.cols)
			w.multiply(&up)
			w.actGrad(s.act, tile, values, s.pre.at(p.b, p.lo).from(0, k0), up.m, n, s.hidden)
			down.x, down.k0, down.k1 = tile, k0, k0+n
			w.multiply(&down)
			down.acc = true
			if s.act == backend.SwiGLU {
				down.x, down.k0, down.k1 = values, s.hidden+k0, s.hidden+k0+n
				w.multiply(&down)
			}
		}
	}
}
