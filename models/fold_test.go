package models

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/tensor"
)

// Each fold is compared with what it replaces, computed here from the
// definition and in float64.

func random(shape ...int) *tensor.Dense {
	r := rand.New(rand.NewPCG(uint64(len(shape)), uint64(shape[0])))
	v := make([]float32, tensor.Shape(shape).TotalSize())
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return dense(v, shape...)
}

// apply is Wx + b for one x.
func apply(weight, bias *tensor.Dense, x []float64) []float64 {
	rows, w := weight.Shape()[0], weight.Float32s()
	y := make([]float64, rows)
	for r := range rows {
		if bias != nil {
			y[r] = float64(bias.Float32s()[r])
		}
		for i, v := range x {
			y[r] += float64(w[r*len(x)+i]) * v
		}
	}
	return y
}

func vector(n int, seed uint64) []float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	v := make([]float64, n)
	for i := range v {
		v[i] = r.Float64()
	}
	return v
}

func TestFoldNormalisation(t *testing.T) {
	const dim, h, w = 5, 3, 4
	mean, std := [3]float64{0.485, 0.456, 0.406}, [3]float64{0.229, 0.224, 0.225}
	pixels := vector(3*h*w, 7)
	normalised := make([]float64, len(pixels))
	for i, x := range pixels {
		channel := i / (h * w)
		normalised[i] = (x - float64(mean[channel])) / float64(std[channel])
	}
	for name, bias := range map[string]*tensor.Dense{"bias": random(dim), "no bias": nil} {
		t.Run(name, func(t *testing.T) {
			proj := random(dim, 3, h, w)
			want := apply(proj, bias, normalised)
			folded, shift := foldNormalisation(proj, bias, mean, std)
			require.Equal(t, tensor.Shape{dim, 3 * h * w}, folded.Shape())
			require.InDeltaSlice(t, want, apply(folded, shift, pixels), 1e-5)
		})
	}
}

func TestFoldPositions(t *testing.T) {
	const dim, patches = 4, 6
	cls, reg := random(1, dim), random(3, dim)
	for _, c := range []struct {
		name      string
		prefix    []*tensor.Dense
		posPrefix int
	}{
		{"class token with a position", []*tensor.Dense{cls}, 1},
		{"class token without", []*tensor.Dense{cls}, 0},
		{"class token and registers with positions", []*tensor.Dense{cls, reg}, 4},
		{"class token and registers without", []*tensor.Dense{cls, reg}, 0},
		{"no prefix", nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			pos, embedded := random(c.posPrefix+patches, dim), random(patches, dim)
			before := append([]float32(nil), cls.Float32s()...)

			// As the libraries do: put the prefix in front, then add the
			// positions; or add them to the patches, then put it in front.
			var want []float32
			for _, p := range c.prefix {
				want = append(want, p.Float32s()...)
			}
			if c.posPrefix > 0 {
				want = append(want, embedded.Float32s()...)
				for i, p := range pos.Float32s() {
					want[i] += p
				}
			} else {
				for i, p := range pos.Float32s() {
					want = append(want, embedded.Float32s()[i]+p)
				}
			}

			prefix, rest := foldPositions(c.prefix, pos, c.posPrefix)
			var got []float32
			if prefix != nil {
				got = append(got, prefix.Float32s()...)
			}
			for i, p := range rest.Float32s() {
				got = append(got, embedded.Float32s()[i]+p)
			}
			require.Equal(t, want, got)
			require.Equal(t, before, cls.Float32s(), "the stored token was written to")
		})
	}
}

func TestFoldScale(t *testing.T) {
	const dim, in = 5, 7
	x, weight, gamma := vector(in, 3), random(dim, in), random(dim)
	for name, bias := range map[string]*tensor.Dense{"bias": random(dim), "no bias": nil} {
		t.Run(name, func(t *testing.T) {
			want := apply(weight, bias, x)
			for i := range want {
				want[i] *= float64(gamma.Float32s()[i])
			}
			w, b := foldScale(weight, bias, gamma)
			require.InDeltaSlice(t, want, apply(w, b, x), 1e-6)
		})
	}
	w, b := foldScale(weight, nil, nil)
	require.Same(t, weight, w)
	require.Nil(t, b)
}

func TestFoldHeads(t *testing.T) {
	const dim, classes = 6, 4
	cls, dist := random(classes, dim), random(classes, dim, 1)
	c, d := vector(dim, 11), vector(dim, 12)
	for name, bias := range map[string]*tensor.Dense{"bias": random(classes), "no bias": nil} {
		t.Run(name, func(t *testing.T) {
			other := dense(vectorOf(classes, -2), classes)
			one, two := apply(cls, bias, c), apply(dist, other, d)
			want := make([]float64, classes)
			for i := range want {
				want[i] = (one[i] + two[i]) / 2
			}
			w, b := foldHeads(cls, bias, dense(dist.Float32s(), classes, dim), other)
			require.InDeltaSlice(t, want, apply(w, b, append(append([]float64(nil), c...), d...)), 1e-6)
		})
	}
}

func vectorOf(n int, v float32) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = v + float32(i)
	}
	return out
}

func TestStackQKV(t *testing.T) {
	const dim = 4
	q, k, v := random(dim, dim), random(dim, dim, 1), random(dim, dim, 1, 1)
	x := vector(dim, 5)
	qb, vb := random(dim), random(dim, 1)
	want := append(append(apply(q, qb, x), apply(k, nil, x)...), apply(v, vb, x)...)
	joined := stack(q, k, v)
	require.Equal(t, tensor.Shape{3 * dim, dim}, joined.Shape())
	require.InDeltaSlice(t, want, apply(joined, stackBias(qb, nil, dense(vb.Float32s(), dim)), x), 1e-6)
	require.Nil(t, stackBias(nil, nil, nil))
}

func TestFoldSteep(t *testing.T) {
	const in, hidden, out = 4, 6, 3
	quick := func(x float64) float64 { return x / (1 + math.Exp(-1.702*x)) }
	mlp := func(x []float64, fc1, b1, fc2 *tensor.Dense, act func(float64) float64) []float64 {
		h := apply(fc1, b1, x)
		for i, v := range h {
			h[i] = act(v)
		}
		return apply(fc2, nil, h)
	}
	x, fc1, fc2 := vector(in, 3), random(hidden, in), random(out, hidden)
	for name, act := range map[string]func(float64) float64{
		"silu": func(x float64) float64 { return x / (1 + math.Exp(-x)) },
		"relu": func(x float64) float64 { return max(x, 0) },
	} {
		for _, b1 := range []*tensor.Dense{random(hidden), nil} {
			f1, fb, f2 := foldSteep(fc1, b1, fc2, steepness[name])
			require.InDeltaSlice(t, mlp(x, fc1, b1, fc2, act), mlp(x, f1, fb, f2, quick), 1e-5, name)
		}
	}
}
