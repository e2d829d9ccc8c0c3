package vit

import (
	"fmt"
	"math"
	"slices"

	"github.com/vitserve/vitserve/attention"
	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// SessionOptions size a Session. The zero value is one image at a time.
type SessionOptions struct {
	MaxBatch   int // images in one Forward; 0: 1
	Priority   int // see backend.StreamOptions
	MaxCapture int // bytes of tokens and attention that one Output may hold; 0: DefaultMaxCapture
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
	all    memory         // for MaxBatch images
	first  []*memory      // [n]: views of the first n, made when first asked for
	probs  backend.Tensor // (size) captured probabilities of one layer, made when first asked for
	whole  backend.Tensor // (1, N, C) the image of Kept, made when first asked for
}

// memory is the activations of a batch.
type memory struct {
	pixels backend.Tensor // (B, 3, H, W) in [0, 1]
	x      backend.Tensor // (B, N, C) the residual stream
	y      backend.Tensor // (B, N, C) its norm, then the heads side by side
	qkv    backend.Tensor // (B, N, 3C)
	hidden backend.Tensor // (B, N, M) a Temp
	pooled backend.Tensor // (B, 1, len(Pool)·C)
	logits backend.Tensor // (B, 1, K); zero without a head
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
		pooled: stream.Alloc(b, 1, c.Features()),
	}
	if c.Classes > 0 {
		s.all.logits = stream.Alloc(b, 1, c.Classes)
	}
	if err := stream.Sync(); err != nil {
		stream.Close()
		return nil, fmt.Errorf("vit: session of %d images: %w", b, err)
	}
	return s, nil
}

// Close frees the session's memory.
func (s *Session) Close() error { return s.stream.Close() }

// batch returns the memory of the first n images.
func (s *Session) batch(n int) *memory {
	if s.first[n] == nil {
		m := s.all
		for _, t := range []*backend.Tensor{&m.pixels, &m.x, &m.y, &m.qkv, &m.hidden, &m.pooled, &m.logits} {
			if !t.IsZero() {
				*t = t.First(n)
			}
		}
		s.first[n] = &m
	}
	return s.first[n]
}

// Wants are what Forward computes beside the logits. The zero value is the
// fastest: classification alone. No want changes a bit of any other answer.
type Wants struct {
	Features bool  // pooled features
	Tokens   []int // tokens after these blocks, from 0; -1 is what the first block is given
	Final    bool  // every token as the features are made of it
	AttnRows []int // query rows whose probabilities are kept, in every layer; the class token is 0
	AttnFull bool  // every row, in every layer: L·B·H·N² floats
}

// Output is what Forward computed. Tensors are the caller's.
type Output struct {
	Logits   *tensor.Dense         // (B, K); nil without a head
	Features *tensor.Dense         // (B, len(Pool)·C), what the head looks at
	Tokens   map[int]*tensor.Dense // by block, (B, N, C), before the final norm
	Final    *tensor.Dense         // (B, N, C), after the final norm where that is over every token
	Attn     []*tensor.Dense       // by layer, (B, H, R, N): the rows asked for in their order, or all
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
	probs, err := s.capture(n, w)
	if err != nil {
		return nil, fmt.Errorf("vit: forward: memory for captured attention: %w", err)
	}
	out := &Output{}
	keepTokens := func(block int) {
		if slices.Contains(w.Tokens, block) {
			out.Tokens[block] = s.read(m.x)
		}
	}
	if w.Tokens != nil {
		out.Tokens = make(map[int]*tensor.Dense, len(w.Tokens))
	}

	s.stream.Write(m.pixels, pixels)
	s.stream.PatchEmbed(m.x, m.pixels, &s.m.embed)
	if c.PreNorm {
		s.stream.LayerNorm(m.x, m.x, s.m.preNorm)
	}
	keepTokens(-1)
	rows := c.Tokens()
	for i := range s.m.blocks {
		if i == c.Depth-1 {
			rows = s.m.lastRows(w)
		}
		s.m.blocks[i].forward(s.stream, m, rows, probs)
		if !probs.Probs.IsZero() {
			out.Attn = append(out.Attn, s.read(probs.Probs))
		}
		keepTokens(i)
	}
	if w.Final {
		out.Final = s.final(m)
	}
	s.pool(m, c)
	if w.Features {
		out.Features = s.read(m.pooled)
	}
	if s.m.head != nil {
		s.stream.Linear(m.logits, m.pooled, s.m.head, backend.Epilogue{})
		out.Logits = s.read(m.logits)
	}
	if err := s.stream.Sync(); err != nil {
		return nil, fmt.Errorf("vit: forward of %d images: %w", n, err)
	}
	for _, t := range []*tensor.Dense{out.Features, out.Logits} {
		if t == nil {
			continue
		}
		if err := t.Reshape(n, t.Shape()[2]); err != nil {
			return nil, fmt.Errorf("vit: forward: %w", err)
		}
	}
	return out, nil
}

// final enqueues every token as the features are made of it.
func (s *Session) final(m *memory) *tensor.Dense {
	if s.m.cfg.FinalNorm != NormTokens {
		return s.read(m.x)
	}
	s.stream.LayerNorm(m.y, m.x, s.m.norm)
	return s.read(m.y)
}

// pool enqueues the features: the final norm, where it stands, over the
// tokens that they are made of. The spans are those of c.
func (s *Session) pool(m *memory, c Config) {
	rows := c.pooledRows()
	x := m.x.Rows(0, rows)
	if c.FinalNorm == NormTokens {
		y := m.y.Rows(0, rows)
		s.stream.LayerNorm(y, x, s.m.norm)
		x = y
	}
	s.stream.Pool(m.pooled, x, c.Pool...)
	if c.FinalNorm == NormPooled {
		s.stream.LayerNorm(m.pooled, m.pooled, s.m.norm)
	}
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
	for _, t := range w.Tokens {
		if t < -1 || t >= c.Depth {
			return 0, fmt.Errorf("tokens after block %d, want -1 to %d", t, c.Depth-1)
		}
	}
	for _, r := range w.AttnRows {
		if r < 0 || r >= c.Tokens() {
			return 0, fmt.Errorf("attention of row %d, want 0 to %d", r, c.Tokens()-1)
		}
	}
	kept := len(w.Tokens)
	if w.Final {
		kept++
	}
	// In float64, which no product of these overflows.
	size := 4 * float64(n) * float64(c.Tokens()) *
		(float64(kept)*float64(c.Dim) + float64(c.Depth)*float64(c.Heads)*float64(attnRows(c, w)))
	if size > float64(s.o.MaxCapture) {
		return 0, fmt.Errorf("captures of %d images would take %.1f MiB, at most %.1f MiB are allowed: ask for fewer images, rows or blocks",
			n, size/(1<<20), float64(s.o.MaxCapture)/(1<<20))
	}
	return n, nil
}

// attnRows returns R, the rows of attention that are kept in every layer.
func attnRows(c Config, w Wants) int {
	if w.AttnFull {
		return c.Tokens()
	}
	return len(w.AttnRows)
}

// capture returns where a layer keeps its probabilities: one memory for all
// layers, because each is read out before the next. It grows when more is
// asked for than ever before, by doubling, since a stream's memory is freed
// only with it.
func (s *Session) capture(n int, w Wants) (attention.Capture, error) {
	c := s.m.cfg
	rows := attnRows(c, w)
	if rows == 0 {
		return attention.Capture{}, nil
	}
	image := c.Heads * rows * c.Tokens()
	if have := s.probs.Shape; s.probs.IsZero() || have[0] < n*image {
		size := n * image
		if !s.probs.IsZero() {
			size = min(max(size, 2*have[0]), math.MaxInt32)
			size = max(size, n*image)
		}
		probs := s.stream.Alloc(size)
		if err := s.stream.Sync(); err != nil {
			return attention.Capture{}, err
		}
		s.probs = probs
	}
	keep := attention.Capture{Probs: backend.Tensor{
		Mem:    s.probs.Mem,
		Offset: s.probs.Offset,
		Shape:  tensor.Shape{n, c.Heads, rows, c.Tokens()},
		Batch:  image,
		Row:    c.Tokens(),
	}}
	if !w.AttnFull {
		keep.Rows = w.AttnRows
	}
	return keep, nil
}

// read enqueues a copy to a new host tensor.
func (s *Session) read(x backend.Tensor) *tensor.Dense {
	d := tensor.New(tensor.WithShape(x.Shape...), tensor.Of(tensor.Float32))
	s.stream.Read(d, x)
	return d
}
