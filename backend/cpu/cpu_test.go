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

// TestConformance holds every implementation that this machine can run, with
// one thread and with several, to backend/ref.
func TestConformance(t *testing.T) {
	for _, k := range available() {
		for _, threads := range []int{1, 2, 3} {
			t.Run(fmt.Sprintf("%s/threads=%d", k.name, threads), func(t *testing.T) {
				backendtest.Run(t, openTest(t, k, backend.Options{Threads: threads}), backend.F32)
			})
		}
	}
}
