package cli

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/robust/corrupt"
	"github.com/vitserve/vitserve/robust/measure"
)

var robustWhole = flag.Bool("robust.whole", false, "hold every cell of ImageNet-C to Python's, not three of them")

// TestRobustLikePython holds top-1 of DeiT-tiny on the 250 photos to what
// scripts/robust/evaluate.py found with timm and imagecorruptions. A corruption
// without random numbers has the same count of right answers. One with them is a
// draw: with other seeds either program gives other counts, so that ours is held
// to Wilson's 95 % interval about the mean of all of Python's draws.
func TestRobustLikePython(t *testing.T) {
	shared := os.Getenv("VITSERVE_SHARED")
	if shared == "" {
		t.Skip("VITSERVE_SHARED is not set: no real model and photos")
	}
	if testing.Short() {
		t.Skip("it asks a thousand times")
	}
	data, err := os.ReadFile(filepath.Join("..", "..", "scripts", "robust", "evaluated.json"))
	require.NoError(t, err)
	var python map[string]struct {
		Photos int   `json:"photos"`
		BySeed []int `json:"by_seed"`
	}
	require.NoError(t, json.Unmarshal(data, &python))
	out := filepath.Join(t.TempDir(), "r.json")
	args := []string{"--suite", "shot_noise,elastic_transform,contrast", "--severity", "5"}
	if *robustWhole {
		args = []string{"--suite", "imagenet-c"}
	}
	photos := filepath.Join(shared, "data", "nips2017")
	got := vitserve(t, append([]string{"robust", "--model", filepath.Join(shared, "models", "deit_tiny_patch16_224"), "--truth", filepath.Join(photos, "labels.csv"),
		filepath.Join(photos, "images"), "--gallery", "0", "--out", out}, args...)...)
	require.Equal(t, exitOK, got.code, got.stderr)
	data, err = os.ReadFile(out)
	require.NoError(t, err)
	var report struct {
		Results []struct {
			Name     string
			Severity int
			Photos   int
			Top1     struct{ Value float64 }
		}
	}
	require.NoError(t, json.Unmarshal(data, &report))
	for _, r := range report.Results {
		key := r.Name
		if r.Severity > 0 {
			key = fmt.Sprintf("%s/%d", r.Name, r.Severity)
		}
		theirs, ok := python[key]
		require.True(t, ok, key)
		require.Equal(t, theirs.Photos, r.Photos)
		right := int(r.Top1.Value/100*float64(r.Photos) + 0.5)
		if c, err := corrupt.Find(r.Name); err != nil || !c.Random {
			require.Equal(t, theirs.BySeed[0], right, key)
			continue
		}
		sum := 0
		for _, n := range theirs.BySeed {
			sum += n
		}
		// The photos are the sample, whatever the number of draws.
		within := measure.Wilson((sum+len(theirs.BySeed)/2)/len(theirs.BySeed), theirs.Photos)
		require.GreaterOrEqual(t, r.Top1.Value, 100*within[0], "%s: %v", key, theirs.BySeed)
		require.LessOrEqual(t, r.Top1.Value, 100*within[1], "%s: %v", key, theirs.BySeed)
	}
	if *robustWhole {
		require.Len(t, report.Results, len(python))
	}
}
