package batch_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/internal/batch"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// double is a device that answers 2x after a fixed time and remembers what it
// was given.
type double struct {
	mu    sync.Mutex
	takes time.Duration
	saw   [][]int
}

func (d *double) run(_ batch.Pass, in []int) ([]int, error) {
	time.Sleep(d.takes)
	out := make([]int, len(in))
	for i, x := range in {
		out[i] = 2 * x
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.saw = append(d.saw, append([]int(nil), in...))
	return out, nil
}

func (d *double) sizes() []int {
	d.mu.Lock()
	defer d.mu.Unlock()
	var sizes []int
	for _, b := range d.saw {
		sizes = append(sizes, len(b))
	}
	return sizes
}

func TestBatchGrowsWhileBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &double{takes: 10 * time.Millisecond}
		q := batch.New(batch.Options{MaxBatch: 4, MaxQueue: 16}, d.run)
		defer q.Close()

		results := make([]batch.Result[int], 7)
		var wg sync.WaitGroup
		for i := range results {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				r, err := q.Do(t.Context(), batch.High, i)
				require.NoError(t, err)
				require.Equal(t, 2*i, r.Out)
				results[i] = r
			})
		}
		wg.Wait()
		// The first goes alone at once; six arrive while it runs, four fit.
		require.Equal(t, []int{1, 4, 2}, d.sizes())
		require.Equal(t, batch.Result[int]{Out: 0, Queued: 0, Ran: 10 * time.Millisecond, Batch: 1}, results[0])
		require.Equal(t, batch.Result[int]{Out: 2, Queued: 9 * time.Millisecond, Ran: 10 * time.Millisecond, Batch: 4}, results[1])
		require.Equal(t, batch.Result[int]{Out: 12, Queued: 14 * time.Millisecond, Ran: 10 * time.Millisecond, Batch: 2}, results[6])
	})
}

// TestLanes tests that lanes run side by side, each with its share of what
// waits, and know how much there is to do.
func TestLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type call struct {
			at   time.Duration
			pass batch.Pass
			in   []int
		}
		var mu sync.Mutex
		var calls []call
		start := time.Now()
		q := batch.New(batch.Options{MaxBatch: 2, MaxQueue: 16, Lanes: 3}, func(p batch.Pass, in []int) ([]int, error) {
			mu.Lock()
			calls = append(calls, call{time.Since(start), p, in})
			mu.Unlock()
			time.Sleep(10 * time.Millisecond)
			return in, nil
		})
		var wg sync.WaitGroup
		decoding, err := q.Reserve(batch.Low)
		require.NoError(t, err)
		for i := range 8 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				r, err := q.Do(t.Context(), batch.High, i)
				require.NoError(t, err)
				require.Equal(t, i, r.Out)
			})
		}
		wg.Wait()
		decoding.Release()
		q.Close()
		ms := time.Millisecond
		require.Equal(t, []call{
			{0, batch.Pass{Lane: 0, Load: 2}, []int{0}}, // one is on its way
			{1 * ms, batch.Pass{Lane: 1, Load: 3}, []int{1}},
			{2 * ms, batch.Pass{Lane: 2, Load: 4}, []int{2}},
			{10 * ms, batch.Pass{Lane: 0, Load: 8}, []int{3, 4}}, // of five that wait
			{11 * ms, batch.Pass{Lane: 1, Load: 7}, []int{5}},
			{12 * ms, batch.Pass{Lane: 2, Load: 6}, []int{6}},
			{20 * ms, batch.Pass{Lane: 0, Load: 4}, []int{7}},
		}, calls)
	})
}

func TestDelay(t *testing.T) {
	for _, c := range []struct {
		name    string
		arrive  []time.Duration
		sizes   []int
		elapsed time.Duration
	}{
		{"alone waits the delay", []time.Duration{0}, []int{1}, 5 * time.Millisecond},
		{"the oldest sets the time", []time.Duration{0, 4 * time.Millisecond}, []int{2}, 5 * time.Millisecond},
		{"a full batch goes at once", []time.Duration{0, 0, time.Millisecond}, []int{3}, time.Millisecond},
		{"too late for the first", []time.Duration{0, 6 * time.Millisecond}, []int{1, 1}, 11 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &double{}
				q := batch.New(batch.Options{MaxBatch: 3, MaxQueue: 16, Delay: 5 * time.Millisecond}, d.run)
				defer q.Close()
				start := time.Now()
				var wg sync.WaitGroup
				for i, at := range c.arrive {
					wg.Go(func() {
						time.Sleep(at)
						_, err := q.Do(t.Context(), batch.High, i)
						require.NoError(t, err)
					})
				}
				wg.Wait()
				require.Equal(t, c.sizes, d.sizes())
				require.Equal(t, c.elapsed, time.Since(start))
			})
		})
	}
}

func TestHighGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &double{takes: time.Second}
		q := batch.New(batch.Options{MaxBatch: 2, MaxQueue: 16}, d.run)
		defer q.Close()
		var wg sync.WaitGroup
		for i, p := range []batch.Priority{batch.Low, batch.Low, batch.Low, batch.High, batch.High, batch.High} {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				_, err := q.Do(t.Context(), p, i)
				require.NoError(t, err)
			})
		}
		wg.Wait()
		require.Equal(t, [][]int{{0}, {3, 4}, {5, 1}, {2}}, d.saw)
	})
}

func TestFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &double{takes: time.Second}
		q := batch.New(batch.Options{MaxBatch: 1, MaxQueue: 2}, d.run)
		defer q.Close()

		a, err := q.Reserve(batch.High)
		require.NoError(t, err)
		b, err := q.Reserve(batch.High)
		require.NoError(t, err)
		_, err = q.Reserve(batch.High)
		require.ErrorIs(t, err, batch.ErrBusy)
		_, err = q.Do(t.Context(), batch.High, 1)
		require.ErrorIs(t, err, batch.ErrBusy)
		_, err = q.Do(t.Context(), batch.Low, 1)
		require.NoError(t, err, "priorities have places of their own")
		require.Equal(t, 2*time.Second+time.Second, q.RetryAfter(), "two reserved, one to come, a second each")

		a.Release()
		a.Release()
		require.Equal(t, 1, q.Len(batch.High))
		_, err = q.Do(t.Context(), batch.High, 1)
		require.NoError(t, err)
		_, err = b.Do(t.Context(), 1)
		require.NoError(t, err)
		b.Release()
		require.Equal(t, 0, q.Len(batch.High))
		require.Panics(t, func() { _, _ = b.Do(t.Context(), 1) })
	})
}

func TestCancelledIsNeverComputed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &double{takes: 10 * time.Millisecond}
		q := batch.New(batch.Options{MaxBatch: 8, MaxQueue: 2}, d.run)
		defer q.Close()
		go func() { _, _ = q.Do(t.Context(), batch.High, 1) }()
		synctest.Wait() // the device is busy with 1

		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := q.Do(ctx, batch.High, 2)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 3*time.Millisecond, time.Since(start), "a caller leaves at its deadline")
		require.Equal(t, 0, q.Len(batch.High), "and its place is free")

		_, err = q.Do(ctx, batch.High, 3)
		require.ErrorIs(t, err, context.DeadlineExceeded, "too late before it started")
		require.Equal(t, 0, q.Len(batch.High))

		_, err = q.Do(t.Context(), batch.High, 4)
		require.NoError(t, err)
		require.Equal(t, [][]int{{1}, {4}}, d.saw)
	})
}

// late is a context that has ended before its waiter hears of it.
type late struct {
	context.Context
	ended atomic.Bool
	heard chan struct{}
}

func (l *late) Done() <-chan struct{} { return l.heard }
func (l *late) Err() error {
	if l.ended.Load() {
		return context.Canceled
	}
	return nil
}

func TestWorkerLooksAtContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &double{takes: 10 * time.Millisecond}
		q := batch.New(batch.Options{MaxBatch: 8, MaxQueue: 8}, d.run)
		var wg sync.WaitGroup
		ctx := &late{Context: t.Context(), heard: make(chan struct{})}
		for i, ctx := range []context.Context{t.Context(), ctx, t.Context()} {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				_, _ = q.Do(ctx, batch.High, i)
			})
		}
		time.Sleep(5 * time.Millisecond)
		ctx.ended.Store(true)
		time.Sleep(time.Second)
		close(ctx.heard)
		wg.Wait()
		q.Close()
		require.Equal(t, [][]int{{0}, {2}}, d.saw)
	})
}

func TestCancelledWhileComputed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &double{takes: 10 * time.Millisecond}
		q := batch.New(batch.Options{MaxBatch: 8, MaxQueue: 8}, d.run)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := q.Do(ctx, batch.High, 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 3*time.Millisecond, time.Since(start))
		r, err := q.Do(t.Context(), batch.High, 2)
		require.NoError(t, err)
		require.Equal(t, 4, r.Out)
		q.Close()
		require.Equal(t, [][]int{{1}, {2}}, d.saw)
	})
}

func TestCloseDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &double{takes: 10 * time.Millisecond}
		q := batch.New(batch.Options{MaxBatch: 2, MaxQueue: 8, Delay: time.Hour}, d.run)
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				r, err := q.Do(t.Context(), batch.Priority(i%2), i)
				require.NoError(t, err)
				require.Equal(t, 2*i, r.Out)
			})
		}
		late, err := q.Reserve(batch.High)
		require.NoError(t, err)
		synctest.Wait()
		closed := make(chan struct{})
		go func() { q.Close(); close(closed) }()
		synctest.Wait()
		_, err = q.Do(t.Context(), batch.High, 9)
		require.ErrorIs(t, err, batch.ErrClosed)
		wg.Wait()
		select {
		case <-closed:
			require.Fail(t, "closed with a place reserved")
		case <-time.After(time.Second):
		}
		r, err := late.Do(t.Context(), 7)
		require.NoError(t, err, "a place that was given before Close is honoured")
		require.Equal(t, 14, r.Out)
		<-closed
		q.Close()
	})
}

func TestFailuresReachEveryCaller(t *testing.T) {
	broken := errors.New("device lost")
	for _, c := range []struct {
		name string
		run  func(batch.Pass, []int) ([]int, error)
		want error
	}{
		{"error", func(batch.Pass, []int) ([]int, error) { return nil, broken }, broken},
		{"panic", func(batch.Pass, []int) ([]int, error) { panic("shape") }, batch.ErrPanic},
		{"too few answers", func(batch.Pass, []int) ([]int, error) { return nil, nil }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := batch.New(batch.Options{MaxBatch: 4, MaxQueue: 16}, c.run)
			defer q.Close()
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					_, err := q.Do(t.Context(), batch.High, i)
					require.Error(t, err)
					if c.want != nil {
						require.ErrorIs(t, err, c.want)
					}
				})
			}
			wg.Wait()
		})
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []batch.Options{{MaxQueue: 1}, {MaxBatch: 1}, {MaxBatch: 1, MaxQueue: 1, Delay: -1}, {MaxBatch: 1, MaxQueue: 1, Lanes: -1}} {
		require.Error(t, o.Validate())
		require.Panics(t, func() { batch.New(o, func(batch.Pass, []int) ([]int, error) { return nil, nil }) })
	}
	require.NoError(t, batch.Options{MaxBatch: 1, MaxQueue: 1}.Validate())
}

// TestProperties drives a queue with random arrivals, deadlines and service
// times under a fake clock.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ms := func(name string, lo, hi int) time.Duration {
			return time.Duration(rapid.IntRange(lo, hi).Draw(rt, name)) * time.Millisecond
		}
		type request struct {
			arrive, prepare, deadline time.Duration // deadline 0: none
			priority                  batch.Priority
		}
		o := batch.Options{
			MaxBatch: rapid.IntRange(1, 5).Draw(rt, "batch"), Lanes: rapid.IntRange(0, 4).Draw(rt, "lanes"), MaxQueue: rapid.IntRange(1, 8).Draw(rt, "queue"), Delay: ms("delay", 0, 4),
		}
		takes := ms("takes", 0, 6)
		requests := make([]request, rapid.IntRange(1, 40).Draw(rt, "requests"))
		for i := range requests {
			requests[i] = request{ms("arrive", 0, 30), ms("prepare", 0, 3), ms("deadline", 0, 20), batch.Priority(rapid.IntRange(0, 1).Draw(rt, "priority"))}
		}
		closeAt := ms("close", 0, 60)

		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			computed := map[int]int{}
			deadlines := make([]time.Time, len(requests))
			lanes := make([]bool, max(o.Lanes, 1))
			q := batch.New(o, func(p batch.Pass, in []int) ([]int, error) {
				mu.Lock()
				require.False(rt, lanes[p.Lane], "two calls in lane %d", p.Lane)
				lanes[p.Lane] = true
				require.GreaterOrEqual(rt, p.Load, len(in))
				require.LessOrEqual(rt, len(in), o.MaxBatch)
				require.NotEmpty(rt, in)
				for _, i := range in {
					computed[i]++
					require.False(rt, !deadlines[i].IsZero() && time.Now().After(deadlines[i]), "%d was computed after its end", i)
				}
				mu.Unlock()
				time.Sleep(takes)
				mu.Lock()
				lanes[p.Lane] = false
				mu.Unlock()
				return in, nil
			})
			answered := map[int]bool{}
			var wg sync.WaitGroup
			for i, r := range requests {
				wg.Go(func() {
					time.Sleep(r.arrive)
					ctx := context.Background()
					if r.deadline > 0 {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, r.deadline)
						defer cancel()
						mu.Lock()
						deadlines[i] = time.Now().Add(r.deadline)
						mu.Unlock()
					}
					s, err := q.Reserve(r.priority)
					if err != nil {
						require.True(rt, errors.Is(err, batch.ErrBusy) || errors.Is(err, batch.ErrClosed), "%v", err)
						return
					}
					defer s.Release()
					require.LessOrEqual(rt, q.Len(r.priority), o.MaxQueue)
					time.Sleep(r.prepare)
					got, err := s.Do(ctx, i)
					if err != nil {
						require.ErrorIs(rt, err, context.DeadlineExceeded)
						require.NotZero(rt, r.deadline)
						return
					}
					require.Equal(rt, i, got.Out, "everybody gets their own answer")
					mu.Lock()
					answered[i] = true
					mu.Unlock()
				})
			}
			time.Sleep(closeAt)
			q.Close()
			require.Zero(rt, q.Len(batch.High)+q.Len(batch.Low))
			wg.Wait()
			for i := range answered {
				require.Equal(rt, 1, computed[i], "%d computed once", i)
			}
			for i, n := range computed {
				require.Equal(rt, 1, n, "%d computed once", i)
			}
		})
	})
}
