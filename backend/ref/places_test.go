package ref

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
)

// TestCausalByHand: two tokens of one column; the first sees itself alone,
// the second weighs both by exp(q·k).
func TestCausalByHand(t *testing.T) {
	s := newStream(t)
	q, k, v := put(s, []float32{5, 1}, 1, 2, 1), put(s, []float32{0, 1}, 1, 2, 1), put(s, []float32{10, 20}, 1, 2, 1)
	o := s.Alloc(1, 2, 1)
	s.Attention(o, q, k, v, backend.Attention{Heads: 1, Scale: 2, Causal: true})
	second := (10 + 20*math.Exp(2)) / (1 + math.Exp(2))
	require.InDeltaSlice(t, []float64{10, second}, widen(get(t, s, o)), 1e-5)
}

// TestBiasByHand: a bias of 2·log 3 in head 1 of image 1 alone weighs its
// second key nine to one; -Inf hides it.
func TestBiasByHand(t *testing.T) {
	s := newStream(t)
	q, v := put(s, make([]float32, 4), 2, 1, 2), put(s, []float32{1, 1, 2, 2, 1, 1, 2, 2}, 2, 2, 2)
	k := put(s, make([]float32, 8), 2, 2, 2)
	hide, log9 := float32(math.Inf(-1)), float32(2*math.Log(3))
	o := s.Alloc(2, 1, 2)
	s.Attention(o, q, k, v, backend.Attention{Heads: 2, Scale: 1, Bias: upload(t, []float32{0, hide, 0, 0, 0, 0, 0, log9}, 2, 2, 1, 2)})
	require.InDeltaSlice(t, []float64{1, 1.5, 1.5, 1.9}, widen(get(t, s, o)), 1e-6)
}

// TestRopeOfEachImage: a kept token turns by the angle of the place that it
// had, so its product with the first depends on how far they were apart.
func TestRopeOfEachImage(t *testing.T) {
	s := newStream(t)
	const angle = 0.3
	var cos, sin []float32
	for _, place := range []float64{0, 1, 0, 4} { // image 0 keeps tokens 0 and 1, image 1 tokens 0 and 4
		c, n := math.Cos(angle*place), math.Sin(angle*place)
		cos, sin = append(cos, float32(c), float32(c)), append(sin, float32(n), float32(n))
	}
	x := put(s, []float32{1, 0, 1, 0, 1, 0, 1, 0}, 2, 2, 2)
	o, probs := s.Alloc(2, 1, 2), s.Alloc(2, 1, 1, 2)
	s.Attention(o, x.Rows(0, 1), x, x, backend.Attention{
		Heads: 1, Scale: 1, Rope: &backend.Rope{Cos: upload(t, cos, 2, 2, 2), Sin: upload(t, sin, 2, 2, 2)}, Probs: probs,
	})
	var want []float64
	for _, far := range []float64{1, 4} {
		a, b := math.E, math.Exp(math.Cos(angle*far))
		want = append(want, a/(a+b), b/(a+b))
	}
	require.InDeltaSlice(t, want, widen(get(t, s, probs)), 1e-6)
}

// TestRMSNormByHand: mean square (1 + 49)/2 = 25, so 1/5 and 7/5; each head
// alone is its sign.
func TestRMSNormByHand(t *testing.T) {
	s := newStream(t)
	x, y := put(s, []float32{1, -7}, 1, 1, 2), s.Alloc(1, 1, 2)
	s.LayerNorm(y, x, backend.Norm{Weight: upload(t, []float32{10, 5}, 2), RMS: true})
	require.InDeltaSlice(t, []float64{2, -7}, widen(get(t, s, y)), 1e-6)
	s.LayerNorm(y, x, backend.Norm{Weight: upload(t, []float32{3}, 1), RMS: true, Heads: 2})
	require.InDeltaSlice(t, []float64{3, -3}, widen(get(t, s, y)), 1e-6)
	s.LayerNorm(y, x, backend.Norm{Weight: upload(t, []float32{3}, 1), Bias: upload(t, []float32{4}, 1), Eps: 1, Heads: 2})
	require.InDeltaSlice(t, []float64{4, 4}, widen(get(t, s, y)), 1e-6)
}
