package api

import (
	"errors"
	"slices"
	"sync"

	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/internal/batch"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// resident is a model in memory with its lanes: some classify and embed side by
// side, another explains with lower priority. It is replaced, never changed.
type resident struct {
	id        string
	revision  string
	note      string
	transform patch.Transform
	config    vit.Config
	top       func(logits []float32, k int, min float64) []models.Prediction
	class     func(name string) (int, error)
	card      v1.Model // without state and default
	bytes     int64
	held      sync.WaitGroup // requests that use the model
	spare     sync.Pool      // of *tensor.Dense: pixels that nobody reads any more

	classify *batch.Queue[forwardIn, forwardOut]
	explain  *batch.Queue[focusIn, focusOut]
	device   *pulse
	threads  int     // of the backend
	passes   []*lane // of classify
	probes   *lane   // of explain
}

// open reads a checkpoint, puts it on the backend and starts its lanes.
func open(m ModelConfig, b backend.Backend, cfg Config, met *metrics, device *pulse) (*resident, error) {
	ck, err := models.Open(m.Path, models.Options{Labels: m.Labels})
	if err != nil {
		return nil, err
	}
	defer ck.Close() // the backend has copied the weights
	model, err := ck.Model(watched{b, device})
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
		id: id, device: device, threads: threads, revision: ck.Revision(), note: ck.Note, transform: ck.Transform, config: model.Config(), top: ck.Top, class: ck.Class,
		bytes: footprint(ck.Config, lanes*perLane, max(cfg.ExplainMaxBatch, probeBatch), cfg.ExplainMaxBatch),
	}
	rows, cols := r.config.Grid()
	r.card = v1.Model{
		ID: id, Revision: r.revision, Architecture: ck.Arch, Layout: ck.Layout, Note: ck.Note, Classes: r.config.Classes, MultiLabel: ck.MultiLabel,
		Layers: r.config.Depth, Heads: r.config.Heads, Grid: []int{rows, cols}, Transform: transformOf(ck.Transform),
		Operations: operationsOf(r.config), Methods: methodsOf(r.config), Pools: r.config.Pools(), MemoryBytes: r.bytes, Labels: ck.Labels,
	}

	// A stream of higher priority takes over at a layer's end, so an
	// explanation that runs does not hold up a classification.
	for range lanes {
		r.passes = append(r.passes, newLane(model, perLane, 1))
	}
	r.probes = newLane(model, max(cfg.ExplainMaxBatch, probeBatch), 0)
	if err := errors.Join(r.passes[0].ready(), r.probes.ready()); err != nil { // the others when there is work for them
		r.free()
		return nil, err
	}
	batches, explained := met.batches(id, "classify"), met.batches(id, "explain")
	r.classify = batch.New(batch.Options{MaxBatch: perLane, Lanes: lanes, MaxQueue: cfg.MaxQueue, Delay: cfg.BatchDelay.std()},
		func(p batch.Pass, in []forwardIn) ([]forwardOut, error) {
			batches.Observe(float64(len(in)))
			device.enter()
			defer device.leave()
			return r.forward(p, in)
		})
	r.explain = batch.New(batch.Options{MaxBatch: cfg.ExplainMaxBatch, MaxQueue: cfg.ExplainMaxQueue},
		func(_ batch.Pass, in []focusIn) ([]focusOut, error) {
			explained.Observe(float64(len(in)))
			device.enter()
			defer device.leave()
			defer device.beat() // the maps are made, too
			return r.focus(in)
		})
	return r, nil
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
	return split(o.Logits)[o.row]
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
	f, err := r.passes[p.Lane].forward(threadsOf(r.threads, p.Load, len(in)), pixels, all)
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

// blank returns memory for a picture's pixels (3, H, W), with anything in it.
// They are most of what a request allocates, and what the garbage collector
// takes from the cores is what the slowest requests wait for.
func (r *resident) blank() *tensor.Dense {
	if t, ok := r.spare.Get().(*tensor.Dense); ok {
		return t
	}
	return tensor.New(tensor.WithShape(3, r.config.Image[0], r.config.Image[1]), tensor.Of(tensor.Float32))
}

// close waits for the requests that use the model and frees the memory. The
// model must not be in the registry any more.
func (r *resident) close() {
	r.held.Wait()
	r.classify.Close()
	r.explain.Close()
	r.free()
}

// free frees the memory of the lanes.
func (r *resident) free() {
	for _, l := range append(r.passes, r.probes) {
		l.close()
	}
}

// lane is a session and the pixels of its batches. One goroutine at a time.
type lane struct {
	model   *vit.Model
	o       vit.SessionOptions
	session *vit.Session // nil: to be made
	pixels  []float32    // (MaxBatch, 3, H, W); nil until there are several pictures
}

func newLane(m *vit.Model, maxBatch, priority int) *lane {
	return &lane{model: m, o: vit.SessionOptions{MaxBatch: maxBatch, Priority: priority}}
}

// forward computes in, each (3, H, W), on so many threads; 0: all.
func (l *lane) forward(threads int, in []*tensor.Dense, w vit.Wants) (out *vit.Output, err error) {
	if err := l.ready(); err != nil {
		return nil, err
	}
	ok := false
	defer func() {
		if !ok {
			l.reset()
		}
	}()
	c := l.model.Config()
	pixels := in[0].Float32s()
	if len(in) > 1 {
		each := len(pixels)
		if l.pixels == nil {
			l.pixels = make([]float32, l.o.MaxBatch*each)
		}
		for i, t := range in {
			copy(l.pixels[i*each:(i+1)*each], t.Float32s())
		}
		pixels = l.pixels[:len(in)*each]
	}
	x := tensor.New(tensor.WithShape(len(in), 3, c.Image[0], c.Image[1]), tensor.WithBacking(pixels))
	l.session.SetThreads(threads)
	out, err = l.session.Forward(x, w)
	ok = err == nil
	return out, err
}

// ready makes the session, or makes it anew if it was reset.
func (l *lane) ready() (err error) {
	if l.session == nil {
		l.session, err = l.model.NewSession(l.o)
	}
	return err
}

// reset has the session made anew: after a panic or a device's failure nobody
// knows what is queued in it.
func (l *lane) reset() {
	l.close()
	l.session = nil
}

func (l *lane) close() {
	if l.session != nil {
		_ = l.session.Close()
	}
}

// split returns the rows of t (B, K).
func split(t *tensor.Dense) [][]float32 {
	s := t.Shape()
	rows := make([][]float32, s[0])
	for i := range rows {
		rows[i] = t.Float32s()[i*s[1] : (i+1)*s[1]]
	}
	return rows
}

// footprint estimates the bytes that a model takes: its weights in f32, the
// activations of sessions for so many pictures, one batch of embeddings and
// one of full attention.
func footprint(c vit.Config, classify, explain, attended int) int64 {
	n := int64(c.Tokens())
	tokens := int64(classify+explain)*n*int64(6*c.Dim+c.Hidden) + int64(classify)*n*int64(c.Dim)
	attn := int64(attended) * int64(c.Depth) * int64(c.Heads) * n * n
	return 4 * (vit.Params(c) + tokens + attn)
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

// methodsOf returns the focus maps that a model can be asked for: without
// classes, those that read attention.
func methodsOf(c vit.Config) []string {
	return slices.DeleteFunc(focus.Names(), func(name string) bool {
		return c.Classes == 0 && focus.Question{Method: name}.AsksModel()
	})
}
