package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/vitserve/vitserve/api/op"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/models"
)

// registry holds the models of a server, in memory or not.
type registry struct {
	cfg     Config
	backend backend.Backend
	met     *metrics
	device  *pulse
	memory  *memory
	log     *slog.Logger

	mu     sync.Mutex
	slots  []*slot // in the order of the configuration
	closed bool
	loads  sync.WaitGroup

	opening  sync.Mutex // held while a model is opened
	fetching context.Context
	stop     context.CancelFunc // of fetching
}

// again is how long a failed load is not tried anew by requests.
const again = 5 * time.Second

// slot is the place of one model. Its fields are guarded by the registry's mu.
type slot struct {
	model  ModelConfig
	live   *resident // nil: not in memory
	load   *loading  // nil: none under way
	reason string    // why the last load failed
	failed time.Time // when it did
	used   time.Time
	coming int64 // bytes of a model that is opened and not live yet
	loaded bool  // it has been in memory
}

// name is what errors and the log call the model: a model without an id has
// only a path until its files have said theirs.
func (s *slot) name() string { return cmp.Or(s.model.ID, s.model.Path, models.Embedded()[0]) }

// loading is a load that others may wait for.
type loading struct {
	done chan struct{} // closed at the end
	live *resident
	err  error
}

func newRegistry(cfg Config, b backend.Backend, met *metrics, device *pulse, memory *memory, log *slog.Logger) *registry {
	r := &registry{cfg: cfg, backend: b, met: met, device: device, memory: memory, log: log}
	r.fetching, r.stop = context.WithCancel(context.Background())
	configured := cfg.Models
	if len(configured) == 0 {
		configured = []ModelConfig{{ID: models.Embedded()[0]}}
	}
	for _, m := range configured {
		if m.Path == "" {
			m.Path = m.ID
		}
		r.slots = append(r.slots, &slot{model: m})
	}
	return r
}

// find returns the slot of a model; the empty id is the default. The caller
// holds mu.
func (r *registry) find(id string) (*slot, error) {
	if id == "" {
		return r.slots[0], nil
	}
	var ids []string
	for _, s := range r.slots {
		if s.model.ID == id {
			return s, nil
		}
		ids = append(ids, s.model.ID)
	}
	return nil, fmt.Errorf("%w: %s, %s", models.ErrNotFound, op.Clip(id), words.Among(id, ids...))
}

// get returns a model in memory, which stays there until it is released. The
// first request for a model that is not there loads it and waits; others are
// told to come back, unless they are patient: then they wait, too, and are
// told to come back when their time is over.
func (r *registry) get(ctx context.Context, id string, patient bool) (*resident, error) {
	for {
		live, l, err := r.hold(id, patient)
		if live != nil || err != nil {
			return live, err
		}
		if _, err := l.wait(ctx); err != nil {
			if patient && errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, hint{fmt.Errorf("%w: %s", errLoading, op.Clip(id)), again}
			}
			if ctx.Err() != nil {
				return nil, err
			}
			// Not the chain of err: that a configured model's files are not
			// there is no 404.
			return nil, hint{fmt.Errorf("%w: %v", errUnavailable, err), again}
		}
	}
}

// hold returns the model held, or the load that it has begun or, if patient,
// found.
func (r *registry) hold(id string, patient bool) (*resident, *loading, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, err := r.find(id)
	if err != nil {
		return nil, nil, err
	}
	s.used = time.Now()
	switch {
	case s.live != nil:
		s.live.held.Add(1)
		return s.live, nil, nil
	case s.load != nil && patient:
		return nil, s.load, nil
	case s.load != nil:
		return nil, nil, fmt.Errorf("%w: %s", errLoading, s.model.ID)
	case time.Since(s.failed) < again:
		return nil, nil, hint{fmt.Errorf("%w: %s", errUnavailable, s.reason), again}
	}
	l, err := r.start(s)
	return nil, l, err
}

func (l *loading) wait(ctx context.Context) (*resident, error) {
	select {
	case <-l.done:
		return l.live, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// reload loads a model, or loads it anew; what serves goes on serving until
// the new one is ready.
func (r *registry) reload(ctx context.Context, id string) error {
	r.mu.Lock()
	s, err := r.find(id)
	if err != nil {
		r.mu.Unlock()
		return err
	}
	l := s.load
	if l == nil {
		if l, err = r.start(s); err != nil {
			r.mu.Unlock()
			return err
		}
	}
	r.mu.Unlock()
	if _, err := l.wait(ctx); err != nil {
		if ctx.Err() != nil {
			return err
		}
		return fmt.Errorf("%w: %v", errLoad, err)
	}
	return nil
}

// start begins a load that goes on when its caller leaves. The caller holds mu.
func (r *registry) start(s *slot) (*loading, error) {
	if r.closed {
		return nil, errDraining
	}
	l := &loading{done: make(chan struct{})}
	s.load = l
	name := s.name()
	r.loads.Go(func() {
		begin := time.Now()
		var evicted []*resident
		l.live, evicted, l.err = r.open(s)
		for _, m := range evicted {
			m.close()
		}
		r.mu.Lock()
		old := s.live
		s.load, s.coming, s.reason, s.failed = nil, 0, "", time.Time{}
		if l.err == nil {
			s.live, s.loaded = l.live, true
		} else {
			s.reason, s.failed = words.Plain(l.err), time.Now()
		}
		r.mu.Unlock()
		close(l.done)
		if l.err != nil {
			r.log.Error("model not loaded", "model", name, "path", s.model.Path, "error", words.Plain(l.err), "still_serving", old != nil)
			return
		}
		r.log.Info("model loaded", "model", l.live.id, "path", s.model.Path, "revision", l.live.revision, "bytes", l.live.bytes, "seconds", time.Since(begin).Seconds())
		if old != nil {
			old.close()
		}
	})
	return l, nil
}

// open opens the model of s and makes room for it: those that are evicted are
// to be closed. Models are opened one at a time, so that at most one is in
// memory that there is no room for; what a load waits for afterwards, the
// requests of an old model, holds no other load up.
func (r *registry) open(s *slot) (live *resident, evicted []*resident, err error) {
	r.opening.Lock()
	defer r.opening.Unlock()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("api: load %s: panic: %v", s.name(), p)
		}
	}()
	if r.cfg.Fetch != nil && r.cfg.FetchModels == FetchRequest {
		// The load goes on when the request that began it has gone.
		if err := r.cfg.Fetch(r.fetching, s.model.Path); err != nil {
			return nil, nil, fmt.Errorf("api: load %s: %w", s.name(), err)
		}
	}
	live, err = open(s.model, r.backend, r.cfg, r.met, r.device, r.memory, r.log)
	if err != nil {
		return nil, nil, fmt.Errorf("api: load %s: %w", s.name(), err)
	}
	if evicted, err = r.enter(s, live); err != nil {
		live.close()
		return nil, nil, err
	}
	return live, evicted, nil
}

// enter gives s the name and the room of a model that has been opened, and
// returns what must go for it: what has not been used for longest.
func (r *registry) enter(s *slot, live *resident) (evicted []*resident, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, other := range r.slots {
		if other != s && other.model.ID == live.id {
			return nil, fmt.Errorf("api: load: two models call themselves %s: give one an id", live.id)
		}
	}
	budget := r.cfg.MemoryBudget
	if budget > 0 && live.bytes > budget {
		return nil, fmt.Errorf("api: load %s: it takes %d bytes, the budget is %d", s.name(), live.bytes, budget)
	}
	coming := int64(0)
	for _, other := range r.slots {
		if other != s {
			coming += other.coming
		}
	}
	if budget > 0 && live.bytes+coming > budget {
		return nil, fmt.Errorf("api: load %s: it takes %d bytes and those that are being loaded %d, the budget is %d", s.name(), live.bytes, coming, budget)
	}
	for budget > 0 {
		var idle *slot
		taken := live.bytes + coming
		for _, other := range r.slots {
			if other.live == nil || other == s {
				continue
			}
			taken += other.live.bytes
			if idle == nil || other.used.Before(idle.used) {
				idle = other
			}
		}
		if taken <= budget {
			break
		}
		evicted = append(evicted, idle.live)
		r.log.Info("model unloaded to make room", "model", idle.live.id, "for", s.name())
		idle.live = nil
	}
	s.model.ID, s.coming = live.id, live.bytes
	return evicted, nil
}

// unload takes a model out of memory when what waits for it is answered.
func (r *registry) unload(ctx context.Context, id string) error {
	r.mu.Lock()
	s, err := r.find(id)
	if err != nil {
		r.mu.Unlock()
		return err
	}
	if r.closed {
		r.mu.Unlock()
		return errDraining
	}
	old := s.live
	if old == nil {
		r.mu.Unlock()
		return nil
	}
	s.live = nil
	done := make(chan struct{})
	r.loads.Go(func() { old.close(); close(done) })
	r.mu.Unlock()
	select {
	case <-done:
		r.log.Info("model unloaded", "model", old.id)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// preload fetches the models that are the hub's, loads what the configuration
// does not call lazy, and returns the first failure. A lazy model that cannot
// be fetched is told, and fails when it is asked for.
func (r *registry) preload(ctx context.Context) error {
	for _, s := range slices.Clone(r.slots) {
		if r.cfg.Fetch == nil || r.cfg.FetchModels == FetchNever || s.model.Lazy && r.cfg.FetchModels == FetchRequest {
			continue
		}
		err := r.cfg.Fetch(ctx, s.model.Path)
		switch {
		case err == nil:
		case s.model.Lazy && ctx.Err() == nil:
			r.log.Warn("model not fetched", "model", s.name(), "error", words.Plain(err))
		default:
			return fmt.Errorf("api: load %s: %w", s.name(), err)
		}
	}
	for _, s := range slices.Clone(r.slots) {
		if s.model.Lazy {
			continue
		}
		r.mu.Lock()
		l, err := s.load, error(nil)
		if l == nil {
			l, err = r.start(s)
		}
		r.mu.Unlock()
		if err != nil {
			return err
		}
		if _, err := l.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// ready reports whether every model that is not lazy has been loaded once.
func (r *registry) ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.slots {
		if !s.model.Lazy && !s.loaded {
			return fmt.Errorf("%w: %s", errLoading, s.name())
		}
	}
	return nil
}

// loading returns how many loads are under way.
func (r *registry) loading() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, s := range r.slots {
		if s.load != nil {
			n++
		}
	}
	return n
}

// close answers what is waiting and takes everything out of memory.
func (r *registry) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop()
	r.loads.Wait()
	live := r.resident()
	r.mu.Lock()
	for _, s := range r.slots {
		s.live = nil // nobody takes hold of it any more
	}
	r.mu.Unlock()
	for _, m := range live {
		m.close()
	}
}

// resident returns the models in memory.
func (r *registry) resident() []*resident {
	r.mu.Lock()
	defer r.mu.Unlock()
	var live []*resident
	for _, s := range r.slots {
		if s.live != nil {
			live = append(live, s.live)
		}
	}
	return live
}
