package vit

import (
	"errors"
	"fmt"

	"github.com/vitserve/vitserve/attention"
	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// Trace is a forward pass that can be derived. It is its session's: see
// Session.Trace.
type Trace struct {
	Output *Output // what Forward would have answered

	s      *Session
	t      *tracer
	images int
}

// tracer is a stream with memory for what a forward pass keeps, and for what
// a backward pass needs on its way, of a number of images.
type tracer struct {
	stream  backend.Stream
	all     taps
	images  int
	current *Trace             // whose values the memory holds; nil: nobody's
	kept    attention.Captures // of one layer
}

// taps are the values of a batch.
type taps struct {
	pixels backend.Tensor // (B, 3, H, W), then their gradient
	entry  entry
	blocks []tap          // L
	out    backend.Tensor // (B, N, C) the tokens after the last block

	grad    backend.Tensor // (B, N, C) at the residual stream
	y       backend.Tensor // (B, N, C) norms and gradients on their way
	heads   backend.Tensor // (B, N, C) gradients of heads, where y is taken; zero: it is not
	gradQKV backend.Tensor // (B, N, 3C)
	hidden  backend.Tensor // (B, N, M) a Temp
	pooled  backend.Tensor // (B, 1, len(Pool)·C), and its gradient
	before  backend.Tensor // (B, 1, len(Pool)·C) pooled, before its norm
	probed  probed
	probeKV backend.Tensor // (B, N, 2C) zero without a probe
	logits  backend.Tensor // (B, 1, K), and their gradient; zero without a head
	places  attention.Places
}

// tap is what is kept of a block.
type tap struct {
	x   backend.Tensor // (B, N, C) its input
	mid backend.Tensor // (B, N, C) the residual stream between attention and MLP
	qkv backend.Tensor // (B, N, 3C)
	pre backend.Tensor // (B, N, M or 2M) the MLP before its activation

	raw    backend.Tensor // (B, N, 3C) before queries and keys are normed; zero where they are not
	heads  backend.Tensor // (B, N, C) before their norm; zero without one
	hidden backend.Tensor // (B, N, M) the hidden layer before its norm; zero without one

	branch1, branch2 backend.Tensor // (B, N, C) what norms behind the branches are given; zero without them
}

// TraceBytes returns the memory that a Trace of one image keeps on the
// device: L times 5 tokens and one hidden layer, 9·C·N·L floats where M is
// 4C. That is 65 MB of ViT-B/16 at 224 pixels.
func TraceBytes(c Config) int64 {
	n, dim, hidden := int64(c.Tokens()), int64(c.Dim), int64(c.Hidden)
	var inner int64
	if c.InnerNorm {
		inner += dim
	}
	if c.HiddenNorm {
		inner += hidden
	}
	if c.QKNorm {
		inner += 3 * dim
	}
	if c.Form == FormPost {
		inner += 2 * dim
	}
	if c.Gated() {
		hidden *= 2
	}
	each := int64(c.Depth) * (5*dim + hidden + inner)
	if c.Probe.Heads > 0 {
		each += 2 * dim
	}
	return 4 * n * each
}

// Trace is Forward that also keeps, on the device, what Backward needs:
// TraceBytes an image, which count as captures. Its Output has the bits of
// Forward's. There is one trace a session: the next ends it. Forward and Kept
// in between do not. The memory is the session's, and as much as the largest
// trace so far took.
func (s *Session) Trace(pixels *tensor.Dense, w Wants) (*Trace, error) {
	n, err := s.check(pixels, w)
	if err == nil {
		err = s.fits(n, w.bytes(s.m.cfg)+float64(TraceBytes(s.m.cfg)))
	}
	if err != nil {
		return nil, fmt.Errorf("vit: trace: %w", err)
	}
	t, err := s.trace(n)
	if err != nil {
		return nil, fmt.Errorf("vit: trace: memory for %d images: %w", n, err)
	}
	c, mem, stream := s.m.cfg, t.all.first(n), t.stream
	probs, err := capture(&t.kept, stream, n, c, w)
	if err != nil {
		return nil, fmt.Errorf("vit: trace: memory for captured attention: %w", err)
	}
	o := newOutput(s.m, stream, w)
	stream.Write(mem.pixels, pixels)
	x := mem.input(0)
	s.m.enter(stream, x, mem.pixels, mem.entry)
	o.tokens(-1, x)
	for i := range s.m.blocks {
		s.m.blocks[i].trace(stream, mem, i, probs, o.given(i))
		o.attn(probs)
		o.values(mem.blocks[i].projected())
		o.tokens(i, mem.input(i+1))
	}
	err = o.answers(&memory{x: mem.out, y: mem.y, qkv: mem.gradQKV, pooled: mem.pooled, probed: mem.probed, logits: mem.logits}, &t.kept)
	out, failed := o.sync(s, n)
	if err = errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("vit: trace of %d images: %w", n, err)
	}
	t.current = &Trace{Output: out, s: s, t: t, images: n}
	return t.current, nil
}

// projected returns where values are, as they were projected.
func (t *tap) projected() backend.Tensor {
	if t.raw.IsZero() {
		return t.qkv
	}
	return t.raw
}

// input returns the tokens before block i, which are those after the one
// before it.
func (m *taps) input(i int) backend.Tensor {
	if i == len(m.blocks) {
		return m.out
	}
	return m.blocks[i].x
}

// first returns the taps of the first n images.
func (m *taps) first(n int) *taps {
	f := *m
	f.blocks = append([]tap(nil), m.blocks...)
	tensors := []*backend.Tensor{
		&f.pixels, &f.entry.patches, &f.entry.embed, &f.out, &f.grad, &f.y, &f.heads, &f.gradQKV, &f.hidden, &f.pooled, &f.before, &f.logits,
	}
	tensors = append(append(tensors, &f.probeKV), f.probed.tensors()...)
	for i := range f.blocks {
		t := &f.blocks[i]
		tensors = append(tensors, &t.x, &t.mid, &t.qkv, &t.pre, &t.raw, &t.heads, &t.hidden, &t.branch1, &t.branch2)
	}
	for _, t := range tensors {
		if !t.IsZero() {
			*t = t.First(n)
		}
	}
	return &f
}

// trace returns the session's tracer with memory for n images, and ends the
// trace before.
func (s *Session) trace(n int) (*tracer, error) {
	if t := s.tracer; t != nil {
		t.current = nil
		if t.images >= n {
			return t, nil
		}
		s.tracer = nil
		if err := t.close(); err != nil {
			return nil, err
		}
	}
	stream, err := s.m.b.NewStream(backend.StreamOptions{Priority: s.o.Priority})
	if err != nil {
		return nil, err
	}
	t := &tracer{stream: stream, images: n}
	c := s.m.cfg
	tokens := func() backend.Tensor { return stream.Alloc(n, c.Tokens(), c.Dim) }
	hidden := c.Hidden
	if c.Gated() {
		hidden *= 2
	}
	for range c.Depth {
		kept := tap{
			x: tokens(), mid: tokens(),
			qkv: stream.Alloc(n, c.Tokens(), 3*c.Dim),
			pre: stream.Alloc(n, c.Tokens(), hidden),
		}
		if c.InnerNorm {
			kept.heads = tokens()
		}
		if c.QKNorm {
			kept.raw = stream.Alloc(n, c.Tokens(), 3*c.Dim)
		}
		if c.Form == FormPost {
			kept.branch1, kept.branch2 = tokens(), tokens()
		}
		if c.HiddenNorm {
			kept.hidden = stream.Alloc(n, c.Tokens(), c.Hidden)
		}
		t.all.blocks = append(t.all.blocks, kept)
	}
	t.all.places.Bias = c.bias(stream)
	a := &t.all
	a.pixels = stream.Alloc(n, 3, c.Image[0], c.Image[1])
	if c.EmbedNorm {
		a.entry.patches = tokens()
	}
	if c.PreNorm {
		a.entry.embed = tokens()
	}
	a.out, a.grad, a.y, a.gradQKV = tokens(), tokens(), tokens(), stream.Alloc(n, c.Tokens(), 3*c.Dim)
	if c.Form == FormPost {
		a.heads = tokens()
	}
	a.hidden = stream.Temp(n, c.Tokens(), c.Hidden)
	a.pooled, a.before = stream.Alloc(n, 1, c.pooledWidth()), stream.Alloc(n, 1, c.pooledWidth())
	if a.probed = newProbed(stream, c, n, true); c.Probe.Heads > 0 {
		a.probeKV = stream.Alloc(n, c.Tokens(), 2*c.Dim)
	}
	if c.outputs() > 0 {
		a.logits = stream.Alloc(n, 1, c.outputs())
	}
	if err := stream.Sync(); err != nil {
		return nil, errors.Join(err, stream.Close())
	}
	s.tracer = t
	return t, nil
}

// close frees the memory. A nil tracer has none.
func (t *tracer) close() error {
	if t == nil {
		return nil
	}
	t.current = nil
	return t.stream.Close()
}
