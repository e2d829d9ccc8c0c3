package vitserve

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// Lane computes batches of prepared photos, one after the other: one goroutine
// at a time. Several lanes of a model compute side by side. Its memory is
// allocated by the first batch, or by Ready.
type Lane struct {
	m       *Model
	o       vit.SessionOptions
	session *vit.Session // nil: to be made
	pixels  []float32    // (MaxBatch, 3, H, W); nil until there are several photos
}

// NewLane returns a lane for batches of up to o.MaxBatch photos. It must be
// closed before the model.
func (m *Model) NewLane(o vit.SessionOptions) *Lane {
	o.MaxBatch = max(o.MaxBatch, 1)
	return &Lane{m: m, o: o}
}

// Forward computes photos, each (3, H, W), on so many threads; 0: all.
func (l *Lane) Forward(threads int, photos []*tensor.Dense, w vit.Wants) (*vit.Output, error) {
	if len(photos) > l.o.MaxBatch {
		return nil, fmt.Errorf("vitserve: %d photos, the lane takes %d", len(photos), l.o.MaxBatch)
	}
	c := l.m.config
	pixels := photos[0].Float32s()
	if len(photos) > 1 {
		each := len(pixels)
		if l.pixels == nil {
			l.pixels = make([]float32, l.o.MaxBatch*each)
		}
		for i, t := range photos {
			copy(l.pixels[i*each:(i+1)*each], t.Float32s())
		}
		pixels = l.pixels[:len(photos)*each]
	}
	return l.Run(threads, tensor.New(tensor.WithShape(len(photos), 3, c.Image[0], c.Image[1]), tensor.WithBacking(pixels)), w)
}

// Run is Forward of photos that lie behind each other, (B, 3, H, W).
func (l *Lane) Run(threads int, pixels *tensor.Dense, w vit.Wants) (out *vit.Output, err error) {
	if err := l.Ready(); err != nil {
		return nil, err
	}
	ok := false
	defer func() {
		if !ok {
			l.reset()
		}
	}()
	l.session.SetThreads(threads)
	out, err = l.session.Forward(pixels, w)
	ok = err == nil
	return out, err
}

// Kept computes a photo (3, H, W) as often as there are rows in keep, each time
// from those patches alone, and returns the logits, a row each. The patches of a
// row are in their order, and all rows are as long. On so many threads; 0: all.
func (l *Lane) Kept(threads int, photo *tensor.Dense, keep [][]int) (logits *tensor.Dense, err error) {
	if err := l.Ready(); err != nil {
		return nil, err
	}
	ok := false
	defer func() {
		if !ok {
			l.reset()
		}
	}()
	l.session.SetThreads(threads)
	c := l.m.config
	logits, err = l.session.Kept(tensor.New(tensor.WithShape(1, 3, c.Image[0], c.Image[1]), tensor.WithBacking(photo.Float32s())), keep)
	ok = err == nil
	return logits, err
}

// Gradients computes photos that lie behind each other, (B, 3, H, W), and derives
// a loss of their logits (B, K): seed returns ∂L/∂logits, as many, and grads are
// ∂L/∂photos (B, 3, H, W). The logits have the bits of Run's.
func (l *Lane) Gradients(threads int, pixels *tensor.Dense, seed func(logits *tensor.Dense) *tensor.Dense) (logits, grads *tensor.Dense, err error) {
	if err := l.Ready(); err != nil {
		return nil, nil, err
	}
	ok := false
	defer func() {
		if !ok {
			l.reset()
		}
	}()
	l.session.SetThreads(threads)
	t, err := l.session.Trace(pixels, vit.Wants{})
	if err != nil {
		return nil, nil, err
	}
	g, err := t.Backward(vit.AtLogits(seed(t.Output.Logits)), vit.GradWants{Pixels: true})
	if err != nil {
		return nil, nil, err
	}
	ok = true
	return t.Output.Logits, g.Pixels, nil
}

// Ready allocates the memory of the lane, if that has not been done.
func (l *Lane) Ready() (err error) {
	if l.session == nil {
		l.session, err = l.m.vit.NewSession(l.o)
	}
	return err
}

// reset has the session made anew: after a panic or a device's failure nobody
// knows what is queued in it.
func (l *Lane) reset() {
	_ = l.Close() // the failure itself is reported
}

// Close frees the memory. The lane may be used again.
func (l *Lane) Close() (err error) {
	if l.session != nil {
		err = l.session.Close()
	}
	l.session = nil
	return err
}

// lanes are shared by the goroutines that ask a model.
type lanes struct {
	m      *Model
	o      vit.SessionOptions
	places chan struct{} // holds a token for each lane that may compute

	mu   sync.Mutex
	idle []*Lane
	busy int
}

func newLanes(m *Model, o vit.SessionOptions, most int) *lanes {
	p := &lanes{m: m, o: o, places: make(chan struct{}, most)}
	for range most {
		p.places <- struct{}{}
	}
	return p
}

// use waits for a lane, gives it to f and takes it back. A photo that is alone
// has all threads; several at a time have a share each, because threads that
// work on one photo wait for each other in every layer.
func (p *lanes) use(ctx context.Context, f func(l *Lane, threads int) error) error {
	if err := p.m.hold(); err != nil {
		return err
	}
	defer p.m.under.Done()
	select {
	case <-p.places:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { p.places <- struct{}{} }()
	l, threads := p.take()
	defer p.put(l)
	return f(l, threads)
}

func (p *lanes) take() (l *Lane, threads int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy++
	threads = max(p.m.backend.Info().Threads/p.busy, 1)
	if n := len(p.idle); n > 0 {
		l, p.idle = p.idle[n-1], p.idle[:n-1]
		return l, threads
	}
	return p.m.NewLane(p.o), threads
}

func (p *lanes) put(l *Lane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy--
	p.idle = append(p.idle, l)
}

// close frees the lanes, of which none is in use.
func (p *lanes) close() (err error) {
	for _, l := range p.idle {
		err = errors.Join(err, l.Close())
	}
	p.idle = nil
	return err
}
