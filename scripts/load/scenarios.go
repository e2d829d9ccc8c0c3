package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
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

func (t *tally) add(status int, err error, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.failed++
		return
	}
	t.status[status]++
	if status == http.StatusOK {
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
	return b.closedBy(ctx, clients, length, func(i int) (int, error) { return b.wire.ask(b.wire.request(path, b.photos, i)) })
}

// closedBy is closed of requests of any kind, about photo i.
func (b *bench) closedBy(ctx context.Context, clients int, length time.Duration, ask func(i int) (status int, err error)) (*tally, float64) {
	t := newTally()
	var wg sync.WaitGroup
	begin := time.Now()
	for c := range clients {
		wg.Go(func() {
			for i := c; ctx.Err() == nil && time.Since(begin) < length; i++ {
				start := time.Now()
				status, err := ask(i)
				t.add(status, err, time.Since(start))
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
			status, err := b.wire.ask(b.wire.request(path, b.photos, i))
			t.add(status, err, time.Since(at))
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

// now returns the capacity of this moment: a machine that others use is twice as
// fast in one minute as in the next, and a share of what it could do before
// is no measure of a server.
func (b *bench) now(ctx context.Context) (float64, error) {
	t, rate := b.closed(ctx, b.clients, b.length/4, "/v1/classify")
	return rate, t.only(http.StatusOK)
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

// atMost holds a against factor times b.
func (b *bench) atMost(what string, a, of time.Duration, factor float64) {
	ratio := float64(a) / float64(of)
	b.hold(ratio <= factor, what, fmt.Sprintf("≤ %g", factor), "%.2f (%v by %v)", ratio, round(a), round(of))
}

// throughput is that of the closed loop beside vitserve bench --images, turn
// and turn about; of each the best round counts, because other work on the
// machine only ever makes a round slower. The server is idle meanwhile.
func throughput(ctx context.Context, b *bench) error {
	dir, err := os.MkdirTemp("", "vitserve-load-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := b.writePhotos(dir); err != nil {
		return err
	}
	b.closed(ctx, b.clients, 2*time.Second, "/v1/classify") // warm
	var served, computed, best float64
	var all *tally
	for range 3 {
		server, own := b.serverCPU(), ownCPU()
		t, rate := b.closed(ctx, b.clients, b.length/2, "/v1/classify")
		if err := t.only(http.StatusOK); err != nil {
			return err
		}
		n := float64(t.status[http.StatusOK])
		fmt.Printf("closed loop of %d clients: %.1f pictures/s; CPU a picture: server %.2f ms, clients %.2f ms; %v\n",
			b.clients, rate, 1e3*(b.serverCPU()-server)/n, 1e3*(ownCPU()-own)/n, t)
		if rate > served {
			served, all = rate, t
		}
		median, top, err := b.alone(ctx, dir)
		if err != nil {
			return err
		}
		fmt.Printf("vitserve bench --images: %.1f pictures/s in the median run, %.1f in the best\n", median, top)
		computed, best = max(computed, median), max(best, top)
	}
	b.capacity = served
	b.hold(served >= 0.9*computed, fmt.Sprintf("%d clients, closed loop, by `vitserve bench --images`", b.clients), "≥ 90 %",
		"%.0f %% (%.1f by %.1f pictures/s, of its fastest run %.0f %%); p99 %v",
		100*served/computed, served, computed, 100*served/best, round(all.quantile(.99)))
	return nil
}

// alone runs vitserve bench over the pictures and returns the pictures a
// second of its median run and of its best, at the batch size that it likes
// best.
func (b *bench) alone(ctx context.Context, dir string) (median, best float64, err error) {
	args := append(strings.Fields(b.prefix), b.server, "bench", "--images", dir, "--json", "--batch", "1,8", "--runs", "5",
		"--seconds", fmt.Sprint((b.length / 8).Seconds()))
	args = append(args, shared(b.args)...)
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).Output()
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	dec := json.NewDecoder(bytes.NewReader(out))
	for dec.More() {
		var row struct {
			Median float64 `json:"ms_median"`
			Best   float64 `json:"ms_per_image"`
		}
		if err := dec.Decode(&row); err != nil {
			return 0, 0, err
		}
		median, best = max(median, 1e3/row.Median), max(best, 1e3/row.Best)
	}
	return median, best, nil
}

// shared returns the arguments of serve that bench has too.
func shared(args []string) (both []string) {
	for i, a := range args {
		name, _, joined := strings.Cut(a, "=")
		if !slices.Contains([]string{"--model", "-m", "--precision", "--threads"}, name) {
			continue
		}
		both = append(both, a)
		if !joined && i+1 < len(args) {
			both = append(both, args[i+1])
		}
	}
	return both
}

func (b *bench) serverCPU() float64 {
	v, _ := b.metric("process_cpu_seconds_total")
	return v
}

func ownCPU() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// openLoop sends at 70 % of the capacity, measured just before, in three rounds;
// the best counts, because other work on the machine only ever makes one worse.
func openLoop(ctx context.Context, b *bench) error {
	b.closed(ctx, b.clients, 2*time.Second, "/v1/classify") // warm
	kinds := []struct {
		name    string
		poisson bool
		factor  float64
		rounds  []*tally
	}{{"constant rate", false, 2, nil}, {"Poisson", true, 5, nil}}
	tail := func(t *tally) float64 { return float64(t.quantile(.99)) / float64(t.quantile(.5)) }
	for range 3 {
		for i := range kinds {
			k := &kinds[i]
			capacity, err := b.now(ctx)
			if err != nil {
				return err
			}
			t := b.open(ctx, 0.7*capacity, k.poisson, b.length, "/v1/classify")
			fmt.Printf("%s at 70 %% of %.1f pictures/s: %v\n", k.name, capacity, t)
			if err := t.only(http.StatusOK); err != nil {
				return err
			}
			k.rounds = append(k.rounds, t)
		}
	}
	for _, k := range kinds {
		slices.SortFunc(k.rounds, func(a, b *tally) int { return cmp.Compare(tail(a), tail(b)) })
		var all []string
		for _, t := range k.rounds {
			all = append(all, fmt.Sprintf("%.2f", tail(t)))
		}
		best := k.rounds[0]
		b.hold(tail(best) <= k.factor, k.name+" at 70 %: p99 by median, best of 3 rounds", fmt.Sprintf("≤ %g", k.factor),
			"%s (%v by %v)", strings.Join(all, ", "), round(best.quantile(.99)), round(best.quantile(.5)))
	}
	return nil
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
	b.atMost("classify at 30 % beside saturating `relevance`: p99 by p99 alone", beside.quantile(.99), alone.quantile(.99), 2)
	return nil
}

// overload sends three times what the server can do, which is measured before
// and after it.
func overload(ctx context.Context, b *bench) error {
	b.closed(ctx, b.clients, 2*time.Second, "/v1/classify") // warm
	capacity, err := b.now(ctx)
	if err != nil {
		return err
	}
	before := b.open(ctx, 0.3*capacity, true, 3*time.Second, "/v1/classify")
	var memory []float64
	watching, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for watching.Err() == nil {
			if v, err := b.resident(); err == nil {
				memory = append(memory, v)
			}
			select {
			case <-watching.Done():
			case <-time.After(b.over / 60):
			}
		}
	})
	t := b.open(ctx, 3*capacity, true, b.over, "/v1/classify")
	stop()
	wg.Wait()
	ended := time.Now()
	rate := float64(t.status[http.StatusOK]) / b.over.Seconds()
	fmt.Printf("3 × for %v: %v\n", b.over, t)
	b.hold(t.only(http.StatusOK, http.StatusTooManyRequests) == nil, fmt.Sprintf("three times the capacity for %v: answers", b.over), "all 200 or 429", "%v, %d without an answer", t.status, t.failed)
	// The fifth parts of the overload are its minutes.
	fifth := len(memory) / 5
	peak := func(m []float64) float64 { return slices.Max(append(m, 0)) }
	early, late := peak(memory[:fifth]), peak(memory[len(memory)-fifth:])
	b.hold(early > 0 && late <= 1.05*early, "the same: resident memory in minute 5 by minute 1", "≤ 1.05", "%.3f (%.0f by %.0f MB)", late/early, late/1e6, early/1e6)
	time.Sleep(2*time.Second - time.Since(ended))
	after := b.open(ctx, 0.3*capacity, true, 3*time.Second, "/v1/classify")
	fmt.Printf("before: %v\ntwo seconds after: %v\n", before, after)
	again, err := b.now(ctx)
	if err != nil {
		return err
	}
	mean := (capacity + again) / 2
	b.hold(rate >= 0.9*mean, "the same: 200s, of capacity", "≥ 90 %", "%.0f %% (%.1f pictures/s by %.1f before and %.1f after)", 100*rate/mean, rate, capacity, again)
	normal := after.only(http.StatusOK) == nil && after.quantile(.9) <= 2*before.quantile(.9)
	b.hold(normal, "two seconds after, at 30 %", "all 200, p90 ≤ 2 × that before", "%v, p90 %v by %v", after.status, round(after.quantile(.9)), round(before.quantile(.9)))
	return nil
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
	took := time.Since(begin)
	late := time.AfterFunc(10*time.Second, stop) // answers may still be on their way to the clients
	wg.Wait()
	late.Stop()
	stop()
	b.hold(err == nil && accepted.Load() > 0 && accepted.Load() == answered.Load(), "SIGTERM under load", "all that is accepted is answered, exit 0",
		"%d accepted, %d answered, exit %s after %v; then %d clients found nobody", accepted.Load(), answered.Load(), errOr(err), round(took), refused.Load())
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
