package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
	"golang.org/x/sync/errgroup"
	"gorgonia.org/tensor"
)

// photo is one picture on its way through a pipeline.
type photo struct {
	source
	pixels *tensor.Dense // (3, H, W); its memory goes back to the pipeline
	geom   patch.Geometry
	err    error
	ready  chan struct{} // closed when pixels or err are there
}

// pipeline decodes pictures beside the model that reads them.
type pipeline struct {
	*engine
	batch  int // pictures in one forward pass
	photos patch.Options
	wants  vit.Wants
}

// result is the model's answer for one picture.
type result struct {
	name string
	out  *vit.Output // of the whole batch
	row  int         // this picture's row in out
	geom patch.Geometry
	err  error
}

// run sends sources through the model and calls emit for each in their order.
// Pictures in flight are bounded by the batch and the number of cores. An
// error of a picture goes to emit; an error of the model, of emit or of ctx
// ends the run and is returned.
func (p *pipeline) run(ctx context.Context, sources []source, emit func(result) error) error {
	session, err := p.model.NewSession(vit.SessionOptions{MaxBatch: p.batch})
	if err != nil {
		return fmt.Errorf("model %s: %w", p.Name, err)
	}
	decoders := runtime.GOMAXPROCS(0)
	depth := p.batch + 2*decoders
	var (
		h, w  = p.Config.Image[0], p.Config.Image[1]
		free  = make(chan *tensor.Dense, depth)
		order = make(chan *photo, depth)
		work  = make(chan *photo, depth)
	)
	for range depth {
		free <- tensor.New(tensor.WithShape(3, h, w), tensor.Of(tensor.Float32))
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(order)
		defer close(work)
		for _, s := range sources {
			select {
			case pixels := <-free:
				ph := &photo{source: s, pixels: pixels, ready: make(chan struct{})}
				order <- ph // neither blocks: both hold as many as there are pixels
				work <- ph
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range decoders {
		g.Go(func() error {
			for ph := range work {
				if ctx.Err() == nil {
					ph.decode(ctx, p.Transform, p.photos)
				}
				close(ph.ready)
			}
			return nil
		})
	}
	g.Go(func() error {
		b := batcher{pipeline: p, session: session, free: free, emit: emit, buf: make([]float32, p.batch*3*h*w)}
		return b.run(ctx, order)
	})
	return errors.Join(g.Wait(), session.Close())
}

// decode reads the picture and brings it to the model's size.
func (ph *photo) decode(ctx context.Context, t patch.Transform, o patch.Options) {
	data, err := ph.read(ctx)
	if err == nil {
		ph.geom, err = t.Pixels(ctx, ph.pixels, data, o)
	}
	ph.err = err
}

// batcher puts photos side by side, in their order, and sends them through
// the model.
type batcher struct {
	*pipeline
	session *vit.Session
	free    chan<- *tensor.Dense
	emit    func(result) error
	buf     []float32 // (batch, 3, H, W)
	waiting []*photo
}

func (b *batcher) run(ctx context.Context, order <-chan *photo) error {
	for ph := range order {
		select {
		case <-ph.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
		b.waiting = append(b.waiting, ph)
		if len(b.waiting) < b.batch {
			continue
		}
		if err := b.flush(ctx); err != nil {
			return err
		}
	}
	return b.flush(ctx)
}

// flush answers the photos that wait, broken ones in their place among them.
func (b *batcher) flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	h, w := b.Config.Image[0], b.Config.Image[1]
	size, n := 3*h*w, 0
	for _, ph := range b.waiting {
		if ph.err == nil {
			copy(b.buf[n*size:], ph.pixels.Float32s())
			n++
		}
		b.free <- ph.pixels
	}
	var out *vit.Output
	if n > 0 {
		pixels := tensor.New(tensor.WithShape(n, 3, h, w), tensor.WithBacking(b.buf[:n*size]))
		var err error
		if out, err = b.session.Forward(pixels, b.wants); err != nil {
			return fmt.Errorf("model %s: %w", b.Name, err)
		}
	}
	row := 0
	for _, ph := range b.waiting {
		r := result{name: ph.name, geom: ph.geom, err: ph.err}
		if ph.err == nil {
			r.out, r.row = out, row
			row++
		}
		if err := b.emit(r); err != nil {
			return err
		}
	}
	b.waiting = b.waiting[:0]
	return nil
}

// logits returns the picture's row of the logits.
func (r result) logits() []float32 {
	k := r.out.Logits.Shape()[1]
	return r.out.Logits.Float32s()[r.row*k : (r.row+1)*k]
}
