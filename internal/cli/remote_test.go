package cli

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/disintegration/imaging"
	"github.com/stretchr/testify/require"
)

// TestRemote holds that a server answers as this process does, in the same
// words and the same order.
func TestRemote(t *testing.T) {
	dir := album(t)
	url, stop := startServer(t)
	here := vitserve(t, "classify", "--json", "--top", "3", "--min-score", "0.01", dir)
	there := vitserve(t, "classify", "--json", "--top", "3", "--min-score", "0.01", "--url", url, "--batch", "3", dir)
	require.Equal(t, here.code, there.code, there.stderr)
	a, b := lines[answer](t, here.stdout), lines[answer](t, there.stdout)
	require.Len(t, b, len(a))
	for i := range a {
		require.Equal(t, a[i].Image, b[i].Image)
		require.Equal(t, a[i].Predictions, b[i].Predictions)
		require.Equal(t, a[i].Error == "", b[i].Error == "")
	}

	for _, args := range [][]string{nil, {"--pool", "mean", "--l2"}, {"--pool", "grid", "--preprocess", "crop"}} {
		args = append([]string{"embed", dir}, args...)
		here, there := vitserve(t, args...), vitserve(t, append(args, "--url", url)...)
		require.Equal(t, here.code, there.code, there.stderr)
		a, b := lines[embedAnswer](t, here.stdout), lines[embedAnswer](t, there.stdout)
		require.Len(t, b, len(a))
		for i := range a {
			require.Equal(t, a[i].Error == "", b[i].Error == "")
			a[i].Error, b[i].Error = "", ""
			require.Equal(t, a[i], b[i], "%v", args)
		}
	}

	file := filepath.Join(dir, "b.png")
	got := vitserve(t, "classify", "--url", url, "--model", "nobody", file)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "nobody")
	for _, args := range [][]string{{"classify", "--threads", "2"}, {"classify", "--labels", "x"}, {"explain", "--precision", "f32", "--json"}} {
		got = vitserve(t, append(args, "--url", url, file)...)
		require.Equal(t, exitUsage, got.code, "%v: %s", args, got.stderr)
	}
	require.Equal(t, exitOK, stop())

	got = vitserve(t, "classify", "--url", url, file)
	require.Equal(t, exitFailed, got.code, "nobody is there any more")
	got = vitserve(t, "classify", "--url", "nowhere", file)
	require.Equal(t, exitUsage, got.code)
}

// TestRemoteExplain holds that explain says and writes the same of a model
// here and of a server's, whatever it is asked for.
func TestRemoteExplain(t *testing.T) {
	dir := t.TempDir()
	file := writeFile(t, dir, "x.png", pngBytes(t, picture(1, 200, 100)))
	url, stop := startServer(t)
	for _, args := range [][]string{
		{}, {"--method", "raw", "--queries", "1,2", "--queries", "3,4"}, {"--fusion", "max", "--discard", "0.5", "--start", "2"},
		{"--class", "banana", "--class", "pizza", "--versus", "3"}, {"--classes", "2", "--method", "legrad"},
		{"--method", "rise", "--masks", "20", "--keep", "0.4", "--seed", "3", "--class", "2"}, {"--method", "occlusion", "--window", "3"},
		{"--method", "integrated", "--steps", "3"}, {"--method", "raw", "--layer", "2", "--head", "1", "--mass", "0.7", "--evidence"},
		{"--compat", "vit-explain"}, {"--method", "auto"}, {"--preprocess", "crop"}, {"--resize", "fast", "--no-exif"}, {"--picture", "sheet"},
	} {
		args = append([]string{"explain", file}, args...)
		here, there := explainJSON(t, args[1:]...), explainJSON(t, append(args[1:], "--url", url)...)
		require.NotZero(t, there.TimingsMs.Infer+there.TimingsMs.Explain)
		there.TimingsMs, there.Batch, there.Image = here.TimingsMs, here.Batch, here.Image
		require.Equal(t, here, there, "%v", args)

		said := func(more ...string) string {
			got := vitserve(t, append(args, more...)...)
			require.Equal(t, exitOK, got.code, got.stderr)
			return strings.ReplaceAll(got.stdout, dir+string(filepath.Separator), "")
		}
		require.Equal(t, said(), said("--url", url))
	}
	for _, args := range [][]string{
		{"-o", "x.png"}, {"-o", "x.jpg"}, {"-o", "x.jpg", "--quality", "40"}, {"-o", "x.png", "--picture", "heat", "--colors", "viridis", "--upsample", "nearest"},
		{"-o", "x.png", "--picture", "sheet", "--mass", "0.6"}, {"-o", "x.jpg", "--class", "banana", "--alpha", "0.9"}, {"-o", "x.npy", "--classes", "2"},
		{"-o", "x.npy", "--values", "attention", "--layer", "3"}, {"-o", "x.npy", "--json"}, {"-o", "x.npy", "--picture", "sheet"}, {"-o", "x.png", "--json"},
	} {
		t.Chdir(t.TempDir())
		content := func(more ...string) []byte {
			got := vitserve(t, append(append([]string{"explain", file}, args...), more...)...)
			require.Equal(t, exitOK, got.code, got.stderr)
			b, err := os.ReadFile(args[1])
			require.NoError(t, err)
			return b
		}
		here, there := content(), content("--url", url)
		if isPNG(args[1]) { // compressed with another effort
			here, there = pixels(t, here), pixels(t, there)
		}
		require.True(t, bytes.Equal(here, there), "%v", args)
	}
	require.Equal(t, exitOK, stop())
}

// TestRemoteFigures: what has more than a map is the same of a server's numbers
// as of this program's own: the photo beside it, curves, several methods, and
// reports but for the time that they do not have.
func TestRemoteFigures(t *testing.T) {
	dir := t.TempDir()
	one := writeFile(t, dir, "x.png", pngBytes(t, picture(1, 200, 100)))
	two := writeFile(t, dir, "y.png", pngBytes(t, picture(2, 90, 130)))
	url, stop := startServer(t)
	for _, args := range [][]string{
		{"x.png", "--photo", one}, {"x.png", "--evidence", one}, {"x.png", "--photo", "--evidence", "--method", "rollout,legrad", one, two},
		{"x.png", "--photo", "--class", "banana", "--class", "pizza", "--versus", "orange", one}, {"x.png", "--photo", "--method", "raw", "--queries", "1,2", one},
		{"x.png", "--photo", "--picture", "heat", "--colors", "viridis", one}, {"x.png", "--evidence", "--method", "raw", "--layer", "2", "--head", "1", "--clip", "90", one},
		{"x.html", "--evidence", "--photo", one, two}, {"maps/", "--photo", "--evidence", one, two},
	} {
		t.Run(strings.Join(args[1:len(args)-1], " "), func(t *testing.T) {
			content := func(more ...string) (all [][]byte) {
				t.Chdir(t.TempDir())
				got := vitserve(t, append(append([]string{"explain", "-o"}, args...), more...)...)
				require.Equal(t, exitOK, got.code, got.stderr)
				names := []string{args[0]}
				if strings.HasSuffix(args[0], "/") {
					names = []string{"maps/x.png", "maps/y.png"}
				}
				for _, name := range names {
					data, err := os.ReadFile(name)
					require.NoError(t, err)
					all = append(all, data)
				}
				return all
			}
			require.Equal(t, content(), content("--url", url))
		})
	}
	got := vitserve(t, "explain", one, "--url", url, "--sanity", "-o", filepath.Join(dir, "z.png"))
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.stderr, "a server shuffles no weights")
	require.Equal(t, exitOK, stop())
}

func pixels(t *testing.T, data []byte) []byte {
	m, err := png.Decode(bytes.NewReader(data))
	require.NoError(t, err)
	return imaging.Clone(m).Pix
}
