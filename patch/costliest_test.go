package patch

import (
	"context"
	"errors"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/internal/hostile"
)

// highest is the most bytes of heap that f has at a time beyond those before
// it, with a garbage collector that leaves little behind.
func highest(f func()) uint64 {
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(5))
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	now := func() uint64 {
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	base, most := now(), uint64(0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	for {
		select {
		case <-done:
			return most
		case <-time.After(200 * time.Microsecond):
			if n := now(); n > base {
				most = max(most, n-base)
			}
		}
	}
}

// budget is of the files that are decoded to see what they cost: pictures of 9
// megapixels, or of as many as the default limit allows if
// VITSERVE_COSTLIEST is set, which takes minutes.
func budget() hostile.Budget {
	if os.Getenv("VITSERVE_COSTLIEST") != "" {
		return hostile.Full
	}
	return hostile.Budget{Pixels: 9_000_000, Bytes: 256 << 10}
}

// TestCostliest decodes hostile files of every format: none takes more memory
// than it was declared to take, and none that a server accepts by default more
// than 500 MB.
func TestCostliest(t *testing.T) {
	if raceEnabled {
		t.Skip("memory under the race detector means nothing")
	}
	const scratch = 4 << 20 // what is the same for every picture
	for _, a := range hostile.Bombs(5, budget()) {
		t.Run(a.Format+": "+a.Kind, func(t *testing.T) {
			d, err := Declared(a.Data, Options{})
			if err != nil {
				t.Log(err)
				return
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			begin := time.Now()
			// A collector that other programs hold up leaves more behind: of three
			// the least counts.
			most := uint64(math.MaxUint64)
			for try := 0; try < 3 && most > uint64(d.Bytes)*11/10+scratch; try++ {
				most = min(most, highest(func() { _, err = Decode(ctx, a.Data, Options{}) }))
			}
			t.Logf("%d×%d: declared %.1f MB, took %.1f MB and %.2f s: %v", d.Width, d.Height, float64(d.Bytes)/1e6, float64(most)/1e6, time.Since(begin).Seconds(), err)
			require.LessOrEqual(t, most, uint64(d.Bytes)*11/10+scratch)
			if d.Bytes <= 500e6 { // what the server takes by default; of others it says so
				require.LessOrEqual(t, most, uint64(500e6))
			} else {
				require.Equal(t, "jpeg", d.Format)
			}
			if errors.Is(err, context.DeadlineExceeded) {
				require.Less(t, time.Since(begin), 11*time.Second)
			}
		})
	}
}
