package ref_test

import (
	"testing"

	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/backendtest"
	"github.com/vitserve/vitserve/backend/ref"
)

// TestConformance holds the oracle to the parts of the suite that do not ask
// the oracle: memory, failures, panics, company, concurrency.
func TestConformance(t *testing.T) { backendtest.Run(t, ref.Backend{}, backend.F32) }

// TestGradients holds the oracle's gradients to its own forward operations.
func TestGradients(t *testing.T) { backendtest.FiniteDifferences(t, ref.Backend{}) }
