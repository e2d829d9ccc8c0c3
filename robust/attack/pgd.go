package attack

import "math"

// pgd climbs the loss by steps of α, and brings each back into the ball and to
// [0, 1]:
//
//	x ← Π(x + α·sign ∇x L)      L∞
//	x ← Π(x + α·∇x L/‖∇x L‖)    L2
//
// It ends at the first picture that fools, or goes through all steps. Of several
// tries the last is kept where none fools.
//
// Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks",
// https://arxiv.org/abs/1706.06083, section 2.1.
func pgd(o *Oracle, p *Problem) (f found, err error) {
	for range p.Restarts {
		x := p.start()
		for range p.Steps {
			z, g, _, err := o.gradient(x, p.goal())
			if err != nil {
				return f, err
			}
			if !p.Through && p.fools(z) {
				return found{x, true}, nil
			}
			x = p.step(x, g, p.Step)
		}
		z, err := o.logits(x)
		if err != nil {
			return f, err
		}
		if f = (found{x, p.fools(z)}); f.fooled {
			return f, nil
		}
	}
	return f, nil
}

// start is where a try begins: a random point of the ball, or the picture.
func (p *Problem) start() []float64 {
	x := make([]float64, len(p.X))
	copy(x, p.X)
	if !p.Random {
		return x
	}
	t := make([]float64, len(x))
	if p.Norm == L2 {
		// A random direction, and a radius uniform in [0, ε].
		p.Draws.Normal(t)
		var r [1]float64
		p.Draws.Uniform(r[:])
		scale(t, r[0]*p.Epsilon/norm(t))
	} else {
		p.Draws.Uniform(t)
		for i, u := range t {
			t[i] = (2*u - 1) * p.Epsilon
		}
	}
	for i, v := range t {
		if p.free(i) {
			x[i] = unit(x[i] + v)
		}
	}
	return x
}

// free reports whether value i of the picture may change.
func (p *Problem) free(i int) bool { return p.Free == nil || p.Free[i%len(p.Free)] }

// step returns x after a step of size a along g, back in the ball.
func (p *Problem) step(x, g []float64, a float64) []float64 {
	y := make([]float64, len(x))
	if p.Norm == L2 {
		if p.Free != nil {
			for i := range g {
				if !p.free(i) {
					g[i] = 0
				}
			}
		}
		by := a / (norm(g) + 1e-10)
		for i, v := range x {
			y[i] = v + by*g[i] - p.X[i]
		}
		if n := norm(y); n > p.Epsilon {
			scale(y, p.Epsilon/n)
		}
		for i, v := range y {
			y[i] = unit(p.X[i] + v)
		}
		return y
	}
	for i, v := range x {
		if p.free(i) {
			v = p.clip(i, v+a*sign(g[i]))
		}
		y[i] = v
	}
	return y
}

// clip brings value i into the L∞ ball and to [0, 1].
func (p *Problem) clip(i int, v float64) float64 {
	return unit(min(max(v, p.X[i]-p.Epsilon), p.X[i]+p.Epsilon))
}

func unit(v float64) float64 { return min(max(v, 0), 1) }

func sign(v float64) float64 {
	switch {
	case v > 0:
		return 1
	case v < 0:
		return -1
	}
	return 0
}

// norm is the root of the sum of squares.
func norm(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x * x
	}
	return math.Sqrt(sum)
}

func scale(v []float64, by float64) {
	for i := range v {
		v[i] *= by
	}
}
