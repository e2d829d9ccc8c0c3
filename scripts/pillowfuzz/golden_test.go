package main

import (
	"encoding/base64"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.String("update", "", "interpreter with Pillow 13.0.0, whose pixels are written to testdata/drawn.txt")

// drawnFiles is how many files of a format are drawn.
var drawnFiles = []struct {
	format string
	files  int
}{{"png", 160}, {"gif", 200}, {"bmp", 120}, {"tiff", 400}, {"jpeg", 60}, {"dib", 40}, {"ico", 100}}

// some is the size of a picture and up to 48 of its pixels, spread over it.
func some(v verdict) string {
	const most, step = 48, 7
	var rgb []byte
	all := v.width * v.height
	for i := range min(most, all) {
		rgb = append(rgb, v.rgb[3*(i*step%all):][:3]...)
	}
	return fmt.Sprintf("%d %d %s", v.width, v.height, base64.StdEncoding.EncodeToString(rgb))
}

// parsed is the size and the pixels of some.
func parsed(t *testing.T, text string) (size [2]int, rgb []byte) {
	var code string
	_, err := fmt.Sscan(text, &size[0], &size[1], &code)
	require.NoError(t, err)
	rgb, err = base64.StdEncoding.DecodeString(code)
	require.NoError(t, err)
	return size, rgb
}

// TestGolden: files of every kind that this program draws are Pillow's pixels
// (testdata/drawn.txt, by Pillow 13.0.0), within 1, those of JPEG within 4.
func TestGolden(t *testing.T) {
	const path = "testdata/drawn.txt"
	if *update != "" {
		ref := &worker{python: *update}
		defer ref.stop()
		var out strings.Builder
		for _, f := range drawnFiles {
			for i := range f.files {
				v := ref.decode(f.format, drawers[f.format](rand.New(rand.NewPCG(uint64(i), 18))))
				require.NotEqual(t, died, v.err)
				if v.err != "" {
					out.WriteString("refused\n")
				} else {
					out.WriteString(some(v) + "\n")
				}
			}
		}
		require.NoError(t, os.WriteFile(path, []byte(out.String()), 0o644))
	}
	golden, err := os.ReadFile(path)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(golden)), "\n")
	for _, f := range drawnFiles {
		read := 0
		bound := newReport(f.format, "").bound
		for i := range f.files {
			want := lines[0]
			lines = lines[1:]
			if want == "refused" {
				continue
			}
			read++
			v := decode(drawers[f.format](rand.New(rand.NewPCG(uint64(i), 18))))
			require.Empty(t, v.err, "%s %d", f.format, i)
			a, x := parsed(t, want)
			b, y := parsed(t, some(v))
			require.Equal(t, a, b, "%s %d", f.format, i)
			_, most := apart(x, y)
			require.LessOrEqual(t, most, bound.most, "%s %d", f.format, i)
		}
		t.Logf("%s: %d of %d are pictures to Pillow", f.format, read, f.files)
		require.Greater(t, 3*read, f.files, f.format)
	}
	require.Empty(t, lines)
}
