package robust

import (
	"context"
	"fmt"

	"github.com/vitserve/vitserve/robust/attack"
)

// assaultTasks is how many pictures of a batch are under attack before rows are
// written: pictures that are fooled make room for others as long as there are
// some.
const assaultTasks = 8

// assault attacks what waits for it. Pictures on the grid of bytes and others
// are asked about apart.
func (r *runner) assault(ctx context.Context) error {
	if err := r.flush(ctx); err != nil {
		return err
	}
	jobs := r.attacks
	r.attacks = nil
	for _, derive := range []bool{true, false} {
		var some []*task
		for _, t := range jobs {
			if r.o.Cells[t.cell].how.needs().derive == derive {
				some = append(some, t)
			}
		}
		if len(some) == 0 {
			continue
		}
		if err := r.attack(ctx, some, derive); err != nil {
			return err
		}
	}
	return nil
}

// attack attacks the tasks' photos, and asks the target again about what it has
// found, a batch at a time.
func (r *runner) attack(ctx context.Context, jobs []*task, derive bool) error {
	v := &victim{target: r.target, whole: r.o.Mode == PhotoMode, bytes: !derive, only: r.o.classesOf(), asked: r.count}
	found := make([]verdict, len(jobs))
	var ready []*verdict
	judge := func() error {
		err := r.judge(ctx, v, ready)
		ready = ready[:0]
		return err
	}
	batch := max(r.about.Batch, 1)
	err := attack.Each(ctx, v, batch, len(jobs), func(i int, oracle *attack.Oracle) error {
		var err error
		found[i], err = r.duel(jobs[i], oracle)
		return err
	}, func(i int) error {
		// What was not asked, because the picture was fooled before, is done too.
		d := r.o.Cells[jobs[i].cell].how.(adversary)
		r.count(d.cost() - found[i].cost(d))
		if ready = append(ready, &found[i]); len(ready) < batch {
			return nil
		}
		return judge()
	})
	if err != nil {
		return err
	}
	return judge()
}

func (v *verdict) cost(d adversary) int {
	each := 1
	if d.attack.Gradients {
		each = 3
	}
	return min(each*int(v.attacked.Queries), d.cost())
}

// duel attacks one photo. What is wrong with the photo is in the verdict.
func (r *runner) duel(t *task, oracle *attack.Oracle) (verdict, error) {
	out := verdict{of: t, attacked: noAttack()}
	p, c := t.of, r.o.Cells[t.cell]
	d := c.how.(adversary)
	if p.subject == nil || !p.row.Records[0].Answered || d.needs().order && p.order == nil {
		out.err = errNoPhoto // which the clean cell says more of
		return out, nil
	}
	out.exact = attack.Picture{W: p.picture.W, H: p.picture.H, X: planes(p.picture)}
	class, ok := r.o.aim(p.row)
	if !ok {
		out.untouched = true
		return out, nil
	}
	problem := d.problem(p.subject, c, class, len(p.clean))
	res, err := d.attack.Run(oracle, problem)
	if err != nil {
		return out, err
	}
	out.attacked = Attacked{Success: 0, AsBytes: -1, Target: -1, Queries: float64(res.Queries)}
	if d.params.Targeted {
		out.attacked.Target = problem.Target
	}
	out.claimed = res.Fooled
	out.attacked.size(res.X, out.exact.X)
	if out.err = out.attacked.inside(&d.params); out.err == nil {
		out.exact.X = res.X
	}
	return out, nil
}

// judge asks about the pictures that attacks end with, and about those rounded
// to bytes, and enters the answers.
func (r *runner) judge(ctx context.Context, v *victim, all []*verdict) error {
	var in []Input
	for _, f := range all {
		if f.err != nil {
			continue
		}
		rounded := Input{Picture: picture(f.exact), Whole: v.whole, Map: r.o.Drift}
		if v.bytes {
			in = append(in, rounded)
			continue
		}
		exact := rounded
		exact.Picture, exact.Exact = nil, &f.exact
		rounded.Map = false
		in = append(in, exact, rounded)
	}
	var answers []Answer
	if len(in) > 0 {
		var err error
		if answers, err = r.target.Answer(ctx, in); err != nil {
			return err
		}
	}
	for _, f := range all {
		a := Answer{Err: f.err}
		if f.err == nil {
			a = answers[0]
			rounded := a
			answers = answers[1:]
			if !v.bytes {
				rounded, answers = answers[0], answers[1:]
			}
			if err := r.decide(v, f, &a, rounded); err != nil {
				return err
			}
		}
		f.of.of.row.Records[f.of.cell].Attacked = f.attacked
		if err := r.take(f.of, a); err != nil {
			return err
		}
	}
	return nil
}

// decide enters whether the attack succeeded. An answer that differs from the
// one that the attack was given is an error of the row.
func (r *runner) decide(v *victim, f *verdict, a *Answer, rounded Answer) error {
	c := r.o.Cells[f.of.cell]
	d := c.how.(adversary)
	if a.Err != nil {
		return nil
	}
	if !f.untouched {
		class, _ := r.o.aim(f.of.of.row)
		success := v.success(&d.params, class, f.attacked.Target, *a)
		if success != f.claimed {
			a.Err = fmt.Errorf("the attack and the answer to its picture disagree: success is %v and %v", f.claimed, success)
			return nil
		}
		if success {
			f.attacked.Success, f.attacked.AsBytes = 1, 0
			if rounded.Err == nil && v.success(&d.params, class, f.attacked.Target, rounded) {
				f.attacked.AsBytes = 1
			}
		}
	}
	if r.o.Adversary == nil {
		return nil
	}
	p := f.of.of
	if !p.shown {
		p.shown = true
		if err := r.o.Adversary(p.source.Name, Clean, p.picture); err != nil {
			return err
		}
	}
	return r.o.Adversary(p.source.Name, c, picture(f.exact))
}
