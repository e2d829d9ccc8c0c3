package vit

import (
	"fmt"
	"slices"

	"github.com/vitserve/vitserve/attention"
	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// Wants are what Forward computes beside the logits. The zero value is the
// fastest: classification alone. No want changes a bit of any other answer.
type Wants struct {
	Features bool  // pooled features
	Tokens   []int // tokens after these blocks, from 0; -1 is what the first block is given
	Normed   []int // the first norm of these blocks: what their attention is given
	Final    bool  // every token as the features are made of it
	AttnRows []int // query rows whose probabilities are kept, in every layer; the class token is 0
	AttnFull bool  // every row, in every layer: L·B·H·N² floats
	Gram     bool  // dot products of what the heads make of each token, in every layer
	Probe    bool  // attention of the probe; nothing without one
	Layers   bool  // what each layer would have answered; nothing without a head
}

// Output is what Forward computed. Tensors are the caller's.
type Output struct {
	Logits   *tensor.Dense         // (B, K); nil without a head
	Features *tensor.Dense         // (B, len(Pool)·C), what the head looks at; (B, Projection) where it projects them
	Tokens   map[int]*tensor.Dense // by block, (B, N, C), before the final norm
	Normed   map[int]*tensor.Dense // by block, (B, N, C)
	Final    *tensor.Dense         // (B, N, C), after the final norm where that is over every token
	Attn     []*tensor.Dense       // by block, (B, H, R, N): the rows asked for in their order, or all
	Rows     []int                 // which query rows Attn holds; nil: all
	Probe    *tensor.Dense         // (B, H, 1, N), H the probe's heads

	// Layers are by block (B, K), the logits that the final norm, the pooling
	// and the head make of the tokens after it, as if it were the last one:
	// the last ones are Logits.
	Layers []*tensor.Dense

	// Gram is by block (B, N, H, H), for each token x the dot products of what
	// the heads would add where it alone is attended to:
	//
	//	fʰ(x) = (x Wᵥʰ + bᵥʰ) Wₒʰ (C)
	//
	// With an inner norm Wₒ is of its centred and scaled input.
	Gram []*tensor.Dense
}

// Equal reports whether w and v are the same.
func (w Wants) Equal(v Wants) bool {
	return w.Features == v.Features && w.Final == v.Final && w.AttnFull == v.AttnFull && w.Gram == v.Gram && w.Probe == v.Probe && w.Layers == v.Layers &&
		slices.Equal(w.Tokens, v.Tokens) && slices.Equal(w.Normed, v.Normed) && slices.Equal(w.AttnRows, v.AttnRows)
}

// check says what is wrong with w.
func (w Wants) check(c Config) error {
	for _, t := range w.Tokens {
		if t < -1 || t >= c.Depth {
			return fmt.Errorf("tokens after block %d, want -1 to %d", t, c.Depth-1)
		}
	}
	for _, t := range w.Normed {
		if t < 0 || t >= c.Depth {
			return fmt.Errorf("norm of block %d, want 0 to %d", t, c.Depth-1)
		}
	}
	for _, r := range w.AttnRows {
		if r < 0 || r >= c.Tokens() {
			return fmt.Errorf("attention of row %d, want 0 to %d", r, c.Tokens()-1)
		}
	}
	return nil
}

// bytes returns the captures of an image, in float64, which no product of
// sizes overflows.
func (w Wants) bytes(c Config) float64 {
	kept := len(w.Tokens) + len(w.Normed)
	if w.Final {
		kept++
	}
	floats := float64(kept)*float64(c.Dim) + float64(c.Depth)*float64(c.Heads)*float64(attnRows(c, w))
	if w.Gram {
		depth, dim, heads := float64(c.Depth), float64(c.Dim), float64(c.Heads)
		floats += depth*(dim+heads*heads) + heads*dim
	}
	if w.Probe {
		floats += float64(c.Probe.Heads)
	}
	return 4 * float64(c.Tokens()) * floats
}

// attnRows returns R, the rows of attention that are kept in every layer.
func attnRows(c Config, w Wants) int {
	if w.AttnFull {
		return c.Tokens()
	}
	return len(w.AttnRows)
}

// output is an Output while it is being enqueued.
type output struct {
	m   *Model
	s   backend.Stream
	w   Wants
	out *Output

	valued []*tensor.Dense // for Gram, by layer (B, N, C)
}

func newOutput(m *Model, s backend.Stream, w Wants) *output {
	o := &output{m: m, s: s, w: w, out: &Output{}}
	if !w.AttnFull {
		o.out.Rows = w.AttnRows
	}
	if w.Tokens != nil {
		o.out.Tokens = make(map[int]*tensor.Dense, len(w.Tokens))
	}
	if w.Normed != nil {
		o.out.Normed = make(map[int]*tensor.Dense, len(w.Normed))
	}
	return o
}

func (o *output) tokens(block int, x backend.Tensor) {
	if slices.Contains(o.w.Tokens, block) {
		o.out.Tokens[block] = read(o.s, x)
	}
}

// given returns who is told what the attention of a block is given; nil:
// nobody wants it.
func (o *output) given(block int) func(backend.Tensor) {
	if !slices.Contains(o.w.Normed, block) {
		return nil
	}
	return func(y backend.Tensor) { o.out.Normed[block] = read(o.s, y) }
}

func (o *output) attn(c attention.Capture) {
	if !c.Probs.IsZero() {
		o.out.Attn = append(o.out.Attn, read(o.s, c.Probs))
	}
}

// values keeps the values of a block.
func (o *output) values(qkv backend.Tensor) {
	if o.w.Gram {
		dim := o.m.cfg.Dim
		o.valued = append(o.valued, read(o.s, qkv.Cols(2*dim, 3*dim)))
	}
}

// layer enqueues what would be answered after a block that is not the last.
func (o *output) layer(block int, m *memory) error {
	c := o.m.cfg
	if !o.w.Layers || o.m.head == nil || c.Projection > 0 || block == c.Depth-1 {
		return nil
	}
	if err := o.m.pool(o.s, m, c, attention.Capture{}); err != nil {
		return err
	}
	o.s.Linear(m.logits, m.pooled, o.m.head, backend.Epilogue{})
	o.out.Layers = append(o.out.Layers, read(o.s, m.logits))
	return nil
}

// answers enqueues what comes after the last block: m.x are its tokens. kept
// is memory for the probabilities of a layer.
func (o *output) answers(m *memory, kept *attention.Captures) error {
	c := o.m.cfg
	switch {
	case o.w.Final && c.FinalNorm.tokens():
		o.s.LayerNorm(m.y, m.x, o.m.norm)
		o.out.Final = read(o.s, m.y)
	case o.w.Final:
		o.out.Final = read(o.s, m.x)
	}
	var probs attention.Capture
	if o.w.Probe && c.Probe.Heads > 0 {
		var err error
		if probs, err = kept.Probs(o.s, m.x.Shape[0], c.Probe.Heads, c.Tokens(), []int{0}, false); err != nil {
			return fmt.Errorf("memory for captured attention: %w", err)
		}
	}
	if err := o.m.pool(o.s, m, c, probs); err != nil {
		return err
	}
	if !probs.Probs.IsZero() {
		o.out.Probe = read(o.s, probs.Probs)
	}
	if o.w.Features && c.Projection == 0 {
		o.out.Features = read(o.s, m.pooled)
	}
	if o.m.head == nil {
		return nil
	}
	o.s.Linear(m.logits, m.pooled, o.m.head, backend.Epilogue{})
	switch answer := read(o.s, m.logits); {
	case c.Projection == 0:
		o.out.Logits = answer
	case o.w.Features:
		o.out.Features = answer
	}
	return nil
}

// sync computes and returns what was enqueued for n images of the session.
func (o *output) sync(s *Session, n int) (_ *Output, err error) {
	if err := o.s.Sync(); err != nil {
		return nil, err
	}
	if o.w.Gram {
		if o.out.Gram, err = s.gram(n, o.valued); err != nil {
			return nil, err
		}
	}
	for _, t := range append([]*tensor.Dense{o.out.Features, o.out.Logits}, o.out.Layers...) {
		if t == nil {
			continue
		}
		if err := t.Reshape(n, t.Shape()[2]); err != nil {
			return nil, err
		}
	}
	if o.w.Layers && o.out.Logits != nil {
		o.out.Layers = append(o.out.Layers, o.out.Logits)
	}
	return o.out, nil
}

// read enqueues a copy to a new host tensor.
func read(s backend.Stream, x backend.Tensor) *tensor.Dense {
	d := tensor.New(tensor.WithShape(x.Shape...), tensor.Of(tensor.Float32))
	s.Read(d, x)
	return d
}

// capture returns where a layer keeps the probabilities that are wanted.
func capture(m *attention.Captures, s backend.Stream, n int, c Config, w Wants) (attention.Capture, error) {
	return m.Probs(s, n, c.Heads, c.Tokens(), w.AttnRows, w.AttnFull)
}
