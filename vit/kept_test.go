package vit

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/ref"
	"gorgonia.org/tensor"
)

// strip returns the model and the image that have nothing but these patches
// of c, side by side in one row: dropping tokens must equal never having had
// them.
func strip(c Config, w *Weights, pixels *tensor.Dense, keep []int) (Config, *Weights, *tensor.Dense) {
	_, cols := c.Grid()
	ph, pw := c.Patch[0], c.Patch[1]
	small, sw := c, *w
	small.Image = [2]int{ph, pw * len(keep)}
	small.Pool = keptSpans(c.Pool, c.Prefix+len(keep))
	out := tensor.New(tensor.WithShape(1, 3, ph, pw*len(keep)), tensor.Of(tensor.Float32))
	var pos []float32
	sw.Blocks = slices.Clone(w.Blocks)
	pick := func(t **tensor.Dense) { // rows of patches
		if *t != nil {
			var kept []float32
			n := (*t).Shape()[1]
			for _, p := range keep {
				kept = append(kept, (*t).Float32s()[p*n:(p+1)*n]...)
			}
			*t = tensor.New(tensor.WithShape(len(keep), n), tensor.WithBacking(kept))
		}
	}
	pick(&sw.Angles)
	for i := range sw.Blocks {
		pick(&sw.Blocks[i].Angles)
	}
	for i, p := range keep {
		for ch := range 3 {
			for y := range ph {
				from := (ch*c.Image[0]+p/cols*ph+y)*c.Image[1] + p%cols*pw
				copy(out.Float32s()[(ch*ph+y)*pw*len(keep)+i*pw:], pixels.Float32s()[from:from+pw])
			}
		}
		pos = append(pos, w.Pos.Float32s()[p*c.Dim:(p+1)*c.Dim]...)
	}
	sw.Pos = tensor.New(tensor.WithShape(len(keep), c.Dim), tensor.WithBacking(pos))
	return small, &sw, out
}

// TestKeptIsNaive: tokens that are kept have the places that they had.
func TestKeptIsNaive(t *testing.T) {
	for device, b := range map[string]backend.Backend{"ref": ref.Backend{}, "cpu": newCPU(t, 2)} {
		for name := range families {
			c := family(name)
			if c.Classes == 0 {
				continue
			}
			t.Run(device+" "+name, func(t *testing.T) {
				w := Random(c, 6)
				pixels := photos(c, 1, 2)
				keep := [][]int{{0, 2, 3, 7}, {1, 4, 5, 6}, {2, 3, 5, 7}}
				got, err := newSession(t, b, c, w, 3).Kept(pixels, keep)
				require.NoError(t, err)
				for i, k := range keep {
					requireNear(t, runKept(c, w, image(pixels, 0), k).logits, image(got, i), 1e-4, fmt.Sprint(k))
				}
			})
		}
	}
}

func TestKeptIsAStrip(t *testing.T) {
	for device, b := range map[string]backend.Backend{"ref": ref.Backend{}, "cpu": newCPU(t, 2)} {
		for name := range families {
			t.Run(device+" "+name, func(t *testing.T) {
				c := family(name)
				w := Random(c, 5)
				s := newSession(t, b, c, w, 3)
				pixels := photos(c, 1, 1)
				if c.Relative {
					t.Skip("a strip has other distances: see TestKeptIsNaive")
				}
				if c.Classes == 0 {
					_, err := s.Kept(pixels, [][]int{{0}})
					require.ErrorContains(t, err, "no head")
					return
				}
				keep := [][]int{{0, 2, 3, 7}, {1, 4, 5, 6}, {2, 3, 5, 7}}
				got, err := s.Kept(pixels, keep)
				require.NoError(t, err)
				require.Equal(t, tensor.Shape{3, c.Classes}, got.Shape())
				for i, k := range keep {
					small, sw, image := strip(c, w, pixels, k)
					want, err := newSession(t, b, small, sw, 1).Forward(image, Wants{})
					require.NoError(t, err)
					require.InDeltaSlice(t, want.Logits.Float32s(), got.Float32s()[i*c.Classes:(i+1)*c.Classes], 1e-5)
				}

				// All patches are the image, and it does not matter what was asked before.
				var all []int
				for p := range c.Tokens() - c.Prefix {
					all = append(all, p)
				}
				whole, err := s.Forward(pixels, Wants{})
				require.NoError(t, err)
				got, err = s.Kept(pixels, [][]int{all})
				require.NoError(t, err)
				require.Equal(t, whole.Logits.Float32s(), got.Float32s())
				again, err := s.Kept(pixels, keep[1:2])
				require.NoError(t, err)
				require.NotEqual(t, got.Float32s(), again.Float32s())
				one, err := s.Kept(pixels, keep)
				require.NoError(t, err)
				require.Equal(t, again.Float32s(), one.Float32s()[c.Classes:2*c.Classes], "bits do not depend on company")
			})
		}
	}
}

func TestKeptRefuses(t *testing.T) {
	c := tiny()
	s := newSession(t, ref.Backend{}, c, Random(c, 5), 2)
	for _, bad := range [][][]int{
		{}, {{}}, {{0}, {1, 2}}, {{0}, {1}, {2}}, {{1, 1}}, {{2, 1}}, {{-1}}, {{24}}, {{0}, {}},
	} {
		_, err := s.Kept(photos(c, 1, 1), bad)
		require.Error(t, err, fmt.Sprint(bad))
	}
	_, err := s.Kept(photos(c, 2, 1), [][]int{{0}})
	require.ErrorContains(t, err, "2 images, want 1")
	_, err = s.Kept(photos(c, 1, 1), [][]int{{23}})
	require.NoError(t, err)
}
