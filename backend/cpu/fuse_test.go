package cpu

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
)

// TestFuse tests when an MLP's hidden layer exists: where somebody reads it
// again, and not because layers share one Temp, or the last is of fewer rows.
func TestFuse(t *testing.T) {
	const n, dim, hidden = 9, 32, 64
	for name, c := range map[string]struct {
		exists  bool
		enqueue func(s backend.Stream, x, y, h backend.Tensor, up, down backend.Linear, norm backend.Norm)
	}{
		"layers, the last of one row": {false, func(s backend.Stream, x, y, h backend.Tensor, up, down backend.Linear, norm backend.Norm) {
			for _, rows := range []int{n, n, 3} {
				s.Linear(h.Rows(0, rows), x.Rows(0, rows), up, backend.Epilogue{Act: backend.GELU})
				s.Linear(y.Rows(0, rows), h.Rows(0, rows), down, backend.Epilogue{Residual: y.Rows(0, rows)})
			}
		}},
		"read twice": {true, func(s backend.Stream, x, y, h backend.Tensor, up, down backend.Linear, norm backend.Norm) {
			s.Linear(h, x, up, backend.Epilogue{Act: backend.GELU})
			s.Linear(y, h, down, backend.Epilogue{})
			s.Linear(x, h, down, backend.Epilogue{})
		}},
		"read behind a layer of fewer rows": {true, func(s backend.Stream, x, y, h backend.Tensor, up, down backend.Linear, norm backend.Norm) {
			for _, rows := range []int{n, 3} {
				s.Linear(h.Rows(0, rows), x.Rows(0, rows), up, backend.Epilogue{Act: backend.GELU})
				s.Linear(y.Rows(0, rows), h.Rows(0, rows), down, backend.Epilogue{})
			}
			s.Linear(x, h, down, backend.Epilogue{})
		}},
		"normed": {true, func(s backend.Stream, x, y, h backend.Tensor, up, down backend.Linear, norm backend.Norm) {
			s.Linear(h, x, up, backend.Epilogue{Act: backend.GELU})
			s.LayerNorm(h, h, norm)
			s.Linear(y, h, down, backend.Epilogue{})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := openTest(t, available()[0], backend.Options{Threads: 2})
			s, rng := newTestStream(t, b, 0), newRand()
			up, down := newLinear(t, b, rng, hidden, dim, backend.LinearOptions{}), newLinear(t, b, rng, dim, hidden, backend.LinearOptions{})
			h := s.Temp(1, n, hidden)
			x, y := s.Alloc(1, n, dim), s.Alloc(1, n, dim)
			c.enqueue(s, x, y, h, up, down, backend.Norm{Weight: upload(t, b, dense(rng, hidden)), RMS: true})
			require.NoError(t, s.Sync())
			require.Equal(t, c.exists, h.Mem.(*mem).base != nil)
		})
	}
}
