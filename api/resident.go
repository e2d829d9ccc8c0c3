package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/api/op"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/internal/batch"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/robust/corrupt"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// resident is a model in memory with its lanes: some classify and embed side by
// side, another explains with lower priority. It is replaced, never changed.
type resident struct {
	id       string
	revision string
	model    *vitserve.Model
	card     v1.Model // without state and default
	bytes    int64
	held     sync.WaitGroup // requests that use the model
	abstain  op.Abstain     // when it does not know

	classify *batch.Queue[forwardIn, forwardOut]
	explain  *batch.Queue[vitserve.Inquiry, vitserve.Finding]
	device   *pulse
	memory   *memory
	threads  int              // of the backend
	passes   []*vitserve.Lane // of classify
	probes   *vitserve.Lane   // of explain
}

// open reads a checkpoint, puts it on the backend and starts its lanes.
func open(m ModelConfig, b backend.Backend, cfg Config, met *metrics, device *pulse, memory *memory, log *slog.Logger) (*resident, error) {
	ck, err := models.Open(m.Path, models.Options{Labels: m.Labels})
	if err != nil {
		return nil, err
	}
	defer ck.Close() // the backend has copied the weights
	if err := calibrate(ck, m.Temperature); err != nil {
		return nil, err
	}
	model, err := vitserve.New(ck, vitserve.Options{On: watched{b, device, log}})
	if err != nil {
		return nil, err
	}
	threads := b.Info().Threads
	lanes := min(threads, cfg.MaxBatch)
	if cfg.BatchDelay > 0 {
		lanes = 1 // who waits for company wants it in one batch
	}
	perLane := (cfg.MaxBatch-1)/lanes + 1
	id := m.ID
	if id == "" {
		id = ck.Name
	}
	r := &resident{
		id: id, device: device, memory: memory, threads: threads, revision: ck.Revision(), model: model,
		abstain: op.Abstain{MinConfidence: m.MinConfidence},
		bytes:   footprint(ck.Config, lanes, perLane, max(cfg.ExplainMaxBatch, vitserve.ProbeBatch), cfg.ExplainMaxBatch),
	}
	if m.MinEnergy != 0 {
		r.abstain.MinEnergy = &m.MinEnergy
	}
	c := model.Config()
	rows, cols := c.Grid()
	r.card = v1.Model{
		ID: id, Revision: r.revision, Architecture: ck.Arch, Layout: ck.Layout, Note: ck.Note, Classes: c.Classes, Classless: ck.Headless(), MultiLabel: ck.Scoring == vit.Sigmoid && c.Classes > 1, Scores: scoresOf(c, ck.Scoring),
		Layers: c.Depth, Heads: c.Heads, Grid: []int{rows, cols}, Pooling: c.Pooling(), Features: c.Features(), AttentionOf: attentionOf(c),
		Precision: b.Info().Precision.String(), Backend: b.Name(), Precisions: backend.Precisions(), Transform: transformOf(ck.Transform),
		Operations: operationsOf(c), Methods: methodsOf(c), DefaultMethod: focus.Question{}.Default(c.Classes > 0), Pools: c.Pools(), MemoryBytes: r.bytes, Labels: ck.Labels, ClassIDs: ck.ClassIDs,
		Focus: focusOf(c), Corruptions: corruptionsOf(),
	}

	// A stream of higher priority takes over at a layer's end, so an
	// explanation that runs does not hold up a classification.
	for range lanes {
		r.passes = append(r.passes, model.NewLane(vit.SessionOptions{MaxBatch: perLane, Priority: 1}))
	}
	r.probes = model.NewLane(vit.SessionOptions{MaxBatch: max(cfg.ExplainMaxBatch, vitserve.ProbeBatch)})
	// The other lanes are allocated when there is work for them. Who explains
	// first does not wait for the weights of gradients.
	if err := errors.Join(r.passes[0].Ready(), r.probes.Warm(context.Background())); err != nil {
		return nil, errors.Join(err, r.free())
	}
	memory.add(r.bytes)
	batches, explained := met.batches(id, "classify"), met.batches(id, "explain")
	executed := met.triton.executed.WithLabelValues(id, tritonVersion)
	r.classify = batch.New(batch.Options{MaxBatch: perLane, Lanes: lanes, MaxQueue: cfg.MaxQueue, Delay: cfg.BatchDelay.std()},
		func(p batch.Pass, in []forwardIn) ([]forwardOut, error) {
			batches.Observe(float64(len(in)))
			executed.Inc()
			device.enter()
			defer device.leave()
			return r.forward(p, in)
		})
	r.explain = batch.New(batch.Options{MaxBatch: cfg.ExplainMaxBatch, MaxQueue: cfg.ExplainMaxQueue},
		func(_ batch.Pass, in []vitserve.Inquiry) ([]vitserve.Finding, error) {
			explained.Observe(float64(len(in)))
			executed.Inc()
			device.enter()
			defer device.leave()
			defer device.beat() // the maps are made, too
			return r.probes.Explain(0, in)
		})
	return r, nil
}

// calibrate has a checkpoint's scores made by a temperature file.
func calibrate(ck *models.Checkpoint, name string) error {
	if name == "" {
		return nil
	}
	if name == TemperatureBeside {
		if name = ck.Beside(models.TemperatureFile); name == "" {
			return fmt.Errorf("api: temperature: nothing lies beside model %s, want the name of a file", ck.Name)
		}
	}
	t, err := models.ReadCalibration(name)
	if err != nil {
		return err
	}
	return ck.Calibrate(t)
}

// forwardIn is a picture for the model's forward pass.
type forwardIn struct {
	pixels *tensor.Dense // (3, H, W)
	wants  vit.Wants     // of a vit.Embedding, or none
}

// forwardOut is what became of it: a row of a batch.
type forwardOut struct {
	*vit.Output
	row int
}

// logits returns the picture's (K); nil without a head.
func (o forwardOut) logits() []float32 {
	if o.Logits == nil {
		return nil
	}
	k := o.Logits.Shape()[1]
	return o.Logits.Float32s()[o.row*k : (o.row+1)*k]
}

// forward computes a batch. What one picture wants is computed of all, which
// changes no bit of the others' answers. A picture that is alone has all
// threads; several at a time have a share each, because threads that work on
// one picture wait for each other in every layer, and the longer the more else
// there is for the processor to do.
func (r *resident) forward(p batch.Pass, in []forwardIn) ([]forwardOut, error) {
	var all vit.Wants
	pixels := make([]*tensor.Dense, len(in))
	for i, p := range in {
		pixels[i] = p.pixels
		all.Features, all.Final = all.Features || p.wants.Features, all.Final || p.wants.Final
	}
	f, err := r.passes[p.Lane].Forward(threadsOf(r.threads, p.Load, len(in)), pixels, all)
	if err != nil {
		return nil, err
	}
	out := make([]forwardOut, len(in))
	for i := range out {
		out[i] = forwardOut{f, i}
	}
	return out, nil
}

// threadsOf is how many threads a pass of n pictures takes while there are load
// of them, its own among them.
func threadsOf(threads, load, n int) int {
	passes := (load-1)/n + 1
	return max(threads/passes, 1)
}

// close waits for the requests that use the model and frees the memory. The
// model must not be in the registry any more.
func (r *resident) close() {
	r.held.Wait()
	r.classify.Close()
	r.explain.Close()
	_ = r.free() // nobody waits for it
}

// free frees the memory of the lanes and the model.
func (r *resident) free() (err error) {
	for _, l := range append(r.passes, r.probes) {
		err = errors.Join(err, l.Close())
	}
	return errors.Join(err, r.model.Close())
}

// footprint estimates the bytes that a model takes: its weights in f32, as much
// again for those of gradients, the activations of its lanes for so many
// pictures each and of the one that explains, one batch of embeddings and one
// of full attention, what a pass that is derived keeps of one picture, and
// patches that are kept of several. The weights of gradients are made with the
// model.
func footprint(c vit.Config, lanes, perLane, explain, attended int) int64 {
	n, l := int64(c.Tokens()), int64(lanes)
	embeddings := l * int64(perLane) * n * int64(c.Dim)
	attn := int64(attended) * int64(c.Depth) * int64(c.Heads) * n * n
	bytes := vit.WeightBytes(c) + l*vit.SessionBytes(c, perLane) + vit.SessionBytes(c, explain) + 4*(embeddings+attn)
	if c.Classes > 0 {
		bytes += 4*vit.Params(c) + vit.TracerBytes(c, 1) + vit.KeptBytes(c, explain)
	}
	return bytes
}

// operationsOf returns what a model can be asked for, by the names of the
// contract.
func operationsOf(c vit.Config) []string {
	all := []string{"explain", "embed", "preprocess"}
	if c.Classes > 0 {
		all = append([]string{"classify"}, all...)
	}
	return all
}

// attentionOf names whose attention a map shows where no patch is asked for.
func attentionOf(c vit.Config) string {
	switch s := vitserve.ShapeOf(c); {
	case s.ProbeHeads > 0:
		return "probe"
	case s.Prefix > 0 && !s.Pooled:
		return "class"
	}
	return "patches"
}

// methodsOf returns the focus maps that a model can be asked for: without
// classes, those that read attention.
func methodsOf(c vit.Config) []string {
	return slices.DeleteFunc(focus.Names(), func(name string) bool {
		return c.Classes == 0 && focus.Question{Method: name}.AsksModel()
	})
}

// focusOf says of each of a model's methods what it understands.
func focusOf(c vit.Config) (all []v1.Focus) {
	for _, name := range methodsOf(c) {
		m, err := focus.Find(name)
		if err != nil {
			panic(err) // it is of the table
		}
		f := v1.Focus{Method: name, Class: m.OfClass(), Versus: m.From == focus.FromGradients, Options: []string{}}
		for _, o := range m.Options() {
			if o.List != "" {
				o.Name = o.List
			}
			f.Options = append(f.Options, o.Name)
		}
		all = append(all, f)
	}
	return all
}

// corruptionsOf are the names of the corruptions.
func corruptionsOf() (names []string) {
	for _, c := range corrupt.Table() {
		names = append(names, c.Name)
	}
	return names
}

// scoresOf names how outputs become scores; "" of a model without a head.
func scoresOf(c vit.Config, how vit.Scoring) string {
	if c.Classes == 0 {
		return ""
	}
	return string(how)
}
