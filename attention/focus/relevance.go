package focus

import (
	"slices"

	"gorgonia.org/tensor"
)

// relevance follows attention that speaks for the class through the layers,
// from the first to the last:
//
//	R ← R + Ā R, Ā = mean over heads of max(0, A ∘ ∂y/∂A), R = I before the first layer
//
// Chefer et al., "Generic Attention-model Explainability for Interpreting
// Bi-Modal and Encoder-Decoder Transformers",
// https://arxiv.org/abs/2103.15679, equations 5 and 6. The map is the class
// token's row of R, or the mean of the patches' rows of a model without one;
// where a probe pools the tokens, its own Ā times R.
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
		began, err := d.begin(seed)
		if err != nil {
			return nil, 0, err
		}
		var of [][]float64
		for b := range d.x.images() {
			row := slices.Clone(began(b))
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
			if d.x.ProbeHeads == 0 { // which is none of the tokens that look at themselves
				for i, w := range began(b) {
					row[i] -= w
				}
			}
			of = append(of, row)
		}
		rows = append(rows, of)
	}
	return rows, 0, nil
}

// begin returns the row (N) that relevance begins with, by image.
func (d *derivation) begin(seed *tensor.Dense) (func(b int) []float64, error) {
	if d.x.ProbeHeads == 0 {
		return func(int) []float64 { return d.x.start(d.o) }, nil
	}
	grad, err := d.trace.ProbeGrad(d.ctx, seed, d.x.Depth-1)
	if err != nil {
		return nil, err
	}
	shares := product(d.trace.Probe(), grad)
	for i, v := range shares.Float32s() {
		shares.Float32s()[i] = max(0, v)
	}
	return func(b int) []float64 { return probed(shares, b, Options{}) }, nil
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
		if d.x.ProbeHeads > 0 {
			grad, err := d.trace.ProbeGrad(d.ctx, seed, depth-1)
			if err != nil {
				return nil, 0, err
			}
			r.Probe = speaking(d.trace.Probe(), grad)
		}
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

// product returns a ∘ g.
func product(a, g *tensor.Dense) *tensor.Dense {
	out := tensor.New(tensor.WithShape(a.Shape()...), tensor.Of(tensor.Float32))
	for i, v := range a.Float32s() {
		out.Float32s()[i] = v * g.Float32s()[i]
	}
	return out
}

// speaking returns max(0, mean over heads of a ∘ g) as attention of one head:
// a and g are (B, H, R, N), the result is (B, 1, R, N).
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
// Where a probe pools the tokens, A(l) is its attention to those of layer l,
// as the authors have it for SigLIP.
func legrad(d *derivation, seeds []*tensor.Dense) (rows [][][]float64, layer int, err error) {
	depth := d.x.Depth
	start := blockOf(d.o.Start, max(0, depth-2))
	for _, seed := range seeds {
		of := make([][]float64, d.x.images())
		for block := start; block < depth; block++ {
			if err := d.ctx.Err(); err != nil {
				return nil, 0, err
			}
			g, err := d.lastGrad(seed, block)
			if err != nil {
				return nil, 0, err
			}
			s := g.Shape()
			looks, n := s[1]*s[2], s[3]
			for b := range of {
				if of[b] == nil {
					of[b] = make([]float64, n)
				}
				for from := imageOf(g, b); len(from) > 0; from = from[n:] {
					for j, v := range from[:n] {
						of[b][j] += float64(max(0, v)) / float64(looks)
					}
				}
			}
		}
		rows = append(rows, of)
	}
	return rows, 0, nil
}

// lastGrad returns ∂y(l)/∂A (B, H, R, N) of the layer of a block, or of the
// probe over its tokens.
func (d *derivation) lastGrad(seed *tensor.Dense, block int) (*tensor.Dense, error) {
	if d.x.ProbeHeads > 0 {
		return d.trace.ProbeGrad(d.ctx, seed, block)
	}
	g, err := d.trace.ProbsGrad(d.ctx, seed, block, []int{block})
	return g[block], err
}
