package patch

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTrials reads files that decoders differ about, as they are in the world,
// to Pillow's pixels (testdata/trials/expected): those of JPEG within a mean of
// 0.1 and at most 4 grey levels, the others within 1.
func TestTrials(t *testing.T) {
	paths, err := filepath.Glob("testdata/trials/*.*")
	require.NoError(t, err)
	require.Len(t, paths, 65)
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			golden, err := os.ReadFile(filepath.Join("testdata/trials/expected", filepath.Base(path)+".png"))
			require.NoError(t, err)
			m, err := png.Decode(bytes.NewReader(golden))
			require.NoError(t, err)
			want, err := opaque(m)
			require.NoError(t, err)
			p, err := Decode(t.Context(), data, Options{})
			require.NoError(t, err)
			mean, most := difference(t, want, p.Image)
			if p.Format == "jpeg" {
				require.LessOrEqual(t, mean, 0.1)
				require.LessOrEqual(t, most, 4)
				return
			}
			require.LessOrEqual(t, most, 1)
		})
	}
}
