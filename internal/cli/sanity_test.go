package cli

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/attention/focus"
)

// sane explains with --sanity.
func sane(t *testing.T, args ...string) saneAnswer {
	t.Helper()
	got := vitserve(t, append([]string{"explain", "--json", "--sanity"}, args...)...)
	require.Equal(t, exitOK, got.code, got.stderr)
	var a saneAnswer
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &a))
	return a
}

// TestExplainSanity: attention does not know the head, gradients do; the same
// check gives the same numbers; there is one for each map.
func TestExplainSanity(t *testing.T) {
	file := writeFile(t, t.TempDir(), "x.png", pngBytes(t, picture(1, 200, 100)))
	a := sane(t, "--method", "normrollout", file)
	require.Empty(t, a.Results[0].Maps[0].Fusion, "norms are of the sum of heads")
	require.Len(t, a.Sanity, 1)
	require.Equal(t, focus.Likeness{Spearman: 1, Absolute: 1, SSIM: 1}, a.Sanity[0].Stages[0].Likeness)
	require.Contains(t, a.Sanity[0].Verdict, "of no class")
	require.Equal(t, a.Sanity, sane(t, "--method", "normrollout", file).Sanity)

	a = sane(t, "--method", "relevance", "--class", "3", "--class", "4", file)
	require.Len(t, a.Sanity, 2)
	require.Less(t, a.Sanity[0].Stages[0].Spearman, 0.99)
	require.NotEqual(t, a.Sanity[0], a.Sanity[1])

	// Where a map is missing the checks are still of the maps that there are.
	pizza := filepath.Join("..", "..", "testdata", "images", "pizza.jpg")
	a = sane(t, "--method", "gradcam", "--class", "umbrella", "--class", "pizza", pizza)
	require.Len(t, a.Results[0].Failed, 1)
	require.Len(t, a.Results[0].Maps, 1)
	require.Len(t, a.Sanity, 1)
	require.NotNil(t, a.Sanity[0])

	got := vitserve(t, "explain", "--sanity", file)
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Contains(t, got.stdout, "all and the embedding")
	require.Contains(t, got.stdout, "with random weights")

	got = vitserve(t, "explain", "--sanity", "--url", "http://127.0.0.1:1", "--json", file)
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.stderr, "shuffles no weights")
}
