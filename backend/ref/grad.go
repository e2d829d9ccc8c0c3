package ref

import (
	"math"

	"github.com/vitserve/vitserve/backend"
)

func (s *stream) PatchEmbedGrad(dpixels, dx backend.Tensor, p *backend.PatchEmbed) {
	backend.CheckPatchEmbedGrad(dpixels, dx, p)
	proj := own(p.Proj)
	e := *p
	s.do(func() {
		ph, pw := e.Patch[0], e.Patch[1]
		height, cols := dpixels.Shape[2], dpixels.Shape[3]/pw
		each(dpixels, func(b, r int) { clear(row(dpixels, b, r)) })
		prefix := 0
		if !e.Prefix.IsZero() {
			prefix = e.Prefix.Shape[0]
		}
		for b := range dx.Shape[0] {
			for n := range dx.Shape[1] - prefix {
				patch := proj.back(wide(row(dx, b, prefix+n)))
				for c := range 3 {
					for i := range ph {
						line := row(dpixels, b, c*height+n/cols*ph+i)
						round(line[n%cols*pw:][:pw], patch[(c*ph+i)*pw:][:pw])
					}
				}
			}
		}
	})
}

func (s *stream) LayerNormGrad(dx, dy, x backend.Tensor, n backend.Norm, residual backend.Tensor) {
	backend.CheckLayerNormGrad(dx, dy, x, n, residual)
	s.do(func() {
		weight := row(n.Weight, 0, 0)
		each(x, func(b, r int) {
			out := make([]float64, x.Shape[2])
			for lo := 0; lo < len(out); lo += len(weight) {
				hat, by := standard(row(x, b, r)[lo:lo+len(weight)], n)
				// With g = dy ∘ weight: dx = (g - mean(g) - x̂·mean(g ∘ x̂)) / by,
				// without mean(g) where x̂ does not depend on a mean.
				c := float64(len(hat))
				var g, gx float64
				for j, v := range hat {
					w := float64(row(dy, b, r)[lo+j]) * float64(weight[j])
					g += w / c
					gx += w * v / c
				}
				if n.RMS {
					g = 0
				}
				for j, v := range hat {
					out[lo+j] = (float64(row(dy, b, r)[lo+j])*float64(weight[j]) - g - v*gx) / by
				}
			}
			if !residual.IsZero() {
				for j, v := range row(residual, b, r) {
					out[j] += float64(v)
				}
			}
			round(row(dx, b, r), out)
		})
	})
}

func (s *stream) LinearGrad(dx, dy backend.Tensor, w backend.Linear, e backend.Epilogue) {
	l := own(w)
	backend.CheckLinearGrad(dx, dy, w, l.gated, e)
	s.do(func() {
		each(dy, func(b, r int) {
			d := wide(row(dy, b, r))
			if e.Act != backend.Identity {
				d = activateGrad(e.Act, d, row(e.Pre, b, r))
			}
			out := l.back(d)
			if !e.Residual.IsZero() {
				for j, v := range row(e.Residual, b, r) {
					out[j] += float64(v)
				}
			}
			round(row(dx, b, r), out)
		})
	})
}

func (s *stream) AttentionGrad(dq, dk, dv, do, q, k, v backend.Tensor, a backend.Attention) {
	backend.CheckAttentionGrad(dq, dk, dv, do, q, k, v, a)
	s.do(func() {
		queries, tokens, d := q.Shape[1], k.Shape[1], q.Shape[2]/a.Heads
		for b := range q.Shape[0] {
			relevance := matrix(queries, tokens)
			for h := range a.Heads {
				lo, hi := h*d, (h+1)*d
				head := func(x backend.Tensor, r int) []float64 { return wide(row(x, b, r)[lo:hi]) }
				keys := make([][]float64, tokens)
				for i := range keys {
					keys[i] = rotate(row(k, b, i)[lo:hi], a.Rope, b, i, h)
				}
				dQuery, dKey, dValue := matrix(queries, d), matrix(tokens, d), matrix(tokens, d)
				for r := range queries {
					query := rotate(row(q, b, r)[lo:hi], a.Rope, b, r, h)
					dOut := head(do, r)
					probs, dProbs := softmax(logits(a, b, h, r, query, keys)), make([]float64, tokens)
					for i := range keys {
						dProbs[i] = dot(dOut, head(v, i))
					}
					mean := dot(probs, dProbs)
					for i, p := range probs {
						dLogit := p * (dProbs[i] - mean) * float64(a.Scale)
						for j := range d {
							dQuery[r][j] += dLogit * keys[i][j]
							dKey[i][j] += dLogit * query[j]
							dValue[i][j] += p * dOut[j]
						}
						relevance[r][i] += max(0, p*dProbs[i]) / float64(a.Heads)
					}
					if !a.ProbsGrad.IsZero() {
						round(row(a.ProbsGrad, b, h*queries+r), dProbs)
					}
				}
				for r := range queries {
					keep(dq, b, r, lo, rotateGrad(dQuery[r], a.Rope, b, r, h))
				}
				for i := range tokens {
					keep(dk, b, i, lo, rotateGrad(dKey[i], a.Rope, b, i, h))
					keep(dv, b, i, lo, dValue[i])
				}
			}
			for r := range queries {
				keep(a.Relevance, b, r, 0, relevance[r])
			}
		}
	})
}

func (s *stream) PoolGrad(dx, dy backend.Tensor, spans ...backend.Span) {
	backend.CheckPoolGrad(dx, dy, spans...)
	spans = append([]backend.Span(nil), spans...)
	s.do(func() {
		c := dx.Shape[2]
		each(dx, func(b, r int) {
			sum := make([]float64, c)
			for i, span := range spans {
				if r < span.Lo || r >= span.Hi {
					continue
				}
				for j, v := range row(dy, b, 0)[i*c : (i+1)*c] {
					sum[j] += float64(v) / float64(span.Hi-span.Lo)
				}
			}
			round(row(dx, b, r), sum)
		})
	})
}

// keep writes values from column lo on, where there is a tensor for them.
func keep(x backend.Tensor, b, r, lo int, values []float64) {
	if !x.IsZero() {
		round(row(x, b, r)[lo:lo+len(values)], values)
	}
}

// back returns d W.
func (l *linear) back(d []float64) []float64 {
	dx := make([]float64, l.in)
	for i, v := range d {
		for j, w := range l.weight[i*l.in : (i+1)*l.in] {
			dx[j] += v * float64(w)
		}
	}
	return dx
}

// activateGrad returns dy ∘ act'(x), twice as many values for SwiGLU.
func activateGrad(act backend.Activation, dy []float64, x []float32) []float64 {
	dx := make([]float64, len(x))
	if act == backend.SwiGLU {
		// y = g·σ(g)·v
		for i, d := range dy {
			g, v := float64(x[i]), float64(x[len(dy)+i])
			dx[i] = d * v * sigmoid(g) * (1 + g*sigmoid(-g))
			dx[len(dy)+i] = d * g * sigmoid(g)
		}
		return dx
	}
	f := activationGrads[act]
	for i, d := range dy {
		dx[i] = d * f(float64(x[i]))
	}
	return dx
}

// activationGrads are the derivatives of activations.
var activationGrads = [...]func(x float64) float64{
	backend.Identity: func(float64) float64 { return 1 },
	// Φ(x) + x·φ(x)
	backend.GELU: func(x float64) float64 {
		return 0.5*(1+math.Erf(x/math.Sqrt2)) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
	},
	backend.GELUTanh: func(x float64) float64 {
		t := math.Tanh(math.Sqrt(2/math.Pi) * (x + 0.044715*x*x*x))
		return 0.5*(1+t) + 0.5*x*(1-t*t)*math.Sqrt(2/math.Pi)*(1+3*0.044715*x*x)
	},
	backend.QuickGELU: func(x float64) float64 {
		z := 1.702 * x
		return sigmoid(z) * (1 + z*sigmoid(-z))
	},
}

// rotateGrad is the transpose of rotate.
func rotateGrad(dy []float64, p *backend.Rope, b, i, h int) []float64 {
	if p == nil || i < p.Prefix {
		return dy
	}
	dx := make([]float64, len(dy))
	cos, sin := angles(p.Cos, b, i-p.Prefix, h, len(dy)), angles(p.Sin, b, i-p.Prefix, h, len(dy))
	half := len(dy) / 2
	for pair := range half {
		j1, j2 := pair, pair+half
		if p.Interleaved {
			j1, j2 = 2*pair, 2*pair+1
		}
		dx[j1] = dy[j1]*float64(cos[j1]) + dy[j2]*float64(sin[j2])
		dx[j2] = dy[j2]*float64(cos[j2]) - dy[j1]*float64(sin[j1])
	}
	return dx
}

func matrix(rows, cols int) [][]float64 {
	m := make([][]float64, rows)
	for i := range m {
		m[i] = make([]float64, cols)
	}
	return m
}

func wide(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}
