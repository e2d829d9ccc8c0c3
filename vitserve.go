// Package vitserve says what is in photos, and where the model looked, with
// Vision Transformers. It is the library, and the one way of a photo through a
// model that the command, the server and everything else take:
//
//	m, err := vitserve.Open("starter")
//	if err != nil {
//		return err
//	}
//	defer m.Close()
//	a, err := m.Classify(ctx, vitserve.File("photo.jpg"))
//	if err != nil {
//		return err
//	}
//	fmt.Println(a.Predictions[0].Label, a.Predictions[0].Score)
//
// A photo is a Source: a file, bytes, a reader, or an image in memory; many of
// them are found by Sources. Classify, Embed and Explain answer one photo;
// Stream answers any number in their order, decoding beside the model.
//
// Below these stand the steps that they are made of, for programs that have
// queues and limits of their own, as the server has: Prepare brings a photo to
// the model's pixels, Ask holds a question to the model, and a Lane computes
// batches.
//
// The processor's backend comes with this package. Another one is added by a
// blank import of its package and chosen by Options.Backend.
package vitserve

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/backend"
	_ "github.com/vitserve/vitserve/backend/cpu" // so that one import is enough for an answer
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// Errors of a Model.
var (
	ErrHead   = errors.New("no classification head") // a class is asked for, of a model that knows none
	ErrClosed = errors.New("model is closed")
)

// Options open a model. The zero value is the model as its files say it, in
// f32 on every core.
type Options struct {
	Labels    string // file of class names, a line each; "": what the checkpoint says
	ImageSize [2]int // height, width of the input in pixels; zero: what the checkpoint says

	Backend   string // what computes, of backend.Names; "": cpu
	Device    string // which of several; "": the backend's first
	Precision string // f32 (""), bf16, int8, or auto: bf16 where the machine has it, whose first answers are those of f32 on 99 of 100 photos
	Threads   int    // threads that compute; 0: one a core

	// On computes in place of the four above. It stays the caller's, and
	// several models may share it.
	On backend.Backend

	Look Look // how photos are read
}

// AutoPrecision is the precision that leaves the choice to the machine.
const AutoPrecision = "auto"

// Machine returns the name and the options of the backend that o names.
func (o Options) Machine() (name string, b backend.Options, err error) {
	if name = o.Backend; name == "" {
		name = "cpu"
	}
	b = backend.Options{Device: o.Device, Threads: o.Threads}
	switch o.Precision {
	case "":
	case AutoPrecision:
		b.Precision = backend.BF16
		opened, err := backend.Open(name, b)
		if errors.Is(err, backend.ErrUnsupported) {
			b.Precision = backend.F32
			return name, b, nil
		}
		if err != nil {
			return name, b, err
		}
		return name, b, opened.Close()
	default:
		b.Precision, err = backend.ParsePrecision(o.Precision)
	}
	return name, b, err
}

// Model is a model that answers. It is safe for use by several goroutines.
type Model struct {
	// Checkpoint is what the model's files say: its name, labels,
	// configuration, preprocessing, and what a user must know of its answers.
	Checkpoint *models.Checkpoint

	vit     *vit.Model
	config  vit.Config
	backend backend.Backend
	shape   focus.Shape
	look    Look
	spare   sync.Pool // of *tensor.Dense: pixels that nobody reads any more
	passes  *lanes    // of Classify and Embed
	probes  *lanes    // of Explain
	owned   []func() error

	mu     sync.Mutex
	closed bool
	under  sync.WaitGroup // answers under way
}

// Open opens a model: an embedded one by its name, a folder, a file, or the
// ORG/NAME of one in the hub's cache; "" is the default model. Of options there
// is one at most. Errors about a model that is not there have
// models.ErrNotFound in their chain.
func Open(name string, options ...Options) (*Model, error) {
	o := only(options)
	ck, err := models.Open(name, models.Options{Labels: o.Labels, ImageSize: o.ImageSize})
	if err != nil {
		return nil, err
	}
	m, err := New(ck, o)
	if err != nil {
		return nil, errors.Join(err, ck.Close())
	}
	m.owned = append(m.owned, ck.Close)
	return m, nil
}

// New puts an opened checkpoint on a backend. The checkpoint stays the
// caller's: once the model is there, only Shuffled reads its weights, and it
// may be closed.
func New(ck *models.Checkpoint, o Options) (*Model, error) {
	m := &Model{Checkpoint: ck, backend: o.On, look: o.Look}
	if m.backend == nil {
		name, with, err := o.Machine()
		if err != nil {
			return nil, err
		}
		if m.backend, err = backend.Open(name, with); err != nil {
			return nil, err
		}
		m.owned = append(m.owned, m.backend.Close)
	}
	return m.with(ck.Model(m.backend))
}

// with completes m by its network.
func (m *Model) with(net *vit.Model, err error) (*Model, error) {
	if err != nil {
		return nil, errors.Join(fmt.Errorf("model %s: %w", m.Checkpoint.Name, err), m.close())
	}
	m.vit, m.config = net, net.Config()
	m.owned = append([]func() error{net.Close}, m.owned...)
	m.shape = ShapeOf(m.config)
	m.passes = newLanes(m, vit.SessionOptions{MaxBatch: 1}, m.backend.Info().Threads)
	m.probes = newLanes(m, vit.SessionOptions{MaxBatch: ProbeBatch}, 1)
	return m, nil
}

// Shuffled returns the model with the weights of vit.Weights.Shuffled, which
// knows nothing from some block on, on the same backend. It must be closed
// before m.
func (m *Model) Shuffled(from int, seed uint64) (*Model, error) {
	s := &Model{Checkpoint: m.Checkpoint, backend: m.backend, look: m.look}
	return s.with(m.Checkpoint.ShuffledModel(m.backend, from, seed))
}

// Close waits for the answers under way, streams among them, and frees the
// model, and its backend unless that is the caller's. What is asked later
// fails with ErrClosed. A second Close does nothing.
func (m *Model) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.under.Wait()
	return errors.Join(m.passes.close(), m.probes.close(), m.close())
}

// hold keeps the model from being freed until m.under.Done is called.
func (m *Model) hold() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return fmt.Errorf("vitserve: %s: %w", m.Checkpoint.Name, ErrClosed)
	}
	m.under.Add(1)
	return nil
}

func (m *Model) close() (err error) {
	for _, f := range m.owned {
		err = errors.Join(err, f())
	}
	m.owned = nil
	return err
}

// Config returns the sizes of the network.
func (m *Model) Config() vit.Config { return m.config }

// Backend returns what computes.
func (m *Model) Backend() backend.Backend { return m.backend }

// Answer is what a model says of a photo.
type Answer struct {
	Predictions []models.Prediction // of every class, the best first
	Logits      []float32           // (K)
	Geometry    patch.Geometry      // what the model saw of the photo
}

// Classify says what is in a photo. The error is ErrHead of a model without
// classes; errors about the photo are those of package patch, and
// vit.ErrNotFinite where the model makes nothing of it.
func (m *Model) Classify(ctx context.Context, s Source) (*Answer, error) {
	if m.config.Classes == 0 {
		return nil, m.headless()
	}
	a := &Answer{}
	err := m.forward(ctx, s, vit.Wants{}, func(p *Prepared, out *vit.Output) error {
		a.Logits, a.Geometry = out.Logits.Float32s(), p.Geometry
		return vit.CheckFinite("logits", a.Logits)
	})
	if err != nil {
		return nil, err
	}
	a.Predictions = m.Checkpoint.Top(a.Logits, 0, 0)
	return a, nil
}

// Embed returns what the model makes of a photo before its head: (D), or
// (rows, columns, C) of vit.PoolGrid. Of embeddings there is one at most; none
// is what the model's own head looks at.
func (m *Model) Embed(ctx context.Context, s Source, embeddings ...vit.Embedding) (x *tensor.Dense, err error) {
	e := only(embeddings)
	if e.Pool == "" {
		e.Pool = vit.PoolModel
	}
	if err := e.Check(m.config); err != nil {
		return nil, fmt.Errorf("model %s: %w", m.Checkpoint.Name, err)
	}
	err = m.forward(ctx, s, e.Wants(), func(_ *Prepared, out *vit.Output) error {
		x = e.Of(out, 0, m.config)
		return vit.CheckFinite("embedding", x.Float32s())
	})
	if err != nil {
		return nil, err
	}
	return x, nil
}

// forward sends one photo through the model and has read take what it wants
// of the answer.
func (m *Model) forward(ctx context.Context, s Source, w vit.Wants, read func(*Prepared, *vit.Output) error) error {
	p, err := m.Prepare(ctx, s, m.look)
	if err != nil {
		return s.blame(err)
	}
	err = m.passes.use(ctx, func(l *Lane, threads int) error {
		out, err := l.Forward(threads, []*tensor.Dense{p.Pixels}, w)
		if err != nil {
			return fmt.Errorf("model %s: %w", m.Checkpoint.Name, err)
		}
		return s.blame(read(p, out))
	})
	p.Free()
	return err
}

func (m *Model) headless() error {
	return fmt.Errorf("%w: model %s knows no classes: %s", ErrHead, m.Checkpoint.Name, m.Checkpoint.Headless())
}

// only returns the one value there may be, or the zero value.
func only[T any](values []T) (v T) {
	switch len(values) {
	case 0:
		return v
	case 1:
		return values[0]
	}
	panic(fmt.Sprintf("vitserve: %d values of %T, want one at most", len(values), v))
}
