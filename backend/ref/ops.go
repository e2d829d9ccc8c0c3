package ref

import (
	"fmt"
	"math"

	"github.com/vitserve/vitserve/backend"
)

func (s *stream) PatchEmbed(x, pixels backend.Tensor, p *backend.PatchEmbed) {
	backend.CheckPatchEmbed(x, pixels, p)
	proj := own(p.Proj)
	e := *p
	s.do(func() {
		height, width := pixels.Shape[2], pixels.Shape[3]
		ph, pw := e.Patch[0], e.Patch[1]
		prefix := 0
		if !e.Prefix.IsZero() {
			prefix = e.Prefix.Shape[0]
		}
		patch := make([]float32, 3*ph*pw)
		for b := range x.Shape[0] {
			for i := range prefix {
				copy(row(x, b, i), row(e.Prefix, 0, i))
			}
			n := 0
			for top := 0; top+ph <= height; top += ph {
				for left := 0; left+pw <= width; left += pw {
					for c := range 3 {
						for i := range ph {
							line := row(pixels, b, c*height+top+i)
							copy(patch[(c*ph+i)*pw:], line[left:left+pw])
						}
					}
					for j, v := range proj.apply(patch) {
						if !e.Pos.IsZero() {
							v += float64(row(e.Pos, 0, n)[j])
						}
						row(x, b, prefix+n)[j] = float32(v)
					}
					n++
				}
			}
		}
	})
}

func (s *stream) LayerNorm(y, x backend.Tensor, n backend.Norm) {
	backend.CheckLayerNorm(y, x, n)
	s.do(func() {
		weight := row(n.Weight, 0, 0)
		each(x, func(b, r int) {
			in, out := row(x, b, r), row(y, b, r)
			for lo := 0; lo < len(in); lo += len(weight) {
				hat, _ := standard(in[lo:lo+len(weight)], n)
				for j, v := range hat {
					v *= float64(weight[j])
					if !n.RMS {
						v += float64(row(n.Bias, 0, 0)[j])
					}
					if !n.Residual.IsZero() {
						v += float64(row(n.Residual, b, r)[lo+j])
					}
					out[lo+j] = float32(v)
				}
			}
		})
	})
}

// standard returns x without its mean and divided by its deviation, or divided
// by its root mean square, and what it was divided by.
func standard(x []float32, n backend.Norm) (hat []float64, by float64) {
	var mean, variance float64
	if !n.RMS {
		for _, v := range x {
			mean += float64(v) / float64(len(x))
		}
	}
	hat = make([]float64, len(x))
	for j, v := range x {
		hat[j] = float64(v) - mean
		variance += hat[j] * hat[j] / float64(len(x))
	}
	by = math.Sqrt(variance + float64(n.Eps))
	for j := range hat {
		hat[j] /= by
	}
	return hat, by
}

func (s *stream) Linear(y, x backend.Tensor, w backend.Linear, e backend.Epilogue) {
	l := own(w)
	backend.CheckLinear(y, x, w, l.gated, e)
	s.do(func() {
		each(x, func(b, r int) {
			pre := l.apply(row(x, b, r))
			if !e.Pre.IsZero() {
				for j, v := range pre {
					row(e.Pre, b, r)[j] = float32(v)
				}
			}
			out := row(y, b, r)
			for j, v := range activate(e.Act, pre) {
				if !e.Residual.IsZero() {
					v += float64(row(e.Residual, b, r)[j])
				}
				out[j] = float32(v)
			}
		})
	})
}

func (s *stream) Attention(o, q, k, v backend.Tensor, a backend.Attention) {
	backend.CheckAttention(o, q, k, v, a)
	kept := a.Rows
	if kept == nil {
		kept = make([]int, q.Shape[1])
		for r := range kept {
			kept[r] = r
		}
	}
	s.do(func() {
		n, d := k.Shape[1], q.Shape[2]/a.Heads
		for b := range q.Shape[0] {
			for h := range a.Heads {
				lo, hi := h*d, (h+1)*d
				keys := make([][]float64, n)
				for i := range keys {
					keys[i] = rotate(row(k, b, i)[lo:hi], a.Rope, b, i, h)
				}
				probs := make([][]float64, q.Shape[1])
				for r := range probs {
					probs[r] = softmax(logits(a, b, h, r, rotate(row(q, b, r)[lo:hi], a.Rope, b, r, h), keys))
					out := make([]float64, d)
					for i, p := range probs[r] {
						for j, v := range row(v, b, i)[lo:hi] {
							out[j] += p * float64(v)
						}
					}
					round(row(o, b, r)[lo:hi], out)
				}
				if !a.Probs.IsZero() {
					for i, r := range kept {
						round(row(a.Probs, b, h*len(kept)+i), probs[r])
					}
				}
			}
		}
		if a.Spend {
			spoil(k)
			spoil(v)
		}
	})
}

// spoil fills a tensor with NaN, so that nobody takes what is undefined for
// right.
func spoil(t backend.Tensor) {
	images, rows := extent(t)
	for b := range images {
		for r := range rows {
			for j := range row(t, b, r) {
				row(t, b, r)[j] = float32(math.NaN())
			}
		}
	}
}

func (s *stream) Pool(y, x backend.Tensor, spans ...backend.Span) {
	backend.CheckPool(y, x, spans...)
	spans = append([]backend.Span(nil), spans...)
	s.do(func() {
		c := x.Shape[2]
		for b := range x.Shape[0] {
			for i, span := range spans {
				mean := make([]float64, c)
				for r := span.Lo; r < span.Hi; r++ {
					for j, v := range row(x, b, r) {
						mean[j] += float64(v) / float64(span.Hi-span.Lo)
					}
				}
				round(row(y, b, 0)[i*c:(i+1)*c], mean)
			}
		}
	})
}

// own panics when a weight is another backend's.
func own(w backend.Linear) *linear {
	l, ok := w.(*linear)
	if !ok {
		panic(fmt.Sprintf("ref: weight (%d, %d) is of another backend: %T", w.Out(), w.In(), w))
	}
	return l
}

// apply returns W x + b.
func (l *linear) apply(x []float32) []float64 {
	y := make([]float64, l.out)
	for i := range y {
		sum := 0.0
		for j, w := range l.weight[i*l.in : (i+1)*l.in] {
			sum += float64(w) * float64(x[j])
		}
		if l.bias != nil {
			sum += float64(l.bias[i])
		}
		y[i] = sum
	}
	return y
}

// activate returns act(x), half as many values for SwiGLU.
func activate(act backend.Activation, x []float64) []float64 {
	if act == backend.SwiGLU {
		gate, value := x[:len(x)/2], x[len(x)/2:]
		y := make([]float64, len(gate))
		for i, g := range gate {
			y[i] = g * sigmoid(g) * value[i]
		}
		return y
	}
	f := activations[act]
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = f(v)
	}
	return y
}

// activations of one value. The formulas are those of
//   - Hendrycks and Gimpel, "Gaussian Error Linear Units", https://arxiv.org/abs/1606.08415, section 2;
//   - QuickGELU: the same section's x·σ(1.702x), as CLIP uses it.
var activations = [...]func(x float64) float64{
	backend.Identity:  func(x float64) float64 { return x },
	backend.GELU:      func(x float64) float64 { return 0.5 * x * (1 + math.Erf(x/math.Sqrt2)) },
	backend.GELUTanh:  func(x float64) float64 { return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))) },
	backend.QuickGELU: func(x float64) float64 { return x * sigmoid(1.702*x) },
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// logits returns q kᵀ·Scale + Bias of query r of head h of image b, -Inf for
// keys that a causal mask hides.
func logits(a backend.Attention, b, h, r int, query []float64, keys [][]float64) []float64 {
	x := make([]float64, len(keys))
	for i, key := range keys {
		x[i] = dot(query, key) * float64(a.Scale)
		if len(a.Bias.Shape) == 4 {
			x[i] += float64(row(a.Bias, b, h*a.Bias.Shape[2]+r)[i])
		} else if !a.Bias.IsZero() {
			x[i] += float64(row(a.Bias, h, r)[i])
		}
		if a.Causal && i > r {
			x[i] = math.Inf(-1)
		}
	}
	return x
}

// rotate returns x, head h of token i of image b, at its rotary position.
func rotate(x []float32, p *backend.Rope, b, i, h int) []float64 {
	y := make([]float64, len(x))
	for j, v := range x {
		y[j] = float64(v)
	}
	if p == nil || i < p.Prefix {
		return y
	}
	cos, sin := angles(p.Cos, b, i-p.Prefix, h, len(x)), angles(p.Sin, b, i-p.Prefix, h, len(x))
	half := len(x) / 2
	for pair := range half {
		j1, j2 := pair, pair+half
		if p.Interleaved {
			j1, j2 = 2*pair, 2*pair+1
		}
		x1, x2 := float64(x[j1]), float64(x[j2])
		y[j1] = x1*float64(cos[j1]) - x2*float64(sin[j1])
		y[j2] = x2*float64(cos[j2]) + x1*float64(sin[j2])
	}
	return y
}

// angles returns row i of cosines or sines of all images, or of image b, for
// all heads of d columns, or for head h.
func angles(t backend.Tensor, b, i, h, d int) []float32 {
	if len(t.Shape) == 2 {
		b = 0
	}
	x := row(t, b, i)
	if len(x) > d {
		x = x[h*d:][:d]
	}
	return x
}

// softmax returns exp(x) / Σ exp(x), of logits shifted by their maximum.
func softmax(x []float64) []float64 {
	top := math.Inf(-1)
	for _, v := range x {
		top = math.Max(top, v)
	}
	y := make([]float64, len(x))
	sum := 0.0
	for i, v := range x {
		y[i] = math.Exp(v - top)
		sum += y[i]
	}
	for i := range y {
		y[i] /= sum
	}
	return y
}

func dot(x, y []float64) float64 {
	sum := 0.0
	for i, v := range x {
		sum += v * y[i]
	}
	return sum
}

func round(dst []float32, src []float64) {
	for i, v := range src {
		dst[i] = float32(v)
	}
}

// each calls f for every row of every image of x.
func each(x backend.Tensor, f func(b, r int)) {
	images, rows := extent(x)
	for b := range images {
		for r := range rows {
			f(b, r)
		}
	}
}
