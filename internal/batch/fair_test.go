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
)

// ask is what a client asks for.
type ask struct {
	who  string
	cost int
}

// device takes a millisecond for what costs 1, and remembers in which order it
// was asked.
type device struct {
	mu  sync.Mutex
	saw []string
}

func (d *device) run(_ batch.Pass, in []ask) ([]ask, error) {
	for _, a := range in {
		time.Sleep(time.Duration(a.cost) * time.Millisecond)
		d.mu.Lock()
		d.saw = append(d.saw, a.who)
		d.mu.Unlock()
	}
	return in, nil
}

// put asks for a client, and returns where the answer will be.
func put(t *testing.T, q *batch.Queue[ask, ask], a ask) chan batch.Result[ask] {
	t.Helper()
	s, err := q.ReserveFor(batch.Low, a.who, float64(a.cost))
	require.NoError(t, err)
	done := make(chan batch.Result[ask], 1)
	go func() {
		r, err := s.Do(t.Context(), a)
		if err == nil {
			done <- r
		}
		close(done)
	}()
	synctest.Wait()
	return done
}

// TestTurns: clients take turns, by what they ask for; of one client, the
// oldest goes first.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &device{}
		q := batch.New(batch.Options{MaxBatch: 1, MaxQueue: 16}, d.run)
		put(t, q, ask{"first", 5})
		for i := range 3 {
			put(t, q, ask{"dear", 100 + i})
		}
		for range 3 {
			put(t, q, ask{"cheap", 10})
			put(t, q, ask{"other", 20})
		}
		q.Close()
		require.Equal(t, []string{"first", "dear", "cheap", "other", "cheap", "other", "cheap", "other", "dear", "dear"}, d.saw)
	})
}

// TestPoliteBesideGreedy: who asks for a little now and then waits for what
// runs, and not for all that another has asked for.
func TestPoliteBesideGreedy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &device{}
		q := batch.New(batch.Options{MaxBatch: 2, MaxQueue: 8}, d.run)
		ctx, stop := context.WithCancel(t.Context())
		var refused atomic.Int64
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				for ctx.Err() == nil {
					s, err := q.ReserveFor(batch.Low, "greedy", 50)
					if errors.Is(err, batch.ErrBusy) {
						refused.Add(1)
						time.Sleep(time.Millisecond)
						continue
					}
					_, _ = s.Do(ctx, ask{"greedy", 50})
				}
			})
		}
		time.Sleep(time.Second)
		require.Equal(t, 8, q.Len(batch.Low), "alone it may have all places")
		for range 10 {
			began := time.Now()
			s, err := q.ReserveFor(batch.Low, "polite", 2)
			require.NoError(t, err)
			r, err := s.Do(t.Context(), ask{"polite", 2})
			require.NoError(t, err)
			require.Equal(t, 1, r.Batch, "the dear do not travel with it")
			require.LessOrEqual(t, time.Since(began), 102*time.Millisecond, "a batch that runs, and itself")
			time.Sleep(300 * time.Millisecond)
		}
		stop()
		wg.Wait()
		require.Positive(t, refused.Load())
		q.Close()
	})
}

// TestShares: beside others each has its share, and all together no more than
// twice the places.
func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := batch.New(batch.Options{MaxBatch: 1, MaxQueue: 4}, (&device{}).run)
		got := map[string]int{}
		var slots []*batch.Slot[ask, ask]
		reserve := func(who string) bool {
			s, err := q.ReserveFor(batch.High, who, 1)
			if err != nil {
				require.ErrorIs(t, err, batch.ErrBusy)
				return false
			}
			got[who]++
			slots = append(slots, s)
			return true
		}
		for range 9 {
			reserve("a")
		}
		require.Equal(t, map[string]int{"a": 4}, got)
		for range 9 {
			reserve("b")
		}
		require.Equal(t, map[string]int{"a": 4, "b": 2}, got)
		for _, who := range []string{"c", "c", "d", "d", "e", "f"} {
			reserve(who)
		}
		require.Equal(t, map[string]int{"a": 4, "b": 2, "c": 1, "d": 1}, got)
		for _, s := range slots {
			s.Release()
		}
		require.True(t, reserve("e"))
		slots[len(slots)-1].Release()
		q.Close()
	})
}

// TestEstimate: what an item takes by its cost, and after which others.
func TestEstimate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ms = time.Millisecond
		q := batch.New(batch.Options{MaxBatch: 1, MaxQueue: 16}, (&device{}).run)
		wait, takes := q.Estimate(batch.Low, "a", 1000)
		require.Zero(t, wait+takes, "nothing is known")
		<-put(t, q, ask{"a", 10})
		wait, takes = q.Estimate(batch.Low, "a", 1000)
		require.Zero(t, wait)
		require.Equal(t, time.Second, takes)
		first, second, third := put(t, q, ask{"a", 10}), put(t, q, ask{"a", 20}), put(t, q, ask{"a", 30})
		time.Sleep(4 * ms) // of the first
		for who, want := range map[string]time.Duration{"a": (6 + 20 + 30) * ms, "b": (6 + 20) * ms} {
			wait, takes = q.Estimate(batch.Low, who, 5)
			require.Equal(t, 5*ms, takes)
			require.Equal(t, want, wait, who)
		}
		wait, _ = q.Estimate(batch.High, "a", 5)
		require.Equal(t, 6*ms, wait, "before all that is less urgent")
		<-first
		<-second
		<-third
		q.Doubt()
		_, less := q.Estimate(batch.Low, "a", 1000)
		require.Less(t, less, time.Second)
		require.Greater(t, less, 900*ms)

		ctx, cancel := context.WithTimeout(t.Context(), 3*ms)
		defer cancel()
		_, err := q.Do(ctx, batch.Low, ask{"a", 9})
		require.Error(t, err)
		time.Sleep(20 * ms)
		_, now := q.Estimate(batch.Low, "a", 1000)
		require.Equal(t, less, now, "what ended early measures nothing")
		q.Close()
	})
}
