package backendtest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
)

// A Rate is how long an operation of Bench takes.
type Rate struct {
	Operation    string  `json:"operation"`
	Batch        int     `json:"batch"`
	Microseconds float64 `json:"microseconds"`
	GFLOPS       float64 `json:"gflops,omitempty"` // of those that are made of products
}

// Rates returns the times of Bench's operations on a batch of images: the
// median of several, or of one if once.
func Rates(t testing.TB, device backend.Backend, batch int, once bool) (rates []Rate) {
	r := newRig(t, device)
	for _, o := range r.operations(batch) {
		var took time.Duration
		if once {
			o.enqueue()
			begin := time.Now()
			require.NoError(t, r.Sync())
			took = time.Since(begin)
		} else {
			took = r.time(o.enqueue)
		}
		rates = append(rates, Rate{o.name, batch, float64(took.Nanoseconds()) / 1e3, o.gflop / took.Seconds()})
	}
	return rates
}
