package vit

import (
	"errors"
	"fmt"

	"github.com/vitserve/vitserve/attention"
	"github.com/vitserve/vitserve/backend"
	"gorgonia.org/tensor"
)

// Model is a Vision Transformer on a backend. It is immutable and safe for
// use by several goroutines; each makes a Session of its own. Its weights
// live until it or the backend is closed.
type Model struct {
	cfg       Config
	b         backend.Backend
	embed     backend.PatchEmbed
	embedNorm backend.Norm   // if cfg.EmbedNorm; it adds the positions
	preNorm   backend.Norm   // if cfg.PreNorm
	blocks    []block        // L
	norm      backend.Norm   // unless cfg.FinalNorm is NormNone
	probe     *probe         // nil: none
	refine    backend.Linear // of the gradient of cfg.Refine; nil: none
	head      backend.Linear

	tensors []backend.Tensor // all that was uploaded
	linears []backend.Linear
}

// New uploads weights to b. Every shape is checked against c first; the error
// names all that are missing or wrong.
func New(b backend.Backend, c Config, w *Weights) (*Model, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := w.check(c); err != nil {
		return nil, err
	}
	c.Pool = append([]backend.Span(nil), c.Pool...)
	u := uploader{b: b, eps: c.Eps, rms: c.RMS}
	exact := backend.LinearOptions{Exact: true}
	m := &Model{cfg: c, b: b}
	m.embed = backend.PatchEmbed{
		Patch:  c.Patch,
		Proj:   u.linear(w.PatchProj, w.PatchBias, exact),
		Prefix: u.tensor(w.Prefix),
		Pos:    u.tensor(w.Pos),
	}
	if m.embedNorm = u.norm(w.EmbedNorm); c.EmbedNorm {
		m.embedNorm.Residual, m.embed.Pos = m.embed.Pos, backend.Tensor{}
	}
	m.preNorm = u.norm(w.PreNorm)
	rope := u.rope(c, w.Angles)
	for i, bw := range w.Blocks {
		// Where the features need few tokens of the last block, its queries
		// are projected apart from its keys and values.
		split := i == c.Depth-1 && c.pooledRows() < c.Tokens()
		m.blocks = append(m.blocks, u.block(c, bw, rope, split))
	}
	m.norm = u.norm(w.Norm)
	m.probe = u.probe(c, w.Probe)
	m.refine = u.thrice(c)
	m.head = u.linear(w.Head, w.HeadBias, exact)
	m.tensors, m.linears = u.tensors, u.linears
	if u.err != nil {
		return nil, errors.Join(fmt.Errorf("vit: upload weights to %s: %w", b.Name(), u.err), m.Close())
	}
	return m, nil
}

// enter enqueues x (B, N, C), what the first block is given of pixels. The
// tokens before the norms are kept in e.
func (m *Model) enter(s backend.Stream, x, pixels backend.Tensor, e entry) {
	or := func(kept backend.Tensor) backend.Tensor {
		if kept.IsZero() {
			return x
		}
		return kept
	}
	embedded := or(e.embed)
	if m.cfg.EmbedNorm {
		patches := or(e.patches)
		s.PatchEmbed(patches, pixels, &m.embed)
		n := m.embedNorm
		if !n.Residual.IsZero() { // positions, which all images share
			n.Residual.Shape, n.Residual.Batch = x.Shape, 0
		}
		s.LayerNorm(embedded, patches, n)
	} else {
		s.PatchEmbed(embedded, pixels, &m.embed)
	}
	if m.cfg.PreNorm {
		s.LayerNorm(x, embedded, m.preNorm)
	}
}

// entry is what is kept of the way to the first block.
type entry struct {
	patches backend.Tensor // (B, N, C) before their norm; zero: not kept
	embed   backend.Tensor // (B, N, C) before the pre-norm; zero: not kept
}

// Close frees the weights. Every session of the model must have been closed
// before. A second Close does nothing.
func (m *Model) Close() (err error) {
	for _, t := range m.tensors {
		m.b.Free(t)
	}
	for _, l := range m.linears {
		err = errors.Join(err, l.Close())
	}
	m.tensors, m.linears = nil, nil
	return err
}

// Config returns the model's configuration.
func (m *Model) Config() Config {
	c := m.cfg
	c.Pool = append([]backend.Span(nil), c.Pool...)
	return c
}

// Backend returns the backend that holds the weights.
func (m *Model) Backend() backend.Backend { return m.b }

// uploader brings weights to a backend. Its first failure sticks; tensors
// that are nil become the zero Tensor or a nil Linear.
type uploader struct {
	b   backend.Backend
	eps float32
	rms bool
	err error

	tensors []backend.Tensor
	linears []backend.Linear
	tables  map[*tensor.Dense]backend.Tensor // those of relative positions
}

func (u *uploader) tensor(t *tensor.Dense) (x backend.Tensor) {
	if t != nil && u.err == nil {
		x, u.err = u.b.Upload(t)
		u.tensors = append(u.tensors, x)
	}
	return x
}

func (u *uploader) norm(n NormWeights) backend.Norm {
	return backend.Norm{Weight: u.tensor(n.Weight), Bias: u.tensor(n.Bias), Eps: u.eps, RMS: u.rms}
}

// innerNorm uploads a norm that not every model has.
func (u *uploader) innerNorm(n NormWeights) *backend.Norm {
	if n.Weight == nil {
		return nil
	}
	norm := u.norm(n)
	return &norm
}

// headNorm uploads a norm of each head, if there is one.
func (u *uploader) headNorm(c Config, n NormWeights) *backend.Norm {
	norm := u.innerNorm(n)
	if norm != nil {
		norm.Heads = c.Heads
	}
	return norm
}

func (u *uploader) linear(weight, bias *tensor.Dense, o backend.LinearOptions) (l backend.Linear) {
	if weight != nil && u.err == nil {
		if l, u.err = u.b.NewLinear(weight, bias, o); u.err == nil {
			u.linears = append(u.linears, l)
		}
	}
	return l
}

// block uploads a block. rope is what it has without angles of its own.
func (u *uploader) block(c Config, w BlockWeights, rope *backend.Rope, split bool) block {
	var o backend.LinearOptions
	if c.RopeLearned {
		rope = u.rope(c, w.Angles)
	}
	attn := attention.MultiHead{
		Heads: c.Heads, Proj: u.linear(w.Proj, w.ProjBias, o),
		Rope: rope, Relative: u.relative(c, w.Table), Norm: u.innerNorm(w.Inner),
		QueryNorm: u.headNorm(c, w.QueryNorm), KeyNorm: u.headNorm(c, w.KeyNorm),
	}
	if split {
		attn.Query = u.linear(rows(w.QKV, 0, c.Dim), rows(w.QKVBias, 0, c.Dim), o)
		attn.KeyValue = u.linear(rows(w.QKV, c.Dim, 3*c.Dim), rows(w.QKVBias, c.Dim, 3*c.Dim), o)
	} else {
		attn.QKV = u.linear(w.QKV, w.QKVBias, o)
	}
	return block{
		form:  c.Form,
		norm1: u.norm(w.Norm1),
		attn:  attn,
		norm2: u.norm(w.Norm2),
		fc1:   u.linear(w.FC1, w.FC1Bias, backend.LinearOptions{Gated: c.Gated()}),
		inner: u.innerNorm(w.HiddenNorm),
		fc2:   u.linear(w.FC2, w.FC2Bias, o),
		act:   c.Act,
	}
}

// rows returns rows lo to hi of a contiguous tensor, over the same memory.
func rows(t *tensor.Dense, lo, hi int) *tensor.Dense {
	if t == nil {
		return nil
	}
	shape := t.Shape().Clone()
	size := shape.TotalSize() / shape[0]
	shape[0] = hi - lo
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(t.Float32s()[lo*size:hi*size]))
}
