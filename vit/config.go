package vit

import (
	"fmt"
	"strings"

	"github.com/vitserve/vitserve/backend"
)

// Config is what is left of a Vision Transformer once the history of its
// checkpoint is folded away (see package models).
type Config struct {
	Image  [2]int // height, width of the input, pixels
	Patch  [2]int // height, width of a patch
	Prefix int    // P: class, distillation and register tokens, in front
	Dim    int    // C
	Depth  int    // L
	Heads  int    // H
	Hidden int    // M, the MLP's inner width; with SwiGLU one half
	Act    backend.Activation
	Eps    float32 // of every norm; never defaulted

	// Rope are rotary positions of the patches: how far their queries and keys
	// are turned tells where they are. Prefix tokens are not turned.
	//
	// Su et al., "RoFormer", https://arxiv.org/abs/2104.09864, section 3.2.
	Rope Rope
	// RopeLearned says that each head of each block has angles of its own.
	//
	// Heo et al., "Rotary Position Embedding for Vision Transformer",
	// https://arxiv.org/abs/2403.13298, section 3.2 (RoPE-Mixed).
	RopeLearned bool
	// Relative are relative positions: each block adds a bias of its own to
	// the scores of two tokens, by how far apart they are.
	//
	// Bao et al., "BEiT", https://arxiv.org/abs/2106.08254; see backend.Relative.
	Relative bool
	// InnerNorm is a norm of the heads, side by side, before their projection,
	// and HiddenNorm one of the MLP's hidden layer before its second half.
	//
	// Wang et al., "Foundation Transformers", https://arxiv.org/abs/2210.06423,
	// section 2.2 (Sub-LN), as BEiT-3 and EVA-02 have it.
	InnerNorm, HiddenNorm bool
	// QKNorm says that each head of queries and keys is normed.
	//
	// Dehghani et al., "Scaling Vision Transformers to 22 Billion Parameters",
	// https://arxiv.org/abs/2302.05442, section 2.1.
	QKNorm bool
	Form   Form // of the blocks
	RMS    bool // norms are root mean squares, without a bias: https://arxiv.org/abs/1910.07467

	EmbedNorm bool           // a norm of the projected patches, before their positions (AIMv2's); needs Prefix 0
	PreNorm   bool           // a norm between the embedding and the first block (CLIP's)
	FinalNorm FinalNorm      // where the last norm stands
	Pool      []backend.Span // token spans whose means, side by side, are the features; the class token is {0, 1}
	Reduce    Reduce         // how the tokens of the one span of Pool become one; the zero value is the mean
	Probe     Probe          // attention in place of the mean, over the one span of Pool; the zero value is none
	// Refine says that all tokens attend to each other once more, before they
	// are pooled, with themselves for queries, keys and values.
	//
	// timm's prr, of "Locality-Attending Vision Transformer" (ICLR 2026):
	// AttentionPoolPrr of timm/layers/attention_pool.py.
	Refine  bool
	Classes int // K; 0: no head
	// Projection is the width of the embedding that the head projects the
	// features to, in place of classes, as CLIP's image towers do; 0: none.
	//
	// Radford et al., "Learning Transferable Visual Models From Natural Language
	// Supervision", https://arxiv.org/abs/2103.00020, figure 3.
	Projection int
}

// Rope says which two values of a query or a key are turned together.
type Rope uint8

// Kinds of rotary positions.
const (
	RopeNone   Rope = iota
	RopeHalves      // i and i+D/2 of a head, as DINOv3 has them
	RopePairs       // 2i and 2i+1, as EVA-02
)

// String returns "none", "halves" or "pairs".
func (r Rope) String() string {
	names := [...]string{"none", "halves", "pairs"}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("Rope(%d)", r)
}

// FinalNorm is where the last norm stands.
type FinalNorm uint8

// Places of the last norm.
const (
	NormTokens FinalNorm = iota // over every token, before pooling
	NormPooled                  // over the pooled features (timm's fc_norm); needs a single span
	NormNone
	NormTwice // over every token, and by the same norm over the pooled features (BLIP's)
)

// String returns "tokens", "pooled", "none" or "twice".
func (f FinalNorm) String() string {
	names := [...]string{"tokens", "pooled", "none", "twice"}
	if int(f) < len(names) {
		return names[f]
	}
	return fmt.Sprintf("FinalNorm(%d)", f)
}

// tokens reports whether every token is normed, pooled whether what is pooled
// is.
func (f FinalNorm) tokens() bool { return f == NormTokens || f == NormTwice }
func (f FinalNorm) pooled() bool { return f == NormPooled || f == NormTwice }

// Bounds of a configuration. They are several times what the largest
// published encoders have (ViT-22B: dim 6144, MLP dim 24576, 48 blocks,
// https://arxiv.org/abs/2302.05442), and small enough for no product of two
// sizes to overflow or to ask for absurd memory before a weight is looked at.
const (
	maxImage   = 1 << 14
	maxPatch   = 1 << 10
	maxPrefix  = 1 << 12
	maxTokens  = 1 << 16
	maxDim     = 1 << 15
	maxDepth   = 1 << 10
	maxHidden  = 1 << 17
	maxClasses = 1 << 20
	maxSpans   = 1 << 4
)

// Validate says everything that is wrong with c, in one error.
func (c Config) Validate() error {
	var wrong []string
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	within := func(name string, n, lo, hi int) bool {
		if n < lo || n > hi {
			bad("%s %d, want %d to %d", name, n, lo, hi)
			return false
		}
		return true
	}

	sized := true
	for i, side := range [...]string{"height", "width"} {
		if !within("image "+side, c.Image[i], 1, maxImage) || !within("patch "+side, c.Patch[i], 1, maxPatch) {
			sized = false
		} else if c.Patch[i] > c.Image[i] {
			bad("patch %s %d, image %s %d", side, c.Patch[i], side, c.Image[i])
			sized = false
		}
	}
	sized = within("prefix tokens", c.Prefix, 0, maxPrefix) && sized
	if sized {
		sized = within("tokens", c.Tokens(), 1, maxTokens)
	}
	if within("dim", c.Dim, 1, maxDim) && within("heads", c.Heads, 1, c.Dim) && c.Dim%c.Heads != 0 {
		bad("heads %d, want a divisor of dim %d", c.Heads, c.Dim)
	}
	within("depth", c.Depth, 1, maxDepth)
	within("MLP dim", c.Hidden, 1, maxHidden)
	within("classes", c.Classes, 0, maxClasses)
	within("projection", c.Projection, 0, maxClasses)
	if c.Classes > 0 && c.Projection > 0 {
		bad("%d classes and a projection of %d, want one of them", c.Classes, c.Projection)
	}
	if c.Act == backend.Identity || c.Act > backend.SwiGLU {
		bad("activation %v, want one of gelu, gelu_tanh, quick_gelu, swiglu", c.Act)
	}
	if !(c.Eps > 0 && c.Eps < 1) {
		bad("norm epsilon %v, want over 0 and below 1", c.Eps)
	}
	c.checkPlaces(bad)
	if c.EmbedNorm && c.Prefix > 0 {
		bad("a norm of the projected patches beside %d prefix tokens, want none", c.Prefix)
	}
	if int(c.Form) >= len(forms) {
		bad("form %v, want one of pre, parallel, post", c.Form)
	}
	if c.FinalNorm > NormTwice {
		bad("final norm %v, want one of tokens, pooled, none, twice", c.FinalNorm)
	}
	if within("pooled spans", len(c.Pool), 1, maxSpans) && sized {
		for _, s := range c.Pool {
			if s.Lo < 0 || s.Hi <= s.Lo || s.Hi > c.Tokens() {
				bad("pooled span %d to %d, want a part of 0 to %d", s.Lo, s.Hi, c.Tokens())
			}
		}
	}
	if c.Reduce > ReduceMeanMax {
		bad("tokens reduced to %v, want one of mean, maximum, mean and maximum", c.Reduce)
	}
	if c.Reduce != ReduceMean && (len(c.Pool) != 1 || c.Refine || c.Probe != (Probe{})) {
		bad("a %v of %d spans, refined %v, probed %v, want one span that is neither", c.Reduce, len(c.Pool), c.Refine, c.Probe != (Probe{}))
	}
	if c.Refine && c.Probe != (Probe{}) {
		bad("tokens that are refined and pooled by a probe, want one of both")
	}
	if p := c.Probe; p != (Probe{}) {
		if within("probe heads", p.Heads, 1, maxDim) && c.Dim%p.Heads != 0 {
			bad("probe heads %d, want a divisor of dim %d", p.Heads, c.Dim)
		}
		within("probe MLP dim", p.Hidden, 0, maxHidden)
		if p.Hidden > 0 && (p.Act == backend.Identity || p.Act >= backend.SwiGLU) {
			bad("probe activation %v, want one of gelu, gelu_tanh, quick_gelu", p.Act)
		}
		if sized && (len(c.Pool) != 1 || c.Pool[0].Hi != c.Tokens()) {
			bad("a probe over %v, want one span up to token %d", c.Pool, c.Tokens())
		}
	}
	if c.FinalNorm.pooled() && len(c.Pool) > 1 {
		bad("final norm %v over %d spans, want 1", c.FinalNorm, len(c.Pool))
	}
	if wrong == nil {
		return nil
	}
	return fmt.Errorf("vit: config: %s", strings.Join(wrong, "; "))
}

// checkPlaces says what is wrong with rotary and relative positions.
func (c Config) checkPlaces(bad func(format string, args ...any)) {
	if c.Rope > RopePairs {
		bad("rotary positions %v, want one of none, halves, pairs", c.Rope)
	}
	if c.RopeLearned && c.Rope == RopeNone {
		bad("learned angles without rotary positions")
	}
	if c.Rope != RopeNone && c.Heads > 0 && c.Dim/c.Heads%2 != 0 {
		bad("rotary positions of heads of %d, want an even number", c.Dim/c.Heads)
	}
}

// Grid returns the rows and columns of patches. Pixels behind the last whole
// patch are not looked at.
func (c Config) Grid() (rows, cols int) { return c.Image[0] / c.Patch[0], c.Image[1] / c.Patch[1] }

// Tokens returns N, prefix tokens included.
func (c Config) Tokens() int { r, k := c.Grid(); return c.Prefix + r*k }

// relativeRows returns how many relative positions there are.
func (c Config) relativeRows() int {
	rows, cols := c.Grid()
	n := (2*rows - 1) * (2*cols - 1)
	if c.Prefix > 0 {
		n += 3
	}
	return n
}

// outputs returns the width of the head: classes, or the projection.
func (c Config) outputs() int { return max(c.Classes, c.Projection) }

// Features returns the width F of the features: of the projection, or of what
// is pooled.
func (c Config) Features() int {
	if c.Projection > 0 {
		return c.Projection
	}
	return c.pooledWidth()
}

// pooledWidth returns the width of what is pooled, len(Pool)·C.
func (c Config) pooledWidth() int { return len(c.Pool) * c.Dim }

// Pooling says in words how the tokens become the features.
func (c Config) Pooling() string {
	if c.Probe.Heads > 0 {
		return "attention of a probe"
	}
	var parts []string
	for _, s := range c.Pool {
		part := c.Reduce.String() + " of patches"
		switch {
		case s.Lo == 0 && s.Hi == 1:
			part = "class token"
		case s.Hi == s.Lo+1 && s.Hi <= c.Prefix:
			part = "distillation token" // DeiT's; no other prefix token is pooled by itself
		case s.Hi <= c.Prefix:
			part = "mean of prefix tokens"
		case s.Lo < c.Prefix:
			part = c.Reduce.String() + " of all tokens"
		}
		parts = append(parts, part)
	}
	if c.Refine {
		parts[0] += ", of tokens that attended to each other once more"
	}
	return strings.Join(parts, ", ")
}

// Gated reports whether fc1 has two halves, gate and value.
func (c Config) Gated() bool { return c.Act == backend.SwiGLU }

// pooledRows returns how many tokens, from the first, the features are made
// of. The last block need not compute the others.
func (c Config) pooledRows() int {
	if c.Refine {
		return c.Tokens()
	}
	return poolEnd(c.Pool)
}

// poolEnd returns the end of the last of spans.
func poolEnd(spans []backend.Span) (end int) {
	for _, s := range spans {
		end = max(end, s.Hi)
	}
	return end
}
