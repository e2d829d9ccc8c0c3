package focus

import (
	"context"
	"errors"

	"gorgonia.org/tensor"
)

// Shape is what the maps know of a model before it has seen a picture.
type Shape struct {
	Grid       [2]int // rows, columns of patches
	Patch      [2]int // height, width of a patch; pixels behind the last whole patch are not looked at
	Prefix     int    // P, tokens in front of the patches
	Pooled     bool   // no prefix token is a class token: the model pools its patches
	Depth      int    // L
	Heads      int    // H
	ProbeHeads int    // heads of the probe whose attention pools the tokens; 0: there is none
}

// tokens returns N.
func (s Shape) tokens() int { return s.Prefix + s.Grid[0]*s.Grid[1] }

// hasClass reports whether token 0 is a class token.
func (s Shape) hasClass() bool { return s.Prefix > 0 && !s.Pooled }

// looksByProbe reports whether a map begins with the probe: it is what looks
// at the image, unless a layer or a patch of it is asked for.
func (s Shape) looksByProbe(o Options) bool {
	return s.ProbeHeads > 0 && o.Layer == 0 && len(o.Query) != 2
}

// Model is a model as the maps see it: in this process or behind a network.
type Model interface {
	// Probabilities returns the classes' probabilities (B, K) of images
	// (B, 3, H, W) in [0, 1].
	Probabilities(ctx context.Context, pixels *tensor.Dense) (*tensor.Dense, error)

	// Kept returns the classes' probabilities (len(keep), K) of the one image
	// (1, 3, H, W) when the model is given only the patches keep[i] of it,
	// counted row by row, and its prefix tokens. The lists are ascending and
	// of one length; none is empty.
	Kept(ctx context.Context, pixels *tensor.Dense, keep [][]int) (*tensor.Dense, error)

	// Tokens returns the tokens (B, N, C) of pixels (B, 3, H, W) as the last
	// block leaves them, before the final norm.
	Tokens(ctx context.Context, pixels *tensor.Dense) (*tensor.Dense, error)

	// Trace classifies pixels (B, 3, H, W) and keeps what gradients need,
	// until the next Trace: with every probability of every block if attn,
	// and what the attention of the blocks normed is given. A model that
	// gives no gradients answers with ErrGradients.
	Trace(ctx context.Context, pixels *tensor.Dense, attn bool, normed []int) (Trace, error)
}

// ErrGradients is the error of a model that gives no gradients. The method
// auto then leaves out what would need them.
var ErrGradients = errors.New("the model gives no gradients")

// Trace is a forward pass that can be derived. Blocks count from 0.
//
// Gradients are those of y = Σ d ∘ logits, d (B, K). Each may be asked for
// again and again.
type Trace interface {
	Logits() *tensor.Dense          // (B, K); nil without a head
	Attn() []*tensor.Dense          // by block, (B, H, N, N)
	Normed(block int) *tensor.Dense // (B, N, C)
	Probe() *tensor.Dense           // (B, H, 1, N) attention of the probe; nil without one

	PixelGrad(ctx context.Context, d *tensor.Dense) (*tensor.Dense, error)             // (B, 3, H, W)
	NormedGrad(ctx context.Context, d *tensor.Dense, block int) (*tensor.Dense, error) // (B, N, C)

	// ProbsGrad returns ∂y/∂A by block, (B, H, N, N) each, where the logits of
	// y are those that the final norm, the pooling and the head make of the
	// tokens after the block last.
	ProbsGrad(ctx context.Context, d *tensor.Dense, last int, blocks []int) (map[int]*tensor.Dense, error)

	// ProbeGrad returns ∂y/∂A of the probe (B, H, 1, N), of the logits of y as
	// ProbsGrad has them.
	ProbeGrad(ctx context.Context, d *tensor.Dense, last int) (*tensor.Dense, error)

	// Relevance returns by block, (B, N, N) each, the heads' mean of
	// max(0, A ∘ ∂y/∂A).
	Relevance(ctx context.Context, d *tensor.Dense, blocks []int) (map[int]*tensor.Dense, error)
}
