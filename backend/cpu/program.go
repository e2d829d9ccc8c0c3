package cpu

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/vitserve/vitserve/backend"
)

// program is a compiled queue. Every worker runs all steps on its own rows;
// between segments they wait for one another.
type program struct {
	ops      []op
	ints     []int
	segments [][]step
	scratch  int // bytes that a worker needs at most
	job      job // that runs it
}

// newProgram returns a program without steps for so many workers.
func newProgram(workers int) *program {
	return &program{segments: [][]step{nil}, job: job{pcs: make([]int, workers), done: make(chan struct{}, 1)}}
}

// workers returns how many workers the program is for.
func (p *program) workers() int { return len(p.job.pcs) }

// step is a compiled operation, or two.
type step interface {
	run(w *worker)
}

// scope is the part of a view that one worker looks at.
type scope uint8

const (
	ownRows  scope = iota // those of its share of the view's rows
	ownImage              // any rows of the images that its share falls into
	anything
)

// access is a view that a step reads or writes.
type access struct {
	view
	write bool
	scope scope
}

// compiler turns a queue into a program.
type compiler struct {
	s       *stream
	k       *kernels
	workers int
	p       *program
	pending []access        // of the steps behind the last barrier
	layers  int             // attentions so far
	then    *unsafe.Pointer // where the last step keeps which weights come after its own
}

func (s *stream) compile() (*program, error) {
	for i := range s.ops {
		if err := s.resident(i); err != nil {
			return nil, err
		}
	}
	c := &compiler{s: s, k: s.b.k, workers: s.workers(), p: newProgram(s.workers())}
	c.p.ops, c.p.ints = slices.Clone(s.ops), slices.Clone(s.ints)
	ops := c.rounds(c.p.ops)
	for i := 0; i < len(ops); i++ {
		o := &ops[i]
		var err error
		switch o.code {
		case opPatchEmbed:
			c.patchEmbed(o)
		case opLayerNorm:
			c.layerNorm(o)
		case opLinear:
			if i+1 < len(ops) && c.packs(o, &ops[i+1]) {
				i++
				err = c.attention(&ops[i], o)
			} else if fusible(ops, i, c.workers) {
				i++
				if next := &ops[i]; next.code == opLinearGrad {
					c.mlpGrad(o, next)
				} else {
					c.mlp(o, next)
				}
			} else {
				c.linear(o)
			}
		case opAttention:
			err = c.attention(o, nil)
		case opPool:
			c.pool(o)
		case opGather:
			c.gather(o)
		case opRelativeBias:
			c.relativeBias(o)
		case opRead:
			c.read(o)
		case opPatchEmbedGrad:
			c.patchEmbedGrad(o)
		case opLayerNormGrad:
			c.layerNormGrad(o)
		case opLinearGrad:
			c.linearGrad(o)
		case opAttentionGrad:
			c.attentionGrad(o)
		case opPoolGrad:
			c.poolGrad(o)
		case opGatherGrad:
			c.gatherGrad(o)
		}
		if err != nil {
			return nil, err
		}
	}
	return c.p, nil
}

// resident makes sure that operation i has memory to work on. A Temp gets
// memory where it will not be fused away.
func (s *stream) resident(i int) error {
	o := &s.ops[i]
	fused := fusible(s.ops, i, s.workers())
	after := i > 0 && fusible(s.ops, i-1, s.workers())
	for _, v := range o.views() {
		if v.none() || v.mem.base != nil || fused && v == &o.y || after && v == &o.x {
			continue
		}
		if !v.mem.temp {
			return fmt.Errorf("cpu: tensor of %d values has no memory", v.mem.floats)
		}
		if err := s.back(v.mem); err != nil {
			return fmt.Errorf("cpu: temporary of %d values: %w", v.mem.floats, err)
		}
	}
	return nil
}

// views returns the views of an operation.
func (o *op) views() [17]*view {
	return [...]*view{
		&o.y, &o.x, &o.res, &o.pre, &o.weight, &o.bias, &o.prefix, &o.pos, &o.k, &o.v, &o.probs, &o.cos, &o.sin,
		&o.dy, &o.dk, &o.dv, &o.share,
	}
}

// add appends a step, behind a barrier if a worker might otherwise look at
// what another worker has not finished with.
func (c *compiler) add(s step, scratch int, accesses ...access) {
	c.p.scratch = max(c.p.scratch, scratch)
	if slices.ContainsFunc(accesses, c.waits) {
		c.p.segments = append(c.p.segments, nil)
		c.pending = c.pending[:0]
	}
	last := &c.p.segments[len(c.p.segments)-1]
	*last = append(*last, s)
	for _, a := range accesses {
		if !a.none() {
			c.pending = append(c.pending, a)
		}
	}
}

// fetches tells the step before which weights follow its own, so that its
// last panel fetches the first of the next.
func (c *compiler) fetches(l *linear, then *unsafe.Pointer) {
	if c.then != nil {
		*c.then = l.weight
	}
	c.then = then
}

// waits reports whether a needs a barrier.
func (c *compiler) waits(a access) bool {
	if c.workers == 1 || a.none() {
		return false
	}
	return slices.ContainsFunc(c.pending, func(p access) bool {
		return (a.write || p.write) && overlap(a.view, p.view) && !c.private(a, p)
	})
}

// private reports whether every worker finds what it looks at through one
// access only in its own part of the other. Both views must lie alike, row in
// row or image in image, for that.
func (c *compiler) private(p, q access) bool {
	if p.b != q.b || p.batch != q.batch {
		return false
	}
	if p.scope == ownRows && q.scope == ownRows && p.n == q.n && p.row == q.row {
		stride := p.row
		if p.n == 1 {
			stride = p.batch
		}
		return p.b*p.n == 1 || stride > 0 && p.off/stride == q.off/stride
	}
	// Workers have whole images where these divide evenly: see split.
	whole := p.b%c.workers == 0
	return p.scope != anything && q.scope != anything && whole && p.batch > 0 && p.off/p.batch == q.off/q.batch
}

// overlap reports whether two views have values in common, or may have.
func overlap(p, q view) bool {
	if p.mem != q.mem || p.off >= q.end() || q.off >= p.end() {
		return false
	}
	// Columns that lie apart in rows of one length have nothing in common. A
	// single row fits among rows of any length.
	row := max(p.row, q.row)
	if row == 0 || p.row != row && p.row != 0 || q.row != row && q.row != 0 || p.batch%row != 0 || q.batch%row != 0 {
		return true
	}
	i, j := p.off%row, q.off%row
	if i+p.c > row || j+q.c > row {
		return true
	}
	return i < j+q.c && j < i+p.c
}

// end is the offset behind the last value.
func (v view) end() int { return v.off + (v.b-1)*v.batch + (v.n-1)*v.row + v.c }

// part is a run of rows of an image.
type part struct{ b, lo, hi int }

// maxRows bounds the rows that a step takes at a time, so that they stay in
// the second-level cache while the weights pass by. Weights come from memory
// once for every so many rows, which costs more than a row that comes from the
// third-level cache.
const maxRows = 208

// rows is maxRows for a layer: int8 weights are so quick to read again that
// half the rows, which leave room in the cache for the weights, are better.
func (l *linear) rows() int {
	if l.precision == backend.Int8 {
		return maxRows / 2
	}
	return maxRows
}

// split gives each worker its share of b images of n rows, in parts of no
// more than limit rows, an even number, that are as even as can be. Where the images divide
// evenly among the workers, everyone has whole images. Shares and parts start
// at even rows of an image, because bf16 packs the values of two tokens together.
func split(b, n, workers, limit int) [][]part {
	return divide(b, n, workers, limit, n)
}

// divide is split with the rows counted in images of size rows, n for those of
// the tensor and b·n for flattened ones.
func divide(b, n, workers, limit, size int) [][]part {
	parts := make([][]part, workers)
	for w := range parts {
		first, end := share(b, n, w, workers), share(b, n, w+1, workers)
		for first < end {
			img := first / size
			stop := min(end, (img+1)*size)
			rows := stop - first
			pieces := (rows-1)/limit + 1
			lo := first - img*size
			for i := range pieces {
				hi := first - img*size + rows*(i+1)/pieces
				if i < pieces-1 {
					hi += hi % n % 2
				}
				parts[w] = append(parts[w], part{img, lo, hi})
				lo = hi
			}
			first = stop
		}
	}
	return parts
}

// share is the first row of a worker's share.
func share(b, n, w, workers int) int {
	first := b * n * w / workers
	if w == workers {
		return first
	}
	return first - first%n%2
}

// splitFlat splits the rows of views that are worked on row by row, after it
// has turned them into views of one image, if all of them can be: strips may
// then reach from one image into the next.
func (c *compiler) splitFlat(limit int, views ...*view) [][]part {
	b, n := views[0].b, views[0].n
	var flat [4]view
	for i, v := range views {
		var ok bool
		if flat[i], ok = v.flat(); !ok {
			return split(b, n, c.workers, limit)
		}
	}
	for i, v := range views {
		*v = flat[i]
	}
	return divide(b, n, c.workers, limit, b*n)
}
