package patch

import (
	"fmt"
	"math"

	"gorgonia.org/tensor"
)

// PosRule is how position embeddings are brought to another grid.
type PosRule string

// The rules of the libraries. All have pixel centres at halves
// (align_corners=False), and the first three are bicubic. They differ even
// where the grid grows: the antialiased kernel of PyTorch is Keys' cubic with
// a = -1/2, the other has a = -3/4.
const (
	PosTimm        PosRule = "timm"        // antialiased: resample_abs_pos_embed
	PosHuggingFace PosRule = "huggingface" // not antialiased: interpolate_pos_encoding

	// PosDINOv2 is the latter with a scale for a grid 0.1 longer, as DINOv2 and
	// DINO were trained and are run by their authors: interpolate_pos_encoding
	// in dinov2/models/vision_transformer.py of
	// https://github.com/facebookresearch/dinov2.
	PosDINOv2 PosRule = "dinov2"

	// PosBilinear is antialiased, as TIPSv2 has it: interpolate_pos_encoding in
	// models/tipsv2/modeling_tipsv2.py of transformers.
	PosBilinear PosRule = "bilinear"

	// PosRADIO is bilinear and not antialiased, of a square as long as the
	// grid's longer side, of which the upper left is taken:
	// RadioPatchEmbeddings in models/radio/modeling_radio.py of transformers.
	PosRADIO PosRule = "radio"

	// PosRADIOCorners is the same with the corners of the grids in one place
	// (align_corners=True), and PosTimmSquare PosTimm of such a square, as
	// timm's NaFlexVit has them: timm/models/naflexvit.py.
	PosRADIOCorners PosRule = "radio-corners"
	PosTimmSquare   PosRule = "timm-square"
)

// ResamplePos brings the position embeddings (N, C) of a grid of from = rows,
// columns of patches to a grid of to. The same grid returns pos itself.
//
// Keys, "Cubic convolution interpolation for digital image processing",
// https://doi.org/10.1109/TASSP.1981.1163711, equation 15.
func ResamplePos(pos *tensor.Dense, from, to [2]int, rule PosRule) *tensor.Dense {
	s := pos.Shape()
	if len(s) != 2 || s[0] != from[0]*from[1] || min(to[0], to[1]) < 1 {
		panic(fmt.Sprintf("patch: positions %v of a grid of %v to one of %v", s, from, to))
	}
	if from == to {
		return pos
	}
	dim := s[1]
	var rows, cols []posTaps
	switch rule {
	case PosTimm:
		rows, cols = antialiasedTaps(from[0], to[0], posCubic), antialiasedTaps(from[1], to[1], posCubic)
	case PosBilinear:
		rows, cols = antialiasedTaps(from[0], to[0], posTriangle), antialiasedTaps(from[1], to[1], posTriangle)
	case PosRADIO:
		side := max(to[0], to[1])
		rows, cols = linearTaps(from[0], side)[:to[0]], linearTaps(from[1], side)[:to[1]]
	case PosRADIOCorners:
		side := max(to[0], to[1])
		rows, cols = cornerTaps(from[0], side)[:to[0]], cornerTaps(from[1], side)[:to[1]]
	case PosTimmSquare:
		side := max(to[0], to[1])
		rows, cols = antialiasedTaps(from[0], side, posCubic)[:to[0]], antialiasedTaps(from[1], side, posCubic)[:to[1]]
	case PosHuggingFace:
		rows, cols = cubicTaps(from[0], to[0], 0), cubicTaps(from[1], to[1], 0)
	case PosDINOv2:
		rows, cols = cubicTaps(from[0], to[0], 0.1), cubicTaps(from[1], to[1], 0.1)
	default:
		panic(fmt.Sprintf("patch: position rule %q", rule))
	}
	src := pos.Float32s()
	across := make([]float64, from[0]*to[1]*dim) // columns done
	for y := range from[0] {
		for x, t := range cols {
			out := across[(y*to[1]+x)*dim:][:dim]
			for k, w := range t.weights {
				in := src[(y*from[1]+t.index(k, from[1]))*dim:][:dim]
				for c, v := range in {
					out[c] += w * float64(v)
				}
			}
		}
	}
	dst, sum := make([]float32, to[0]*to[1]*dim), make([]float64, dim)
	for y, t := range rows {
		for x := range to[1] {
			clear(sum)
			for k, w := range t.weights {
				in := across[(t.index(k, from[0])*to[1]+x)*dim:][:dim]
				for c, v := range in {
					sum[c] += w * v
				}
			}
			for c, v := range sum {
				dst[(y*to[1]+x)*dim+c] = float32(v)
			}
		}
	}
	return tensor.New(tensor.WithShape(to[0]*to[1], dim), tensor.WithBacking(dst))
}

// posTaps are the source positions of one target position.
type posTaps struct {
	first   int // index of the first weight; may lie outside
	weights []float64
}

// index returns the source position of weight k among n, the border repeated.
func (t posTaps) index(k, n int) int { return min(max(t.first+k, 0), n-1) }

// keys is Keys' cubic kernel.
func keys(x, a float64) float64 {
	x = math.Abs(x)
	switch {
	case x < 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return ((a*x-5*a)*x+8*a)*x - 4*a
	}
	return 0
}

// cubicTaps are four neighbours, whatever the scale, which is that of a target
// longer by more.
func cubicTaps(from, to int, more float64) []posTaps {
	out := make([]posTaps, to)
	for i := range out {
		at := (float64(i)+0.5)*float64(from)/(float64(to)+more) - 0.5
		floor := math.Floor(at)
		t := posTaps{first: int(floor) - 1, weights: make([]float64, 4)}
		for k := range t.weights {
			t.weights[k] = keys(at-floor+1-float64(k), -0.75)
		}
		out[i] = t
	}
	return out
}

// linearTaps are two neighbours, whatever the scale.
func linearTaps(from, to int) []posTaps {
	out := make([]posTaps, to)
	for i := range out {
		at := max((float64(i)+0.5)*float64(from)/float64(to)-0.5, 0)
		floor := math.Floor(at)
		out[i] = posTaps{first: int(floor), weights: []float64{1 - (at - floor), at - floor}}
	}
	return out
}

// cornerTaps are linearTaps of grids whose first and last samples lie in one
// place.
func cornerTaps(from, to int) []posTaps {
	out := make([]posTaps, to)
	for i := range out {
		at := 0.0
		if to > 1 {
			at = float64(i) * float64(from-1) / float64(to-1)
		}
		floor := math.Floor(at)
		out[i] = posTaps{first: int(floor), weights: []float64{1 - (at - floor), at - floor}}
	}
	return out
}

// posKernel is what antialiasing widens: zero from reach on.
type posKernel struct {
	reach float64
	at    func(x float64) float64
}

var (
	posCubic    = posKernel{2, func(x float64) float64 { return keys(x, -0.5) }}
	posTriangle = posKernel{1, func(x float64) float64 { return max(1-math.Abs(x), 0) }}
)

// antialiasedTaps widen the kernel where the grid shrinks; weights beyond the
// border are left out and the rest sum to one.
func antialiasedTaps(from, to int, k posKernel) []posTaps {
	scale := float64(from) / float64(to)
	widen := max(scale, 1)
	out := make([]posTaps, to)
	for i := range out {
		centre := scale * (float64(i) + 0.5)
		lo := max(int(centre-k.reach*widen+0.5), 0)
		hi := min(int(centre+k.reach*widen+0.5), from)
		t := posTaps{first: lo, weights: make([]float64, hi-lo)}
		var sum float64
		for j := range t.weights {
			t.weights[j] = k.at((float64(lo+j) - centre + 0.5) / widen)
			sum += t.weights[j]
		}
		for j := range t.weights {
			t.weights[j] /= sum
		}
		out[i] = t
	}
	return out
}
