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
	"time"

	"gorgonia.org/tensor"
)

// A Backend owns a device, its memory and its kernels. It is safe for use by
// several goroutines; each Stream belongs to one goroutine at a time.
type Backend interface {
	// Name says what computes, and in which precision, for people:
	// "cpu/avx512 int8, attention bf16", "ref".
	Name() string

	// Info says what was opened.
	Info() Info

	// Peak is the physical limit beside which a model's speed is read: the
	// float32 GFLOP/s, a multiplication and an addition each, that the opened
	// threads of the device reach when they do nothing else, measured for
	// about d. Devices are shared and clocks move, so it is measured between
	// the runs that it is compared with.
	Peak(d time.Duration) float64

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

	// Temp returns a tensor of one Sync: its contents are undefined when a
	// Sync begins. LayerNorm, Linear and Attention and their gradients write
	// it and read it, as often as they like, as the tokens that they take and
	// give; it is no residual, no Epilogue.Pre, no bias, nothing captured, and
	// no other operation takes it. In a precision below F32 a backend may keep
	// what is no gradient in bf16, and it need not materialise at all what one
	// Linear writes and the next alone reads: this is the MLP's hidden layer.
	// One Temp is enough for all layers and all Syncs.
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

	// LayerNorm is the norm of each row, or of each head of a row; see Norm.
	// x and y are (B, N, C), y may be x.
	LayerNorm(y, x Tensor, n Norm)

	// Linear is y = act(x Wᵀ + b) + residual. x is (B, N, In), y is
	// (B, N, Out), or (B, N, Out/2) with SwiGLU.
	Linear(y, x Tensor, w Linear, e Epilogue)

	// Attention is o = softmax(q kᵀ·Scale + Bias) v for each head. q and o
	// are (B, R, C), k and v (B, N, C), C = H·D; q, k and v may be column
	// views of one packed tensor and q may have fewer rows than k and v. A
	// probe that pools an image is a q of batch stride 0, which all images
	// share; Probs are then its map.
	Attention(o, q, k, v Tensor, a Attention)

	// Pool writes the means of spans of tokens side by side: x is (B, N, C),
	// y is (B, 1, len(spans)·C).
	Pool(y, x Tensor, spans ...Span)

	// Gather keeps the named tokens of every image: x is (B, N, C), y is
	// (B, R, C), and y[b, i] = x[b, rows[i]]; or, with a list for each image,
	// one behind the other, y[b, i] = x[b, rows[b·R + i]], as kept tokens and
	// the last token of a text need it. Rows are values, as pixels are: queues
	// that differ in nothing else are one program to a backend.
	Gather(y, x Tensor, rows []int)

	// RelativeBias writes the Attention.Bias of one layer from its table, for
	// the first R of N tokens: y is (H, R, N), and y[h, i, j] is the bias
	// between tokens i and j. Tokens, if they are not nil, name the N that
	// there are, as Gather does, prefix included. With a list for each image,
	// one behind the other, y is (B, H, R, N).
	RelativeBias(y Tensor, p *Relative, tokens []int)

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
	// input x. The gradient of the norm's own residual is dy. The residual may be dx itself, or zero for none; dx may also
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

	// GatherGrad writes dx (B, N, C) from dy (B, R, C): a token gets the sum
	// of what it became, or zero.
	GatherGrad(dx, dy Tensor, rows []int)
}
