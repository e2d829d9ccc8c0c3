package vit

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vitserve/vitserve/attention"
	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// SessionOptions size a Session. The zero value is one image at a time.
type SessionOptions struct {
	MaxBatch   int // images in one Forward; 0: 1
	Priority   int // see backend.StreamOptions
	MaxCapture int // bytes of tokens and attention that one Output, with its Trace, or one Grads may hold; 0: DefaultMaxCapture
}

// DefaultMaxCapture is 4 GiB: every probability of ViT-L/14 at 518 pixels
// with registers is 0.7 GiB an image.
const DefaultMaxCapture = 4 << 30

// maxBatch is far over what any device gains from.
const maxBatch = 1 << 12

// Session is a stream with activation memory for a number of images. One
// goroutine at a time.
type Session struct {
	m      *Model
	stream backend.Stream
	o      SessionOptions
	all    memory             // for MaxBatch images
	first  []*memory          // [n]: views of the first n, made when first asked for
	kept   attention.Captures // of one layer
	whole  backend.Tensor     // (1, N, C) the image of Kept, made when first asked for
	angles attention.Growing  // of the tokens of Kept
	biases attention.Growing  // of the same
	tracer *tracer            // memory of Trace, made when first asked for
	parts  []*attention.Parts // of Wants.Gram, made when first asked for
}

// memory is the activations of a batch.
type memory struct {
	pixels backend.Tensor // (B, 3, H, W) in [0, 1]
	x      backend.Tensor // (B, N, C) the residual stream
	y      backend.Tensor // (B, N, C) its norm, then the heads side by side
	qkv    backend.Tensor // (B, N, 3C) after a block its keys and values are there only with Wants.Gram
	hidden backend.Tensor // (B, N, M) a Temp
	pooled backend.Tensor // (B, 1, len(Pool)·C)
	probed probed
	logits backend.Tensor // (B, 1, K); zero without a head
	places attention.Places
}

// NewSession allocates activation memory once, for the largest batch.
func (m *Model) NewSession(o SessionOptions) (*Session, error) {
	if o.MaxBatch == 0 {
		o.MaxBatch = 1
	}
	if o.MaxBatch < 0 || o.MaxBatch > maxBatch {
		return nil, fmt.Errorf("vit: session: batch of %d, want 1 to %d", o.MaxBatch, maxBatch)
	}
	if o.MaxCapture == 0 {
		o.MaxCapture = DefaultMaxCapture
	}
	stream, err := m.b.NewStream(backend.StreamOptions{Priority: o.Priority})
	if err != nil {
		return nil, fmt.Errorf("vit: session: %w", err)
	}
	c, b, n := m.cfg, o.MaxBatch, m.cfg.Tokens()
	s := &Session{m: m, stream: stream, o: o, first: make([]*memory, b+1)}
	s.all = memory{
		pixels: stream.Alloc(b, 3, c.Image[0], c.Image[1]),
		x:      stream.Alloc(b, n, c.Dim),
		y:      stream.Alloc(b, n, c.Dim),
		qkv:    stream.Alloc(b, n, 3*c.Dim),
		hidden: stream.Temp(b, n, c.Hidden),
		pooled: stream.Alloc(b, 1, c.pooledWidth()),
		probed: newProbed(stream, c, b, false),
	}
	s.all.places.Bias = c.bias(stream)
	if c.outputs() > 0 {
		s.all.logits = stream.Alloc(b, 1, c.outputs())
	}
	if err := stream.Sync(); err != nil {
		stream.Close()
		return nil, fmt.Errorf("vit: session of %d images: %w", b, err)
	}
	return s, nil
}

// Close frees the session's memory, and that of its trace and its Grams.
func (s *Session) Close() error {
	return errors.Join(s.tracer.close(), s.stream.Close(), closeParts(s.parts))
}

// Config returns the model's.
func (s *Session) Config() Config { return s.m.Config() }

// MaxBatch returns how many images one Forward takes at most.
func (s *Session) MaxBatch() int { return s.o.MaxBatch }

// SetThreads bounds how many of the device's threads the next calls of Forward
// take; 0, as at first, is all. See backend.Stream.
func (s *Session) SetThreads(n int) { s.stream.Threads(n) }

// batch returns the memory of the first n images.
func (s *Session) batch(n int) *memory {
	if s.first[n] == nil {
		m := s.all
		for _, t := range append(m.probed.tensors(), &m.pixels, &m.x, &m.y, &m.qkv, &m.hidden, &m.pooled, &m.logits) {
			if !t.IsZero() {
				*t = t.First(n)
			}
		}
		s.first[n] = &m
	}
	return s.first[n]
}

// Forward classifies pixels (B, 3, H, W) in [0, 1], B up to MaxBatch. Pixels
// of another shape are an error. Values are not looked at: weights or pixels
// that are not finite give an answer that is not.
func (s *Session) Forward(pixels *tensor.Dense, w Wants) (*Output, error) {
	n, err := s.check(pixels, w)
	if err != nil {
		return nil, fmt.Errorf("vit: forward: %w", err)
	}
	c, m := s.m.cfg, s.batch(n)
	probs, err := capture(&s.kept, s.stream, n, c, w)
	if err != nil {
		return nil, fmt.Errorf("vit: forward: memory for captured attention: %w", err)
	}
	o := newOutput(s.m, s.stream, w)
	s.stream.Write(m.pixels, pixels)
	s.m.enter(s.stream, m.x, m.pixels, entry{})
	o.tokens(-1, m.x)
	rows := c.Tokens()
	for i := range s.m.blocks {
		if i == c.Depth-1 {
			rows = s.m.lastRows(w)
		}
		s.m.blocks[i].forward(s.stream, m, rows, probs, w.Gram, o.given(i))
		o.attn(probs)
		o.values(m.qkv)
		o.tokens(i, m.x)
		if err = o.layer(i, m); err != nil {
			return nil, fmt.Errorf("vit: forward of %d images: %w", n, err)
		}
	}
	err = o.answers(m, &s.kept)
	out, failed := o.sync(s, n)
	if err = errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("vit: forward of %d images: %w", n, err)
	}
	return out, nil
}

// lastRows returns how many tokens the last block has to compute: those that
// the features are made of, and those whose attention or value is wanted.
func (m *Model) lastRows(w Wants) int {
	if w.AttnFull || w.Final || slices.Contains(w.Tokens, m.cfg.Depth-1) {
		return m.cfg.Tokens()
	}
	rows := m.cfg.pooledRows()
	for _, r := range w.AttnRows {
		rows = max(rows, r+1)
	}
	return rows
}

// check returns the number of images, or what is wrong with the arguments.
func (s *Session) check(pixels *tensor.Dense, w Wants) (int, error) {
	c := s.m.cfg
	if _, err := backend.HostFloats(pixels); err != nil {
		return 0, fmt.Errorf("pixels: %w", err)
	}
	shape := pixels.Shape()
	if len(shape) != 4 || shape[1] != 3 || shape[2] != c.Image[0] || shape[3] != c.Image[1] {
		return 0, fmt.Errorf("pixels %v, want (B, 3, %d, %d)", shape, c.Image[0], c.Image[1])
	}
	n := shape[0]
	if n < 1 || n > s.o.MaxBatch {
		return 0, fmt.Errorf("%d images, want 1 to %d", n, s.o.MaxBatch)
	}
	if err := w.check(c); err != nil {
		return 0, err
	}
	return n, s.fits(n, w.bytes(c))
}

// fits says that captures of n images, each of so many bytes, are too much.
func (s *Session) fits(n int, bytes float64) error {
	if size := float64(n) * bytes; size > float64(s.o.MaxCapture) {
		return fmt.Errorf("captures of %d images would take %.1f MiB, at most %.1f MiB are allowed: ask for fewer images, rows or blocks",
			n, size/(1<<20), float64(s.o.MaxCapture)/(1<<20))
	}
	return nil
}
