package models_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/models"
)

// What ends the reading early is the error, not the tensors that were then
// not asked for.
func TestOpenEarlyFailure(t *testing.T) {
	_, err := models.Open("", models.Options{ImageSize: [2]int{100_000, 100_000}})
	require.ErrorContains(t, err, "want 1 to 16384")
	require.NotContains(t, err.Error(), "unused")
}
