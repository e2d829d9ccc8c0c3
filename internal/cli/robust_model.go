package cli

import (
	"context"
	"fmt"

	lib "github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/robust"
	"github.com/vitserve/vitserve/robust/attack"
	"github.com/vitserve/vitserve/vit"
	"golang.org/x/sync/errgroup"
	"gorgonia.org/tensor"
)

// modelTarget is a model in this process, as a run of robust asks it.
type modelTarget struct {
	m     *lib.Model
	look  lib.Look
	batch int
	about robust.About

	question focus.Question // of the maps
	lane     *lib.Lane
	pixels   []*tensor.Dense // (3, H, W), as many as the batch
	traced   []float32       // (batch, 3, H, W) under derivation; nil: none was
}

var _ robust.Differentiable = (*modelTarget)(nil)

// newModelTarget returns a target that makes maps by a method; "": none.
func newModelTarget(m *lib.Model, look lib.Look, batch int, method string) (*modelTarget, error) {
	c := m.Config()
	if c.Classes == 0 {
		return nil, fmt.Errorf("model %s has no classification head: %s: nothing to be right about", m.Checkpoint.Name, m.Checkpoint.Headless())
	}
	if m.Checkpoint.Scoring == vit.Raw {
		return nil, fmt.Errorf("model %s is a regression: its outputs are values, and none is right or wrong", m.Checkpoint.Name)
	}
	rows, cols := c.Grid()
	transform := m.Checkpoint.Transform
	t := &modelTarget{m: m, look: look, batch: batch, about: robust.About{
		Kind: "in-process", Model: m.Checkpoint.Name, Sum: m.Checkpoint.Revision(), Labels: m.Checkpoint.Labels, IDs: m.Checkpoint.ClassIDs,
		Transform: &transform, Grid: [2]int{rows, cols}, Logits: true, Tokens: true, Maps: method != "", Batch: batch, Gradients: m.Checkpoint.Scoring != vit.Sigmoid,
	}}
	if method != "" {
		q, err := m.Ask(lib.Question{Question: focus.Question{Method: method}})
		if err != nil {
			return nil, err
		}
		t.question = q
	}
	t.lane = m.NewLane(vit.SessionOptions{MaxBatch: batch})
	for range batch {
		t.pixels = append(t.pixels, tensor.New(tensor.WithShape(3, c.Image[0], c.Image[1]), tensor.Of(tensor.Float32)))
	}
	return t, nil
}

func (t *modelTarget) close() error { return t.lane.Close() }

// About implements robust.Target.
func (t *modelTarget) About() robust.About { return t.about }

// unit is v/255 for each byte, as the model's preprocessing has it.
var unit = func() (u [256]float32) {
	for v := range u {
		u[v] = float32(v) / 255
	}
	return u
}()

// fill writes a picture as the model's input.
func (t *modelTarget) fill(ctx context.Context, dst *tensor.Dense, in robust.Input) error {
	if in.Exact != nil {
		v := make([]float32, len(in.Exact.X))
		narrow(v, in.Exact.X)
		x, err := t.m.FromPixels(v)
		if err != nil {
			return err
		}
		copy(dst.Float32s(), x.Pixels.Float32s())
		return nil
	}
	p := in.Picture
	if in.Whole {
		x, err := t.m.Prepare(ctx, lib.Image(p.Image()), t.look)
		if err != nil {
			return err
		}
		copy(dst.Float32s(), x.Pixels.Float32s())
		x.Free()
		return nil
	}
	c := t.m.Config()
	if p.H != c.Image[0] || p.W != c.Image[1] {
		return fmt.Errorf("picture of %d×%d pixels, the model's input is %d×%d: %w", p.W, p.H, c.Image[1], c.Image[0], patch.ErrShape)
	}
	v, n := dst.Float32s(), p.W*p.H
	r, g, b := v[:n], v[n:2*n], v[2*n:3*n]
	for i := range r {
		px := p.Pix[3*i : 3*i+3 : 3*i+3]
		r[i], g[i], b[i] = unit[px[0]], unit[px[1]], unit[px[2]]
	}
	return nil
}

// Answer implements robust.Target.
func (t *modelTarget) Answer(ctx context.Context, in []robust.Input) ([]robust.Answer, error) {
	out := make([]robust.Answer, len(in))
	for lo := 0; lo < len(in); lo += t.batch {
		if err := t.answer(ctx, in[lo:min(lo+t.batch, len(in))], out[lo:]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// answer answers up to a batch.
func (t *modelTarget) answer(ctx context.Context, in []robust.Input, out []robust.Answer) error {
	var fill errgroup.Group
	for i := range in {
		fill.Go(func() error { out[i].Err = t.fill(ctx, t.pixels[i], in[i]); return nil })
	}
	_ = fill.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	var plain, mapped []int
	for i := range in {
		switch {
		case out[i].Err != nil:
		case in[i].Keep != nil:
			z, err := t.lane.Kept(0, t.pixels[i], [][]int{in[i].Keep})
			if err != nil {
				return err
			}
			t.score(&out[i], z.Float32s())
		case in[i].Map && t.about.Maps:
			mapped = append(mapped, i)
		default:
			plain = append(plain, i)
		}
	}
	if len(plain) > 0 {
		var pixels []*tensor.Dense
		for _, i := range plain {
			pixels = append(pixels, t.pixels[i])
		}
		o, err := t.lane.Forward(0, pixels, vit.Wants{})
		if err != nil {
			return err
		}
		k := t.m.Config().Classes
		for j, i := range plain {
			t.score(&out[i], o.Logits.Float32s()[j*k:(j+1)*k])
		}
	}
	if len(mapped) == 0 {
		return nil
	}
	var inquiries []lib.Inquiry
	for _, i := range mapped {
		inquiries = append(inquiries, lib.Inquiry{Context: ctx, Pixels: t.pixels[i], Question: t.question})
	}
	found, err := t.lane.Explain(0, inquiries)
	if err != nil {
		return err
	}
	for j, i := range mapped {
		f := found[j]
		if f.Err != nil {
			out[i].Err = f.Err
			continue
		}
		t.score(&out[i], f.Logits)
		if len(f.Maps) > 0 && f.Maps[0].Map != nil {
			out[i].Map = f.Maps[0].Map.Values.Float32s()
		}
	}
	return nil
}

// narrow writes values as floats of 32 bits.
func narrow(dst []float32, src []float64) {
	for i, v := range src {
		dst[i] = float32(v)
	}
}

// wide returns values as floats of 64 bits.
func wide(src []float32) []float64 {
	dst := make([]float64, len(src))
	for i, v := range src {
		dst[i] = float64(v)
	}
	return dst
}

// Gradients implements robust.Differentiable.
func (t *modelTarget) Gradients(ctx context.Context, in []attack.Picture, seed func(i int, logits []float64) []float64) (logits, grads [][]float64, err error) {
	c := t.m.Config()
	k, each := c.Classes, 3*c.Image[0]*c.Image[1]
	if t.traced == nil {
		t.traced = make([]float32, t.batch*each)
	}
	logits, grads = make([][]float64, len(in)), make([][]float64, len(in))
	for lo := 0; lo < len(in); lo += t.batch {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		part := in[lo:min(lo+t.batch, len(in))]
		for i := range part {
			if len(part[i].X) != each {
				return nil, nil, fmt.Errorf("%d values, want 3×%d×%d: %w", len(part[i].X), c.Image[0], c.Image[1], patch.ErrShape)
			}
		}
		parallel(len(part), func(i int) { narrow(t.traced[i*each:(i+1)*each], part[i].X) })
		pixels := tensor.New(tensor.WithShape(len(part), 3, c.Image[0], c.Image[1]), tensor.WithBacking(t.traced[:len(part)*each]))
		z, g, err := t.lane.Gradients(0, pixels, func(z *tensor.Dense) *tensor.Dense {
			d := tensor.New(tensor.WithShape(len(part), k), tensor.Of(tensor.Float32))
			parallel(len(part), func(i int) {
				logits[lo+i] = wide(z.Float32s()[i*k : (i+1)*k])
				narrow(d.Float32s()[i*k:(i+1)*k], seed(lo+i, logits[lo+i]))
			})
			return d
		})
		if err != nil {
			return nil, nil, err
		}
		if err := vit.CheckFinite("logits", z.Float32s()); err != nil {
			return nil, nil, err
		}
		parallel(len(part), func(i int) { grads[lo+i] = wide(g.Float32s()[i*each : (i+1)*each]) })
	}
	return logits, grads, nil
}

// parallel calls f for 0 to n-1.
func parallel(n int, f func(i int)) {
	var g errgroup.Group
	for i := range n {
		g.Go(func() error { f(i); return nil })
	}
	_ = g.Wait() // there are no errors
}

// score makes an answer of logits. Those of a head whose labels are independent
// are made to add up to one.
func (t *modelTarget) score(a *robust.Answer, logits []float32) {
	if a.Err = vit.CheckFinite("logits", logits); a.Err != nil {
		return
	}
	a.Logits = append([]float32(nil), logits...)
	a.Scores = vit.Scores(logits, t.m.Checkpoint.Scoring)
	if t.m.Checkpoint.Scoring == vit.Sigmoid {
		a.Logits = nil
		normalise(a.Scores)
	}
}

// normalise makes scores add up to one.
func normalise(scores []float64) {
	sum := 0.0
	for _, v := range scores {
		sum += v
	}
	for i := range scores {
		scores[i] /= sum
	}
}
