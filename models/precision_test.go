package models_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/cpu"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/vit"
)

// nmse is the mean square of what differs, as a part of want's variance.
func nmse(want, got []float32) float64 {
	var mean, off, all float64
	for _, w := range want {
		mean += float64(w) / float64(len(want))
	}
	for i, w := range want {
		d, v := float64(got[i])-float64(w), float64(w)-mean
		off += d * d
		all += v * v
	}
	return off / all
}

// TestPrecisions holds what every family answers in the lower precisions to
// the libraries': logits, or features where there is no head. The limits are
// the largest of all families, doubled: the models are tiny, two blocks of 32
// or so values, and their weights are random.
func TestPrecisions(t *testing.T) {
	for p, limit := range map[backend.Precision]float64{backend.BF16: 2.4e-4, backend.Int8: 6.2e-3} {
		b, err := cpu.New(backend.Options{Precision: p})
		if errors.Is(err, backend.ErrUnsupported) {
			t.Log(err)
			continue
		}
		require.NoError(t, err)
		defer func() { require.NoError(t, b.Close()) }()
		for _, dir := range goldens(t) {
			t.Run(p.String()+"/"+filepath.Base(dir), func(t *testing.T) {
				c, err := models.Open(dir, models.Options{ImageSize: sizes[filepath.Base(dir)]})
				require.NoError(t, err)
				defer c.Close()
				m, err := c.Model(b)
				require.NoError(t, err)
				pixels := npy(t, dir, "pixels")
				s, err := m.NewSession(vit.SessionOptions{MaxBatch: pixels.Shape()[0]})
				require.NoError(t, err)
				defer func() { require.NoError(t, s.Close()) }()
				out, err := s.Forward(pixels, vit.Wants{Features: true})
				require.NoError(t, err)
				want, got := npy(t, dir, "features"), out.Features
				if c.Config.Classes > 0 {
					want, got = npy(t, dir, "logits"), out.Logits
				}
				require.Positive(t, nmse(want.Float32s(), got.Float32s()), "the precision is another")
				require.Less(t, nmse(want.Float32s(), got.Float32s()), limit)
				t.Logf("nmse %.1e", nmse(want.Float32s(), got.Float32s()))
			})
		}
	}
}
