package api

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/internal/words"
	"gorgonia.org/tensor"
)

// pulse tells work that is slow from work that stands still: it knows how much
// there is to do and when something of it last advanced.
type pulse struct {
	mu   sync.Mutex
	busy int
	last time.Time // when something advanced, or when there began to be something to do
	lost error     // the device's, which nothing mends but a new process
}

// lose keeps that the device is lost and reports whether that is new.
func (p *pulse) lose(err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := p.lost == nil
	p.lost = err
	return first
}

// broken returns why nothing can be computed any more, if so.
func (p *pulse) broken() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

// enter says that something is to be done, or waits to be. Whoever enters
// leaves, which by itself is no progress: it may have given up.
func (p *pulse) enter() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy == 0 {
		p.last = time.Now()
	}
	p.busy++
}

func (p *pulse) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy--
}

// beat says that something has advanced.
func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
}

func (p *pulse) working() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.busy
}

// since returns when something last advanced; false if there is nothing to do.
func (p *pulse) since() (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last, p.busy > 0
}

// moving returns errStalled when something waits and nothing has advanced for
// StallTimeout. A model that explains advances with every pass, and with every
// step of a pass where the backend tells; another model's passes count, too,
// for they may be what it waits for.
func (s *Server) moving(now time.Time) error {
	if s.cfg.StallTimeout == 0 {
		return nil
	}
	what, longest := "", s.cfg.StallTimeout.std()
	look := func(name string, last time.Time, busy bool, allowed time.Duration) {
		if took := now.Sub(last); busy && took > allowed && took > longest {
			what, longest = name, took
		}
	}
	last, busy := s.decoders.since()
	look("a picture waits to be decoded", last, busy, longest)
	last, busy = s.device.since()
	if b, ok := s.backend.(interface{ Advanced() time.Time }); ok && b.Advanced().After(last) {
		last = b.Advanced()
	}
	look("a picture waits for a model", last, busy, longest+s.cfg.BatchDelay.std())
	if was := s.stalled.Swap(what != ""); was != (what != "") {
		if was {
			s.log.Info("moving again")
		} else {
			s.log.Error("stalled", "what", what, "seconds", longest.Seconds())
		}
	}
	if what == "" {
		return nil
	}
	return fmt.Errorf("%w: %s and nothing has finished for %v", errStalled, what, longest.Round(time.Second/10))
}

// watched is a backend that tells of every pass, and when its device is lost.
type watched struct {
	backend.Backend
	pulse *pulse
	log   *slog.Logger
}

// told returns err, and says in the log that the device is lost, once.
func (b watched) told(err error) error {
	if errors.Is(err, backend.ErrLost) && b.pulse.lose(err) {
		b.log.Error("device lost: every request is refused until the server is started again", "backend", b.Name(), "error", words.Plain(err))
	}
	return err
}

// NewLinear is of backend.Backend.
func (b watched) NewLinear(weight, bias *tensor.Dense, o backend.LinearOptions) (backend.Linear, error) {
	l, err := b.Backend.NewLinear(weight, bias, o)
	return l, b.told(err)
}

// Upload is of backend.Backend.
func (b watched) Upload(t *tensor.Dense) (backend.Tensor, error) {
	x, err := b.Backend.Upload(t)
	return x, b.told(err)
}

// NewStream is of backend.Backend.
func (b watched) NewStream(o backend.StreamOptions) (backend.Stream, error) {
	s, err := b.Backend.NewStream(o)
	if err != nil {
		return nil, b.told(err)
	}
	return watchedStream{s, b}, nil
}

type watchedStream struct {
	backend.Stream
	of watched
}

// Sync is of backend.Stream.
func (s watchedStream) Sync() error {
	defer s.of.pulse.beat()
	return s.of.told(s.Stream.Sync())
}
