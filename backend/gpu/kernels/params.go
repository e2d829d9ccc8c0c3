// Package kernels are the GPU's kernels: their source, in a dialect of C that
// OpenCL, NVRTC and a C++ compiler understand, what NVRTC made of it, and what
// their arguments are in Go.
package kernels

// A View is where a tensor (B, N, C) lies, in float32 values: its offset, and
// from one image and row to the next.
type View struct{ Off, Batch, Row int64 }

// A HeadView is where a tensor of heads (B, H, N, C) lies.
type HeadView struct{ Off, Batch, Head, Row int64 }

// Gemm are the parameters of linear, linear_grad, patch_embed and
// patch_embed_grad.
type Gemm struct {
	Y, X, Residual, Pre View
	Rows, N             int32 // of all images, of one
	K, Out              int32 // columns of x and y; with a gate Out is of both halves
	Act                 int32 // backend.Activation
	PH, PW              int32 // height and width of a patch
	Cols, Height, _     int32 // patches in a row, rows of a channel
}

// Norm are the parameters of layernorm and layernorm_grad.
type Norm struct {
	Y, X, Residual, DY View
	Weight, Bias       int64 // offsets
	N, C, Heads, Rows  int32 // tokens, columns of a head, heads, rows of all images and heads
	RMS                int32
	Eps                float32
}

// Rows are the parameters of copy_rows, gather_grad, pool and pool_grad.
type Rows struct {
	Y, X   View
	All    int64 // outputs
	List   int64 // where the list is
	N, C   int32 // rows of an image of y and their columns
	Listed int32 // rows of an image that the list names
	Each   int32 // an image has its own list
	Spans  int32
	_      int32
}

// Relative are the parameters of relative_bias.
type Relative struct {
	Y                     HeadView
	Table, Row, All, List int64
	Heads, R, N, H, W     int32
	Prefix, Tokens, _     int32
}

// Heads are the parameters of the kernels of attention.
type Heads struct {
	Q, K, V, O, Bias, Cos, Sin   HeadView
	DQ, DK, DV, Probs, Relevance HeadView
	List, Stats                  int64 // offsets
	Heads, D, Rows, N            int32
	Kept, Causal                 int32
	Prefix, Interleaved          int32
	Scale                        float32
	_                            int32
}

// Turn are the parameters of turn_grad.
type Turn struct {
	Y, Cos, Sin    HeadView
	All            int64
	Heads, D, N    int32
	Prefix         int32
	Interleaved, _ int32
}

// Peak are the parameters of peak.
type Peak struct{ Turns, _ int32 }

// Words are the parameters of words.
type Words struct{ N, _ int32 }

// Names are the kernels, each with the widths that it is made for.
func Names() []string {
	names := []string{
		"linear_64", "linear_128", "patch_embed_64", "linear_grad_64", "patch_embed_grad_64",
		"layernorm", "layernorm_grad", "copy_rows", "gather_grad", "pool", "pool_grad", "relative_bias", "turn_grad", "peak", "words",
	}
	for _, wide := range []string{"_64", "_128"} {
		for _, name := range []string{"attention", "attention_probs", "attention_stats", "attention_grad_q", "attention_grad_kv", "attention_captures"} {
			names = append(names, name+wide)
		}
	}
	return names
}
