package cli

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/internal/hostile"
	"github.com/vitserve/vitserve/vit"
)

func TestEmbed(t *testing.T) {
	dir := album(t)
	by := map[string][]embedAnswer{}
	for _, pool := range vit.Pools() {
		got := vitserve(t, "embed", "--pool", pool, dir)
		require.Equal(t, exitFailed, got.code, "one picture is broken")
		require.Contains(t, got.stderr, "1 of 5 pictures failed")
		by[pool] = lines[embedAnswer](t, got.stdout)
		require.Len(t, by[pool], 5)
	}
	for i, a := range by["model"] {
		if strings.HasSuffix(a.Image, "broken.png") {
			require.NotEmpty(t, a.Error)
			continue
		}
		require.Equal(t, a.Embedding, by["class"][i].Embedding, "the starter's head looks at the class token")
		grid := by["grid"][i].Grid
		sum := make([]float64, len(a.Embedding))
		n := 0
		for _, row := range grid {
			for _, patch := range row {
				require.Len(t, patch, len(sum))
				n++
				for j, v := range patch {
					sum[j] += float64(v)
				}
			}
		}
		require.Equal(t, len(grid)*len(grid[0]), n)
		for j, v := range by["mean"][i].Embedding {
			require.InDelta(t, sum[j]/float64(n), v, 1e-5)
		}
		require.NotEqual(t, a.Embedding, by["mean"][i].Embedding)
	}
}

func TestEmbedL2(t *testing.T) {
	file := writeFile(t, t.TempDir(), "x.png", pngBytes(t, picture(1, 64, 64)))
	for _, pool := range vit.Pools() {
		plain := lines[embedAnswer](t, vitserve(t, "embed", "--pool", pool, file).stdout)[0]
		unit := lines[embedAnswer](t, vitserve(t, "embed", "--l2", "--pool", pool, file).stdout)[0]
		p, u := plain.Embedding, unit.Embedding
		if pool == "grid" {
			p, u = plain.Grid[1][2], unit.Grid[1][2]
		}
		var length, dot, norm float64
		for i := range u {
			length += float64(u[i]) * float64(u[i])
			dot += float64(u[i]) * float64(p[i])
			norm += float64(p[i]) * float64(p[i])
		}
		require.InDelta(t, 1, length, 1e-5)
		require.InEpsilon(t, math.Sqrt(norm), dot, 1e-5, "the same direction")
	}
}

func TestEmbedUsage(t *testing.T) {
	file := writeFile(t, t.TempDir(), "x.png", pngBytes(t, picture(1, 64, 64)))
	got := vitserve(t, "embed", "--pool", "sum", file)
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.stderr, "want model or class or mean or grid")
}

// TestNotFinite: a model whose weights are numbers and whose sums are not
// fails every picture by name, and the others are still tried.
func TestNotFinite(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{"config.json", "preprocessor_config.json", "model.safetensors"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "models", "testdata", "golden", "hf_vit", file))
		require.NoError(t, err)
		if file == "model.safetensors" {
			b = hostile.Overflow(b)
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), b, 0o600))
	}
	photos := t.TempDir()
	for _, name := range []string{"a.png", "b.png"} {
		writeFile(t, photos, name, pngBytes(t, picture(1, 64, 64)))
	}
	for _, command := range [][]string{{"embed"}, {"classify", "--json"}} {
		got := vitserve(t, append(command, "--model", dir, photos)...)
		require.Equal(t, exitFailed, got.code, got.stderr)
		require.Contains(t, got.stderr, "2 of 2 pictures failed")
		require.Equal(t, 2, strings.Count(got.stdout, "NaN or Inf"), got.stdout)
	}
}
