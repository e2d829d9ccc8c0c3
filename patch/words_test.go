package patch

import (
	"errors"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/internal/hostile"
)

// goWords are words of Go, of its packages and of others' that unpack: no message
// to the sender of a picture has them.
var goWords = regexp.MustCompile(`(?i)\b(flate|zlib|lzw|lzma|zstd|ccitt|riff|vp8l?|bufio|bytes\.|io\.|EOF|runtime error|index out of range|slice bounds|nil pointer|panic|goroutine|magic number mismatch|writeMatch|huff0|fse|invalid format|unsupported feature|interface|reflect)\b:?`)

// ownWords are the names of codes, which formats have, too.
var ownWords = strings.NewReplacer("zlib stream", "", "LZW", "", "LZMA", "", "VP8L", "", "VP8", "")

// TestWords: what is wrong with a picture is said in its format's words.
func TestWords(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 18))
	said := map[string]bool{}
	judge := func(name string, data []byte) {
		_, err := Decode(t.Context(), data, Options{MaxPixels: 1 << 20})
		if err == nil {
			return
		}
		require.True(t, wraps(err, ErrFormat, ErrImage, ErrSize), "%s: %v", name, err)
		text := ownWords.Replace(regexp.MustCompile(`"[^"]*"`).ReplaceAllString(err.Error(), "")) // without the file's own
		require.NotRegexp(t, goWords, text, name)
		said[regexp.MustCompile(`[0-9]+`).ReplaceAllString(text, "#")] = true
	}
	for _, a := range hostile.Bombs(3, hostile.Small) {
		judge(a.Format+": "+a.Kind, a.Data)
		for range 40 {
			judge(a.Format+": "+a.Kind, hostile.Mutate(rng, a.Data))
		}
	}
	for name, data := range fixtures(t) {
		judge(name, nil)
		for range 60 {
			judge(name, hostile.Mutate(rng, data))
		}
		for i := range 20 {
			judge(name, data[:len(data)*i/20])
		}
	}
	require.Greater(t, len(said), 100, "kinds of messages")
}

// TestTruncated: a file that ends too early is called so, with how much of it
// there is.
func TestTruncated(t *testing.T) {
	files := fixtures(t)
	for _, c := range []struct{ name, says string }{
		{"420.jpg", "truncated JPEG: the file is cut off after "},
		{"420p.jpg", "truncated JPEG: the file is cut off after "},
		{"rgb8.png", "truncated PNG: "},
		{"plain.gif", "truncated GIF: "},
		{"rgb.bmp", "truncated BMP: "},
		{"rgb_raw.tif", "truncated TIFF: "},
		{"rgb_lzw.tif", "truncated TIFF: "},
		{"lossless.webp", "truncated WebP: "},
		{"lossy67x45.webp", "truncated WebP: "},
	} {
		data := files[c.name]
		if data == nil {
			t.Errorf("no %s", c.name)
			continue
		}
		_, err := Decode(t.Context(), data[:len(data)*2/3], Options{})
		require.ErrorIs(t, err, ErrImage, c.name)
		require.ErrorContains(t, err, c.says, c.name)
	}
	_, err := Decode(t.Context(), nil, Options{})
	require.ErrorIs(t, err, ErrFormat)
	require.ErrorContains(t, err, "empty file")
	_, err = Decode(t.Context(), []byte("\xff\xd8\xff"), Options{})
	require.ErrorContains(t, err, "truncated JPEG: the file is cut off after 3 bytes")
	require.False(t, errors.Is(err, ErrFormat))
}
