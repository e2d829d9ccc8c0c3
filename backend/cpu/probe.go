package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// peak is the best GFLOP/s that so many threads reach at the same time with
// any kernels of this machine.
func peak(threads int, d time.Duration) float64 {
	best := 0.0
	kernels := available()
	for _, k := range kernels {
		if k == &portable && len(kernels) > 1 {
			continue // no machine's limit
		}
		best = max(best, k.peakRate(threads, d/time.Duration(len(kernels))))
	}
	return best
}

// peakRate is the best GFLOP/s of turns of about a millisecond.
func (k *kernels) peakRate(threads int, d time.Duration) float64 {
	n := 1000
	best := 0.0
	for end := time.Now().Add(d); ; {
		took := k.peakTurn(threads, n)
		best = max(best, float64(threads)*float64(n)*float64(k.peakOps)/took.Seconds()/1e9)
		if took < time.Millisecond {
			n *= 2
		}
		if time.Now().After(end) {
			return best
		}
	}
}

// peakTurn is the time in which every thread runs the loop n times, from the
// moment when all of them are on a core.
func (k *kernels) peakTurn(threads, n int) time.Duration {
	var ready atomic.Int32
	var done sync.WaitGroup
	spans := make([][2]time.Time, threads)
	for i := range threads {
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for ready.Add(1); ready.Load() < int32(threads); {
				runtime.Gosched()
			}
			spans[i][0] = time.Now()
			k.peak(n)
			spans[i][1] = time.Now()
		})
	}
	done.Wait()
	first, last := spans[0][0], spans[0][1]
	for _, s := range spans {
		if s[0].Before(first) {
			first = s[0]
		}
		if s[1].After(last) {
			last = s[1]
		}
	}
	return last.Sub(first)
}
