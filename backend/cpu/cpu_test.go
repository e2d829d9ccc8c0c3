package cpu

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/backendtest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// openTest opens a backend that the test closes.
func openTest(t testing.TB, k *kernels, o backend.Options) *Backend {
	b, err := open(o, k)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// TestConformance holds every implementation that this machine can run, in
// every precision, with one thread and with several, to backend/ref.
func TestConformance(t *testing.T) {
	for _, k := range available() {
		for _, p := range []backend.Precision{backend.F32, backend.BF16, backend.Int8} {
			for _, threads := range []int{1, 3} {
				t.Run(fmt.Sprintf("%s/%v/threads=%d", k.name, p, threads), func(t *testing.T) {
					if len(k.missing[p]) > 0 {
						_, err := open(backend.Options{Precision: p}, k)
						require.ErrorIs(t, err, backend.ErrUnsupported)
						require.ErrorContains(t, err, k.missing[p][0])
						return
					}
					backendtest.Run(t, openTest(t, k, backend.Options{Precision: p, Threads: threads}), p)
				})
			}
		}
	}
}
