package api_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/internal/hostile"
	"github.com/vitserve/vitserve/patch"
)

// TestMixedBombs sends the sixteen costliest files of all formats at once, to
// be classified and to be drawn on: what they take together stays below
// decode_budget, and each is answered. With VITSERVE_COSTLIEST they have 49
// megapixels and the budget is the default.
func TestMixedBombs(t *testing.T) {
	if raceEnabled {
		t.Skip("memory under the race detector means nothing")
	}
	size, room := hostile.Budget{Pixels: 9_000_000, Bytes: 64 << 10}, int64(100_000_000)
	if os.Getenv("VITSERVE_COSTLIEST") != "" {
		size, room = hostile.Full, api.DefaultConfig().DecodeBudget
	}
	c := start(t, func(cfg *api.Config) {
		cfg.DecodeBudget = room
		cfg.MaxQueue, cfg.ExplainMaxQueue = 64, 64
		cfg.RequestTimeout, cfg.WriteTimeout = api.Duration(3*time.Minute), api.Duration(5*time.Minute)
	})
	var files [][]byte
	var most int64
	of := map[string]int{}
	for _, a := range hostile.Bombs(3, size) {
		d, err := patch.Declared(a.Data, patch.Options{})
		if err != nil || !a.Whole || d.Width*d.Height < size.Pixels/2 || of[a.Format] == 4 {
			continue
		}
		of[a.Format]++
		most += d.Bytes
		files = append(files, a.Data)
	}
	require.GreaterOrEqual(t, len(files), 16)
	require.Greater(t, most, 3*room, "together they are more than the budget")
	require.Equal(t, http.StatusOK, c.post("/v1/explain", photo(t, "banana.jpg")).status)

	defer debug.SetGCPercent(debug.SetGCPercent(5))
	runtime.GC()
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	heap := func() int64 {
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	base, highest := heap(), int64(0)
	var wg sync.WaitGroup
	statuses := make(chan string, 2*len(files))
	for i, data := range files {
		wg.Go(func() {
			path := []string{"/v1/classify", "/v1/explain?method=raw&top_k=1"}[i%2]
			r, err := c.try(c.request(http.MethodPost, path, bytes.NewReader(data), "Content-Type", ""))
			statuses <- fmt.Sprint(r.status, err)
		})
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	for open := true; open; {
		select {
		case <-done:
			open = false
		case <-time.After(time.Millisecond):
			highest = max(highest, heap()-base)
		}
	}
	close(statuses)
	count := map[string]int{}
	for s := range statuses {
		count[s]++
	}
	t.Logf("%d files, %d MB one by one, %d MB at most at once: %v", len(files), most/1e6, highest/1e6, count)
	const other = 24 << 20 // bodies, rows of resizes, answers
	require.LessOrEqual(t, highest, room*11/10+other)
	for s := range count {
		require.Contains(t, []string{"200 <nil>", "400 <nil>", "422 <nil>"}, s)
	}
	require.Positive(t, count["200 <nil>"])
}
