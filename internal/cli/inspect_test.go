package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInspect(t *testing.T) {
	got := vitserve(t, "inspect", "starter")
	require.Equal(t, exitOK, got.code, got.stderr)
	for _, want := range []string{"model    starter", "decided by", "heads", "GFLOP for each image", "of weights in f32"} {
		require.Contains(t, got.stdout, want)
	}
	require.NotContains(t, got.stdout, "blocks.0.attn.qkv.weight")
	require.Contains(t, vitserve(t, "inspect", "starter", "--tensors").stdout, "blocks.0.attn.qkv.weight")
}

func TestInspectImage(t *testing.T) {
	dir := t.TempDir()
	image := writeFile(t, dir, "x.png", pngBytes(t, picture(1, 200, 100)))
	npy := filepath.Join(dir, "x.npy")
	got := vitserve(t, "inspect", "starter", "--image", image, "--npy", npy, "--json")
	require.Equal(t, exitOK, got.code, got.stderr)
	var a struct {
		Name    string
		Receipt struct {
			SHA256 string
			Steps  []string
			Shape  []int
		}
	}
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &a))
	require.Equal(t, "starter", a.Name)
	require.Equal(t, []int{3, 64, 64}, a.Receipt.Shape)
	require.NotEmpty(t, a.Receipt.Steps)
	data, err := os.ReadFile(npy)
	require.NoError(t, err)
	sum := sha256.Sum256(data)
	require.Equal(t, hex.EncodeToString(sum[:]), a.Receipt.SHA256)

	got = vitserve(t, "inspect", "starter", "--image", image)
	require.Contains(t, got.stdout, "the model sees 100×100 at (50, 0) of 200×100 pixels, 50.0 %")
}

func TestInspectRefused(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "model.safetensors", []byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"))
	got := vitserve(t, "inspect", dir)
	require.Equal(t, exitFailed, got.code)
	require.NotEmpty(t, got.stderr)

	got = vitserve(t, "inspect", "starter", "--npy", "x.npy")
	require.Equal(t, exitUsage, got.code)
	got = vitserve(t, "inspect", "no-such-model")
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "starter")
}

func TestImageSize(t *testing.T) {
	image := writeFile(t, t.TempDir(), "x.png", pngBytes(t, picture(1, 200, 100)))
	for text, want := range map[string][2]int{"96": {12, 12}, "64x128": {8, 16}} {
		m := explainJSON(t, "--image-size", text, image).Maps[0]
		require.Equal(t, want, [2]int{m.Rows, m.Cols}, text)
	}
	for _, bad := range []string{"0", "big", "64x", "x64", "64x64x64"} {
		got := vitserve(t, "classify", "--image-size", bad, image)
		require.Equal(t, exitUsage, got.code, bad)
		require.Contains(t, got.stderr, "want pixels such as 384")
	}
}
