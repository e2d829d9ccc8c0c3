package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// tally gathers what clients saw.
type tally struct {
	mu     sync.Mutex
	took   []time.Duration // of the 200s, from the moment they were due
	status map[int]int
	failed int // without an answer
}

func newTally() *tally { return &tally{status: map[int]int{}} }

func (t *tally) add(r reply, err error, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.failed++
		return
	}
	t.status[r.status]++
	if r.status == http.StatusOK {
		t.took = append(t.took, took)
	}
}

// quantile returns the q-quantile of the 200s' times.
func (t *tally) quantile(q float64) time.Duration {
	if len(t.took) == 0 {
		return 0
	}
	slices.Sort(t.took)
	return t.took[min(len(t.took)-1, int(q*float64(len(t.took))))]
}

func (t *tally) String() string {
	return fmt.Sprintf("status %v, no answer %d, p50 %v, p90 %v, p99 %v, max %v", t.status, t.failed,
		round(t.quantile(.5)), round(t.quantile(.9)), round(t.quantile(.99)), round(t.quantile(1)))
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// closed has clients ask one after the other for a time.
func (b *bench) closed(ctx context.Context, clients int, length time.Duration, path string) (*tally, float64) {
	t := newTally()
	var wg sync.WaitGroup
	begin := time.Now()
	for c := range clients {
		wg.Go(func() {
			for i := c; ctx.Err() == nil && time.Since(begin) < length; i++ {
				start := time.Now()
				r, err := b.post(ctx, path, b.photos[i%len(b.photos)])
				t.add(r, err, time.Since(start))
			}
		})
	}
	wg.Wait()
	return t, float64(t.status[http.StatusOK]) / time.Since(begin).Seconds()
}

// open sends requests at a rate whatever becomes of them; a time counts from
// when its request was due, so a server that stands still cannot hide it.
func (b *bench) open(ctx context.Context, rate float64, poisson bool, length time.Duration, path string) *tally {
	t := newTally()
	rng := rand.New(rand.NewPCG(3, 4))
	var wg sync.WaitGroup
	begin := time.Now()
	due := begin
	for i := 0; due.Sub(begin) < length && ctx.Err() == nil; i++ {
		time.Sleep(time.Until(due))
		at := due
		wg.Go(func() {
			r, err := b.post(ctx, path, b.photos[i%len(b.photos)])
			t.add(r, err, time.Since(at))
		})
		gap := 1 / rate
		if poisson {
			gap *= rng.ExpFloat64()
		}
		due = due.Add(time.Duration(gap * float64(time.Second)))
	}
	wg.Wait()
	return t
}

// measure finds the capacity once.
func (b *bench) measure(ctx context.Context) error {
	b.closed(ctx, b.clients, 2*time.Second, "/v1/classify") // warm
	if b.capacity > 0 {
		return nil
	}
	t, rate := b.closed(ctx, b.clients, b.length, "/v1/classify")
	fmt.Printf("closed loop of %d clients: %.1f pictures/s; %v\n", b.clients, rate, t)
	b.capacity = rate
	return t.only(http.StatusOK)
}

// only fails on any other status.
func (t *tally) only(allowed ...int) error {
	for status, n := range t.status {
		if !slices.Contains(allowed, status) {
			return fmt.Errorf("%d answers %d", n, status)
		}
	}
	if t.failed > 0 {
		return fmt.Errorf("%d requests without an answer", t.failed)
	}
	return nil
}

// atMost fails where a is more than factor times b.
func atMost(what string, a, b time.Duration, factor float64) error {
	ratio := float64(a) / float64(b)
	fmt.Printf("%s: %.2f (at most %g)\n", what, ratio, factor)
	if !(ratio <= factor) {
		return fmt.Errorf("%s is %.2f, want at most %g", what, ratio, factor)
	}
	return nil
}

func throughput(ctx context.Context, b *bench) error { return b.measure(ctx) }

func openLoop(ctx context.Context, b *bench) error {
	if err := b.measure(ctx); err != nil {
		return err
	}
	var first error
	for _, c := range []struct {
		name    string
		poisson bool
		factor  float64
	}{{"constant rate", false, 2}, {"Poisson", true, 5}} {
		t := b.open(ctx, 0.7*b.capacity, c.poisson, b.length, "/v1/classify")
		fmt.Printf("%s at 70 %%: %v\n", c.name, t)
		err := t.only(http.StatusOK)
		if err == nil {
			err = atMost(c.name+", p99 by median", t.quantile(.99), t.quantile(.5), c.factor)
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// mixed classifies at 30 % while the explaining lane is saturated.
func mixed(ctx context.Context, b *bench) error {
	if err := b.measure(ctx); err != nil {
		return err
	}
	alone := b.open(ctx, 0.3*b.capacity, true, b.length, "/v1/classify")
	fmt.Printf("classify at 30 %% alone: %v\n", alone)
	explaining, stop := context.WithCancel(ctx)
	var explained *tally
	var wg sync.WaitGroup
	wg.Go(func() { explained, _ = b.closed(explaining, 4, b.length+2*time.Second, "/v1/explain?method=relevance") })
	time.Sleep(time.Second)
	beside := b.open(ctx, 0.3*b.capacity, true, b.length, "/v1/classify")
	stop()
	wg.Wait()
	fmt.Printf("beside explanations: %v\nthe explanations: %v\n", beside, explained)
	if err := beside.only(http.StatusOK); err != nil {
		return err
	}
	return atMost("p99 by p99 alone", beside.quantile(.99), alone.quantile(.99), 2)
}

// overload sends three times what the server can do.
func overload(ctx context.Context, b *bench) error {
	if err := b.measure(ctx); err != nil {
		return err
	}
	var mu sync.Mutex
	var memory []float64
	watching, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for watching.Err() == nil {
			if v, err := b.resident(); err == nil {
				mu.Lock()
				memory = append(memory, v)
				mu.Unlock()
			}
			select {
			case <-watching.Done():
			case <-time.After(b.over / 60):
			}
		}
	})
	t := b.open(ctx, 3*b.capacity, true, b.over, "/v1/classify")
	stop()
	wg.Wait()
	rate := float64(t.status[http.StatusOK]) / b.over.Seconds()
	fmt.Printf("3 × for %v: %v\n200s: %.1f/s, %.0f %% of capacity (at least 90 %%)\n", b.over, t, rate, 100*rate/b.capacity)
	// The fifth parts of the overload stand for its minutes.
	fifth := len(memory) / 5
	peak := func(m []float64) float64 { return slices.Max(append(m, 0)) }
	early, late := peak(memory[:fifth]), peak(memory[len(memory)-fifth:])
	fmt.Printf("resident memory: first fifth %.1f MB, last fifth %.1f MB, ratio %.3f (at most 1.05)\n", early/1e6, late/1e6, late/early)
	time.Sleep(2 * time.Second)
	after := b.open(ctx, 0.3*b.capacity, true, 3*time.Second, "/v1/classify")
	fmt.Printf("two seconds after: %v\n", after)
	if err := t.only(http.StatusOK, http.StatusTooManyRequests); err != nil {
		return err
	}
	if rate < 0.9*b.capacity || late > 1.05*early {
		return fmt.Errorf("200s at %.0f %% of capacity, memory × %.3f", 100*rate/b.capacity, late/early)
	}
	return after.only(http.StatusOK)
}

// sigterm ends the server while it is asked.
func sigterm(ctx context.Context, b *bench) error {
	if err := b.measure(ctx); err != nil {
		return err
	}
	var accepted, answered, refused atomic.Int64
	asking, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for c := range b.clients {
		wg.Go(func() {
			for i := c; asking.Err() == nil; i++ {
				sent, err := b.traced(asking, i)
				switch {
				case err == nil:
					accepted.Add(1)
					answered.Add(1)
				case sent:
					accepted.Add(1)
				default:
					refused.Add(1)
					return
				}
			}
		})
	}
	time.Sleep(time.Second)
	begin := time.Now()
	err := b.terminate()
	stop()
	wg.Wait()
	fmt.Printf("exit: %v after %v; %d requests accepted, %d answered; then %d clients found nobody\n",
		errOr(err), round(time.Since(begin)), accepted.Load(), answered.Load(), refused.Load())
	if err != nil {
		return fmt.Errorf("exit: %w", err)
	}
	// A connection that the kernel makes in the microseconds before the
	// listener ends is reset, and its client cannot tell.
	if accepted.Load() > answered.Load()+1 {
		return fmt.Errorf("%d requests were accepted and not answered", accepted.Load()-answered.Load())
	}
	return nil
}

func errOr(err error) string {
	if err == nil {
		return "0"
	}
	return err.Error()
}

func equal(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}
