package vit

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vitserve/vitserve/attention"
	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// Seed is where a gradient starts, and with what: ∂L/∂ of something the
// forward pass computed. The functions At… make one.
type Seed struct {
	at    place
	block int // the tokens are those after it; -1 is what the first block is given
	last  bool
	d     *tensor.Dense
}

// place is what a gradient starts at.
type place uint8

const (
	nowhere place = iota
	atLogits
	atFeatures
	atTokens
)

// AtLogits starts at the logits, d is (B, K). A class's own gradient is 1 at
// its logit: see OneHot.
func AtLogits(d *tensor.Dense) Seed { return Seed{at: atLogits, last: true, d: d} }

// AtLogitsAfter starts at the logits that the final norm, the pooling and the
// head would make of the tokens after a block, as if it were the last one. d
// is (B, K).
//
// Bousselham et al., "LeGrad: An Explainability Method for Vision Transformers
// via Feature Formation Sensitivity", https://arxiv.org/abs/2404.03214, section 3.2.
func AtLogitsAfter(block int, d *tensor.Dense) Seed { return Seed{at: atLogits, block: block, d: d} }

// AtFeatures starts at Output.Features, d is (B, F).
func AtFeatures(d *tensor.Dense) Seed { return Seed{at: atFeatures, last: true, d: d} }

// AtTokens starts at the tokens after a block, d is (B, N, C); -1 is what the
// first block is given.
func AtTokens(block int, d *tensor.Dense) Seed { return Seed{at: atTokens, block: block, d: d} }

// OneHot returns (len(class), K): for each image one at its class and zero
// elsewhere.
func OneHot(classes int, class ...int) *tensor.Dense {
	d := tensor.New(tensor.WithShape(len(class), classes), tensor.Of(tensor.Float32))
	for i, k := range class {
		d.Float32s()[i*classes:][:classes][k] = 1
	}
	return d
}

// GradWants are what Backward returns. Blocks count from 0 and none may lie
// above the seed, where there is no gradient.
type GradWants struct {
	Pixels    bool
	Tokens    []int // after these blocks; -1 is what the first block is given
	Normed    []int // what the attention of these blocks is given, see Wants.Normed
	Probs     []int // attention probabilities of these blocks
	Relevance []int // of these blocks, see Grads
	Probe     bool  // attention probabilities of the probe; nothing without one, or for a seed at tokens
}

// Grads are gradients of a loss L. Tensors are the caller's.
type Grads struct {
	Pixels *tensor.Dense         // (B, 3, H, W)
	Tokens map[int]*tensor.Dense // by block, (B, N, C)
	Normed map[int]*tensor.Dense // by block, (B, N, C)
	Probs  map[int]*tensor.Dense // by block, (B, H, N, N)

	// Relevance is by block, (B, N, N): the heads' mean of max(0, A ∘ ∂L/∂A)
	// over probabilities A. It costs a head's share of Probs.
	//
	// Chefer et al., "Generic Attention-model Explainability for Interpreting
	// Bi-Modal and Encoder-Decoder Transformers", https://arxiv.org/abs/2103.15679, equation 5.
	Relevance map[int]*tensor.Dense

	Probe *tensor.Dense // (B, H, 1, N), H the probe's heads
}

// Backward derives the traced pass from a seed down to what is wanted, and no
// further. It may run any number of times over a trace.
func (t *Trace) Backward(seed Seed, w GradWants) (*Grads, error) {
	top, err := t.check(seed, w)
	if err != nil {
		return nil, fmt.Errorf("vit: backward: %w", err)
	}
	p := &backward{m: t.s.m, t: t.t, s: t.t.stream, mem: t.t.all.first(t.images), n: t.images, w: w, grads: &Grads{}}
	p.make()
	rows, err := p.seed(seed, top)
	p.tokens(top)
	for i := top; i >= w.lowest() && err == nil; i-- {
		err = p.block(i, rows)
		rows = t.s.m.cfg.Tokens()
	}
	if w.Pixels && err == nil {
		p.pixels()
	}
	if err = errors.Join(err, p.s.Sync()); err != nil {
		return nil, fmt.Errorf("vit: backward of %d images: %w", t.images, err)
	}
	for _, f := range p.after {
		f()
	}
	return p.grads, nil
}

// check returns the block whose output the gradient starts at, or what is
// wrong with the arguments.
func (t *Trace) check(seed Seed, w GradWants) (top int, err error) {
	c := t.s.m.cfg
	if t.t.current != t {
		return 0, errors.New("the trace has ended: the session made another or was closed")
	}
	top = seed.block
	if seed.last {
		top = c.Depth - 1
	}
	var want tensor.Shape
	lowest := 0
	switch seed.at {
	case atLogits:
		if c.Classes == 0 {
			return 0, errors.New("the model has no head, so there are no logits")
		}
		want = tensor.Shape{t.images, c.Classes}
	case atFeatures:
		want = tensor.Shape{t.images, c.Features()}
	case atTokens:
		want, lowest = tensor.Shape{t.images, c.Tokens(), c.Dim}, -1
	default:
		return 0, errors.New("a seed of none of the functions At…")
	}
	if top < lowest || top >= c.Depth {
		return 0, fmt.Errorf("seed after block %d, want %d to %d", top, lowest, c.Depth-1)
	}
	if _, err := backend.HostFloats(seed.d); err != nil {
		return 0, fmt.Errorf("seed: %w", err)
	}
	if !slices.Equal(seed.d.Shape(), want) {
		return 0, fmt.Errorf("seed %v, want %v", seed.d.Shape(), want)
	}
	for name, blocks := range map[string][]int{"tokens after": w.Tokens, "norm of": w.Normed, "probabilities of": w.Probs, "relevance of": w.Relevance} {
		lowest := 0
		if name == "tokens after" {
			lowest = -1
		}
		for _, b := range blocks {
			if b < lowest || b > top {
				return 0, fmt.Errorf("%s block %d, want %d to %d: the seed is after block %d", name, b, lowest, top, top)
			}
		}
	}
	return top, t.s.fits(t.images, w.bytes(c))
}

// bytes returns the gradients of an image that come back to the host.
func (w GradWants) bytes(c Config) float64 {
	n := float64(c.Tokens())
	return 4 * n * (float64(len(w.Tokens)+len(w.Normed))*float64(c.Dim) +
		n*(float64(len(w.Probs))*float64(c.Heads)+float64(len(w.Relevance))) + float64(c.Probe.Heads))
}

// lowest returns the first block that has to be derived.
func (w GradWants) lowest() int {
	low := 1 << 30
	if w.Pixels {
		low = 0
	}
	for _, b := range w.Tokens {
		low = min(low, b+1)
	}
	for _, b := range slices.Concat(w.Normed, w.Probs, w.Relevance) {
		low = min(low, b)
	}
	return low
}

// backward is a backward pass while it is being enqueued. mem.grad is the
// gradient at the residual stream, from the last block to the first.
type backward struct {
	m     *Model
	t     *tracer
	s     backend.Stream
	mem   *taps
	n     int
	w     GradWants
	grads *Grads
	after []func() // what is left to be done on the host
}

func (p *backward) make() {
	for to, blocks := range map[*map[int]*tensor.Dense][]int{
		&p.grads.Tokens: p.w.Tokens, &p.grads.Normed: p.w.Normed, &p.grads.Probs: p.w.Probs, &p.grads.Relevance: p.w.Relevance,
	} {
		if blocks != nil {
			*to = make(map[int]*tensor.Dense, len(blocks))
		}
	}
}

// seed writes the gradient at the tokens after block top to mem.grad, and
// returns how many tokens, from the first, have any.
func (p *backward) seed(seed Seed, top int) (rows int, err error) {
	c, m, s := p.m.cfg, p.mem, p.s
	if seed.at == atTokens {
		s.Write(m.grad, seed.d)
		return c.Tokens(), nil
	}
	side := tensor.Shape{p.n, 1, seed.d.Shape()[1]}
	d := tensor.New(tensor.WithShape(side...), tensor.WithBacking(seed.d.Float32s()))
	if seed.at == atLogits || c.Projection > 0 {
		s.Write(m.logits, d)
		s.LinearGrad(m.pooled, m.logits, p.m.head, backend.Epilogue{})
	} else {
		s.Write(m.pooled, d)
	}
	x := m.input(top + 1)
	if p.m.probe != nil {
		y := x
		if c.FinalNorm.tokens() {
			s.LayerNorm(m.y, x, p.m.norm)
			y = m.y
		}
		p.m.probe.forward(s, m.before, y, m.probeKV, m.probed, attention.Capture{})
	} else if c.FinalNorm.pooled() {
		y := x.Rows(0, c.pooledRows())
		if c.FinalNorm.tokens() {
			y = m.y.Rows(0, c.pooledRows())
			s.LayerNorm(y, x.Rows(0, c.pooledRows()), p.m.norm)
		}
		if err := p.m.reduce(s, m.before, y, m.gradQKV.Cols(0, c.Dim), c); err != nil {
			return 0, err
		}
	}
	if c.FinalNorm.pooled() {
		s.LayerNormGrad(m.pooled, m.pooled, m.before, p.m.norm, backend.Tensor{})
	}
	switch {
	case p.m.probe != nil:
		err = p.probe()
	case c.Reduce == ReduceMean && !c.Refine:
		s.PoolGrad(m.grad, m.pooled, c.Pool...)
	default: // the gradient depends on what was pooled
		y := x
		if c.FinalNorm.tokens() {
			s.LayerNorm(m.y, x, p.m.norm)
			y = m.y
		}
		err = p.m.reduceGrad(s, m.grad, m.pooled, y, m.gradQKV)
	}
	if err != nil {
		return 0, err
	}
	if c.FinalNorm.tokens() {
		s.LayerNormGrad(m.grad, m.grad, x, p.m.norm, backend.Tensor{})
	}
	return c.pooledRows(), nil
}

// probe derives the probe, whose forward pass is in m.probed.
func (p *backward) probe() error {
	c, m := p.m.cfg, p.mem
	keep, err := p.t.kept.Grads(p.s, p.n, c.Probe.Heads, 1, c.Tokens(), p.w.Probe, false)
	if err != nil {
		return err
	}
	p.m.probe.backward(p.s, m.grad, m.pooled, m.probeKV, m.gradQKV.Cols(0, 2*c.Dim), m.probed, keep)
	if p.w.Probe {
		p.grads.Probe = read(p.s, keep.Probs)
		p.after = append(p.after, func() { // what is hidden from the probe has none
			for row := p.grads.Probe.Float32s(); len(row) > 0; row = row[c.Tokens():] {
				clear(row[:c.Pool[0].Lo])
			}
		})
	}
	return nil
}

// tokens reads the gradient at the tokens after a block.
func (p *backward) tokens(block int) {
	if slices.Contains(p.w.Tokens, block) {
		p.grads.Tokens[block] = read(p.s, p.mem.grad)
	}
}

// block derives block i, whose output has a gradient in its first rows tokens
// alone.
func (p *backward) block(i, rows int) (err error) {
	b, t, m, s := &p.m.blocks[i], p.mem.blocks[i], p.mem, p.s
	normed := slices.Contains(p.w.Normed, i)
	deeper := i > p.w.lowest() || p.w.Pixels || slices.Contains(p.w.Tokens, i-1)
	below := normed || deeper
	rows = b.attn.GradRows(rows, p.m.cfg.Tokens(), below)
	grad, y := m.grad.Rows(0, rows), m.y.Rows(0, rows)
	none := backend.Tensor{}
	switch b.form {
	case FormPre:
		p.mlp(i, y, grad, none)
		s.LayerNormGrad(grad, y, t.mid.Rows(0, rows), b.norm2, grad)
		err = p.attend(i, m.y, grad, m.y, none, below)
	case FormParallel:
		if err = p.attend(i, m.y, grad, m.y, none, below); below {
			p.mlp(i, y, grad, y)
		}
	case FormPost:
		s.LayerNormGrad(y, grad, t.branch2.Rows(0, rows), b.norm2, none)
		p.mlp(i, grad, y, grad)
		s.LayerNormGrad(y, grad, t.branch1.Rows(0, rows), b.norm1, none)
		err = p.attend(i, m.grad, y, m.heads, m.grad, below)
	}
	if err != nil {
		return err
	}
	given := m.y
	if b.form == FormPost {
		given = m.grad
	}
	if normed {
		p.grads.Normed[i] = read(s, given)
	}
	if deeper {
		if b.form != FormPost {
			s.LayerNormGrad(m.grad, m.y, t.x, b.norm1, m.grad)
		}
		p.tokens(i - 1)
	}
	return nil
}

// mlp enqueues dx = ∂L/∂x + residual of the MLP of block i from dy, all of
// them (B, R, C).
func (p *backward) mlp(i int, dx, dy, residual backend.Tensor) {
	b, t, s, rows := &p.m.blocks[i], p.mem.blocks[i], p.s, dy.Shape[1]
	h := p.mem.hidden.Rows(0, rows)
	s.LinearGrad(h, dy, b.fc2, backend.Epilogue{})
	if b.inner != nil {
		s.LayerNormGrad(h, h, t.hidden.Rows(0, rows), *b.inner, backend.Tensor{})
	}
	s.LinearGrad(dx, h, b.fc1, backend.Epilogue{Act: b.act, Pre: t.pre.Rows(0, rows), Residual: residual})
}

// attend enqueues dx = ∂L/∂x (B, N, C) + residual of the attention of block i
// from dy (B, R, C), and reads what is wanted of it. heads is overwritten.
// Without below only that is computed.
func (p *backward) attend(i int, dx, dy, heads, residual backend.Tensor, below bool) error {
	b, t, c := &p.m.blocks[i], p.mem.blocks[i], p.m.cfg
	keep, err := p.t.kept.Grads(p.s, p.n, c.Heads, dy.Shape[1], c.Tokens(), slices.Contains(p.w.Probs, i), slices.Contains(p.w.Relevance, i))
	if err != nil {
		return err
	}
	if !below {
		dx = backend.Tensor{}
	}
	mem := attention.Memory{QKV: t.qkv, Raw: t.raw, Out: heads, Heads: t.heads, Places: p.mem.places}
	b.attn.Backward(p.s, dx, dy, residual, mem, p.mem.gradQKV, keep)
	p.read(i, keep)
	return nil
}

// read reads what block i kept.
func (p *backward) read(i int, keep attention.GradCapture) {
	probs, relevance, done := keep.Read(p.s, p.m.cfg.Tokens())
	if probs != nil {
		p.grads.Probs[i] = probs
	}
	if relevance != nil {
		p.grads.Relevance[i] = relevance
	}
	p.after = append(p.after, done)
}

// pixels derives the embedding.
func (p *backward) pixels() {
	m := p.mem
	if p.m.cfg.PreNorm {
		p.s.LayerNormGrad(m.grad, m.grad, m.entry.embed, p.m.preNorm, backend.Tensor{})
	}
	if p.m.cfg.EmbedNorm {
		n := p.m.embedNorm
		n.Residual = backend.Tensor{}
		p.s.LayerNormGrad(m.grad, m.grad, m.entry.patches, n, backend.Tensor{})
	}
	p.s.PatchEmbedGrad(m.pixels, m.grad, &p.m.embed)
	p.grads.Pixels = read(p.s, m.pixels)
}
