package models

import (
	"fmt"
	"math"

	"gorgonia.org/tensor"
)

// relativeMLP makes biases of relative positions from the logarithms of
// distances, of any grid.
//
// Liu et al., "Swin Transformer V2", https://arxiv.org/abs/2111.09883, section
// 3.3; RelPosMlp of timm/layers/pos_embed_rel.py.
type relativeMLP struct {
	fc1, fc1Bias *tensor.Dense // (M, 2), (M)
	fc2, fc2Bias *tensor.Dense // (H, M), (H); without a bias it is Swin's form, else timm's own
}

// relativeMLP reads one, or returns nil.
func (l *loader) relativeMLP(at string) *relativeMLP {
	if !l.Has(at + "fc1.weight") {
		return nil
	}
	hidden, heads := l.Dim(at+"fc1.weight", 0, 2), l.Dim(at+"fc2.weight", 0, 2)
	if !l.cfg.Relative {
		l.cfg.Relative = true
		l.decide("relative positions", fmt.Sprintf("an MLP of %d", hidden), "shape of %sfc1.weight", at)
	}
	return &relativeMLP{
		fc1: l.Get(at+"fc1.weight", hidden, 2), fc1Bias: l.Get(at+"fc1.bias", hidden),
		fc2: l.Get(at+"fc2.weight", heads, hidden), fc2Bias: l.Maybe(at+"fc2.bias", heads),
	}
}

// table returns the biases of a grid, as backend.Relative has them. Those of
// prefix tokens are zero.
func (m *relativeMLP) table(grid [2]int, prefix int) *tensor.Dense {
	heads, hidden := m.fc2.Shape()[0], m.fc2.Shape()[1]
	w1, b1, w2 := m.fc1.Float32s(), m.fc1Bias.Float32s(), m.fc2.Float32s()
	out := make([]float32, 0, (distances(grid)+3)*heads)
	layer := make([]float64, hidden)
	for y := 1 - grid[0]; y < grid[0]; y++ {
		for x := 1 - grid[1]; x < grid[1]; x++ {
			dy, dx := m.logarithm(y, grid[0]), m.logarithm(x, grid[1])
			for i := range layer {
				layer[i] = max(0, float64(w1[2*i])*dy+float64(w1[2*i+1])*dx+float64(b1[i]))
			}
			for h := range heads {
				var sum float64
				for i, v := range layer {
					sum += float64(w2[h*hidden+i]) * v
				}
				if m.fc2Bias == nil {
					sum = 16 / (1 + math.Exp(-sum))
				} else {
					sum += float64(m.fc2Bias.Float32s()[h])
				}
				out = append(out, float32(sum))
			}
		}
	}
	if prefix > 0 {
		out = append(out, make([]float32, 3*heads)...)
	}
	return dense(out, len(out)/heads, heads)
}

// logarithm returns a distance of n patches as the MLP is given it.
func (m *relativeMLP) logarithm(distance, n int) float64 {
	d := math.Abs(float64(distance))
	v := math.Log(1 + d)
	if m.fc2Bias == nil {
		v = math.Log2(1+8*d/float64(n-1)) / 3
	}
	return math.Copysign(v, float64(distance))
}
