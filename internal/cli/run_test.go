package cli

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
)

// answered is what a command line answered.
type answered struct {
	code           int
	stdout, stderr string
}

// vitserve runs a command line in this process.
func vitserve(t *testing.T, args ...string) answered {
	t.Helper()
	return vitserveWith(t, strings.NewReader(""), args...)
}

func vitserveWith(t *testing.T, stdin io.Reader, args ...string) answered {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := Run(t.Context(), args, stdin, &stdout, &stderr)
	return answered{code, stdout.String(), stderr.String()}
}

// picture paints something that differs for each seed.
func picture(seed, w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetNRGBA(x, y, color.NRGBA{uint8(x*(seed+3) + y), uint8(y * (seed + 1)), uint8((x ^ y) + 40*seed), 255})
		}
	}
	return m
}

func pngBytes(t *testing.T, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, m))
	return b.Bytes()
}

// writeFile puts data under a folder, with the folders on the way.
func writeFile(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, data, 0o644))
	return path
}

// album is a folder of pictures, of things that are none, and of a broken one.
func album(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, dir, "b.png", pngBytes(t, picture(1, 90, 70)))
	writeFile(t, dir, "a/two.png", pngBytes(t, picture(2, 64, 64)))
	writeFile(t, dir, "a/noextension", pngBytes(t, picture(3, 64, 100)))
	writeFile(t, dir, "a/.hidden.png", pngBytes(t, picture(4, 64, 64)))
	writeFile(t, dir, ".git/x.png", pngBytes(t, picture(4, 64, 64)))
	writeFile(t, dir, "labels.csv", []byte("file,label\n"))
	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, picture(5, 80, 60), nil))
	writeFile(t, dir, "c.JPG", b.Bytes())
	writeFile(t, dir, "broken.png", pngBytes(t, picture(6, 64, 64))[:100])
	return dir
}

func TestUsage(t *testing.T) {
	image := writeFile(t, t.TempDir(), "x.png", pngBytes(t, picture(1, 64, 64)))
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"unknown command", []string{"clasify"}, `unknown command "clasify", did you mean classify?`},
		{"unknown flag", []string{"classify", "--tpo", "3", image}, "unknown flag: --tpo"},
		{"bad number", []string{"classify", "--top", "three", image}, "invalid argument"},
		{"no image", []string{"classify"}, "no image given"},
		{"stdin twice", []string{"classify", "-", "-"}, "given twice"},
		{"negative top", []string{"classify", "--top", "-1", image}, "--top -1, want 0 or more"},
		{"score", []string{"classify", "--min-score", "2", image}, "--min-score 2, want 0 to 1"},
		{"NaN score", []string{"classify", "--min-score", "NaN", image}, "want 0 to 1"},
		{"batch", []string{"classify", "--batch", "0", image}, "--batch 0, want 1 to 1024"},
		{"threads", []string{"classify", "--threads", "-2", image}, "--threads -2"},
		{"threads without end", []string{"classify", "--threads", "100000", image}, "--threads 100000, want 0 to 1024"},
		{"threads of bench", []string{"bench", "--threads", "1,1025"}, "--threads 1025, want 0 to 1024"},
		{"threads of embed", []string{"embed", "--threads", "9223372036854775807", image}, "want 0 to 1024"},
		{"threads of eval", []string{"eval", "--threads", "100000", filepath.Dir(image)}, "want 0 to 1024"},
		{"threads of explain", []string{"explain", "--threads", "100000", image}, "want 0 to 1024"},
		{"batch without end", []string{"classify", "--batch", "9223372036854775807", image}, "want 1 to 1024"},
		{"masks without end", []string{"explain", "--method", "rise", "--masks", "9223372036854775807", image}, "want 1 to 20000"},
		{"steps without end", []string{"explain", "--method", "integrated", "--steps", "9223372036854775807", image}, "want 1 to 1000"},
		{"quality without end", []string{"explain", "--quality", "9223372036854775807", "-o", "x.jpg", image}, "want 1 to 100"},
		{"precision", []string{"classify", "--precision", "f8", image}, "want f32, bf16, int8 or auto"},
		{"max pixels", []string{"classify", "--max-pixels", "0", image}, "--max-pixels 0"},
		{"no image to explain", []string{"explain"}, "no image given"},
		{"values of two images", []string{"explain", image, image, "-o", "x.npy"}, "want one image"},
		{"method", []string{"explain", "--method", "magic", image}, "raw"},
		{"layer", []string{"explain", "--method", "raw", "--layer", "99", image}, "layer 99, want 1 to "},
		{"head", []string{"explain", "--method", "raw", "--head", "99", image}, "head 99, want 1 to "},
		{"discard", []string{"explain", "--method", "rollout", "--discard", "1", image}, "discard ratio 1, want"},
		{"alpha", []string{"explain", "--alpha", "1.5", image}, "alpha 1.5, want 0 to 1"},
		{"output", []string{"explain", "-o", "x.gif", image}, "ends in .png or .jpg"},
		{"argument to version", []string{"version", "please"}, "want 0 arguments"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := vitserve(t, c.args...)
			require.Equal(t, exitUsage, got.code, got.stderr)
			require.Contains(t, got.stderr, c.want)
			require.Contains(t, got.stderr, "--help")
			require.LessOrEqual(t, strings.Count(strings.TrimSpace(strings.TrimPrefix(got.stderr, "note:")), "\n"), 2, "a short error, not the help: %s", got.stderr)
			require.Empty(t, got.stdout)
		})
	}
}

func TestHelp(t *testing.T) {
	got := vitserve(t)
	require.Equal(t, exitOK, got.code)
	for _, c := range newRoot().Commands() {
		require.Contains(t, got.stdout, c.Name())
		if c.Name() == "version" {
			continue
		}
		help := vitserve(t, c.Name(), "--help")
		require.Equal(t, exitOK, help.code)
		require.Contains(t, help.stdout, "Examples:", c.Name())
		require.Contains(t, help.stdout, "vitserve "+c.Name())
	}
}

func TestVersion(t *testing.T) {
	got := vitserve(t, "version")
	require.Equal(t, exitOK, got.code)
	for _, line := range []string{"vitserve ", "commit ", "go        go1.", "backend   cpu/", "cpu "} {
		require.Contains(t, got.stdout, line)
	}
	for _, p := range []backend.Precision{backend.F32, backend.BF16, backend.Int8} {
		b, err := backend.Open("cpu", backend.Options{Precision: p, Threads: 1})
		if err != nil {
			require.ErrorIs(t, err, backend.ErrUnsupported)
			require.Contains(t, got.stdout, err.Error())
			continue
		}
		require.Contains(t, got.stdout, b.Name()+"\n")
		require.NoError(t, b.Close())
	}
}

// TestAuto tests that --precision auto is bf16 where the machine has it, f32
// where it has not, and never int8, and that people are told.
func TestAuto(t *testing.T) {
	want := backend.BF16
	b, err := backend.Open("cpu", backend.Options{Precision: want})
	if errors.Is(err, backend.ErrUnsupported) {
		want = backend.F32
		b, err = backend.Open("cpu", backend.Options{})
	}
	require.NoError(t, err)
	require.NoError(t, b.Close())

	image := writeFile(t, t.TempDir(), "x.png", pngBytes(t, picture(1, 64, 64)))
	for _, args := range [][]string{{"classify"}, {"embed"}, {"explain", "--json"}} {
		got := vitserve(t, append(args, "--precision", "auto", image)...)
		require.Equal(t, exitOK, got.code, got.stderr)
		require.Contains(t, got.stderr, "note: --precision auto: "+b.Name()+"\n")
		got = vitserve(t, append(args, "--precision", "f32", image)...)
		require.NotContains(t, got.stderr, "auto")
	}
	got := vitserve(t, "bench", "--model", "starter", "--runs", "1", "--seconds", "0", "--json", "--precision", "auto")
	require.Equal(t, exitOK, got.code, got.stderr)
	m := lines[measured](t, got.stdout)[0]
	require.Equal(t, want.String(), m.Precision)
	require.Equal(t, b.Name(), m.Backend)
}

func TestUnknownModel(t *testing.T) {
	image := writeFile(t, t.TempDir(), "x.png", pngBytes(t, picture(1, 64, 64)))
	got := vitserve(t, "classify", "--model", "no-such-model", image)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "no-such-model")
	require.Contains(t, got.stderr, "starter", "the error names the embedded models")
}

// TestInterrupted ends a command that waits for an input that never comes.
func TestInterrupted(t *testing.T) {
	for _, args := range [][]string{{"classify", "-"}, {"explain", "-"}} {
		ctx, cancel := context.WithCancel(t.Context())
		stdin, w := io.Pipe()
		defer w.Close()
		done := make(chan int, 1)
		go func() {
			done <- Run(ctx, args, stdin, io.Discard, io.Discard)
		}()
		_, err := w.Write([]byte("half a picture")) // the command has begun to read
		require.NoError(t, err)
		cancel()
		require.Equal(t, exitInterrupted, <-done, args[0])
	}
}

// captured is a buffer to count in.
type captured struct{ bytes.Buffer }

func (c *captured) count(s string) int { return strings.Count(c.String(), s) }
