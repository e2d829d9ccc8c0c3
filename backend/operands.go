package backend

import "fmt"

// PatchEmbed are the constants of the operation of the same name.
type PatchEmbed struct {
	Patch  [2]int // height and width of a patch, pixels
	Proj   Linear // (C, 3·height·width), inputs ordered channel, row, column; Exact
	Prefix Tensor // (P, C) prefix tokens with their positions added; zero: none
	Pos    Tensor // (N, C) positions of the patches; zero: none
}

// Norm is a norm over the last dimension, or over each head of it:
//
//	(x - mean(x)) / sqrt(variance(x) + Eps) * Weight + Bias // the variance biased
//	x / sqrt(mean(x²) + Eps) * Weight                       // with RMS
//
// A norm behind a branch is added to the residual stream, as Swin V2 has it.
//
// Ba et al., "Layer Normalization", https://arxiv.org/abs/1607.06450, and
// Zhang and Sennrich, "Root Mean Square Layer Normalization",
// https://arxiv.org/abs/1910.07467, equation 4.
type Norm struct {
	Weight Tensor  // (C/Heads)
	Bias   Tensor  // (C/Heads); zero with RMS
	Eps    float32 // never defaulted: 1e-6 in timm, 1e-12 in transformers
	RMS    bool
	Heads  int // a row is so many heads side by side, each normed by itself, as queries and keys are; 0: 1

	Residual Tensor // (B, N, C) is added by LayerNorm; may be y; zero: none
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

// Attention are the parameters of the operation of the same name. R is the
// number of rows of q, N that of k and v. Where places count, for Rope and
// Causal, the queries are those of the first R of the N tokens.
//
// A bias of -Inf hides a key from a query: its probability is 0. No query may
// have all keys hidden. What hides keys from all queries, as padding does,
// needs one row for all heads and queries: a row stride of 0.
type Attention struct {
	Heads  int
	Scale  float32
	Rope   *Rope  // rotary positions of q and k; nil: none
	Bias   Tensor // (H, R, N) or, an image its own, (B, H, R, N), added before the softmax; zero: none
	Causal bool   // query r sees keys 0 to r alone: the probabilities of the others are 0
	Rows   []int  // which rows of q are captured in Probs; nil: all
	Probs  Tensor // (B, H, len(Rows), N) keeps those rows of the softmax; zero: nothing is materialised
	Spend  bool   // k and v are not needed any more: their contents are undefined afterwards, and the backend need not have written them

	// For Gradients.AttentionGrad only.
	ProbsGrad Tensor // (B, H, R, N) keeps ∂L/∂probabilities; zero: not kept
	Relevance Tensor // (B, R, N) keeps the heads' mean of max(0, probs ∘ ∂L/∂probs); zero: not kept
}

// Rope are rotary positions: (x₁, x₂) → (x₁cos - x₂sin, x₂cos + x₁sin) for
// each pair of a head. Images that keep different tokens have Cos and Sin of
// their own, with the rows of the tokens that they keep (see Stream.Gather);
// heads have where frequencies are learned.
//
// Su et al., "RoFormer", https://arxiv.org/abs/2104.09864, equation 34.
type Rope struct {
	Cos, Sin    Tensor // (N-Prefix, D) or, an image its own, (B, N-Prefix, D): a patch a row; a head its own: C in place of D
	Prefix      int    // the first tokens, which are left as they are
	Interleaved bool   // pairs are (2i, 2i+1), as EVA-02 has them; else (i, i+D/2), as DINOv3
}

// Relative are learned biases by the relative position of two tokens, a small
// table of each layer. Between patches (yᵢ, xᵢ) and (yⱼ, xⱼ) of a grid of
// (h, w) it is row
//
//	(yᵢ - yⱼ + h-1)·(2w-1) + xᵢ - xⱼ + w-1
//
// of the table. With a prefix there are three rows more at its end: from a
// prefix token to a patch, from a patch to a prefix token, and between prefix
// tokens.
//
// Bao et al., "BEiT", https://arxiv.org/abs/2106.08254; the index is
// gen_relative_position_index of timm/layers/pos_embed_rel.py.
type Relative struct {
	Table  Tensor // ((2h-1)(2w-1), H), or three rows more
	Grid   [2]int // h, w: rows and columns of patches
	Prefix int    // tokens in front
}

// Tokens returns how many tokens there are, prefix included.
func (p *Relative) Tokens() int { return p.Prefix + p.Grid[0]*p.Grid[1] }

// Row returns the row of the table of tokens i and j.
func (p *Relative) Row(i, j int) int {
	h, w := p.Grid[0], p.Grid[1]
	all := (2*h - 1) * (2*w - 1)
	i, j = i-p.Prefix, j-p.Prefix
	switch {
	case i < 0 && j < 0:
		return all + 2
	case j < 0:
		return all + 1
	case i < 0:
		return all
	}
	return (i/w-j/w+h-1)*(2*w-1) + i%w - j%w + w - 1
}

// Span is a half-open range of tokens.
type Span struct{ Lo, Hi int }
