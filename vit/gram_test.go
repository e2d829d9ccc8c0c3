package vit

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/cpu"
	"github.com/vitserve/vitserve/backend/ref"
	"gorgonia.org/tensor"
)

// naiveGram makes the vectors that the heads of a block would add for one
// token of its input, and multiplies them.
func naiveGram(c Config, b BlockWeights, token []float64) (gram []float64) {
	given := [][]float64{token}
	if c.Form != FormPost {
		given = naiveNorm(given, b.Norm1, c.Eps)
	}
	value := naiveLinear(given, b.QKV, b.QKVBias)[0][2*c.Dim:]
	var f [][]float64
	d := c.Dim / c.Heads
	for h := range c.Heads {
		only := make([]float64, c.Dim)
		copy(only[h*d:(h+1)*d], value[h*d:(h+1)*d])
		if c.InnerNorm {
			var mean float64
			for _, v := range only {
				mean += v / float64(c.Dim)
			}
			for i, v := range only {
				only[i] = (v - mean) * at(b.Inner.Weight, i)
			}
		}
		f = append(f, naiveLinear([][]float64{only}, b.Proj, nil)[0])
	}
	for _, x := range f {
		for _, y := range f {
			var sum float64
			for i := range x {
				sum += x[i] * y[i]
			}
			gram = append(gram, sum)
		}
	}
	return gram
}

// TestGram holds the dot products to vectors that were made, and that wanting
// them changes no other answer: of Forward and Trace alike.
func TestGram(t *testing.T) {
	fast, err := cpu.New(backend.Options{Threads: 2})
	require.NoError(t, err)
	defer fast.Close()
	for name := range families {
		t.Run(name, func(t *testing.T) {
			c := family(name)
			w := Random(c, 3)
			pixels := photos(c, 2, 5)
			var want [][]float64 // by image and block
			for b := range 2 {
				tokens := runNaive(c, w, image(pixels, b)).tokens
				for i, bw := range w.Blocks {
					var all []float64
					for _, token := range tokens[i] {
						all = append(all, naiveGram(c, bw, token)...)
					}
					want = append(want, all)
				}
			}
			for _, b := range []backend.Backend{ref.Backend{}, fast} {
				s := newSession(t, b, c, w, 2)
				plain, err := s.Forward(pixels, Wants{Features: true})
				require.NoError(t, err)
				for range 2 { // the second time with the parts that the first made
					out, err := s.Forward(pixels, Wants{Features: true, Gram: true})
					require.NoError(t, err)
					require.Equal(t, plain.Features.Float32s(), out.Features.Float32s())
					require.Len(t, out.Gram, c.Depth)
					for i, g := range out.Gram {
						require.Equal(t, tensor.Shape{2, c.Tokens(), c.Heads, c.Heads}, g.Shape())
						for b := range 2 {
							requireNear(t, want[b*c.Depth+i], image(g, b), 1e-3, name)
						}
					}
					traced, err := s.Trace(pixels, Wants{Gram: true})
					require.NoError(t, err)
					for i, g := range out.Gram {
						require.Equal(t, g.Float32s(), traced.Output.Gram[i].Float32s())
					}
				}
			}
		})
	}
}

// TestGramCompany: an image's dot products have the same bits alone and in a
// batch, with one thread and with several.
func TestGramCompany(t *testing.T) {
	c := deitTi()
	c.Depth, c.Classes = 2, 10
	w, pixels := Random(c, 5), photos(c, 3, 1)
	var want *Output
	for _, threads := range []int{1, 2, 3} {
		s := newSession(t, newCPU(t, threads), c, w, 3)
		all, err := s.Forward(pixels, Wants{Gram: true})
		require.NoError(t, err)
		if want == nil {
			want = all
		}
		for b := range 3 {
			one := tensor.New(tensor.WithShape(1, 3, 224, 224), tensor.WithBacking(image(pixels, b)))
			alone, err := s.Forward(one, Wants{Gram: true})
			require.NoError(t, err)
			for i := range c.Depth {
				require.Equal(t, bits(image(want.Gram[i], b)), bits(image(all.Gram[i], b)), "%d threads", threads)
				require.Equal(t, bits(image(want.Gram[i], b)), bits(image(alone.Gram[i], 0)), "%d threads, image %d alone", threads, b)
			}
		}
	}
}

// TestGramPrecision: they are of the weights as bf16 and int8 rounded them.
func TestGramPrecision(t *testing.T) {
	c := deitTi()
	c.Depth, c.Classes = 2, 10
	w, pixels := Random(c, 5), photos(c, 1, 1)
	want, err := newSession(t, ref.Backend{}, c, w, 1).Forward(pixels, Wants{Gram: true})
	require.NoError(t, err)
	for p, limit := range map[backend.Precision]float64{backend.BF16: 1e-4, backend.Int8: 2e-3} {
		t.Run(p.String(), func(t *testing.T) {
			b, err := cpu.New(backend.Options{Precision: p, Threads: 2})
			if errors.Is(err, backend.ErrUnsupported) {
				t.Skip(err)
			}
			require.NoError(t, err)
			defer b.Close()
			got, err := newSession(t, b, c, w, 1).Forward(pixels, Wants{Gram: true})
			require.NoError(t, err)
			for i := range want.Gram {
				requireClose(t, want.Gram[i], got.Gram[i], limit, p.String())
			}
		})
	}
}

// TestGramMemory: a closed session gives back what it took, and what it would
// take counts as a capture.
func TestGramMemory(t *testing.T) {
	b, err := cpu.New(backend.Options{Threads: 2})
	require.NoError(t, err)
	defer b.Close()
	c := deitTi()
	c.Depth = 2
	m, err := New(b, c, Random(c, 1))
	require.NoError(t, err)
	var before int
	for round := range 3 {
		s, err := m.NewSession(SessionOptions{})
		require.NoError(t, err)
		_, err = s.Forward(photos(c, 1, 1), Wants{Gram: true})
		require.NoError(t, err)
		require.NoError(t, s.Close())
		if round == 0 {
			before = b.Bytes()
		}
		require.Equal(t, before, b.Bytes(), "round %d", round)
	}
	s, err := m.NewSession(SessionOptions{MaxCapture: 4 * c.Tokens() * c.Dim * (c.Depth + c.Heads)})
	require.NoError(t, err)
	defer s.Close()
	_, err = s.Forward(photos(c, 1, 1), Wants{Gram: true})
	require.ErrorContains(t, err, "captures of 1 images")
}
