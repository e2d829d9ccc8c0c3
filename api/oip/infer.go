package oip

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/vitserve/vitserve/api/op"
	"github.com/vitserve/vitserve/attention/focus"
	"gorgonia.org/tensor"
)

// request asks for an inference, in no encoding's words.
type request struct {
	model, version, id string
	parameters         []parameter
	inputs             []input
	outputs            []wanted
	binary             bool // outputs, where none is named
}

// wanted is an output that is asked for.
type wanted struct {
	name    string
	classes int // of the classification extension; 0: the values
	binary  bool
}

// response is an answer to a request.
type response struct {
	model   target
	id      string
	outputs []output
}

// output is a tensor of an answer.
type output struct {
	wanted
	datatype string
	shape    []int
	parts    [][]float32 // that lie behind each other
	texts    []string    // of BYTES
}

// infer answers a request and counts it.
func (d *dialect) infer(ctx context.Context, c op.Call, r *request) (*response, error) {
	began := time.Now()
	t, err := find(c, r.model, r.version)
	if err != nil {
		return nil, err
	}
	var spent spent
	a, err := d.answer(ctx, c, t, r, &spent)
	d.stats.add(t.name(), time.Since(began), spent, err)
	return a, err
}

// answer is infer of a model that is there.
func (d *dialect) answer(ctx context.Context, c op.Call, t target, r *request, spent *spent) (*response, error) {
	if len(r.inputs) != 1 {
		return nil, value("%d inputs of model %s, want 1: %s", len(r.inputs), t.name(), t.input)
	}
	a, err := read(d.rows, r.parameters)
	if err != nil {
		return nil, err
	}
	m, err := shapes(ctx, c, t, a.options)
	if err != nil {
		return nil, err
	}
	outputs, err := m.wanted(r)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, o := range outputs {
		names = append(names, o.name)
	}
	if err := a.matter(names); err != nil {
		return nil, err
	}
	a.options.Model, a.options.Wait = t.card.ID, true
	pictures, err := m.pictures(c, &r.inputs[0])
	if err != nil {
		return nil, fmt.Errorf("input %s: %w", op.Clip(r.inputs[0].name), err)
	}
	q := inquiry{m: m, ask: a, pictures: pictures, names: names, spent: spent}
	if err := q.run(ctx, c); err != nil {
		return nil, err
	}
	spent.pictures = len(pictures)
	began := time.Now()
	out := &response{model: t, id: r.id}
	for _, o := range outputs {
		found := q.found[o.name]
		found.wanted = o
		if o.classes > 0 {
			found = found.classify(o.classes, m.labelsOf(o.name))
		}
		out.outputs = append(out.outputs, found)
	}
	spent.output += time.Since(began)
	return out, nil
}

// wanted are the outputs that are asked for: the model's own where none is
// named.
func (m shaped) wanted(r *request) ([]wanted, error) {
	asked := r.outputs
	if len(asked) == 0 {
		return []wanted{{name: m.output, binary: r.binary}}, nil
	}
	all := m.outputs()
	for i, o := range asked {
		if !slices.Contains(all, o.name) {
			why := ""
			if m.Classless != "" && (o.name == outProbs || o.name == outLogits) {
				why = ", for it knows no classes: " + m.Classless
			}
			return nil, value("output %s of model %s, want one of %s%s", op.Clip(o.name), m.name(), strings.Join(all, ", "), why)
		}
		if o.name == outAbstained && o.classes > 0 {
			return nil, value("output %s: classification %d, want none: it is a text", o.name, o.classes)
		}
		if slices.ContainsFunc(asked[:i], func(before wanted) bool { return before.name == o.name }) {
			return nil, value("output %s twice", o.name)
		}
	}
	return asked, nil
}

// labelsOf returns the labels of an output's values; nil where they have none.
func (m shaped) labelsOf(output string) []string {
	if output == outProbs || output == outLogits {
		return m.Labels
	}
	return nil
}

// pictures are what an input holds.
func (m shaped) pictures(c op.Call, in *input) (all []op.Picture, err error) {
	switch in.name {
	case inImage:
		files, err := in.files(m.limits.Images, c.Charge)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			all = append(all, op.Picture{Data: f})
		}
	case inPixels:
		tensors, err := in.pixels(m.limits.Images, m.Config.Image, c.Charge)
		if err != nil {
			return nil, err
		}
		mean, std := m.Transform.Normalisation()
		for _, x := range tensors {
			undo(x, mean, std)
			all = append(all, op.Picture{Pixels: x})
		}
	default:
		return nil, value("no input of model %s, want %s", m.name(), m.input)
	}
	return all, nil
}

// undo takes back what clients do to pixels in [0, 1]: (v - mean) / std. Values
// beyond it stay beyond it, and what is no number stays none. Photos are made of
// bytes: what a byte has become but for the client's rounding is that byte
// again, so that the model sees to the bit what it sees of the photo.
func undo(pixels []float32, mean, std [3]float64) {
	const bytes, rounding = 255, 3e-5 // of a float32 near 2, times std and bytes
	for c, plane := range slices.Collect(slices.Chunk(pixels, len(pixels)/3)) {
		for i, v := range plane {
			unit := float64(v)*std[c] + mean[c]
			if b := math.Round(unit * bytes); math.Abs(unit*bytes-b) <= rounding {
				plane[i] = float32(b) / bytes
			} else {
				plane[i] = float32(unit)
			}
		}
	}
}

// inquiry is what is asked of the server for the outputs of a request.
type inquiry struct {
	m        shaped
	ask      *ask
	pictures []op.Picture
	names    []string // of the outputs
	spent    *spent
	found    map[string]output
}

func (q *inquiry) wants(names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(q.names, n) })
}

// run asks the operations that make the outputs.
func (q *inquiry) run(ctx context.Context, c op.Call) error {
	q.found = map[string]output{}
	if q.wants(outProbs, outLogits, outAbstained) {
		ask := op.Classify{Options: q.ask.options}
		if q.wants(outAbstained) {
			ask.Abstain = &q.ask.abstain
		}
		a, err := c.Classify(ctx, ask, q.pictures)
		if err := gather(q, a, err, q.classified); err != nil {
			return err
		}
	}
	if q.wants(outEmbedding) {
		a, err := c.Embed(ctx, op.Embed{Options: q.ask.options, Embedding: q.ask.embedding}, q.pictures)
		if err := gather(q, a, err, q.embedded); err != nil {
			return err
		}
	}
	if q.wants(outMap) {
		x := op.Explain{Options: q.ask.options, Labels: op.Labels{TopK: 1}, Question: q.ask.question, Classes: q.ask.classes, Versus: q.ask.versus}
		a, err := c.Explain(ctx, x, q.pictures)
		if err := gather(q, a, err, q.explained); err != nil {
			return err
		}
	}
	for name, rows := range map[string][]int{outAttention: nil, outClassAttention: {0}} {
		if !q.wants(name) {
			continue
		}
		layer, head := q.ask.question.Options.Layer, q.ask.question.Options.Head
		x := op.Explain{Options: q.ask.options, Labels: op.Labels{TopK: 1}, Question: focus.Question{
			Method: "raw", Options: focus.Options{Layer: layer, Head: head}, Keep: &focus.Part{Layer: layer, Head: head, Rows: rows},
		}}
		a, err := c.Explain(ctx, x, q.pictures)
		err = gather(q, a, err, func(_ int, x *op.Explained) error { q.attended(name, x.Found.Kept); return nil })
		if err != nil {
			return err
		}
	}
	return nil
}

// gather hands what became of each picture to take. One that is broken breaks
// the request, which has no place to say so.
func gather[R any](q *inquiry, a *op.Answer[R], err error, take func(i int, r *R) error) error {
	if err != nil {
		return err
	}
	var slowest op.Timings // whose parts are no longer than the request
	for i := range a.Items {
		item := &a.Items[i]
		if err = item.Err; err == nil {
			err = take(i, &item.Value)
		}
		if err != nil {
			if len(a.Items) > 1 {
				err = fmt.Errorf("picture %d: %w", i, err)
			}
			return err
		}
		seen := seenOf(&item.Value)
		if seen.Timings.Sum() > slowest.Sum() {
			slowest = seen.Timings
		}
		q.spent.computed(seen)
	}
	q.spent.add(slowest)
	return nil
}

// seenOf is what an answer says of a picture beside the answer itself.
func seenOf(v any) op.Seen {
	switch v := v.(type) {
	case *op.Classified:
		return v.Seen
	case *op.Embedded:
		return v.Seen
	case *op.Explained:
		return v.Seen
	}
	panic(fmt.Sprintf("oip: answer of %T", v))
}

func (q *inquiry) classified(_ int, x *op.Classified) error {
	if q.wants(outProbs) {
		probs := make([]float32, len(x.Logits))
		for _, p := range x.Predictions {
			probs[p.Index] = float32(p.Score)
		}
		q.append(outProbs, tensor.Shape{len(probs)}, probs)
	}
	if q.wants(outLogits) {
		q.append(outLogits, tensor.Shape{len(x.Logits)}, x.Logits)
	}
	if q.wants(outAbstained) {
		o := q.found[outAbstained]
		o.datatype, o.shape, o.texts = bytesType, []int{len(q.pictures), 1}, append(o.texts, x.Abstained)
		q.found[outAbstained] = o
	}
	return nil
}

func (q *inquiry) embedded(_ int, x *op.Embedded) error {
	q.append(outEmbedding, x.Vectors.Shape(), x.Vectors.Float32s())
	return nil
}

func (q *inquiry) explained(_ int, x *op.Explained) error {
	maps := x.Found.Maps
	var shape tensor.Shape
	var parts [][]float32
	for _, m := range maps {
		if m.Err != nil {
			return m.Err // the tensor would not say which map is missing
		}
		shape, parts = m.Map.Values.Shape(), append(parts, m.Map.Values.Float32s())
	}
	if len(maps) > 1 {
		shape = append(tensor.Shape{len(maps)}, shape...)
	}
	q.append(outMap, shape, parts...)
	return nil
}

// attended keeps a part of a picture's attention.
func (q *inquiry) attended(name string, kept *focus.Record) {
	var parts [][]float32
	for _, a := range kept.Attn {
		parts = append(parts, a.Float32s())
	}
	s := kept.Attn[0].Shape() // (1, H, R, N)
	shape := tensor.Shape{len(parts), s[1], s[2], s[3]}
	if name == outClassAttention {
		shape = tensor.Shape{len(parts), s[1], s[3]}
	}
	q.append(name, shape, parts...)
}

// append puts a picture's part of an output behind those of the pictures before.
func (q *inquiry) append(name string, shape tensor.Shape, parts ...[]float32) {
	o := q.found[name]
	o.datatype = fp32
	o.shape = append([]int{len(q.pictures)}, shape...)
	o.parts = append(o.parts, parts...)
	q.found[name] = o
}
