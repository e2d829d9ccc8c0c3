package focus

import "gorgonia.org/tensor"

// relevance follows attention that speaks for the class through the layers,
// from the first to the last:
//
//	R ← R + Ā R, Ā = mean over heads of max(0, A ∘ ∂y/∂A), R = I before the first layer
//
// Chefer et al., "Generic Attention-model Explainability for Interpreting
// Bi-Modal and Encoder-Decoder Transformers",
// https://arxiv.org/abs/2103.15679, equations 5 and 6. The map is the class
// token's row of R, or the mean of the patches' rows of a model without one.
// What the identity puts there is taken off again: it says where the row
// began, and would hide small relevance under rounding. As in rollout only
// the row is carried, from the last layer down.
func relevance(d *derivation, seeds []*tensor.Dense) (rows [][][]float64, layer int, err error) {
	start := max(1, d.o.Start)
	for _, seed := range seeds {
		g, err := d.trace.Backward(d.ctx, seed, d.depth, GradWants{Relevance: from(start, d.depth)})
		if err != nil {
			return nil, 0, err
		}
		var of [][]float64
		for b := range d.x.images() {
			row := d.x.Record.start(d.o)
			n := len(row)
			next := make([]float64, n)
			for l := d.depth; l >= start; l-- {
				a := imageOf(g.Relevance[l], b)
				copy(next, row)
				for i, w := range row {
					if w == 0 {
						continue
					}
					for j, v := range a[i*n : (i+1)*n] {
						next[j] += w * float64(v)
					}
				}
				row, next = next, row
			}
			for i, w := range d.x.Record.start(d.o) {
				row[i] -= w
			}
			of = append(of, row)
		}
		rows = append(rows, of)
	}
	return rows, 0, nil
}

// start returns the row (N) that a flow through the layers begins with: one
// weight, shared by the tokens that ask.
func (r *Record) start(o Options) []float64 {
	row := make([]float64, r.Prefix+r.Grid[0]*r.Grid[1])
	asking := r.asking(o)
	for _, q := range asking {
		row[q] = 1 / float64(len(asking))
	}
	return row
}

// gradRollout is rollout of attention weighted by its gradient:
//
//	F(l) = max(0, mean over heads of A(l) ∘ ∂y/∂A(l)), then as rollout
//
// Gildenblat's gradient attention rollout,
// https://github.com/jacobgil/vit-explain, after Abnar and Zuidema 2020,
// https://arxiv.org/abs/2005.00928, equation 1. The discard ratio spares no
// element, as there.
//
// Compat vit-explain also repeats what that program does by accident: it
// divides columns, see rollout, and since its hooks meet gradients from the
// last layer to the first, it pairs the attention of layer l with the
// gradient of layer L+1-l.
func gradRollout(d *derivation, seeds []*tensor.Dense) (rows [][][]float64, layer int, err error) {
	o := d.o
	start := max(1, o.Start)
	lowest := start
	if o.Compat == VitExplain {
		lowest = 1
	}
	for _, seed := range seeds {
		g, err := d.trace.Backward(d.ctx, seed, d.depth, GradWants{Probs: from(lowest, d.depth)})
		if err != nil {
			return nil, 0, err
		}
		r := d.x.Record
		r.Rows = nil
		r.Attn = make([]*tensor.Dense, d.depth)
		for l := range d.depth {
			grads := g.Probs[l+1]
			if o.Compat == VitExplain {
				grads = g.Probs[d.depth-l]
			}
			if l+1 >= start {
				r.Attn[l] = speaking(d.trace.Attn[l], grads)
			} else {
				r.Attn[l] = r.blank(d.x.images())
			}
		}
		var of [][]float64
		for b := range d.x.images() {
			row, err := r.flow(b, Options{Start: o.Start, Discard: o.Discard, Compat: o.Compat}, false)
			if err != nil {
				return nil, 0, err
			}
			of = append(of, row)
		}
		rows = append(rows, of)
	}
	return rows, 0, nil
}

// blank returns attention of one head (B, 1, N, N) that nobody reads.
func (r *Record) blank(images int) *tensor.Dense {
	n := r.Prefix + r.Grid[0]*r.Grid[1]
	return tensor.New(tensor.WithShape(images, 1, n, n), tensor.Of(tensor.Float32))
}

// speaking returns max(0, mean over heads of a ∘ g) as attention of one head:
// a and g are (B, H, N, N), the result is (B, 1, N, N).
func speaking(a, g *tensor.Dense) *tensor.Dense {
	s := a.Shape()
	heads, size := s[1], s[2]*s[3]
	out := tensor.New(tensor.WithShape(s[0], 1, s[2], s[3]), tensor.Of(tensor.Float32))
	for b := range s[0] {
		dst := imageOf(out, b)
		for h := range heads {
			p, q := imageOf(a, b)[h*size:(h+1)*size], imageOf(g, b)[h*size:(h+1)*size]
			for i, v := range p {
				dst[i] += v * q[i]
			}
		}
		for i, v := range dst {
			dst[i] = max(0, v/float32(heads))
		}
	}
	return out
}

// legrad is how much more of the class there would be if a patch were
// attended more: the positive gradient at attention, over heads and asking
// tokens, of the logits that each layer would give if it were the last:
//
//	E = Σl mean over heads and rows of max(0, ∂y(l)/∂A(l))
//
// Bousselham et al., "LeGrad: An Explainability Method for Vision Transformers
// via Feature Formation Sensitivity", https://arxiv.org/abs/2404.03214,
// equations 3 to 6. It begins at the last layer but one, as the authors'
// program. y(l) is pooled as the model pools: that program takes the mean of
// all tokens, which is not what a head on the class token was trained for.
func legrad(d *derivation, seeds []*tensor.Dense) (rows [][][]float64, layer int, err error) {
	start := d.o.Start
	if start == 0 {
		start = max(1, d.depth-1)
	}
	for _, seed := range seeds {
		of := make([][]float64, d.x.images())
		for l := start; l <= d.depth; l++ {
			if err := d.ctx.Err(); err != nil {
				return nil, 0, err
			}
			g, err := d.trace.Backward(d.ctx, seed, l, GradWants{Probs: []int{l}})
			if err != nil {
				return nil, 0, err
			}
			s := g.Probs[l].Shape()
			heads, n := s[1], s[3]
			for b := range of {
				if of[b] == nil {
					of[b] = make([]float64, n)
				}
				for from := imageOf(g.Probs[l], b); len(from) > 0; from = from[n:] {
					for j, v := range from[:n] {
						of[b][j] += float64(max(0, v)) / float64(heads*n)
					}
				}
			}
		}
		rows = append(rows, of)
	}
	return rows, 0, nil
}
