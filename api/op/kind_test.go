package op_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api/op"
)

// TestKinds: each kind has a status of its own in HTTP, and the table leads
// back to it; only what may get better by itself is worth another try.
func TestKinds(t *testing.T) {
	for k := op.Internal; k <= op.Unsupported; k++ {
		require.Equal(t, k, op.OfHTTP(k.HTTP()))
		require.GreaterOrEqual(t, k.HTTP(), 400)
		require.NotZero(t, k.GRPC())
		require.Equal(t, k == op.Busy || k == op.Unavailable, k.Retry())
	}
	require.Equal(t, op.Internal, op.OfHTTP(http.StatusTeapot))
}
