package vit

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/ref"
	"gorgonia.org/tensor"
)

// weighed is a backend that counts the floats it is asked to hold.
type weighed struct {
	backend.Backend
	weights, activations *int64
}

func newWeighed() weighed { return weighed{ref.Backend{}, new(int64), new(int64)} }

func (c weighed) Upload(t *tensor.Dense) (backend.Tensor, error) {
	*c.weights += int64(t.Shape().TotalSize())
	return c.Backend.Upload(t)
}

func (c weighed) NewLinear(weight, bias *tensor.Dense, o backend.LinearOptions) (backend.Linear, error) {
	*c.weights += int64(weight.Shape().TotalSize())
	if bias != nil {
		*c.weights += int64(bias.Shape().TotalSize())
	}
	return c.Backend.NewLinear(weight, bias, o)
}

func (c weighed) NewStream(o backend.StreamOptions) (backend.Stream, error) {
	s, err := c.Backend.NewStream(o)
	return weighedStream{s, c.activations}, err
}

// took returns the bytes of activations since it was last asked.
func (c weighed) took() int64 {
	defer func() { *c.activations = 0 }()
	return 4 * *c.activations
}

type weighedStream struct {
	backend.Stream
	floats *int64
}

func (s weighedStream) Alloc(shape ...int) backend.Tensor {
	*s.floats += int64(tensor.Shape(shape).TotalSize())
	return s.Stream.Alloc(shape...)
}

func (s weighedStream) Temp(shape ...int) backend.Tensor {
	*s.floats += int64(tensor.Shape(shape).TotalSize())
	return s.Stream.Temp(shape...)
}

// TestSizes: what is said of memory is what is asked of the backend, of every
// family.
func TestSizes(t *testing.T) {
	for name := range families {
		t.Run(name, func(t *testing.T) {
			b, c := newWeighed(), family(name)
			m, err := New(b, c, Random(c, 1))
			require.NoError(t, err)
			require.Equal(t, 4**b.weights, WeightBytes(c), "weights")

			s, err := m.NewSession(SessionOptions{MaxBatch: 3})
			require.NoError(t, err)
			require.Equal(t, b.took(), SessionBytes(c, 3), "session")

			_, err = s.Trace(photos(c, 2, 1), Wants{})
			require.NoError(t, err)
			require.Equal(t, b.took(), TracerBytes(c, 2), "trace")

			if c.Classes > 0 {
				all := upTo(c.Tokens() - c.Prefix)
				_, err = s.Kept(photos(c, 1, 1), [][]int{all, all, all})
				require.NoError(t, err)
				require.Equal(t, b.took(), KeptBytes(c, 3), "kept")
			}
			require.NoError(t, s.Close())
			require.NoError(t, m.Close())
		})
	}
}
