package attack

import "math"

// square changes one square of the picture at a time and keeps what makes the
// margin smaller. It begins with vertical stripes of ±ε; all pictures that it
// tries are at ±ε from the first, as far as [0, 1] lets them, so that ε of whole
// grey levels stays on the grid of bytes.
//
// Andriushchenko et al., "Square Attack: a query-efficient black-box adversarial
// attack via random search", https://arxiv.org/abs/1912.00049, algorithms 1 and 2.
func square(o *Oracle, p *Problem) (f found, err error) {
	for range p.Restarts {
		if f, err = p.squares(o); err != nil || f.fooled {
			return f, err
		}
	}
	return f, nil
}

// firstShare is p of the paper: the share of the picture that the first square
// covers.
const firstShare = 0.8

func (p *Problem) squares(o *Oracle) (found, error) {
	area := p.W * p.H
	x := make([]float64, len(p.X))
	stripes := make([]float64, 3*p.W)
	p.Draws.Uniform(stripes)
	for i := range x {
		x[i] = p.clip(i, p.X[i]+p.Epsilon*sign(2*stripes[i/area*p.W+i%p.W]-1))
	}
	z, err := o.logits(x)
	if err != nil {
		return found{}, err
	}
	least, fooled := p.excess(z), p.fools(z)
	for i := range p.Steps {
		if least <= 0 {
			break
		}
		edge := max(int(math.RoundToEven(math.Sqrt(shareAt(i, p.Steps, p.Rescale)*float64(area)))), 1)
		edge = min(edge, p.W, p.H)
		var u [5]float64
		p.Draws.Uniform(u[:])
		top, left := int(u[0]*float64(p.H-edge)), int(u[1]*float64(p.W-edge))
		y := make([]float64, len(x))
		copy(y, x)
		for c := range 3 {
			by := 2 * p.Epsilon * sign(2*u[2+c]-1)
			for r := top; r < top+edge; r++ {
				for j := c*area + r*p.W + left; j < c*area+r*p.W+left+edge; j++ {
					y[j] = p.clip(j, x[j]+by)
				}
			}
		}
		if z, err = o.logits(y); err != nil {
			return found{}, err
		}
		if m := p.excess(z); m < least || m <= 0 {
			x, least, fooled = y, m, p.fools(z)
		}
	}
	return found{x, fooled}, nil
}

// excess is what must fall to zero.
func (p *Problem) excess(z []float64) float64 {
	if p.Targeted {
		return -margin(z, p.Target)
	}
	return margin(z, p.Class)
}

// shareAt is the share of the picture that the square of a query covers. The
// schedule is of 10,000 queries; rescaled, it runs its course in the budget.
func shareAt(query, budget int, rescale bool) float64 {
	if rescale {
		query = int(float64(query) / float64(budget) * 10000)
	}
	share := firstShare
	for _, at := range []int{10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000} {
		if query > at {
			share /= 2
		}
	}
	return share
}
