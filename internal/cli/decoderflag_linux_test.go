package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDecoderFlag: pictures that only a program decodes are listed of folders,
// told with their number where none is set, and answered where one is.
func TestDecoderFlag(t *testing.T) {
	const pictures = "../../patch/external/testdata/pictures/"
	dir := t.TempDir()
	for name, from := range map[string]string{"a.heic": "plain.heic", "b.HEIF": "odd.heic", "c.avif": "plain.avif", "noname": "grid.heic", "d.jxl": "lossless.jxl", "e.png": "plain.heic.png"} {
		data, err := os.ReadFile(pictures + from)
		require.NoError(t, err)
		writeFile(t, dir, name, data)
	}
	got := vitserve(t, "classify", dir)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "a.heic: ")
	require.Contains(t, got.stderr, "--decoder heic=COMMAND")
	require.Contains(t, got.stderr, "3 of 6 pictures are HEIC, and no decoder is set for it: see --decoder\n")
	require.Contains(t, got.stderr, "1 of 6 pictures are AVIF")
	require.Contains(t, got.stderr, "1 of 6 pictures are JPEG XL")
	require.Contains(t, got.stderr, "5 of 6 pictures failed")

	golden, err := filepath.Abs(pictures + "plain.heic.png")
	require.NoError(t, err)
	heic := filepath.Join(dir, "a.heic")
	with := vitserve(t, "classify", "--decoder", "heic=cp "+golden+" {out}.png", heic)
	require.Equal(t, exitOK, with.code, with.stderr)
	plain := vitserve(t, "classify", golden)
	_, labels, _ := strings.Cut(plain.stdout, "\n")
	require.Contains(t, with.stdout, labels)

	for _, c := range []struct{ flag, want string }{
		{"heic", "want FORMAT=COMMAND"}, {"heic=", "want FORMAT=COMMAND"}, {"png=x", `format "png"`}, {"heic=no-such-program {in}", "no-such-program"},
	} {
		got := vitserve(t, "classify", "--decoder", c.flag, heic)
		require.Equal(t, exitUsage, got.code, c.flag)
		require.Contains(t, got.stderr, c.want)
	}
	got = vitserve(t, "serve", "--decoder", "avif=avifdec {in} {out}.png", "--print-config")
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Contains(t, got.stdout, "- avifdec\n")
}
