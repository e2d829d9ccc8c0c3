package robust

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/vitserve/vitserve/robust/attack"
	"github.com/vitserve/vitserve/robust/corrupt"
	"github.com/vitserve/vitserve/robust/measure"
)

// Differentiable is a Target that can be derived: attacks by gradients need one.
type Differentiable interface {
	Target

	// Gradients answers the model's inputs (3, H, W) in [0, 1], and returns the
	// logits (K) and ∂L/∂input (3·H·W) of each, where seed returns ∂L/∂logits
	// (K) of input i.
	Gradients(ctx context.Context, in []attack.Picture, seed func(i int, logits []float64) []float64) (logits, grads [][]float64, err error)
}

// AttackOptions change what the table of attacks has; the zero value changes
// nothing.
type AttackOptions struct {
	Epsilons    []float64 // in pixels of [0, 1]; nil: the attack's own
	Steps       int       // 0: its own; FGSM and the SAN paper's keep theirs
	Step        float64   // α; 0: its own, or its share of ε
	Restarts    int       // 0: its own
	Tokens      []int     // patches that an adversarial patch covers; nil: its own
	NoRandom    bool      // no random start
	Through     bool      // all steps are made, and the last picture counts
	PlainSquare bool      // Square's schedule is of 10,000 queries, whatever the budget
}

// levels are the cells' parameters of an attack.
func (o *AttackOptions) levels(a attack.Attack) ([]attack.Params, error) {
	all := a.Levels
	first := all[0]
	switch {
	case first.Tokens > 0 && o.Tokens != nil:
		all = nil
		for _, n := range o.Tokens {
			p := first
			p.Tokens = n
			all = append(all, p)
		}
	case first.Tokens == 0 && o.Epsilons != nil && a.Name != "san-pgd":
		all = nil
		for _, e := range o.Epsilons {
			p := first
			p.Step *= e / p.Epsilon
			p.Epsilon = e
			all = append(all, p)
		}
	}
	var out []attack.Params
	for _, p := range all {
		if o.Steps > 0 && !a.Fixed {
			p.Steps = o.Steps
		}
		if o.Step > 0 && p.Step > 0 && !a.Fixed {
			p.Step = o.Step
		}
		if o.Restarts > 0 {
			p.Restarts = o.Restarts
		}
		p.Random = p.Random && !o.NoRandom
		p.Through = p.Through || o.Through
		p.Rescale = p.Rescale && !o.PlainSquare
		if err := a.Check(p); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// attackCells are the cells of an attack, a level each.
func attackCells(a attack.Attack, o *AttackOptions) ([]Cell, error) {
	levels, err := o.levels(a)
	if err != nil {
		return nil, fmt.Errorf("robust: %s: %w", a.Name, err)
	}
	var cells []Cell
	for i, p := range levels {
		text := fmt.Sprintf("ε %.4g/255", 255*p.Epsilon)
		switch {
		case p.Tokens > 0:
			text = fmt.Sprintf("%d patches", p.Tokens)
		case p.Norm == attack.L2:
			text = fmt.Sprintf("L2 ε %.4g", p.Epsilon)
		case a.Name == "san-pgd":
			text += fmt.Sprintf(", %d steps", p.Steps)
		}
		cells = append(cells, Cell{a.Name, strings.ReplaceAll(a.Name, "-", "_"), i + 1, text, adversary{a, p}})
	}
	return cells, nil
}

// adversary is the disturbance that depends on the answers of the target. It
// makes no picture by itself: the runner attacks.
type adversary struct {
	attack attack.Attack
	params attack.Params
}

func (d adversary) needs() needs {
	return needs{
		attack: true, derive: d.attack.Gradients, crop: d.attack.Gradients,
		order: d.attack.Name == "patch-attack-salient", grid: d.params.Tokens > 0,
	}
}

func (adversary) frame(*corrupt.Picture, *subject, int) ([]int, error) {
	return nil, errors.New("an attack asks the target")
}

// notes says what a reader must know of the numbers.
func (d adversary) notes(c Cell, note func(string)) {
	note("attacks: ε in pixels of [0, 1] after the crop; photos whose clean answer is right are attacked, and an attack ends when the picture fools; success is what the target says when it is asked again")
	switch {
	case c.Suite == "square":
		schedule := "resc_schedule: squares shrink as if the budget were 10,000 queries"
		if !d.params.Rescale {
			schedule = "no resc_schedule: squares shrink by the number of the query"
		}
		note("square: pictures are bytes; each has squares of its own; " + schedule)
	case c.Suite == "san-pgd":
		note("san-pgd: after Zhao et al. 2020, without their numbers; the target is uniform over the other classes, all steps are made, success is that the last answer is the target")
	case d.params.Targeted:
		note(c.Suite + ": the target is uniform over the other classes")
	case c.Suite == "patch-attack-salient":
		note(c.Suite + ": the patches that the clean photo's focus map has highest")
	}
}

// cost is what a picture costs at most, in answers; a gradient is three.
func (d adversary) cost() int {
	if d.attack.Gradients {
		return 3 * d.params.Most()
	}
	return d.params.Most()
}

// problem is a photo under attack. class is the one that it must leave, one of
// so many.
func (d adversary) problem(s *subject, c Cell, class, classes int) *attack.Problem {
	draws := s.draws(c.Name, c.Severity)
	p := &attack.Problem{Params: d.params, X: planes(s.picture), W: s.picture.W, H: s.picture.H, Class: class, Draws: draws}
	if d.params.Targeted {
		// Uniform over the other classes.
		var target [1]int
		draws.Below(target[:], 0, classes-1)
		if p.Target = target[0]; p.Target >= class {
			p.Target++
		}
	}
	if d.params.Tokens > 0 {
		order := s.order
		if !d.needs().order {
			order = draws.Perm(s.grid[0] * s.grid[1])
		}
		p.Free = make([]bool, p.W*p.H)
		ph, pw := p.H/s.grid[0], p.W/s.grid[1]
		for _, i := range order[:min(d.params.Tokens, len(order))] {
			y0, x0 := i/s.grid[1]*ph, i%s.grid[1]*pw
			for y := y0; y < y0+ph; y++ {
				for x := x0; x < x0+pw; x++ {
					p.Free[y*p.W+x] = true
				}
			}
		}
	}
	return p
}

// planes are the values of a picture, colour by colour.
func planes(p *corrupt.Picture) []float64 {
	n := p.W * p.H
	x := make([]float64, 3*n)
	for i := range n {
		for c := range 3 {
			x[c*n+i] = float64(p.Pix[3*i+c]) / 255
		}
	}
	return x
}

// picture rounds values to bytes.
func picture(x attack.Picture) *corrupt.Picture {
	p, n := corrupt.New(x.W, x.H), x.W*x.H
	for i := range n {
		for c := range 3 {
			p.Pix[3*i+c] = uint8(math.Round(255 * x.X[c*n+i]))
		}
	}
	return p
}

// victim is a target as attacks ask it.
type victim struct {
	target Target
	whole  bool      // pictures are whole photos
	bytes  bool      // pictures are on the grid of bytes, and are sent so
	only   []int     // classes that answers are restricted to; nil: all
	asked  func(int) // told how much was asked
}

// Logits implements attack.Model.
func (v *victim) Logits(ctx context.Context, x []attack.Picture) ([][]float64, error) {
	in := make([]Input, len(x))
	for i := range x {
		in[i] = Input{Whole: v.whole}
		if v.bytes {
			in[i].Picture = picture(x[i])
		} else {
			in[i].Exact = &x[i]
		}
	}
	answers, err := v.target.Answer(ctx, in)
	if err != nil {
		return nil, err
	}
	v.asked(len(x))
	z := make([][]float64, len(x))
	for i, a := range answers {
		if a.Err != nil {
			return nil, fmt.Errorf("under attack: %w", a.Err)
		}
		z[i] = v.restrict(logitsOf(a))
	}
	return z, nil
}

// logitsOf are an answer's logits, or the logarithms of its scores: they differ
// by a constant.
func logitsOf(a Answer) []float64 {
	z := make([]float64, max(len(a.Logits), len(a.Scores)))
	for k := range z {
		if a.Logits != nil {
			z[k] = float64(a.Logits[k])
		} else {
			z[k] = math.Log(max(a.Scores[k], math.SmallestNonzeroFloat64))
		}
	}
	return z
}

func (v *victim) restrict(z []float64) []float64 {
	if v.only == nil {
		return z
	}
	var some []float64
	for _, k := range v.only {
		some = append(some, z[k])
	}
	return some
}

// Gradients implements attack.Model.
func (v *victim) Gradients(ctx context.Context, x []attack.Picture, seed func(i int, z []float64) []float64) (z, g [][]float64, err error) {
	d, ok := v.target.(Differentiable)
	if !ok {
		return nil, nil, attack.ErrGradients
	}
	z, g, err = d.Gradients(ctx, x, func(i int, z []float64) []float64 {
		s := seed(i, v.restrict(z))
		if v.only == nil {
			return s
		}
		all := make([]float64, len(z))
		for j, k := range v.only {
			all[k] = s[j]
		}
		return all
	})
	if err != nil {
		return nil, nil, err
	}
	v.asked(3 * len(x))
	for i := range z {
		z[i] = v.restrict(z[i])
	}
	return z, g, nil
}

// Attacked is what is kept of an attack on a photo.
type Attacked struct {
	Success int // 1: the attack came to its end, 0: not; -1: there was none, for the clean answer is wrong already
	AsBytes int // 1: so it is of the picture rounded to bytes, 0: not; -1: no success
	Target  int // that it was to come to; -1: none

	Queries  float64 // answers that it took, those with a gradient among them
	Linf, L2 float64 // of the change
}

// size measures a change.
func (a *Attacked) size(x, clean []float64) {
	a.Linf, a.L2 = 0, 0
	for i, v := range x {
		d := v - clean[i]
		a.Linf = max(a.Linf, math.Abs(d))
		a.L2 += d * d
	}
	a.L2 = math.Sqrt(a.L2)
}

// inside says whether the change is in the ball, but for the rounding of floats
// of 32 bits.
func (a *Attacked) inside(p *attack.Params) error {
	size := a.Linf
	if p.Norm == attack.L2 {
		size = a.L2
	}
	if size > p.Epsilon*(1+1e-5)+1e-7 {
		return fmt.Errorf("the attack left the ball: %s of %g, want %g or less", p.Norm, size, p.Epsilon)
	}
	return nil
}

// classesOf returns the classes that answers are restricted to; nil: all.
func (o *Options) classesOf() []int {
	if o.Classes != nil {
		return o.Classes
	}
	return o.Only
}

// aim is the class that an attack on a row's photo is to leave, among those that
// answers are restricted to: the photo's own, or of a photo without one the clean
// answer. ok is false where the clean answer is wrong.
func (o *Options) aim(row *Row) (class int, ok bool) {
	clean := &row.Records[0]
	if row.Class >= 0 && clean.Rank != 0 {
		return 0, false
	}
	if only := o.classesOf(); only != nil {
		class = index(only, clean.Class)
		return class, class >= 0
	}
	return clean.Class, true
}

// verdict is an adversarial picture with what the target answered when it was
// asked again, by the way that everybody asks.
type verdict struct {
	of        *task
	attacked  Attacked
	exact     attack.Picture
	err       error
	untouched bool // the clean answer was wrong
	claimed   bool // the attack says that it succeeded
}

// success reports whether an answer is what an attack wants.
func (v *victim) success(p *attack.Params, class, target int, a Answer) bool {
	scores := a.Scores
	if v.only != nil {
		scores = measure.Only(scores, v.only)
	}
	if best := measure.Best(scores); p.Targeted {
		return best == target
	} else {
		return best != class
	}
}
