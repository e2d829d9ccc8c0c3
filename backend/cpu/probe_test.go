package cpu

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPeak(t *testing.T) {
	one := peak(1, 20*time.Millisecond)
	require.Greater(t, one, 0.1, "GFLOP/s of one core")
	require.Less(t, one, 2000.0, "no core multiplies that fast: the loop was not run")
	require.Greater(t, peak(2, 20*time.Millisecond), 0.1)
}
