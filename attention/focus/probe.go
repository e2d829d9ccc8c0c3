package focus

import (
	"fmt"

	"gorgonia.org/tensor"
)

// probed returns image b of values of a probe (B, H, 1, N) with its heads
// fused, or the one head that o names: (N).
func probed(values *tensor.Dense, b int, o Options) []float64 {
	s := values.Shape()
	v := layer{probs: imageOf(values, b), rows: 1, tokens: s[3], lo: 0, hi: s[1], fusion: o.Fusion}
	if o.Head > 0 {
		v.lo, v.hi = o.Head-1, o.Head
	}
	fused, row := make([]float32, s[3]), make([]float64, s[3])
	if err := v.row(fused, 0); err != nil {
		panic(err) // it has the row
	}
	for i, p := range fused {
		row[i] = float64(p)
	}
	return row
}

// probe returns what the probe of image b looks at (N).
func (r *Record) probe(b int, o Options) ([]float64, error) {
	if r.Probe == nil {
		return nil, fmt.Errorf("attention: %w: want the probe's, found none", ErrRows)
	}
	return probed(r.Probe, b, o), nil
}

// begin returns the row (N) that a flow through the layers of image b begins
// with: what the probe looks at, its share of the whole, or Shape.start.
func (r *Record) begin(b int, o Options) ([]float64, error) {
	if !r.looksByProbe(o) {
		return r.start(o), nil
	}
	row, err := r.probe(b, o)
	if err != nil {
		return nil, err
	}
	var sum float64
	for _, v := range row {
		sum += v
	}
	for i := range row {
		if sum > 0 {
			row[i] /= sum
		}
	}
	return row, nil
}
