package attack

import "math"

// apgdCE is APGD on the cross-entropy.
func apgdCE(o *Oracle, p *Problem) (f found, err error) {
	for range p.Restarts {
		if f, err = apgd(o, p, p.goal()); err != nil || f.fooled {
			return f, err
		}
	}
	return f, nil
}

// apgdT is APGD towards each of the classes that come next in the clean answer,
// on the targeted ratio of differences of logits.
func apgdT(o *Oracle, p *Problem) (f found, err error) {
	clean, err := o.logits(p.X)
	if err != nil {
		return f, err
	}
	targets := min(p.Targets, len(clean)-1)
	for _, target := range ranked(clean, targets+1)[1:] {
		for range p.Restarts {
			if f, err = apgd(o, p, dlrTargeted(p.Class, target)); err != nil || f.fooled {
				return f, err
			}
		}
	}
	return f, nil
}

// apgd is PGD with momentum, whose step begins at 2ε and is halved at
// checkpoints, when too few steps have brought a gain or the best loss stands
// still; it then goes back to the best point. It ends at the first picture that
// fools, or goes through all steps to the one of the largest loss.
//
// Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble
// of diverse parameter-free attacks", https://arxiv.org/abs/2003.01690,
// algorithm 1; the checkpoints in whole steps are those of
// https://github.com/fra31/auto-attack.
func apgd(o *Oracle, p *Problem, l loss) (found, error) {
	x := p.begin()
	z, g, value, err := o.gradient(x, l)
	if err != nil || !p.Through && p.fools(z) {
		return found{x, err == nil}, err
	}
	step := 2 * p.Epsilon
	old := x
	bestX, bestG, bestLoss, fooled := x, g, value, p.fools(z)
	c := newCheckpoints(p.Steps, value)
	for i := range p.Steps {
		a := 0.75
		if i == 0 {
			a = 1
		}
		x, old = p.momentum(x, old, g, step, a), x
		if z, g, value, err = o.gradient(x, l); err != nil {
			return found{}, err
		}
		if !p.Through && p.fools(z) {
			return found{x, true}, nil
		}
		if value > bestLoss {
			bestX, bestG, bestLoss, fooled = x, g, value, p.fools(z)
		}
		if c.halve(i, value, bestLoss) {
			step /= 2
			x, g = bestX, bestG
		}
	}
	return found{bestX, fooled}, nil
}

// begin is x + ε·t/‖t‖, t uniform in (-1, 1) and its norm the largest value; in
// L2 t is normal.
func (p *Problem) begin() []float64 {
	t := make([]float64, len(p.X))
	high := 0.0
	if p.Norm == L2 {
		p.Draws.Normal(t)
		high = norm(t) + 1e-12
	} else {
		p.Draws.Uniform(t)
		for i := range t {
			t[i] = 2*t[i] - 1
			high = max(high, math.Abs(t[i]))
		}
	}
	for i, v := range t {
		t[i] = unit(p.X[i] + p.Epsilon*v/high)
	}
	return t
}

// momentum is x + a(z - x) + (1 - a)(x - old), where z is a plain step; both
// are brought back into the ball.
func (p *Problem) momentum(x, old, g []float64, step, a float64) []float64 {
	y := make([]float64, len(x))
	if p.Norm == L2 {
		by := step / (norm(g) + 1e-12)
		for i, v := range x {
			y[i] = v + by*g[i]
		}
		p.project(y)
		for i, v := range x {
			y[i] = v + (y[i]-v)*a + (v-old[i])*(1-a)
		}
		p.project(y)
		return y
	}
	for i, v := range x {
		z := p.clip(i, v+step*sign(g[i]))
		y[i] = p.clip(i, v+(z-v)*a+(v-old[i])*(1-a))
	}
	return y
}

// project brings y into the L2 ball and to [0, 1].
func (p *Problem) project(y []float64) {
	for i := range y {
		y[i] -= p.X[i]
	}
	n := norm(y)
	scale(y, min(p.Epsilon, n)/(n+1e-12))
	for i := range y {
		y[i] = unit(p.X[i] + y[i])
	}
}

// checkpoints are when the step may be halved.
type checkpoints struct {
	losses      []float64 // by step
	after       int       // steps between the last checkpoint and the next
	since       int       // steps since the last
	least, less int       // steps between two at the end; by how many they come closer
	halved      bool      // at the last; before the first too
	lastBest    float64
}

func newCheckpoints(steps int, value float64) *checkpoints {
	share := func(percent int) int { return max(steps*percent/100, 1) }
	return &checkpoints{losses: make([]float64, steps), after: share(22), least: share(6), less: share(3), halved: true, lastBest: value}
}

// halve takes the loss of step i and reports whether the step size is halved.
// At the first checkpoint the oldest loss is compared with the one behind the
// last, which is still zero: as the authors' program does, whose success rates
// are to be met.
func (c *checkpoints) halve(i int, value, best float64) bool {
	c.losses[i] = value
	if c.since++; c.since < c.after {
		return false
	}
	gains := 0
	for j := i; j > i-c.after; j-- {
		if c.losses[j] > c.losses[(j-1+len(c.losses))%len(c.losses)] {
			gains++
		}
	}
	halve := float64(gains) <= 0.75*float64(c.after) || !c.halved && c.lastBest >= best
	c.halved, c.lastBest, c.since = halve, best, 0
	c.after = max(c.after-c.less, c.least)
	return halve
}
