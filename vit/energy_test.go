package vit

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEnergy: log Σ exp, whatever the size of the logits.
func TestEnergy(t *testing.T) {
	require.InDelta(t, math.Log(4), Energy([]float32{0, float32(math.Log(3))}), 1e-6)
	require.InDelta(t, 1000+math.Log(2), Energy([]float32{1000, 1000}), 1e-9)
	require.InDelta(t, -1000, Energy([]float32{-1000, -2000}), 1e-9)
}
