package vit

import (
	"fmt"
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/cpu"
	"github.com/vitserve/vitserve/backend/ref"
	"gorgonia.org/tensor"
)

// backendOptions are those of benchmarks.
var backendOptions = backend.Options{}

func newCPU(t *testing.T, threads int) backend.Backend {
	t.Helper()
	b, err := cpu.New(backend.Options{Threads: threads})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// requireClose fails unless got is within an nmse of want.
func requireClose(t *testing.T, want, got *tensor.Dense, limit float64, name string) {
	t.Helper()
	require.Equal(t, want.Shape(), got.Shape(), name)
	var off, all float64
	for i, v := range want.Float32s() {
		d := float64(got.Float32s()[i]) - float64(v)
		off += d * d
		all += float64(v) * float64(v)
	}
	if !(off/all <= limit) {
		require.FailNowf(t, "far from the oracle", "%s: nmse %.2g, limit %.2g", name, off/all, limit)
	}
	t.Logf("%s: nmse %.2g", name, off/all)
}

// TestCPUIsRef compares the CPU with the oracle, every family and DeiT-tiny.
func TestCPUIsRef(t *testing.T) { isRef(t, newCPU(t, 2)) }

// isRef compares a backend with the oracle.
func isRef(t *testing.T, device backend.Backend) {
	compare := func(t *testing.T, c Config, batch int, w Wants) {
		weights := Random(c, 5)
		pixels := photos(c, batch, 1)
		want, err := newSession(t, ref.Backend{}, c, weights, batch).Forward(pixels, w)
		require.NoError(t, err)
		got, err := newSession(t, device, c, weights, batch).Forward(pixels, w)
		require.NoError(t, err)
		// Measured, then doubled.
		const limit = 1e-12
		if c.Classes > 0 {
			requireClose(t, want.Logits, got.Logits, limit, "logits")
		}
		requireClose(t, want.Features, got.Features, limit, "features")
		if w.Probe && c.Probe.Heads > 0 {
			requireClose(t, want.Probe, got.Probe, limit, "attention of the probe")
		}
		for i, tokens := range want.Tokens {
			requireClose(t, tokens, got.Tokens[i], limit, fmt.Sprintf("tokens after block %d", i))
		}
		for i, probs := range want.Attn {
			requireClose(t, probs, got.Attn[i], limit, fmt.Sprintf("attention of block %d", i))
		}
	}
	for name := range families {
		t.Run(name, func(t *testing.T) {
			compare(t, family(name), 3, Wants{Features: true, Tokens: []int{-1, 0}, AttnFull: true, Probe: true})
		})
	}
	t.Run("DeiT-tiny", func(t *testing.T) {
		if testing.Short() {
			t.Skip("two seconds of the oracle")
		}
		compare(t, deitTi(), 1, Wants{Features: true, Tokens: []int{5, 11}, AttnRows: []int{0}})
	})
}

// TestCompany: an image gets the same bits alone and at every place of a
// batch, with one thread and with several or some of them, with and without
// captures.
func TestCompany(t *testing.T) {
	c := deitTi()
	c.Depth, c.Classes = 3, 10
	weights := Random(c, 5)
	const batch = 5
	pixels := photos(c, batch, 1)
	size := len(image(pixels, 0))
	var want []uint32
	for _, threads := range []int{1, 2, 3} {
		m, err := New(newCPU(t, threads), c, weights)
		require.NoError(t, err)
		s, err := m.NewSession(SessionOptions{MaxBatch: batch})
		require.NoError(t, err)
		for _, w := range []Wants{{}, {AttnRows: []int{0}}, {AttnFull: true}, {Tokens: []int{2}}} {
			for n := 1; n <= batch; n++ {
				for first := 0; first+n <= batch; first += 2 {
					s.SetThreads((n + first) % 3)
					part := tensor.New(tensor.WithShape(n, 3, 224, 224), tensor.WithBacking(pixels.Float32s()[first*size:(first+n)*size]))
					got, err := s.Forward(part, w)
					require.NoError(t, err)
					if want == nil { // every image on its own, first of all
						for b := range batch {
							one := tensor.New(tensor.WithShape(1, 3, 224, 224), tensor.WithBacking(image(pixels, b)))
							s.SetThreads(0)
							alone, err := s.Forward(one, Wants{})
							require.NoError(t, err)
							want = append(want, bits(alone.Logits.Float32s())...)
						}
					}
					require.Equal(t, want[first*c.Classes:(first+n)*c.Classes], bits(got.Logits.Float32s()),
						"%d threads, %d images from %d, %+v", threads, n, first, w)
				}
			}
		}
		require.NoError(t, s.Close())
	}
}

func bits(f []float32) (u []uint32) {
	for _, v := range f {
		u = append(u, math.Float32bits(v))
	}
	return u
}

// TestCapturesAreSoftmax computes the captured probabilities again, from the
// tokens that go into each block.
func TestCapturesAreSoftmax(t *testing.T) {
	c := family("registers, swiglu")
	w := Random(c, 5)
	got, err := newSession(t, newCPU(t, 2), c, w, 2).Forward(photos(c, 2, 1), Wants{Tokens: []int{-1, 0}, AttnFull: true})
	require.NoError(t, err)
	n, d := c.Tokens(), c.Dim/c.Heads
	for layer, probs := range got.Attn {
		b := w.Blocks[layer]
		for img := range 2 {
			var x [][]float64
			for i := range n {
				var token []float64
				for _, v := range image(got.Tokens[layer-1], img)[i*c.Dim : (i+1)*c.Dim] {
					token = append(token, float64(v))
				}
				x = append(x, token)
			}
			qkv := naiveLinear(naiveNorm(x, b.Norm1, c.Eps), b.QKV, b.QKVBias)
			for h := range c.Heads {
				for i := range n {
					row := image(probs, img)[(h*n+i)*n:][:n]
					logit := func(j int) (sum float64) {
						for k := range d {
							sum += qkv[i][h*d+k] * qkv[j][c.Dim+h*d+k]
						}
						return sum / math.Sqrt(float64(d))
					}
					sum := 0.0
					for j := range n {
						sum += float64(row[j])
						require.InDelta(t, logit(j)-logit(0), math.Log(float64(row[j]/row[0])), 2e-5)
					}
					require.InDelta(t, 1, sum, 1e-6)
				}
			}
		}
	}
}

// TestConcurrentSessions runs several sessions of one model at once; the race
// detector looks on.
func TestConcurrentSessions(t *testing.T) {
	c := family("class and distillation")
	m, err := New(newCPU(t, 2), c, Random(c, 5))
	require.NoError(t, err)
	const sessions, rounds = 4, 20
	var want [sessions]*Output
	run := func(i int) (*Output, error) {
		s, err := m.NewSession(SessionOptions{MaxBatch: 3, Priority: i % 2})
		if err != nil {
			return nil, err
		}
		defer s.Close()
		var out *Output
		for round := range rounds {
			s.SetThreads((round + i) % 3)
			if out, err = s.Forward(photos(c, 1+(round+i)%3, uint64(i)), Wants{AttnRows: []int{i}}); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	for i := range sessions {
		want[i], err = run(i)
		require.NoError(t, err)
	}
	var wait sync.WaitGroup
	var got [sessions]*Output
	var errs [sessions]error
	for i := range sessions {
		wait.Go(func() { got[i], errs[i] = run(i) })
	}
	wait.Wait()
	for i := range sessions {
		require.NoError(t, errs[i])
		require.Equal(t, want[i].Logits.Float32s(), got[i].Logits.Float32s())
		require.Equal(t, want[i].Attn[1].Float32s(), got[i].Attn[1].Float32s())
	}
}
