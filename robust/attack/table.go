package attack

import (
	"fmt"
	"slices"
)

// Norm measures a perturbation.
type Norm string

// The norms.
const (
	Linf Norm = "linf" // the largest change of a value
	L2   Norm = "l2"   // the root of the sum of squares over the picture
)

// Params are the numbers of an attack.
type Params struct {
	Norm     Norm    `json:"norm"`
	Epsilon  float64 `json:"epsilon"`            // radius of the ball, in pixels of [0, 1]
	Steps    int     `json:"steps"`              // of Square: queries
	Step     float64 `json:"step,omitempty"`     // α; APGD finds its own, Square has none
	Random   bool    `json:"random_start"`       // begins at a random point of the ball
	Restarts int     `json:"restarts"`           // tries, each from another random start
	Targets  int     `json:"targets,omitempty"`  // APGD-T: how many classes are aimed at one after the other
	Rescale  bool    `json:"rescale,omitempty"`  // Square: resc_schedule, squares shrink as if the budget were 10,000 queries
	Targeted bool    `json:"targeted,omitempty"` // success is one chosen class
	Through  bool    `json:"through,omitempty"`  // all steps are made, and the last picture counts
	Tokens   int     `json:"tokens,omitempty"`   // patches that may change; 0: all of the picture
}

// Attack is a row of the table.
type Attack struct {
	Name, Help string
	Paper      string // where it is from
	Equations  string // of the paper
	Gradients  bool   // needs a model that can be derived; otherwise answers are enough
	Fixed      bool   // its steps are what it is
	Levels     []Params

	run func(o *Oracle, p *Problem) (found, error)
}

// Table returns the attacks.
func Table() []Attack { return slices.Clone(table) }

// Find returns the row of a name.
func Find(name string) (Attack, bool) {
	i := slices.IndexFunc(table, func(a Attack) bool { return a.Name == name })
	if i < 0 {
		return Attack{}, false
	}
	return table[i], true
}

const (
	goodfellow = "Goodfellow, Shlens and Szegedy, Explaining and Harnessing Adversarial Examples, https://arxiv.org/abs/1412.6572"
	madry      = "Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, https://arxiv.org/abs/1706.06083"
	zhao       = "Zhao, Jia and Koltun, Exploring Self-attention for Image Recognition, https://arxiv.org/abs/2004.13621"
	croce      = "Croce and Hein, Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks, https://arxiv.org/abs/2003.01690"
	andri      = "Andriushchenko et al., Square Attack, https://arxiv.org/abs/1912.00049"
	gu         = "Gu, Tresp and Qin, Are Vision Transformers Robust to Patch Perturbations?, https://arxiv.org/abs/2111.10659"
	fu         = "Fu et al., Patch-Fool, https://arxiv.org/abs/2203.08392"
)

var table = []Attack{
	{
		Name: "fgsm", Help: "one step along the sign of the gradient", Paper: goodfellow, Equations: "section 4: x + ε·sign ∇x L", Gradients: true, Fixed: true, run: pgd,
		Levels: levels(Params{Norm: Linf, Steps: 1, Restarts: 1}, alpha(1), 1, 4, 8),
	},
	{
		Name: "pgd", Help: "ten projected steps from a random start", Paper: madry, Equations: "section 2.1: Π(x + α·sign ∇x L)", Gradients: true, run: pgd,
		Levels: levels(Params{Norm: Linf, Steps: 10, Random: true, Restarts: 1}, alpha(0.25), 0.25, 0.5, 1),
	},
	{
		Name: "pgd-targeted", Help: "the same towards a random class", Paper: madry, Equations: "section 2.1, with -L of the target", Gradients: true, run: pgd,
		Levels: levels(Params{Norm: Linf, Steps: 10, Random: true, Restarts: 1, Targeted: true}, alpha(0.25), 1, 4),
	},
	{
		Name: "pgd-l2", Help: "ten steps along the gradient in the L2 ball, ε 0.15 and 0.5", Paper: madry, Equations: "section 2.1, steepest descent in L2", Gradients: true, run: pgd,
		Levels: levels(Params{Norm: L2, Steps: 10, Random: true, Restarts: 1}, alpha(0.25), 0.15*255, 0.5*255),
	},
	{
		Name: "san-pgd", Help: "towards a random class, ε 8/255, 2 steps of 4/255 and 4 of 2/255, no random start", Paper: zhao, Equations: "section 5, as far as it is known", Gradients: true, Fixed: true, run: pgd,
		Levels: []Params{
			{Norm: Linf, Epsilon: 8. / 255, Steps: 2, Step: 4. / 255, Restarts: 1, Targeted: true, Through: true},
			{Norm: Linf, Epsilon: 8. / 255, Steps: 4, Step: 2. / 255, Restarts: 1, Targeted: true, Through: true},
		},
	},
	{
		Name: "apgd-ce", Help: "100 steps whose size finds itself, on the cross-entropy", Paper: croce, Equations: "algorithm 1, conditions 1 and 2", Gradients: true, run: apgdCE,
		Levels: levels(Params{Norm: Linf, Steps: 100, Random: true, Restarts: 1}, nil, 0.25, 0.5),
	},
	{
		Name: "apgd-t", Help: "the same towards the 9 next classes, on the ratio of differences of logits", Paper: croce, Equations: "algorithm 1, the targeted DLR loss", Gradients: true, run: apgdT,
		Levels: levels(Params{Norm: Linf, Steps: 100, Random: true, Restarts: 1, Targets: 9}, nil, 0.25, 0.5),
	},
	{
		Name: "square", Help: "1,000 queries of random squares: needs no gradients, and so any server will do", Paper: andri, Equations: "algorithms 1 and 2", run: square,
		Levels: levels(Params{Norm: Linf, Steps: 1000, Restarts: 1, Rescale: true}, nil, 2, 4),
	},
	{
		Name: "patch-attack", Help: "1, 2 and 4 random patches take any colours that 40 steps find", Paper: gu, Equations: "Π(x + α·sign ∇x L) inside the patches", Gradients: true, run: pgd,
		Levels: patches(),
	},
	{
		Name: "patch-attack-salient", Help: "the same on the patches that the focus map has highest", Paper: fu, Equations: "the patches that attention trusts most, Π(x + α·sign ∇x L) inside them", Gradients: true, run: pgd,
		Levels: patches(),
	},
}

// alpha is a step of so many ε.
func alpha(share float64) func(*Params) { return func(p *Params) { p.Step = share * p.Epsilon } }

// levels are the same parameters at several ε, in 255ths.
func levels(p Params, and func(*Params), epsilons ...float64) (all []Params) {
	for _, e := range epsilons {
		q := p
		q.Epsilon = e / 255
		if and != nil {
			and(&q)
		}
		all = append(all, q)
	}
	return all
}

// patches change everything about few patches.
func patches() (all []Params) {
	for _, n := range []int{1, 2, 4} {
		all = append(all, Params{Norm: Linf, Epsilon: 1, Steps: 40, Step: 16. / 255, Random: true, Restarts: 1, Tokens: n})
	}
	return all
}

// Problem is a picture and what is to happen to it.
type Problem struct {
	Params
	X      []float64 // (3·H·W)
	W, H   int
	Class  int    // that the model must leave
	Target int    // that it must come to, of Targeted
	Free   []bool // (H·W) pixels that may change; nil: all
	Draws  Draws
}

// Result is what an attack has found.
type Result struct {
	X         []float64 // (3·H·W) the last picture tried: the one that fools, if any does
	Fooled    bool
	Queries   int // answers
	Gradients int // of them with a gradient
}

// Most is how many steps there are at most.
func (p *Params) Most() int { return max(1, p.Targets) * p.Restarts * (p.Steps + 1) }

// Check says what is impossible of parameters.
func (a Attack) Check(p Params) error {
	switch {
	case p.Norm != Linf && p.Norm != L2:
		return fmt.Errorf("attack: norm %q, want %s or %s", p.Norm, Linf, L2)
	case !(p.Epsilon > 0) || p.Norm == Linf && p.Epsilon > 1:
		return fmt.Errorf("attack: ε %g, want more than 0 and up to 1", p.Epsilon)
	case p.Steps < 1 || p.Steps > 100000:
		return fmt.Errorf("attack: %d steps, want 1 to 100000", p.Steps)
	case p.Restarts < 1 || p.Restarts > 1000:
		return fmt.Errorf("attack: %d restarts, want 1 to 1000", p.Restarts)
	case a.Name == "square" && p.Norm != Linf:
		return fmt.Errorf("attack: square has norm %s alone, found %s", Linf, p.Norm)
	}
	return nil
}

// Run attacks one picture.
func (a Attack) Run(o *Oracle, p *Problem) (Result, error) {
	o.w, o.h = p.W, p.H
	x, err := a.run(o, p)
	if err != nil {
		return Result{}, err
	}
	return Result{X: x.x, Fooled: x.fooled, Queries: o.queries, Gradients: o.gradients}, nil
}

// found is the picture that an attack ends with.
type found struct {
	x      []float64
	fooled bool
}

// fools reports whether logits are a success.
func (p *Problem) fools(z []float64) bool {
	if p.Targeted {
		return best(z) == p.Target
	}
	return best(z) != p.Class
}

// goal is the cross-entropy that is to grow.
func (p *Problem) goal() loss {
	if p.Targeted {
		return crossEntropy(p.Target, -1)
	}
	return crossEntropy(p.Class, 1)
}
