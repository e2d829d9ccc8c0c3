package vit

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/ref"
	"gorgonia.org/tensor"
)

func trace(t *testing.T, s *Session, pixels *tensor.Dense, w Wants) *Trace {
	t.Helper()
	tr, err := s.Trace(pixels, w)
	require.NoError(t, err)
	return tr
}

func derive(t *testing.T, tr *Trace, seed Seed, w GradWants) *Grads {
	t.Helper()
	g, err := tr.Backward(seed, w)
	require.NoError(t, err)
	return g
}

// bell32 returns values of about the standard normal distribution.
func bell32(seed uint64, shape ...int) *tensor.Dense {
	rng := rand.New(rand.NewPCG(seed, 8))
	d := tensor.New(tensor.WithShape(shape...), tensor.Of(tensor.Float32))
	for i := range d.Float32s() {
		d.Float32s()[i] = float32(rng.NormFloat64())
	}
	return d
}

func upTo(n int) (blocks []int) {
	for i := range n {
		blocks = append(blocks, i)
	}
	return blocks
}

// TestBackwardIsDifference compares the gradient of every family with
// differences of its forward pass, along a random direction in the pixels of
// each image.
func TestBackwardIsDifference(t *testing.T) {
	for name := range families {
		t.Run(name, func(t *testing.T) {
			c := family(name)
			s := newSession(t, ref.Backend{}, c, Random(c, 5), 2)
			pixels, along := photos(c, 2, 1), bell32(2, 2, 3, c.Image[0], c.Image[1])
			answer := func(by float32) []float32 {
				moved := pixels.Clone().(*tensor.Dense)
				for i, v := range along.Float32s() {
					moved.Float32s()[i] += by * v
				}
				out, err := s.Forward(moved, Wants{Features: true})
				require.NoError(t, err)
				if c.Classes == 0 {
					return out.Features.Float32s()
				}
				return out.Logits.Float32s()
			}
			width, seed := c.Classes, AtLogits
			if width == 0 {
				width, seed = c.Features(), AtFeatures
			}
			d := bell32(3, 2, width)
			g := derive(t, trace(t, s, pixels, Wants{}), seed(d), GradWants{Pixels: true})
			require.Equal(t, pixels.Shape(), g.Pixels.Shape())

			h, limit := float32(0.01), 1e-3
			if c.Reduce != ReduceMean { // so near that no other token becomes the largest
				h, limit = 2e-4, 1e-2
			}
			up, down, up2, down2 := answer(h), answer(-h), answer(2*h), answer(-2*h)
			for b := range 2 {
				var want, got float64
				for i := b * width; i < (b+1)*width; i++ {
					slope := (8*(float64(up[i])-float64(down[i])) - (float64(up2[i]) - float64(down2[i]))) / (12 * float64(h))
					want += slope * float64(d.Float32s()[i])
				}
				for i, v := range image(along, b) {
					got += float64(v) * float64(image(g.Pixels, b)[i])
				}
				require.InEpsilon(t, want, got, limit, "image %d", b)
			}
		})
	}
}

// TestTraceIsForward: a trace's output has the bits of Forward's.
func TestTraceIsForward(t *testing.T) {
	for device, b := range map[string]backend.Backend{"ref": ref.Backend{}, "cpu": newCPU(t, 2)} {
		for name := range families {
			t.Run(device+"/"+name, func(t *testing.T) {
				c := family(name)
				s := newSession(t, b, c, Random(c, 5), 3)
				w := Wants{Features: true, Tokens: []int{-1, c.Depth - 1}, Normed: upTo(c.Depth), Final: true, AttnFull: true, Probe: true}
				for _, n := range []int{2, 3, 1} {
					pixels := photos(c, n, 1)
					want, err := s.Forward(pixels, w)
					require.NoError(t, err)
					require.Equal(t, want, trace(t, s, pixels, w).Output)
					require.Len(t, want.Normed, c.Depth)
				}
			})
		}
	}
}

// TestBackwardChain: a gradient at the tokens of any block is a seed from
// which the rest of the way gives the same answer.
func TestBackwardChain(t *testing.T) {
	for name := range families {
		t.Run(name, func(t *testing.T) {
			c := family(name)
			s := newSession(t, ref.Backend{}, c, Random(c, 5), 2)
			tr := trace(t, s, photos(c, 2, 1), Wants{AttnFull: true})
			all := GradWants{Pixels: true, Tokens: append(upTo(c.Depth), -1), Normed: upTo(c.Depth), Probs: upTo(c.Depth), Relevance: upTo(c.Depth)}
			want := derive(t, tr, AtFeatures(bell32(3, 2, c.Features())), all)
			for block := -1; block < c.Depth; block++ {
				below := upTo(block + 1)
				g := derive(t, tr, AtTokens(block, want.Tokens[block]), GradWants{Pixels: true, Tokens: append(below, -1), Probs: below})
				requireClose(t, want.Pixels, g.Pixels, 1e-11, "pixels")
				for i, d := range g.Tokens {
					requireClose(t, want.Tokens[i], d, 1e-11, fmt.Sprintf("tokens after block %d", i))
				}
				for i, d := range g.Probs {
					requireClose(t, want.Probs[i], d, 1e-11, fmt.Sprintf("probabilities of block %d", i))
				}
			}
			// Nothing depends on what else is asked for.
			for i := range c.Depth {
				for _, g := range []*Grads{
					derive(t, tr, AtFeatures(bell32(3, 2, c.Features())), GradWants{Probs: []int{i}, Relevance: []int{i}}),
					derive(t, tr, AtFeatures(bell32(3, 2, c.Features())), GradWants{Probs: []int{i}, Normed: []int{i}, Relevance: []int{i}}),
				} {
					require.Equal(t, want.Probs[i], g.Probs[i])
					require.Equal(t, want.Relevance[i], g.Relevance[i])
					if g.Normed != nil {
						require.Equal(t, want.Normed[i], g.Normed[i])
					}
				}
				requireRelevance(t, tr.Output.Attn[i], want.Probs[i], want.Relevance[i])
			}
		})
	}
}

// requireRelevance computes relevance anew.
func requireRelevance(t *testing.T, probs, grad, got *tensor.Dense) {
	t.Helper()
	b, h, n := probs.Shape()[0], probs.Shape()[1], probs.Shape()[3]
	positive := 0
	for i := range b {
		for at := range n * n {
			var want float64
			for head := range h {
				j := (i*h+head)*n*n + at
				want += max(0, float64(probs.Float32s()[j])*float64(grad.Float32s()[j])) / float64(h)
			}
			require.InDelta(t, want, got.Float32s()[i*n*n+at], 1e-6+1e-5*want)
			if want > 0 {
				positive++
			}
		}
	}
	require.Positive(t, positive)
}

// TestSeedAfterBlock: logits after a block are those of a model that ends
// there.
func TestSeedAfterBlock(t *testing.T) {
	for _, name := range []string{"class token", "mean, fc_norm", "class with mean", "probe", "probe, registers, fc_norm"} {
		t.Run(name, func(t *testing.T) {
			c := family(name)
			c.Depth = 3
			w := Random(c, 5)
			pixels, d := photos(c, 2, 1), OneHot(c.Classes, 3, 0)
			tr := trace(t, newSession(t, ref.Backend{}, c, w, 2), pixels, Wants{})
			for block := range c.Depth {
				short, sw := c, *w
				short.Depth = block + 1
				sw.Blocks = w.Blocks[:block+1]
				ends := trace(t, newSession(t, ref.Backend{}, short, &sw, 2), pixels, Wants{})
				wants := GradWants{Pixels: true, Probs: []int{block}, Probe: c.Probe.Heads > 0}
				want, got := derive(t, ends, AtLogits(d), wants), derive(t, tr, AtLogitsAfter(block, d), wants)
				requireClose(t, want.Pixels, got.Pixels, 1e-11, "pixels")
				requireClose(t, want.Probs[block], got.Probs[block], 1e-11, "probabilities")
				if wants.Probe {
					requireClose(t, want.Probe, got.Probe, 1e-11, "probabilities of the probe")
				}
				alone := derive(t, tr, AtLogitsAfter(block, d), GradWants{Probs: []int{block}})
				requireClose(t, want.Probs[block], alone.Probs[block], 1e-11, "probabilities alone")
			}
		})
	}
}

// TestTraceEnds: a trace lives until the next, whatever Forward does.
func TestTraceEnds(t *testing.T) {
	c := family("class token")
	s := newSession(t, ref.Backend{}, c, Random(c, 5), 3)
	first := trace(t, s, photos(c, 2, 1), Wants{})
	seed := AtLogits(OneHot(c.Classes, 1, 2))
	want := derive(t, first, seed, GradWants{Pixels: true})
	_, err := s.Forward(photos(c, 3, 2), Wants{})
	require.NoError(t, err)
	_, err = s.Kept(photos(c, 1, 2), [][]int{{0, 1}, {2, 3}})
	require.NoError(t, err)
	require.Equal(t, want.Pixels, derive(t, first, seed, GradWants{Pixels: true}).Pixels)
	_, err = s.Trace(photos(c, 4, 1), Wants{}) // refused: it ends nothing
	require.ErrorContains(t, err, "4 images, want 1 to 3")
	require.Equal(t, want.Pixels, derive(t, first, seed, GradWants{Pixels: true}).Pixels)

	second := trace(t, s, photos(c, 1, 1), Wants{})
	_, err = first.Backward(seed, GradWants{Pixels: true})
	require.ErrorContains(t, err, "the trace has ended")
	derive(t, second, AtLogits(OneHot(c.Classes, 1)), GradWants{Pixels: true})
	require.NoError(t, s.Close())
	_, err = second.Backward(AtLogits(OneHot(c.Classes, 1)), GradWants{Pixels: true})
	require.ErrorContains(t, err, "the trace has ended")
}

func TestBackwardErrors(t *testing.T) {
	c := family("class token")
	m, err := New(ref.Backend{}, c, Random(c, 5))
	require.NoError(t, err)
	s, err := m.NewSession(SessionOptions{MaxBatch: 2, MaxCapture: int(2*TraceBytes(c)) + 1000})
	require.NoError(t, err)
	defer s.Close()
	tr := trace(t, s, photos(c, 2, 1), Wants{})
	ones := OneHot(c.Classes, 0, 1)
	tokens := bell32(1, 2, c.Tokens(), c.Dim)
	for says, f := range map[string]func() error{
		"none of the functions":                      func() error { _, err := tr.Backward(Seed{}, GradWants{}); return err },
		"seed (2, 6), want (2, 7)":                   func() error { _, err := tr.Backward(AtLogits(OneHot(6, 0, 1)), GradWants{}); return err },
		"seed (2, 7), want (2, 32)":                  func() error { _, err := tr.Backward(AtFeatures(ones), GradWants{}); return err },
		"seed (2, 7), want (2, 25, 32)":              func() error { _, err := tr.Backward(AtTokens(0, ones), GradWants{}); return err },
		"seed after block 2, want -1 to 1":           func() error { _, err := tr.Backward(AtTokens(2, tokens), GradWants{}); return err },
		"seed after block -1, want 0 to 1":           func() error { _, err := tr.Backward(AtLogitsAfter(-1, ones), GradWants{}); return err },
		"probabilities of block 1, want 0 to 0":      func() error { _, err := tr.Backward(AtTokens(0, tokens), GradWants{Probs: []int{1}}); return err },
		"tokens after block -2, want -1 to 1":        func() error { _, err := tr.Backward(AtLogits(ones), GradWants{Tokens: []int{-2}}); return err },
		"relevance of block -1, want 0 to 1":         func() error { _, err := tr.Backward(AtLogits(ones), GradWants{Relevance: []int{-1}}); return err },
		"captures of 2 images would take":            func() error { _, err := tr.Backward(AtLogits(ones), GradWants{Probs: make([]int, 4000)}); return err },
		"vit: trace: captures of 2 images would":     func() error { _, err := s.Trace(photos(c, 2, 1), Wants{AttnFull: true}); return err },
		"vit: trace: norm of block 2, want 0 to 1":   func() error { _, err := s.Trace(photos(c, 2, 1), Wants{Normed: []int{2}}); return err },
		"vit: backward: seed: backend: host tensor ": func() error { _, err := tr.Backward(AtLogits(nil), GradWants{}); return err },
	} {
		require.ErrorContains(t, f(), says)
	}
	// The errors left the trace as it was.
	derive(t, tr, AtLogits(ones), GradWants{Pixels: true})

	c.Classes = 0
	headless := trace(t, newSession(t, ref.Backend{}, c, Random(c, 5), 1), photos(c, 1, 1), Wants{})
	_, err = headless.Backward(AtLogits(OneHot(7, 1)), GradWants{})
	require.ErrorContains(t, err, "no head")
}

// TestCPUBackwardIsRef compares the CPU's gradients with the oracle's, every
// family.
func TestCPUBackwardIsRef(t *testing.T) {
	device := newCPU(t, 2)
	for name := range families {
		t.Run(name, func(t *testing.T) {
			c := family(name)
			w, pixels, seed := Random(c, 5), photos(c, 3, 1), AtFeatures(bell32(3, 3, c.Features()))
			all := GradWants{Pixels: true, Tokens: append(upTo(c.Depth), -1), Normed: upTo(c.Depth), Probs: upTo(c.Depth), Relevance: upTo(c.Depth), Probe: c.Probe.Heads > 0}
			want := derive(t, trace(t, newSession(t, ref.Backend{}, c, w, 3), pixels, Wants{}), seed, all)
			got := derive(t, trace(t, newSession(t, device, c, w, 3), pixels, Wants{}), seed, all)
			// Measured, then doubled.
			const limit = 1e-11
			requireClose(t, want.Pixels, got.Pixels, limit, "pixels")
			if all.Probe {
				requireClose(t, want.Probe, got.Probe, limit, "probabilities of the probe")
			}
			for i := range c.Depth {
				requireClose(t, want.Tokens[i], got.Tokens[i], limit, fmt.Sprintf("tokens after block %d", i))
				requireClose(t, want.Normed[i], got.Normed[i], limit, fmt.Sprintf("norm of block %d", i))
				requireClose(t, want.Probs[i], got.Probs[i], limit, fmt.Sprintf("probabilities of block %d", i))
				requireClose(t, want.Relevance[i], got.Relevance[i], limit, fmt.Sprintf("relevance of block %d", i))
			}
		})
	}
}
