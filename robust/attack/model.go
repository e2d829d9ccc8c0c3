package attack

import (
	"context"
	"errors"
	"slices"
)

// Model is what attacks ask. One goroutine asks it at a time.
type Model interface {
	// Logits answers pictures: (K) each, logits or the logarithms of scores.
	Logits(ctx context.Context, x []Picture) ([][]float64, error)

	// Gradients also returns ∂L/∂x (3·H·W) of each picture, where seed returns
	// ∂L/∂z (K) of picture i from its logits z. A model that cannot be derived
	// answers with ErrGradients.
	Gradients(ctx context.Context, x []Picture, seed func(i int, z []float64) []float64) (z, g [][]float64, err error)
}

// Picture is one in colour planes.
type Picture struct {
	W, H int
	X    []float64 // (3·H·W) in [0, 1]
}

// ErrGradients is the error of a model that cannot be derived.
var ErrGradients = errors.New("attack: the model gives no gradients")

// Oracle puts the questions of one attack to the model.
type Oracle struct {
	ask       func(*question)
	w, h      int // of the pictures
	queries   int
	gradients int
}

// question is about one picture.
type question struct {
	x    Picture
	seed func(z []float64) []float64 // nil: only the logits are wanted

	z, g []float64
	err  error
	done chan struct{}
}

// logits answers a picture.
func (o *Oracle) logits(x []float64) ([]float64, error) {
	q := question{x: Picture{o.w, o.h, x}, done: make(chan struct{})}
	o.queries++
	o.ask(&q)
	return q.z, q.err
}

// gradient answers a picture and derives the loss.
func (o *Oracle) gradient(x []float64, l loss) (z, g []float64, value float64, err error) {
	q := question{x: Picture{o.w, o.h, x}, done: make(chan struct{})}
	q.seed = func(z []float64) (d []float64) {
		value, d = l(z)
		return d
	}
	o.queries++
	o.gradients++
	o.ask(&q)
	return q.z, q.g, value, q.err
}

// Each calls work for 0 to n-1 in order, up to batch at a time, each in a
// goroutine of its own, and done on the caller's after each. What they ask is put
// to the model when none of those under way has anything else to do. The first
// error ends all.
func Each(ctx context.Context, m Model, batch, n int, work func(i int, o *Oracle) error, done func(i int) error) error {
	type end struct {
		i   int
		err error
	}
	asked, ended := make(chan *question), make(chan end)
	running, next := 0, 0
	var first error
	begin := func() {
		for ; running < batch && next < n && first == nil; next++ {
			running++
			go func(i int) {
				o := &Oracle{ask: func(q *question) {
					asked <- q
					<-q.done
				}}
				ended <- end{i, work(i, o)}
			}(next)
		}
	}
	var waiting []*question
	for begin(); running > 0; begin() {
		select {
		case q := <-asked:
			waiting = append(waiting, q)
		case e := <-ended:
			running--
			if first == nil && e.err == nil {
				e.err = done(e.i)
			}
			if first == nil {
				first = e.err
			}
		}
		if len(waiting) < running || running < batch && next < n && first == nil {
			continue
		}
		if first == nil {
			first = ctx.Err()
		}
		if first == nil {
			first = answer(ctx, m, waiting)
		}
		for _, q := range waiting {
			q.err = first
			close(q.done)
		}
		waiting = waiting[:0]
	}
	return first
}

// answer asks the model, about logits and about gradients apart.
func answer(ctx context.Context, m Model, all []*question) error {
	var plain, derived []*question
	for _, q := range all {
		if q.seed == nil {
			plain = append(plain, q)
		} else {
			derived = append(derived, q)
		}
	}
	pictures := func(of []*question) (x []Picture) {
		for _, q := range of {
			x = append(x, q.x)
		}
		return x
	}
	if len(plain) > 0 {
		z, err := m.Logits(ctx, pictures(plain))
		if err != nil {
			return err
		}
		for i, q := range plain {
			q.z = z[i]
		}
	}
	if len(derived) == 0 {
		return nil
	}
	z, g, err := m.Gradients(ctx, pictures(derived), func(i int, z []float64) []float64 { return derived[i].seed(z) })
	if err != nil {
		return err
	}
	for i, q := range derived {
		q.z, q.g = z[i], g[i]
	}
	return nil
}

// best is the class of the highest logit, the first of several.
func best(z []float64) int { return slices.Index(z, slices.Max(z)) }

// Draws gives the random numbers of an attack, in the order in which it asks
// for them. corrupt.Generator is one.
type Draws interface {
	Uniform(dst []float64) // in [0, 1)
	Normal(dst []float64)  // of mean 0 and deviation 1
	Perm(n int) []int
}
