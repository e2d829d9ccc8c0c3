package patch

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReceipt: the tensor is timm's, bit for bit, and so is its file.
func TestReceipt(t *testing.T) {
	var cases []struct {
		Photo, SHA256 string
		Transform     Transform
	}
	text, err := os.ReadFile("testdata/receipts.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &cases))
	require.Len(t, cases, 6)
	for _, c := range cases {
		data, err := os.ReadFile(filepath.Join("testdata/photos", c.Photo))
		require.NoError(t, err)
		r, err := c.Transform.Receipt(t.Context(), data, Options{})
		require.NoError(t, err)
		require.Equal(t, c.SHA256, r.SHA256, c.Photo)
		channels := 3
		if c.Transform.Gray {
			channels = 1
		}
		require.Equal(t, [3]int{channels, 24, 24}, r.Shape)
	}
}

func TestReceiptSteps(t *testing.T) {
	tr := good()
	tr.Fit, tr.Size = FitLong, [2]int{32, 32}
	tr.Resize = [2]int{24, 24}
	r, err := tr.Receipt(t.Context(), fixtures(t)["exif6.jpg"], Options{})
	require.NoError(t, err)
	require.Equal(t, []string{
		"decode jpeg, drop alpha",
		"undo EXIF orientation 6: 30×40",
		"resize to 18×24, bicubic, antialiased, eight bits between the passes",
		"crop 32×32 at (-7, -4), rounded as torchvision",
		"fill outside the photo with (128, 128, 128)",
		"divide by 255",
		"subtract mean (0.5, 0.5, 0.5), divide by std (0.5, 0.5, 0.5)",
	}, r.Steps)
	require.True(t, strings.HasPrefix(string(r.NPY), "\x93NUMPY\x01\x00"))

	r, err = good().Receipt(t.Context(), photo(t, 1100, 1400), Options{Resize: ResizeFast})
	require.NoError(t, err)
	require.Equal(t, []string{
		"decode jpeg, drop alpha",
		"decode its blocks of 8×8 to 4×4",
		"no rotation: 1100×1400",
		"resize luma and chroma by themselves to 256×325, bicubic, antialiased, then convert to RGB",
	}, r.Steps[:4])

	_, err = tr.Receipt(t.Context(), []byte("text"), Options{})
	require.ErrorIs(t, err, ErrFormat)
}
