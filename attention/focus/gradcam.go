package focus

import (
	"slices"

	"gorgonia.org/tensor"
)

// gradcam weighs the channels of what a layer's attention is given by their
// mean gradient over the patches:
//
//	L = max(0, Σc wc Xc), wc = 1/n Σ over patches of ∂y/∂Xc
//
// Selvaraju et al., "Grad-CAM", https://arxiv.org/abs/1610.02391, equations 1
// and 2. X is the output of the first norm of the layer, the last by default,
// which pytorch-grad-cam names for vision transformers
// (https://github.com/jacobgil/pytorch-grad-cam): patches have gradient there,
// through keys and values, even where the class token alone is read, while
// after the last layer they have none.
func gradcam(d *derivation, seeds []*tensor.Dense) (rows [][][]float64, layer int, err error) {
	block, prefix := camBlock(d.o, d.x.Shape)[0], d.x.Prefix
	given := d.trace.Normed(block)
	for _, seed := range seeds {
		grads, err := d.trace.NormedGrad(d.ctx, seed, block)
		if err != nil {
			return nil, 0, err
		}
		shape := given.Shape()
		n, dim := shape[1], shape[2]
		var of [][]float64
		for b := range shape[0] {
			weight := make([]float64, dim)
			for grad := imageOf(grads, b)[prefix*dim:]; len(grad) > 0; grad = grad[dim:] {
				for c, v := range grad[:dim] {
					weight[c] += float64(v) / float64(n-prefix)
				}
			}
			row := make([]float64, n)
			x := imageOf(given, b)
			for i := prefix; i < n; i++ {
				var sum float64
				for c, v := range x[i*dim : (i+1)*dim] {
					sum += weight[c] * float64(v)
				}
				row[i] = positive(sum)
			}
			of = append(of, row)
		}
		rows = append(rows, of)
	}
	return rows, layerOf(block), nil
}

// camBlock returns the one block that is read.
func camBlock(o Options, s Shape) []int { return []int{blockOf(o.Layer, s.Depth-1)} }

// positive is max(0, v), and NaN of NaN.
func positive(v float64) float64 {
	if v < 0 {
		return 0
	}
	return v
}

// inputGradient is the gradient of the class at each pixel times the pixel,
// summed over a patch: what the class would lose, to first order, if the
// patch were black. It is negative where the patch speaks against the class.
//
//	Σ over the patch's pixels and colours of x ∂y/∂x
//
// Shrikumar et al., "Not Just a Black Box: Learning Important Features Through
// Propagating Activation Differences", https://arxiv.org/abs/1605.01713,
// section 3.3.
func inputGradient(d *derivation, seeds []*tensor.Dense) (rows [][][]float64, layer int, err error) {
	for _, seed := range seeds {
		grads, err := d.trace.PixelGrad(d.ctx, seed)
		if err != nil {
			return nil, 0, err
		}
		var of [][]float64
		for b := range d.x.images() {
			of = append(of, d.x.byPatch(imageOf(d.x.Pixels, b), imageOf(grads, b)))
		}
		rows = append(rows, of)
	}
	return rows, 0, nil
}

// byPatch returns the sum of x ∘ g, both (3, H, W), by token (N): prefix
// tokens have none.
func (x Subject) byPatch(pixels, g []float32) []float64 {
	s, grid, prefix := x.Pixels.Shape(), x.Grid, x.Prefix
	row := make([]float64, prefix+grid[0]*grid[1])
	for c := range 3 {
		for y := range grid[0] * x.Patch[0] {
			o := (c*s[2] + y) * s[3]
			cells := row[prefix+y/x.Patch[0]*grid[1]:]
			for i := range grid[1] * x.Patch[1] {
				cells[i/x.Patch[1]] += float64(pixels[o+i]) * float64(g[o+i])
			}
		}
	}
	return row
}

// DefaultSteps is how many gradients integrated gradients average.
const DefaultSteps = 16

// integratedGradients is inputGradient with the mean of the gradients on the
// way from black to the image, so that the values of all pixels add up to
// what the class's logit gains on that way, but for the steps' error:
//
//	x ∘ ∫ ∂y(αx)/∂(αx) dα, α from 0 to 1, by the midpoint rule
//
// Sundararajan et al., "Axiomatic Attribution for Deep Networks",
// https://arxiv.org/abs/1703.01365, equation 1.
func integratedGradients(d *derivation, seeds []*tensor.Dense) (rows [][][]float64, layer int, err error) {
	steps := d.o.steps()
	x, shape := d.x, d.x.Pixels.Shape()
	most := x.Batch
	if most == 0 {
		most = shape[0]
	}
	rows = make([][][]float64, len(seeds))
	for b := range shape[0] {
		whole := imageOf(x.Pixels, b)
		sums := make([][]float32, len(seeds))
		for lo := 0; lo < steps; lo += most {
			n := min(most, steps-lo)
			part := tensor.New(tensor.WithShape(n, 3, shape[2], shape[3]), tensor.Of(tensor.Float32))
			for i := range n {
				alpha := (float32(lo+i) + 0.5) / float32(steps)
				for j, v := range whole {
					imageOf(part, i)[j] = alpha * v
				}
			}
			trace, err := x.Model.Trace(d.ctx, part, false, nil)
			if err != nil {
				return nil, 0, err
			}
			for t, seed := range seeds {
				classes := seed.Shape()[1]
				same := tensor.New(tensor.WithShape(n, classes), tensor.WithBacking(slices.Repeat(imageOf(seed, b), n)))
				grads, err := trace.PixelGrad(d.ctx, same)
				if err != nil {
					return nil, 0, err
				}
				if sums[t] == nil {
					sums[t] = make([]float32, len(whole))
				}
				for i := range n {
					for j, v := range imageOf(grads, i) {
						sums[t][j] += v / float32(steps)
					}
				}
			}
		}
		for t := range seeds {
			rows[t] = append(rows[t], x.byPatch(whole, sums[t]))
		}
	}
	return rows, 0, nil
}

func (o Options) steps() int {
	if o.Steps == 0 {
		return DefaultSteps
	}
	return o.Steps
}

// integratedPasses: a forward and a backward pass of every step.
func integratedPasses(o Options, _ Shape) (once, each float64) {
	steps := float64(o.steps())
	return 1 + steps, 1.4 * steps
}
