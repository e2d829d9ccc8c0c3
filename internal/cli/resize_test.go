package cli

import (
	"bytes"
	"flag"
	"image/jpeg"
	"path/filepath"
	"slices"
	"testing"

	"github.com/disintegration/imaging"
	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

var photoStep = flag.Int("photostep", 25, "every how many-th photo TestFastAnswers looks at; 1 is what docs/lab/decode.md reports")

// TestFastAnswers: what the fast way with a JPEG changes in the answers of a
// real model. Photos are brought to four sizes, so that blocks of each size
// are decoded.
func TestFastAnswers(t *testing.T) {
	dir := shared(t)
	b, err := backend.Open("cpu", backend.Options{})
	require.NoError(t, err)
	defer b.Close()
	c, err := models.Open(filepath.Join(dir, "models", "deit_tiny_patch16_224"), models.Options{})
	require.NoError(t, err)
	defer c.Close()
	m, err := c.Model(b)
	require.NoError(t, err)
	s, err := m.NewSession(vit.SessionOptions{})
	require.NoError(t, err)
	defer s.Close()
	pixels := tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(3, 224, 224))
	batch := tensor.New(tensor.WithShape(1, 3, 224, 224), tensor.WithBacking(pixels.Float32s()))
	first := func(data []byte, o patch.Options) (label int, x []float32) {
		_, err := c.Transform.Pixels(t.Context(), pixels, data, o)
		require.NoError(t, err)
		x = slices.Clone(pixels.Float32s())
		out, err := s.Forward(batch, vit.Wants{})
		require.NoError(t, err)
		logits := out.Logits.Float32s()
		return slices.Index(logits, slices.Max(logits)), x
	}

	paths, err := filepath.Glob(filepath.Join(dir, "data", "nips2017", "images", "*.png"))
	require.NoError(t, err)
	require.Len(t, paths, 250)
	asked, changed := 0, 0
	worst := 0.0
	for _, short := range []int{300, 600, 1200, 2400} {
		mean, n := 0.0, 0
		for i := 0; i < len(paths); i += *photoStep {
			photo, err := imaging.Open(paths[i])
			require.NoError(t, err)
			var file bytes.Buffer
			require.NoError(t, jpeg.Encode(&file, imaging.Resize(photo, short, 0, imaging.Lanczos), &jpeg.Options{Quality: 90}))
			exact, x := first(file.Bytes(), patch.Options{})
			fast, y := first(file.Bytes(), patch.Options{Resize: patch.ResizeFast})
			for j, v := range x {
				mean += 255 * float64(max(v-y[j], y[j]-v)) / float64(len(x))
			}
			n++
			asked++
			if exact != fast {
				changed++
			}
		}
		mean /= float64(n)
		worst = max(worst, mean)
		t.Logf("short side %d: tensors %.3f grey levels apart on average", short, mean)
	}
	t.Logf("%d of %d first answers changed", changed, asked)
	require.LessOrEqual(t, worst, 1.0)
	require.LessOrEqual(t, changed, max(1, asked*5/1000))
}
