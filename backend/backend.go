// Package backend is the seam between a Vision Transformer and the machine
// that computes it: about ten operations, each worth one kernel. A backend
// implements all of them; there are no optional operations, no capability
// queries and no fallbacks. Package backend/ref is the readable oracle, and
// package backend/backendtest the suite that holds every backend to it.
//
// Letters in shapes: B batch, N tokens (prefix tokens included where P is not
// named apart), P prefix tokens, C dim, H heads, D head dim, M MLP dim,
// R query rows, L depth.
//
// Errors: a wrong shape is the caller's bug and panics with both shapes; the
// world's failures (devices, memory) are returned, by Stream at Sync.
package backend

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"

	"gorgonia.org/tensor"
)

// A Backend owns a device, its memory and its kernels. It is safe for use by
// several goroutines; each Stream belongs to one goroutine at a time.
type Backend interface {
	// Name says what computes, and in which precision, for people:
	// "cpu/avx512 int8, attention bf16", "ref".
	Name() string

	// Upload copies a small constant (a norm's vectors, positions, prefix
	// tokens) to the device. It is float32 in every precision.
	Upload(t *tensor.Dense) (Tensor, error)

	// Free gives the memory of an uploaded constant back, whole, whichever
	// view of it is given. The zero Tensor has none. No stream whose
	// operations look at it may be open. What nobody frees is freed with the
	// backend.
	Free(t Tensor)

	// NewLinear takes a weight (out, in) and a bias (out), or nil for none,
	// and packs or converts them as the backend likes. It copies, on the
	// calling goroutine: the host memory may be the map of a file, which the
	// caller unmaps afterwards and guards meanwhile (models.Checkpoint.Model).
	NewLinear(weight, bias *tensor.Dense, o LinearOptions) (Linear, error)

	// NewStream returns an in-order queue of operations with activation
	// memory of its own.
	NewStream(o StreamOptions) (Stream, error)

	// Close releases the device. Streams and weights of it are unusable then.
	Close() error
}

// LinearOptions say how the weights of a Linear are going to be used.
type LinearOptions struct {
	// Exact keeps the layer in float32 whatever the backend's precision is:
	// the patch projection and the classification head.
	Exact bool

	// Gated says that the outputs are two halves, gate then value, and that
	// the layer is only applied with the SwiGLU activation.
	Gated bool
}

// Linear is a weight matrix and bias in the form its backend computes with.
type Linear interface {
	In() int  // columns of the weight
	Out() int // rows of the weight; for a gated layer both halves

	// Close gives the memory back, that of gradients too, as Backend.Free
	// does. A second Close does nothing.
	Close() error
}

// StreamOptions configure a Stream.
type StreamOptions struct {
	// Priority orders streams that want the device at the same time: a
	// stream of higher priority takes over at the next layer boundary.
	Priority int
}

// A Stream is an in-order queue of operations with its own activation memory.
// Operations only enqueue; the first failure sticks, later operations do
// nothing, and Sync runs what is queued and reports it. One goroutine at a
// time. Outputs come first in every signature. An output may be the same
// tensor as the residual, LayerNorm may write over its input, and no other
// operation may write over what it reads. Backends check shapes with the
// functions Check… of this package.
type Stream interface {
	// Alloc returns memory that is kept until Close. Its contents are zero.
	// Memory that cannot be had is a failure; the tensor is then good for
	// being passed to operations, which do nothing.
	Alloc(shape ...int) Tensor

	// Temp returns a tensor with one writer and one reader, both of them
	// Linear operations of the same Sync. Its contents are undefined after
	// its reader, and the backend need not materialise it: this is the MLP's
	// hidden layer. After its reader it may serve another pair, so that one
	// Temp is enough for all layers and all Syncs.
	Temp(shape ...int) Tensor

	// Write copies src to dst when it is called, so src may be reused at
	// once. The shapes must be equal. Whether operations queued before it
	// see the old or the new values is undefined.
	Write(dst Tensor, src *tensor.Dense)

	// Read copies src to dst during Sync; dst is valid after it.
	Read(dst *tensor.Dense, src Tensor)

	// Threads bounds how many of the device's threads Sync takes; 0, as at
	// first, is all of them. Streams that together take no more than there
	// are run side by side. No bit of a result depends on it, and a device
	// that is not made of threads does nothing.
	Threads(n int)

	// Sync runs what is queued, empties the queue and returns the first
	// failure since the last Sync. After a failure the stream starts afresh.
	Sync() error

	// Close frees the memory of the stream.
	Close() error

	// PatchEmbed cuts pixels (B, 3, H, W) in [0, 1] into patches, projects
	// them, adds their positions and puts the prefix tokens in front: x is
	// (B, P+N, C), patches row by row.
	PatchEmbed(x, pixels Tensor, p *PatchEmbed)

	// LayerNorm is y = (x - mean) / sqrt(variance + Eps) * Weight + Bias over
	// the last dimension, the variance biased. x and y are (B, N, C).
	LayerNorm(y, x Tensor, n Norm)

	// Linear is y = act(x Wᵀ + b) + residual. x is (B, N, In), y is
	// (B, N, Out), or (B, N, Out/2) with SwiGLU.
	Linear(y, x Tensor, w Linear, e Epilogue)

	// Attention is o = softmax(q kᵀ·Scale + Bias) v for each head. q and o
	// are (B, R, C), k and v (B, N, C), C = H·D; q, k and v may be column
	// views of one packed tensor and q may have fewer rows than k and v.
	Attention(o, q, k, v Tensor, a Attention)

	// Pool writes the means of spans of tokens side by side: x is (B, N, C),
	// y is (B, 1, len(spans)·C).
	Pool(y, x Tensor, spans ...Span)

	// Gather keeps the named tokens of every image: y[b, i] = x[b, rows[i]].
	Gather(y, x Tensor, rows []int)

	Gradients
}

// Gradients are the derivatives of a Stream's operations with respect to
// their inputs; weights are frozen. They are operations of the Stream and
// computed in float32 in every precision, through the weights as they were
// rounded. A gradient overwrites its output; where a residual is given it is
// added, because only the residual stream receives gradients from two places.
type Gradients interface {
	// PatchEmbedGrad writes ∂L/∂pixels (B, 3, H, W) from dx (B, P+N, C).
	// Pixels behind the last whole patch get zero.
	PatchEmbedGrad(dpixels, dx Tensor, p *PatchEmbed)

	// LayerNormGrad writes dx = ∂L/∂x + residual from dy and the norm's
	// input x. The residual may be dx itself, or zero for none; dx may also
	// be dy.
	LayerNormGrad(dx, dy, x Tensor, n Norm, residual Tensor)

	// LinearGrad writes dx = (dy ∘ act'(e.Pre)) W + e.Residual, which may be
	// dx itself: here it is what dx got from elsewhere, of dx's shape, while
	// the gradient of the forward operation's residual is dy. dy is
	// (B, N, Out), or (B, N, Out/2) with SwiGLU. e.Pre is needed unless e.Act
	// is Identity. As in the forward pass a Temp may be written by one
	// LinearGrad and read by another as dy.
	LinearGrad(dx, dy Tensor, w Linear, e Epilogue)

	// AttentionGrad writes dq, dk and dv from do and the inputs of the
	// forward operation, whose probabilities it computes anew, and keeps
	// a.ProbsGrad and a.Relevance where they are given. dq, dk and dv may be
	// column views of one packed tensor; one that is zero is not computed.
	// Where images share q by a batch stride of 0, dq is that of each.
	// a.Rows and a.Probs are not looked at.
	AttentionGrad(dq, dk, dv, do, q, k, v Tensor, a Attention)

	// PoolGrad writes dx (B, N, C) from dy (B, 1, len(spans)·C); tokens in no
	// span get zero.
	PoolGrad(dx, dy Tensor, spans ...Span)
}

// PatchEmbed are the constants of the operation of the same name.
type PatchEmbed struct {
	Patch  [2]int // height and width of a patch, pixels
	Proj   Linear // (C, 3·height·width), inputs ordered channel, row, column; Exact
	Prefix Tensor // (P, C) prefix tokens with their positions added; zero: none
	Pos    Tensor // (N, C) positions of the patches; zero: none
}

// Norm is a layer norm over the last dimension.
type Norm struct {
	Weight, Bias Tensor  // (C)
	Eps          float32 // never defaulted: 1e-6 in timm, 1e-12 in transformers
}

// Activation is the function between a Linear's product and its residual.
type Activation uint8

// The activations of the field. The three GELUs differ by up to 2e-2 and are
// never taken for one another.
const (
	Identity  Activation = iota
	GELU                 // x·Φ(x), exact (erf)
	GELUTanh             // 0.5x(1 + tanh(√(2/π)(x + 0.044715x³)))
	QuickGELU            // x·σ(1.702x)
	SwiGLU               // gate·σ(gate)·value; needs LinearOptions.Gated
)

// String returns the name that configuration files use.
func (a Activation) String() string {
	names := [...]string{"identity", "gelu", "gelu_tanh", "quick_gelu", "swiglu"}
	if int(a) < len(names) {
		return names[a]
	}
	return fmt.Sprintf("Activation(%d)", a)
}

// Epilogue is what a Linear does to its product while it is close by.
type Epilogue struct {
	Act      Activation
	Residual Tensor // of y's shape, added after the activation; may be y; zero: none
	Pre      Tensor // (B, N, Out) keeps the value before the activation; zero: not kept
}

// Attention are the parameters of the operation of the same name.
type Attention struct {
	Heads int
	Scale float32
	Rope  *Rope  // rotary positions of q and k; nil: none. Needs as many rows in q as in k
	Bias  Tensor // (H, N, N) added before the softmax; zero: none. Needs as many rows in q as in k
	Rows  []int  // which rows of q are captured in Probs; nil: all
	Probs Tensor // (B, H, len(Rows), N) keeps those rows of the softmax; zero: nothing is materialised
	Spend bool   // k and v are not needed any more: their contents are undefined afterwards, and the backend need not have written them

	// For Gradients.AttentionGrad only.
	// R is the number of rows of q.
	ProbsGrad Tensor // (B, H, R, N) keeps ∂L/∂probabilities; zero: not kept
	Relevance Tensor // (B, R, N) keeps the heads' mean of max(0, probs ∘ ∂L/∂probs); zero: not kept
}

// Rope are rotary positions: (x₁, x₂) → (x₁cos - x₂sin, x₂cos + x₁sin) for each pair of a head.
type Rope struct {
	Cos, Sin    Tensor // (N-Prefix, D), a patch a row
	Prefix      int    // the first tokens, which are left as they are
	Interleaved bool   // pairs are (2i, 2i+1), as EVA-02 has them; else (i, i+D/2), as DINOv3
}

// Span is a half-open range of tokens.
type Span struct{ Lo, Hi int }

// Precision is the arithmetic of the layers that are not Exact.
type Precision uint8

// Precisions a backend may be opened with. One it cannot run is refused.
const (
	F32 Precision = iota
	BF16
	Int8
)

var precisions = [...]string{"f32", "bf16", "int8"}

// String returns "f32", "bf16" or "int8".
func (p Precision) String() string {
	if int(p) < len(precisions) {
		return precisions[p]
	}
	return fmt.Sprintf("Precision(%d)", p)
}

// ParsePrecision is the inverse of String.
func ParsePrecision(s string) (Precision, error) {
	for i, name := range precisions {
		if s == name {
			return Precision(i), nil
		}
	}
	return 0, fmt.Errorf("backend: precision %q, want one of %s", s, strings.Join(precisions[:], ", "))
}

// Options open a backend.
type Options struct {
	Precision Precision
	Threads   int // worker threads on a CPU; 0: as many as it may use
}

// ErrUnsupported is in the chain of the error of Open when the machine lacks
// what the options ask for; the message names the missing feature.
var ErrUnsupported = errors.New("not supported by this machine")

var registry struct {
	sync.Mutex
	open map[string]func(Options) (Backend, error)
}

// Register makes a backend available under a name. Backends call it in init.
func Register(name string, open func(Options) (Backend, error)) {
	registry.Lock()
	defer registry.Unlock()
	if registry.open == nil {
		registry.open = map[string]func(Options) (Backend, error){}
	}
	if registry.open[name] != nil {
		panic("backend: " + name + " registered twice")
	}
	registry.open[name] = open
}

// Names returns the registered names in order.
func Names() []string {
	registry.Lock()
	defer registry.Unlock()
	var names []string
	for name := range registry.open {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Open opens a backend by its registered name.
func Open(name string, o Options) (Backend, error) {
	registry.Lock()
	open := registry.open[name]
	registry.Unlock()
	if open == nil {
		return nil, fmt.Errorf("backend: no backend %q in this binary, want one of %s", name, strings.Join(Names(), ", "))
	}
	b, err := open(o)
	if err != nil {
		return nil, fmt.Errorf("backend: open %s: %w", name, err)
	}
	return b, nil
}
