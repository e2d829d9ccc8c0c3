package patch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"image"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/tensor"
)

// congruential is noise of make_resample.py.
func congruential(h, w int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	state := uint32(h*65536 + w)
	for i := range m.Pix {
		if i%4 == 3 {
			m.Pix[i] = 255
			continue
		}
		state = state*1664525 + 1013904223
		m.Pix[i] = byte(state >> 24)
	}
	return m
}

// TestResamplers holds torchvision's resize of bytes and of floats, and
// Pillow's box and hamming, to the bit; a turned photo gives what turning first gives; and a
// crop is the same pixels as the whole.
func TestResamplers(t *testing.T) {
	var rows []struct {
		Resampler     Resampler
		Interpolation Interpolation
		From, To      [2]int
		SHA256        string
	}
	text, err := os.ReadFile("testdata/resample.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &rows))
	require.Len(t, rows, 63)
	for _, row := range rows {
		tr := Transform{Size: row.To, Fit: FitSquash, Resize: row.To, Interpolation: row.Interpolation, Resampler: row.Resampler, Rounding: RoundFloor, Std: [3]float32{1, 1, 1}}
		require.NoError(t, tr.Validate())
		dst := tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(3, row.To[0], row.To[1]))
		for orientation := 1; orientation <= 8; orientation++ {
			// Stored so that the orientation leads back to the upright photo; upright works in place.
			back := [9]int{1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}[orientation]
			stored, err := upright(context.Background(), congruential(row.From[0], row.From[1]), back)
			require.NoError(t, err)
			_, err = tr.source(context.Background(), dst, picture{stored}, stored.Rect.Dx(), stored.Rect.Dy(), orientation)
			require.NoError(t, err)
			sum := sumOf(dst)
			if row.Resampler == TorchvisionFloat {
				var b bytes.Buffer
				require.NoError(t, binary.Write(&b, binary.LittleEndian, dst.Float32s()))
				of := sha256.Sum256(b.Bytes())
				sum = hex.EncodeToString(of[:])
			}
			require.Equal(t, row.SHA256, sum, "%+v turned %d", row, orientation)
		}
	}
}

// sumOf is the sha256 of pixels (3, H, W) as RGB bytes.
func sumOf(x *tensor.Dense) string {
	v := x.Float32s()
	n := len(v) / 3
	rgb := make([]byte, 0, len(v))
	for i := range n {
		for c := range 3 {
			rgb = append(rgb, byte(bytesOf(v[c*n+i])))
		}
	}
	sum := sha256.Sum256(rgb)
	return hex.EncodeToString(sum[:])
}

// TestCropOfResized: a crop reads the same weights as the whole, also where
// their precision is that of the greatest one of the axis.
func TestCropOfResized(t *testing.T) {
	for _, by := range []Resampler{Pillow, Torchvision} {
		how := resize{Bicubic, by}
		var whole, part axis
		whole.set(how, 130, 0, 130, 64, 0, 64)
		part.set(how, 130, 0, 130, 64, 20, 10)
		for i := range 10 {
			require.Equal(t, whole.first[20+i], part.first[i])
			require.Equal(t, whole.weight[(20+i)*whole.size:][:whole.size], part.weight[i*part.size:][:part.size])
		}
	}
}

// TestNormalisation: a rescale factor is the mean and std of pixels in [0, 1]
// that make the same numbers of every byte.
func TestNormalisation(t *testing.T) {
	for _, f := range []float64{0, 1.0 / 255, 1.0 / 127.5, 1.0 / 256, 0.00392, 1} {
		tr := Transform{Mean: [3]float32{0.5, 0.4, 100}, Std: [3]float32{0.25, 0.5, 58}, Rescale: f}
		mean, std := tr.Normalisation()
		factor := f
		if f == 0 {
			factor = 1.0 / 255
		}
		for _, by := range []Resampler{Pillow, Torchvision} {
			tr.Resampler = by
			x := make([]float32, 3*256)
			for i := range x {
				x[i] = unit[i%256]
			}
			tr.normalise(x)
			for i, got := range x {
				c, b := i/256, float64(i%256)
				want := (b*factor - float64(tr.Mean[c])) / float64(tr.Std[c])
				require.InDelta(t, want, got, 2e-6*(1+want*want), "factor %g, byte %g", f, b)
				require.InDelta(t, want, (b/255-mean[c])/std[c], 1e-9*(1+want*want))
			}
		}
	}
}
