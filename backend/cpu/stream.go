package cpu

import (
	"fmt"
	"slices"

	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// opcode names an operation of a queue.
type opcode uint8

const (
	opPatchEmbed opcode = iota
	opLayerNorm
	opLinear
	opAttention
	opPool
	opGather
	opRelativeBias
	opRead
	opPatchEmbedGrad
	opLayerNormGrad
	opLinearGrad
	opAttentionGrad
	opPoolGrad
	opGatherGrad
)

// op is an operation as it was enqueued. It holds no slices, so that queues
// compare with ==; lists are a range of stream.ints.
type op struct {
	code opcode
	y, x view // output and input; Attention's o and q

	l           *linear // Linear, PatchEmbed
	act         backend.Activation
	res, pre    view
	weight      view // LayerNorm
	bias        view // LayerNorm, Attention
	eps         float32
	rms         bool
	prefix, pos view   // PatchEmbed
	patch       [2]int // PatchEmbed
	grid        [2]int // PatchEmbed: rows of a plane of pixels, patches in a row

	heads       int // Attention, LayerNorm
	scale       float32
	k, v, probs view
	cos, sin    view // zero: no rope
	unturned    int  // first tokens that rope leaves alone
	interleaved bool
	each        bool // an image has its own bias, or its own list of rows
	causal      bool
	spend       bool // k and v are undefined afterwards

	dy            view // LayerNormGrad, AttentionGrad: the gradient that comes in
	dk, dv, share view // AttentionGrad, beside y for dq and probs for ∂L/∂probs

	lo, hi int  // Pool's spans and Attention's rows in stream.ints, tokens in stream.rows
	all    bool // Attention: all rows are captured
	read   int  // Read: index in stream.reads
	image  int  // the first image of the operation's round, see rounds
}

// stream implements backend.Stream: it records operations, and Sync runs them.
type stream struct {
	b        *Backend
	priority int
	threads  int // 0: all
	atOnce   int // rows of a worker that go through all operations together; see rounds
	arena    arena
	kv       [2]sharedMem // packed keys and values of whole layers; see shared
	outgrown int          // how often one of them was replaced by a larger one

	ops      []op
	ints     []int
	rows     []int // tokens that queues may differ in, see Gather
	reads    [][]float32
	programs []*program // the latest last
	err      error
	closed   bool
}

// sharedMem is memory that grows.
type sharedMem struct {
	mem   *mem
	block *block
}

// maxPrograms bounds the cache: one program for each number of images, number
// of threads and set of captures that are in use.
const maxPrograms = 64

func (s *stream) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// Alloc implements backend.Stream.
func (s *stream) Alloc(shape ...int) backend.Tensor {
	t := newTensor(shape)
	if err := s.back(t.Mem.(*mem)); err != nil {
		s.fail(fmt.Errorf("cpu: tensor %v: %w", t.Shape, err))
	}
	return t
}

// back gives memory to m.
func (s *stream) back(m *mem) (err error) {
	m.base, _, err = s.arena.alloc(m.floats * 4)
	return err
}

// Temp implements backend.Stream.
func (s *stream) Temp(shape ...int) backend.Tensor {
	t := newTensor(shape)
	t.Mem.(*mem).temp = true
	return t
}

// Write implements backend.Stream.
func (s *stream) Write(dst backend.Tensor, src *tensor.Dense) {
	values := backend.CheckHost("Write", dst, src)
	v := newView(dst)
	for i := range s.ops {
		// Operations enqueued before must not see what is written after.
		if s.ops[i].touches(v.mem) {
			s.run()
			break
		}
	}
	if s.closed || s.b.isClosed() {
		s.fail(errClosed)
	} else if v.mem.base == nil {
		s.fail(fmt.Errorf("cpu: write to a tensor %v without memory", dst.Shape))
	}
	if s.err == nil {
		write(v, values)
	}
}

// touches reports whether an operation looks at m.
func (o *op) touches(m *mem) bool {
	for _, v := range o.views() {
		if v.mem == m {
			return true
		}
	}
	return false
}

// Read implements backend.Stream.
func (s *stream) Read(dst *tensor.Dense, src backend.Tensor) {
	values := backend.CheckHost("Read", src, dst)
	s.reads = append(s.reads, values)
	s.ops = append(s.ops, op{code: opRead, x: newView(src), read: len(s.reads) - 1})
}

// PatchEmbed implements backend.Stream.
func (s *stream) PatchEmbed(x, pixels backend.Tensor, p *backend.PatchEmbed) {
	backend.CheckPatchEmbed(x, pixels, p)
	s.ops = append(s.ops, op{
		code: opPatchEmbed, y: newView(x), x: newView(pixels), l: s.own(p.Proj),
		prefix: newView(p.Prefix), pos: newView(p.Pos), patch: p.Patch,
		grid: [2]int{pixels.Shape[2], pixels.Shape[3] / p.Patch[1]},
	})
}

// own returns the layer of w, which must be of this backend.
func (s *stream) own(w backend.Linear) *linear {
	l, ok := w.(*linear)
	if !ok || l.owner != s.b {
		panic(fmt.Sprintf("cpu: linear layer (%d, %d) of another backend (%T)", w.Out(), w.In(), w))
	}
	if l.weight == nil {
		panic(fmt.Sprintf("cpu: linear layer (%d, %d) is closed", l.out, l.in))
	}
	return l
}

// LayerNorm implements backend.Stream.
func (s *stream) LayerNorm(y, x backend.Tensor, n backend.Norm) {
	backend.CheckLayerNorm(y, x, n)
	s.ops = append(s.ops, op{
		code: opLayerNorm, y: newView(y), x: newView(x),
		weight: newView(n.Weight), bias: newView(n.Bias), eps: n.Eps, rms: n.RMS, heads: max(n.Heads, 1),
		res: newView(n.Residual),
	})
}

// Linear implements backend.Stream.
func (s *stream) Linear(y, x backend.Tensor, w backend.Linear, e backend.Epilogue) {
	l := s.own(w)
	backend.CheckLinear(y, x, w, l.gated, e)
	s.ops = append(s.ops, op{
		code: opLinear, y: newView(y), x: newView(x), l: l,
		act: e.Act, res: newView(e.Residual), pre: newView(e.Pre),
	})
}

// Attention implements backend.Stream.
func (s *stream) Attention(o, q, k, v backend.Tensor, a backend.Attention) {
	backend.CheckAttention(o, q, k, v, a)
	lo := len(s.ints)
	r := op{
		code: opAttention, y: newView(o), x: newView(q), k: newView(k), v: newView(v),
		probs: newView(a.Probs), all: a.Rows == nil, spend: a.Spend,
	}
	r.scores(a)
	if !a.Probs.IsZero() {
		s.ints = append(s.ints, a.Rows...)
	}
	r.lo, r.hi = lo, len(s.ints)
	s.ops = append(s.ops, r)
}

// scores sets what the scores of attention are made of beside q and k.
func (o *op) scores(a backend.Attention) {
	o.heads, o.scale, o.causal = a.Heads, a.Scale, a.Causal
	o.bias, o.each = newView(a.Bias), len(a.Bias.Shape) == 4
	if a.Rope != nil {
		o.cos, o.sin = newView(a.Rope.Cos), newView(a.Rope.Sin)
		o.unturned, o.interleaved = a.Rope.Prefix, a.Rope.Interleaved
	}
}

// Pool implements backend.Stream.
func (s *stream) Pool(y, x backend.Tensor, spans ...backend.Span) {
	backend.CheckPool(y, x, spans...)
	lo := len(s.ints)
	for _, span := range spans {
		s.ints = append(s.ints, span.Lo, span.Hi)
	}
	s.ops = append(s.ops, op{code: opPool, y: newView(y), x: newView(x), lo: lo, hi: len(s.ints)})
}

// Threads implements backend.Stream.
func (s *stream) Threads(n int) { s.threads = n }

// workers returns how many workers a program of the stream is for.
func (s *stream) workers() int {
	all := len(s.b.pool.workers)
	if s.threads <= 0 {
		return all
	}
	return min(s.threads, all)
}

// Sync implements backend.Stream.
func (s *stream) Sync() error {
	if s.closed {
		return errClosed
	}
	s.run()
	err := s.err
	s.err = nil
	return err
}

// run runs what is queued, if nothing has failed, and empties the queue.
func (s *stream) run() {
	if s.err == nil && len(s.ops) > 0 {
		p, err := s.program()
		if err == nil {
			p.job.rows = s.rows
			err = s.b.pool.exec(p, s.reads, s.priority, &s.b.own)
		}
		s.err = err
	}
	clear(s.reads)
	s.ops, s.ints, s.rows, s.reads = s.ops[:0], s.ints[:0], s.rows[:0], s.reads[:0]
}

// program returns the compiled queue.
func (s *stream) program() (*program, error) {
	for i := len(s.programs) - 1; i >= 0; i-- {
		p := s.programs[i]
		if p.workers() == s.workers() && slices.Equal(p.ops, s.ops) && slices.Equal(p.ints, s.ints) {
			s.programs = append(slices.Delete(s.programs, i, i+1), p)
			return p, nil
		}
	}
	n := s.outgrown
	p, err := s.compile()
	for err == nil && n != s.outgrown { // p may know memory that a later operation replaced
		n = s.outgrown
		p, err = s.compile()
	}
	if err != nil {
		return nil, err
	}
	if len(s.programs) == maxPrograms {
		s.programs = slices.Delete(s.programs, 0, 1)
	}
	s.programs = append(s.programs, p)
	return p, nil
}

// Close implements backend.Stream.
func (s *stream) Close() error {
	s.b.mu.Lock()
	delete(s.b.streams, s)
	s.b.mu.Unlock()
	s.closed = true
	s.arena.close()
	s.programs, s.ops, s.reads = nil, nil, nil
	return nil
}
