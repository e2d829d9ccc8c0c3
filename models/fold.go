package models

import (
	"fmt"
	"slices"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// unfolded is a checkpoint as its layout stores it, with everything that the
// history of its family has left in it. Folding makes a vit.Weights of it.
// Tensors may be nil where the layout has none.
type unfolded struct {
	proj, projBias *tensor.Dense   // (C, 3, h, w), (C)
	prefix         []*tensor.Dense // (n, C) each: class, distillation, registers
	pos            *tensor.Dense   // (posPrefix + N, C)
	posPrefix      int             // rows of pos that belong to prefix tokens, from the first on
	embedNorm      vit.NormWeights // (C) of the projected patches
	preNorm, norm  vit.NormWeights // (C)
	blocks         []unfoldedBlock // L
	headDim        int             // D
	probe          unfoldedProbe   // nil without one
	steep          float64         // the activation of blocks is a quick GELU of inputs so many times as large, see foldSteep; 0: as it is

	head, headBias         *tensor.Dense // (K, C), (K); a projection without a bias
	distHead, distHeadBias *tensor.Dense // of the distillation token
}

// unfoldedBlock is one block's.
type unfoldedBlock struct {
	vit.BlockWeights               // QKV and QKVBias may be nil, and the six below there
	q, k, v          *tensor.Dense // (C, C)
	qBias, kBias     *tensor.Dense // (C)
	vBias            *tensor.Dense // (C)
	scale1, scale2   *tensor.Dense // (C) LayerScale after attention and after the MLP

	relativeMLP *relativeMLP // in place of Table

	gate, value         *tensor.Dense // (M, C) in place of FC1
	gateBias, valueBias *tensor.Dense // (M)
}

// fold removes what a forward pass need not know. Each fold is exact up to
// rounding, and computed in float64 where it multiplies.
func (u *unfolded) fold(mean, std [3]float64) *vit.Weights {
	w := &vit.Weights{EmbedNorm: u.embedNorm, PreNorm: u.preNorm, Norm: u.norm, Head: u.head, HeadBias: u.headBias, Probe: u.probe.fold()}
	w.PatchProj, w.PatchBias = foldNormalisation(u.proj, u.projBias, mean, std)
	w.Prefix, w.Pos = foldPositions(u.prefix, u.pos, u.posPrefix)
	for _, b := range u.blocks {
		folded := b.BlockWeights
		if folded.QKV == nil {
			b.spread(u.headDim)
			folded.QKV = stack(b.q, b.k, b.v)
		}
		if folded.QKVBias == nil {
			folded.QKVBias = stackBias(b.qBias, b.kBias, b.vBias)
		}
		if folded.FC1 == nil {
			folded.FC1, folded.FC1Bias = stack(b.gate, b.value), stackBias(b.gateBias, b.valueBias)
		}
		if u.steep > 0 {
			folded.FC1, folded.FC1Bias, folded.FC2 = foldSteep(folded.FC1, folded.FC1Bias, folded.FC2, u.steep)
		}
		folded.Proj, folded.ProjBias = foldScale(folded.Proj, folded.ProjBias, b.scale1)
		folded.FC2, folded.FC2Bias = foldScale(folded.FC2, folded.FC2Bias, b.scale2)
		w.Blocks = append(w.Blocks, folded)
	}
	if u.distHead != nil {
		w.Head, w.HeadBias = foldHeads(u.head, u.headBias, u.distHead, u.distHeadBias)
	}
	return w
}

// foldNormalisation lets the patch projection take pixels in [0, 1]:
//
//	W (x - m)/s + b = (W/s) x + (b - Σ W m/s)
//
// so that every model has one kind of input, and an attack's ε means what
// papers mean by it. proj is (C, 3, h, w); the result is (C, 3·h·w), (C).
func foldNormalisation(proj, bias *tensor.Dense, mean, std [3]float64) (*tensor.Dense, *tensor.Dense) {
	s := proj.Shape()
	dim, area := s[0], s[2]*s[3]
	src, folded, shift := proj.Float32s(), make([]float32, dim*3*area), make([]float32, dim)
	for c := range dim {
		var sum float64
		if bias != nil {
			sum = float64(bias.Float32s()[c])
		}
		for ch := range 3 {
			m, sd := mean[ch], std[ch]
			for i := (3*c + ch) * area; i < (3*c+ch+1)*area; i++ {
				v := float64(src[i]) / sd
				folded[i] = float32(v)
				sum -= v * m
			}
		}
		shift[c] = float32(sum)
	}
	return dense(folded, dim, 3*area), dense(shift, dim)
}

// foldPositions adds the positions of prefix tokens into them, so that
// whether a model embeds its class token (DeiT III does not) or its registers
// is no question of the forward pass. What is left of pos covers the patches.
func foldPositions(prefix []*tensor.Dense, pos *tensor.Dense, posPrefix int) (*tensor.Dense, *tensor.Dense) {
	var tokens []float32
	dim := 0
	for _, t := range prefix {
		dim = t.Shape()[1]
		tokens = append(tokens, t.Float32s()...)
	}
	var patches *tensor.Dense
	if pos != nil {
		rows, c := pos.Shape()[0], pos.Shape()[1]
		values := pos.Float32s()
		for i, p := range values[:posPrefix*c] {
			tokens[i] += p
		}
		patches = dense(values[posPrefix*c:], rows-posPrefix, c)
	}
	if len(tokens) == 0 {
		return nil, patches
	}
	return dense(tokens, len(tokens)/dim, dim), patches
}

// foldScale multiplies the rows of a weight and its bias by LayerScale, which
// stands right behind them: γ(Wx + b) = (γW)x + γb.
//
// Touvron et al., "Going deeper with Image Transformers",
// https://arxiv.org/abs/2103.17239, equation 4.
func foldScale(weight, bias, gamma *tensor.Dense) (*tensor.Dense, *tensor.Dense) {
	if gamma == nil {
		return weight, bias
	}
	rows, cols := weight.Shape()[0], weight.Shape()[1]
	w, g := weight.Float32s(), gamma.Float32s()
	scaled := make([]float32, len(w))
	for r := range rows {
		for c := range cols {
			scaled[r*cols+c] = w[r*cols+c] * g[r]
		}
	}
	if bias == nil {
		return dense(scaled, rows, cols), nil
	}
	shifted := make([]float32, rows)
	for r, b := range bias.Float32s() {
		shifted[r] = b * g[r]
	}
	return dense(scaled, rows, cols), dense(shifted, rows)
}

// foldSteep scales the layers around an activation that is q(s·x)/s, where q is
// the quick GELU, x·σ(1.702x):
//
//	W2 q(s (W1 x + b1))/s = (W2/s) q((s W1) x + s b1)
func foldSteep(fc1, bias, fc2 *tensor.Dense, s float64) (*tensor.Dense, *tensor.Dense, *tensor.Dense) {
	times := func(t *tensor.Dense, by float64) *tensor.Dense {
		if t == nil {
			return nil
		}
		scaled := make([]float32, t.Shape().TotalSize())
		for i, v := range t.Float32s() {
			scaled[i] = float32(float64(v) * by)
		}
		return dense(scaled, t.Shape()...)
	}
	return times(fc1, s), times(bias, s), times(fc2, 1/s)
}

// foldHeads makes one head over [class, distillation] of DeiT's two, whose
// logits are averaged: (Wc c + bc + Wd d + bd)/2.
//
// Touvron et al., "Training data-efficient image transformers & distillation
// through attention", https://arxiv.org/abs/2012.12877, section 4.
func foldHeads(cls, clsBias, dist, distBias *tensor.Dense) (*tensor.Dense, *tensor.Dense) {
	classes, dim := cls.Shape()[0], cls.Shape()[1]
	c, d := cls.Float32s(), dist.Float32s()
	both := make([]float32, 2*classes*dim)
	for k := range classes {
		row := both[2*k*dim : 2*(k+1)*dim]
		for i := range dim {
			row[i], row[dim+i] = c[k*dim+i]/2, d[k*dim+i]/2
		}
	}
	bias := make([]float32, classes)
	for _, b := range []*tensor.Dense{clsBias, distBias} {
		if b != nil {
			for k, v := range b.Float32s() {
				bias[k] += v / 2
			}
		}
	}
	return dense(both, classes, 2*dim), dense(bias, classes)
}

// spread gives each head the keys and values that several share.
//
// Ainslie et al., "GQA", https://arxiv.org/abs/2305.13245, section 2.2.
func (b *unfoldedBlock) spread(d int) {
	all := b.q.Shape()[0]
	for _, t := range []**tensor.Dense{&b.k, &b.v, &b.kBias, &b.vBias} {
		if *t == nil || (*t).Shape()[0] == all {
			continue
		}
		shape := (*t).Shape().Clone()
		times, cols := all/shape[0], shape.TotalSize()/shape[0]
		var spread []float32
		for group := range slices.Chunk((*t).Float32s()[:shape.TotalSize()], d*cols) {
			for range times {
				spread = append(spread, group...)
			}
		}
		shape[0] = all
		*t = dense(spread, shape...)
	}
}

// sharesHeads checks that heads share keys and values evenly.
func (l *loader) sharesHeads() error {
	l.raw.headDim = l.cfg.Dim / l.cfg.Heads
	for i, b := range l.raw.blocks {
		if b.k == nil || b.q == nil {
			continue
		}
		if q, k := b.q.Shape()[0], b.k.Shape()[0]; k < 1 || k%l.raw.headDim != 0 || q%k != 0 {
			return fmt.Errorf("block %d: keys and values of %d for queries of %d, want whole heads of %d, shared evenly", i, k, q, l.raw.headDim)
		}
	}
	return nil
}

// stack joins q, k and v (C, C) into (3C, C), or gate and value.
func stack(parts ...*tensor.Dense) *tensor.Dense {
	var rows []float32
	for _, p := range parts {
		rows = append(rows, p.Float32s()...)
	}
	dim := parts[0].Shape()[1]
	return dense(rows, len(rows)/dim, dim)
}

// stackBias joins the biases of q, k and v, any of which may be none: BEiT
// and DINOv3 leave out k's, which no softmax can tell.
func stackBias(parts ...*tensor.Dense) *tensor.Dense {
	dim, any := 0, false
	for _, p := range parts {
		if p != nil {
			dim, any = p.Shape()[0], true
		}
	}
	if !any {
		return nil
	}
	joined := make([]float32, len(parts)*dim)
	for i, p := range parts {
		if p != nil {
			copy(joined[i*dim:], p.Float32s())
		}
	}
	return dense(joined, len(joined))
}

// rowsOf returns values lo to hi of a vector.
func rowsOf(t *tensor.Dense, lo, hi int) *tensor.Dense { return dense(t.Float32s()[lo:hi], hi-lo) }

func dense(values []float32, shape ...int) *tensor.Dense {
	if n := tensor.Shape(shape).TotalSize(); n != len(values) {
		panic(fmt.Sprintf("models: %d values for %v", len(values), tensor.Shape(shape)))
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(values))
}

// clsPool is the class token as the pooled feature.
var clsPool = []backend.Span{{Lo: 0, Hi: 1}}
