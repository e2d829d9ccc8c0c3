package vitserve

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"sync"

	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// StreamOptions say what Stream computes. The zero value classifies.
type StreamOptions struct {
	Batch     int            // photos that go through the model together; 0: 8
	Look      *Look          // how photos are read; nil: as Options.Look of Open says
	Embedding *vit.Embedding // computed of each photo; nil: none
	Question  *Question      // asked of each photo; nil: none
	Wants     vit.Wants      // computed besides, see Result.Output
}

// Result is what Stream makes of one photo.
type Result struct {
	Source    Source
	Err       error          // why there is nothing else
	Geometry  patch.Geometry // what the model saw of the photo
	Logits    []float32      // (K); nil without a head
	Embedding *tensor.Dense  // with StreamOptions.Embedding, see Model.Embed

	Focus *focus.Explanation // with StreamOptions.Question; a map that cannot be made has an error of its own

	Output *vit.Output // of the photo's whole batch; nil where a question alone was asked
	Row    int         // that is the photo's, in Output
}

// Stream sends sources through the model and yields a Result for each in their
// order. Photos are decoded beside the model; those on their way are bounded
// by the batch and the number of cores. What is wrong with a photo is in its
// Result; an error of the model or of ctx is yielded last, with a Result of
// nothing. Sources are listed by a goroutine of their own, which may still wait
// for the next one when ctx has ended the stream.
func (m *Model) Stream(ctx context.Context, sources iter.Seq[Source], o StreamOptions) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		s := stream{m: m, o: o, emit: func(r Result) bool { return yield(r, nil) }}
		if s.o.Batch == 0 {
			s.o.Batch = 8
		}
		if s.o.Look == nil {
			s.o.Look = &m.look
		}
		if e := o.Embedding; e != nil {
			w := e.Wants()
			s.o.Wants.Features, s.o.Wants.Final = o.Wants.Features || w.Features, o.Wants.Final || w.Final
		}
		if o.Question != nil {
			asked, err := m.Ask(*o.Question)
			if err != nil {
				yield(Result{}, err)
				return
			}
			s.question = &asked
		}
		if err := s.run(ctx, sources); err != nil && !s.stopped {
			yield(Result{}, err)
		}
	}
}

// passing is a photo on its way.
type passing struct {
	source Source
	pixels *tensor.Dense // (3, H, W); its memory goes back to the stream
	geom   patch.Geometry
	err    error
	ready  chan struct{} // closed when pixels or err are there
}

// stream is a run over sources.
type stream struct {
	m       *Model
	o       StreamOptions
	emit    func(Result) bool
	stopped bool // emit has returned false

	question *focus.Question // held to the model; nil: none
	lane     *Lane
	free     chan *tensor.Dense // (3, H, W)
	waiting  []*passing         // for the model, in their order
}

func (s *stream) run(ctx context.Context, sources iter.Seq[Source]) (err error) {
	if err := s.m.hold(); err != nil {
		return err
	}
	defer s.m.under.Done()
	s.lane = s.m.NewLane(vit.SessionOptions{MaxBatch: s.o.Batch})
	if err := s.lane.Ready(); err != nil {
		return s.failed(err)
	}
	defer func() { err = errors.Join(err, s.lane.Close()) }()
	decoders := runtime.GOMAXPROCS(0)
	depth := s.o.Batch + 2*decoders
	s.free = make(chan *tensor.Dense, depth)
	for range depth {
		s.free <- s.m.newPixels()
	}
	order, work := make(chan *passing, depth), make(chan *passing, depth)

	within, cancel := context.WithCancel(ctx)
	var decoding sync.WaitGroup
	listed := make(chan struct{})
	defer func() {
		cancel()
		decoding.Wait()
		select {
		case <-listed:
		case <-ctx.Done():
		}
	}()
	go func() {
		defer close(listed)
		defer close(order)
		defer close(work)
		for source := range sources {
			select {
			case pixels := <-s.free:
				p := &passing{source: source, pixels: pixels, ready: make(chan struct{})}
				order <- p // neither blocks: both hold as many as there are pixels
				work <- p
			case <-within.Done():
				return
			}
		}
	}()
	for range decoders {
		decoding.Go(func() {
			for {
				select {
				case p, more := <-work:
					if !more {
						return
					}
					s.prepare(within, p)
				case <-within.Done():
					return
				}
			}
		})
	}
	return s.answer(ctx, order)
}

// prepare reads the photo and brings it to the model's size.
func (s *stream) prepare(ctx context.Context, p *passing) {
	defer close(p.ready)
	prepared, err := s.m.prepare(ctx, p.source, *s.o.Look, p.pixels)
	if err != nil {
		p.err = err
		return
	}
	p.geom = prepared.Geometry
}

// answer computes batches of photos as they become ready, in their order.
func (s *stream) answer(ctx context.Context, order <-chan *passing) error {
	for {
		select {
		case p, more := <-order:
			if !more {
				return s.flush(ctx)
			}
			select {
			case <-p.ready:
			case <-ctx.Done():
				return ctx.Err()
			}
			s.waiting = append(s.waiting, p)
			if len(s.waiting) < s.o.Batch {
				continue
			}
			if err := s.flush(ctx); err != nil || s.stopped {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// flush answers the photos that wait, broken ones in their place among them.
func (s *stream) flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var pixels []*tensor.Dense
	for _, p := range s.waiting {
		if p.err == nil {
			pixels = append(pixels, p.pixels)
		}
	}
	var out *vit.Output
	var maps []Finding
	var err error
	if len(pixels) > 0 && s.question != nil {
		if maps, err = s.lane.Explain(0, s.inquiries(ctx, pixels)); err != nil {
			return s.failed(err)
		}
	}
	if len(pixels) > 0 && (s.question == nil || s.o.Embedding != nil || !s.o.Wants.Equal(vit.Wants{})) {
		if out, err = s.lane.Forward(0, pixels, s.o.Wants); err != nil {
			return s.failed(err)
		}
	}
	row := 0
	for _, p := range s.waiting {
		s.free <- p.pixels
		r := Result{Source: p.source, Err: p.err, Geometry: p.geom}
		if p.err == nil {
			if maps != nil {
				s.look(&r, maps[row])
			}
			if out != nil && r.Err == nil {
				s.read(&r, out, row)
			}
			row++
		}
		if !s.emit(r) {
			s.stopped = true
			return nil
		}
	}
	s.waiting = s.waiting[:0]
	return nil
}

// inquiries asks the question about each photo of a batch.
func (s *stream) inquiries(ctx context.Context, pixels []*tensor.Dense) []Inquiry {
	in := make([]Inquiry, len(pixels))
	for i, p := range pixels {
		in[i] = Inquiry{Context: ctx, Pixels: p, Question: *s.question}
	}
	return in
}

// look takes what the question has found.
func (s *stream) look(r *Result, f Finding) {
	if r.Err = f.Err; r.Err != nil {
		return
	}
	r.Focus, r.Logits = f.Explanation, f.Logits
	r.Err = vit.CheckFinite("logits", r.Logits)
}

// read takes a photo's row out of a batch's answer. Numbers that are none are
// an error of the photo.
func (s *stream) read(r *Result, out *vit.Output, row int) {
	r.Output, r.Row = out, row
	if out.Logits != nil {
		k := s.m.config.Classes
		r.Logits = out.Logits.Float32s()[row*k : (row+1)*k]
	}
	if e := s.o.Embedding; e != nil {
		r.Embedding = e.Of(out, row, s.m.config)
		r.Err = vit.CheckFinite("embedding", r.Embedding.Float32s())
		return
	}
	r.Err = vit.CheckFinite("logits", r.Logits)
}

func (s *stream) failed(err error) error {
	return fmt.Errorf("model %s: %w", s.m.Checkpoint.Name, err)
}
