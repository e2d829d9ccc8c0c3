package external_test

import (
	"bytes"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/patch/external"
)

// mustRun is set where the programs have to be there, as in continuous
// integration.
const mustRun = "VITSERVE_DECODERS"

// programs returns Debian's programs, or skips.
func programs(t *testing.T) map[string]patch.Decoder {
	t.Helper()
	all := map[string]patch.Decoder{}
	for format, command := range commands {
		words := external.SplitCommand(command)
		if _, err := exec.LookPath(words[0]); err != nil && os.Getenv(mustRun) == "" {
			t.Skipf("%v; ci/decoders.sh installs it", err)
		}
		p, err := external.New(format, words, external.Limits{})
		require.NoError(t, err)
		all[format] = p
	}
	return all
}

// TestPrograms: pictures are those of the references, with irot, imir and EXIF
// together, of grids, with alpha and of odd sizes. HEIC's is pillow-heif,
// AVIF's Pillow; see testdata/make_pictures.py.
func TestPrograms(t *testing.T) {
	o := patch.Options{Decoders: programs(t)}
	const most = 0.6 // grey levels on average
	files, err := filepath.Glob("testdata/pictures/*.png")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, golden := range files {
		name := strings.TrimSuffix(golden, ".png")
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			p, err := patch.Decode(t.Context(), data, o)
			require.NoError(t, err)
			require.Equal(t, strings.TrimPrefix(filepath.Ext(name), "."), p.Format)
			mean, greatest := difference(t, golden, p)
			t.Logf("mean %.3f, greatest %d", mean, greatest)
			require.LessOrEqual(t, mean, most)
			if p.Format == patch.JXL && !strings.Contains(name, "jpeg") {
				require.Zero(t, greatest, "lossless")
			}
		})
	}
}

// TestProgramsUntrusted: files cut short, and with bytes changed, are errors of
// the picture or pictures.
func TestProgramsUntrusted(t *testing.T) {
	o := patch.Options{Decoders: programs(t)}
	for _, name := range []string{"grid_irot1_exif8.heic", "alpha.avif", "container.jxl"} {
		whole, err := os.ReadFile("testdata/pictures/" + name)
		require.NoError(t, err)
		for i := range 24 {
			data := bytes.Clone(whole)
			if i < 8 {
				data = data[:len(data)*(i+1)/9]
			} else {
				data[(i*7919)%len(data)] ^= 0x55
			}
			_, err := patch.Decode(t.Context(), data, o)
			if err != nil {
				require.True(t, ofPicture(err), "%s %d: %v", name, i, err)
			}
		}
	}
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "vitserve-decode-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// difference is the mean and the greatest difference to a golden picture.
func difference(t *testing.T, golden string, p *patch.Photo) (mean float64, greatest int) {
	t.Helper()
	data, err := os.ReadFile(golden)
	require.NoError(t, err)
	m, err := png.Decode(bytes.NewReader(data))
	require.NoError(t, err)
	want, err := patch.FromImage(m, patch.Options{})
	require.NoError(t, err)
	require.Equal(t, want.Image.Rect, p.Image.Rect)
	sum := 0
	for i, v := range want.Image.Pix {
		d := int(v) - int(p.Image.Pix[i])
		d = max(d, -d)
		sum, greatest = sum+d, max(greatest, d)
	}
	return float64(sum) / float64(len(want.Image.Pix)/4*3), greatest
}

func ofPicture(err error) bool {
	return isAny(err, patch.ErrFormat, patch.ErrImage, patch.ErrSize)
}
