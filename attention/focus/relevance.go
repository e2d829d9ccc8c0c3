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
	start, depth := blockOf(d.o.Start, 0), d.x.Depth
	for _, seed := range seeds {
		shares, err := d.trace.Relevance(d.ctx, seed, from(start, depth))
		if err != nil {
			return nil, 0, err
		}
		var of [][]float64
		for b := range d.x.images() {
			row := d.x.start(d.o)
			n := len(row)
			next := make([]float64, n)
			for block := depth - 1; block >= start; block-- {
				a := imageOf(shares[block], b)
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
			for i, w := range d.x.start(d.o) {
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
func (s Shape) start(o Options) []float64 {
	row := make([]float64, s.tokens())
	asking := s.asking(o)
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
	o, depth := d.o, d.x.Depth
	start := blockOf(o.Start, 0)
	lowest := start
	if o.Compat == VitExplain {
		lowest = 0
	}
	attn := d.trace.Attn()
	for _, seed := range seeds {
		grads, err := d.trace.ProbsGrad(d.ctx, seed, depth-1, from(lowest, depth))
		if err != nil {
			return nil, 0, err
		}
		r := Record{Shape: d.x.Shape, Attn: make([]*tensor.Dense, depth)}
		for block := range depth {
			at := block
			if o.Compat == VitExplain {
				at = depth - 1 - block
			}
			if block >= start {
				r.Attn[block] = speaking(attn[block], grads[at])
			} else {
				r.Attn[block] = r.blank(d.x.images())
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
	n := r.tokens()
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
	depth := d.x.Depth
	start := blockOf(d.o.Start, max(0, depth-2))
	for _, seed := range seeds {
		of := make([][]float64, d.x.images())
		for block := start; block < depth; block++ {
			if err := d.ctx.Err(); err != nil {
				return nil, 0, err
			}
			g, err := d.trace.ProbsGrad(d.ctx, seed, block, []int{block})
			if err != nil {
				return nil, 0, err
			}
			s := g[block].Shape()
			heads, n := s[1], s[3]
			for b := range of {
				if of[b] == nil {
					of[b] = make([]float64, n)
				}
				for from := imageOf(g[block], b); len(from) > 0; from = from[n:] {
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
