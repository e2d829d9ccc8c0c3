package api_test

import (
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	v1 "github.com/vitserve/vitserve/api/v1"
)

// folder is a copy of the embedded model in a folder, whose files may be
// changed. With other, some of its weights are other ones.
func folder(t testing.TB, other bool) string {
	dir := t.TempDir()
	write(t, dir, other)
	return dir
}

func write(t testing.TB, dir string, other bool) {
	from := filepath.Join("..", "models", "starter")
	config, err := os.ReadFile(filepath.Join(from, "config.json"))
	require.NoError(t, err)
	weights, err := os.ReadFile(filepath.Join(from, "model.safetensors"))
	require.NoError(t, err)
	if other {
		weights[len(weights)-1000] ^= 1 // the lowest bits of one F16
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600))
	// Put in place at once: the old file may be mapped.
	tmp := filepath.Join(dir, "tmp")
	require.NoError(t, os.WriteFile(tmp, weights, 0o600))
	require.NoError(t, os.Rename(tmp, filepath.Join(dir, "model.safetensors")))
}

func (c *client) model(t testing.TB, r reply) (m v1.Model) {
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)
	require.NoError(t, json.Unmarshal(r.body, &m))
	return m
}

func TestModels(t *testing.T) {
	dir := folder(t, true)
	c := start(t, func(cfg *api.Config) {
		cfg.Models = []api.ModelConfig{{}, {ID: "mine", Path: dir, Lazy: true}}
	})
	var list v1.ModelList
	require.NoError(t, json.Unmarshal(c.get("/v1/models").body, &list))
	require.Len(t, list.Models, 2)
	starter := list.Models[0]
	require.Equal(t, "starter", starter.ID)
	require.Equal(t, v1.Ready, starter.State)
	require.True(t, starter.Default)
	require.Empty(t, starter.Labels, "labels are long")
	require.Equal(t, v1.Model{ID: "mine", State: v1.Unloaded}, list.Models[1])

	starter = c.model(t, c.get("/v1/models/starter"))
	require.Len(t, starter.Labels, 20)
	require.Equal(t, 20, starter.Classes)
	require.Equal(t, []int{8, 8}, starter.Grid)
	require.Equal(t, 6, starter.Layers)
	require.Equal(t, 3, starter.Heads)
	require.Equal(t, "bicubic", starter.Transform.Interpolation)
	require.Subset(t, starter.Methods, []string{"raw", "rollout"})
	require.Greater(t, starter.MemoryBytes, int64(4*2_280_000))

	// The first request loads it, and it is another model.
	a := c.post("/v1/classify?model=mine&logits=true", photo(t, "banana.jpg")).classified(t)
	require.Equal(t, "mine", a.Model)
	require.NotEqual(t, starter.Revision, a.Revision)
	weights, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	sum := sha256.Sum256(weights)
	require.Equal(t, hex.EncodeToString(sum[:]), a.Revision)
	require.Equal(t, v1.Ready, c.model(t, c.get("/v1/models/mine")).State)

	unloaded := c.model(t, c.post("/v1/models/mine/unload", nil))
	require.Equal(t, v1.Unloaded, unloaded.State)
	require.Equal(t, unloaded, c.model(t, c.post("/v1/models/mine/unload", nil)), "once more changes nothing")
	require.Equal(t, v1.Ready, c.model(t, c.post("/v1/models/mine/load", nil)).State)
	b := c.post("/v1/classify?model=mine&logits=true", photo(t, "banana.jpg")).classified(t)
	require.Equal(t, a.Results[0].Logits, b.Results[0].Logits)
	require.Equal(t, http.StatusOK, c.get("/readyz").status)
}

// TestReplaceUnderLoad replaces a model again and again while it is asked:
// every answer is one of the two models', whole.
func TestReplaceUnderLoad(t *testing.T) {
	dir := folder(t, false)
	c := start(t, func(cfg *api.Config) { cfg.Models = []api.ModelConfig{{ID: "mine", Path: dir}} })
	banana := photo(t, "banana.jpg")
	want := map[string][]float32{}
	for _, other := range []bool{true, false} {
		write(t, dir, other)
		c.model(t, c.post("/v1/models/mine/load", nil))
		a := c.post("/v1/classify?logits=true", banana).classified(t)
		want[a.Revision] = a.Results[0].Logits
	}
	require.Len(t, want, 2)

	var stop atomic.Bool
	var answers atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				r, err := c.try(c.request(http.MethodPost, "/v1/classify?logits=true", strings.NewReader(string(banana))))
				if !assertOK(t, err, r) {
					return
				}
				if r.status == http.StatusServiceUnavailable {
					continue
				}
				var a v1.ClassifyAnswer
				if err := json.Unmarshal(r.body, &a); err != nil || len(want[a.Revision]) == 0 || !equal(want[a.Revision], a.Results[0].Logits) {
					t.Errorf("an answer of neither model: %v %s", err, r.body)
					return
				}
				answers.Add(1)
			}
		})
	}
	for i := range 10 {
		write(t, dir, i%2 == 0)
		c.model(t, c.post("/v1/models/mine/load", nil))
		if i == 5 {
			require.Equal(t, http.StatusOK, c.post("/v1/models/mine/unload", nil).status) // the next request loads it
		}
	}
	stop.Store(true)
	wg.Wait()
	require.Greater(t, answers.Load(), int64(10))
}

// assertOK is for goroutines: 503 is what a request meets while another one's
// load of an unloaded model is under way.
func assertOK(t testing.TB, err error, r reply) bool {
	if err != nil || r.status != http.StatusOK && r.status != http.StatusServiceUnavailable {
		t.Errorf("%v: %d %s", err, r.status, r.body)
		return false
	}
	return true
}

func equal(a, b []float32) bool {
	for i := range a {
		if len(a) != len(b) || a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestFailedLoadLeavesTheOldServing(t *testing.T) {
	dir := folder(t, false)
	c := start(t, func(cfg *api.Config) { cfg.Models = []api.ModelConfig{{ID: "mine", Path: dir}} })
	before := c.post("/v1/classify?logits=true", photo(t, "banana.jpg")).classified(t)

	require.NoError(t, os.Remove(filepath.Join(dir, "model.safetensors")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "model.safetensors"), []byte("spoilt"), 0o600))
	r := c.post("/v1/models/mine/load", nil)
	require.Equal(t, http.StatusUnprocessableEntity, r.status)
	require.Contains(t, r.problem(t).Detail, "load mine")

	card := c.model(t, c.get("/v1/models/mine"))
	require.Equal(t, v1.Ready, card.State)
	require.NotEmpty(t, card.Reason)
	require.Equal(t, before.Revision, card.Revision)
	after := c.post("/v1/classify?logits=true", photo(t, "banana.jpg")).classified(t)
	require.Equal(t, before.Revision, after.Revision)
	require.Equal(t, before.Results[0].Logits, after.Results[0].Logits)

	// Once it is gone, requests are told why, and not each of them tries.
	c.post("/v1/models/mine/unload", nil)
	r = c.post("/v1/classify", photo(t, "banana.jpg"))
	require.Equal(t, http.StatusServiceUnavailable, r.status)
	require.Equal(t, "5", r.header.Get("Retry-After"))
	require.Equal(t, v1.Failed, c.model(t, c.get("/v1/models/mine")).State)

	write(t, dir, false)
	require.Equal(t, v1.Ready, c.model(t, c.post("/v1/models/mine/load", nil)).State)
	require.Empty(t, c.model(t, c.get("/v1/models/mine")).Reason)
	require.Equal(t, http.StatusOK, c.post("/v1/classify", photo(t, "banana.jpg")).status)
}

func TestLazyModelThatIsNotThere(t *testing.T) {
	c := start(t, func(cfg *api.Config) {
		cfg.Models = []api.ModelConfig{{}, {ID: "mine", Path: filepath.Join(t.TempDir(), "none"), Lazy: true}}
	})
	for range 2 {
		r := c.post("/v1/classify?model=mine", photo(t, "banana.jpg"))
		require.Equal(t, http.StatusServiceUnavailable, r.status, "the model is known, its files are not there: %s", r.body)
	}
}

func TestMemoryBudget(t *testing.T) {
	one := footprint(t)
	c := start(t, func(cfg *api.Config) {
		cfg.MemoryBudget = 2*one + one/2
		for _, id := range []string{"a", "b", "c"} {
			cfg.Models = append(cfg.Models, api.ModelConfig{ID: id, Path: "starter", Lazy: true})
		}
	})
	use := func(id string) {
		require.Equal(t, id, c.post("/v1/classify?model="+id, photo(t, "banana.jpg")).classified(t).Model)
	}
	states := func() (s string) {
		for _, id := range []string{"a", "b", "c"} {
			if c.model(t, c.get("/v1/models/"+id)).State == v1.Ready {
				s += id
			}
		}
		return s
	}
	use("a")
	use("b")
	require.Equal(t, "ab", states())
	use("a")
	use("c")
	require.Equal(t, "ac", states(), "b had not been used for longest")
	use("b")
	require.Equal(t, "bc", states())

	small := start(t, func(cfg *api.Config) {
		cfg.MemoryBudget = one / 2
		cfg.Models = []api.ModelConfig{{ID: "a", Path: "starter", Lazy: true}}
	})
	r := small.post("/v1/classify", photo(t, "banana.jpg"))
	require.Equal(t, http.StatusServiceUnavailable, r.status)
	require.Contains(t, r.problem(t).Detail, "the budget is")
}

// footprint returns what the embedded model takes.
func footprint(t testing.TB) int64 {
	c := start(t, nil)
	return c.model(t, c.get("/v1/models/starter")).MemoryBytes
}

// TestLoading asks while a model is loading.
func TestLoading(t *testing.T) {
	cfg := api.DefaultConfig()
	cfg.Models = []api.ModelConfig{{ID: "mine", Path: folder(t, false)}}
	c := start(t, func(c *api.Config) { c.Models = []api.ModelConfig{{ID: "mine", Path: cfg.Models[0].Path, Lazy: true}} })
	var wg sync.WaitGroup
	var ok, unavailable atomic.Int64
	for range 8 {
		wg.Go(func() {
			r, err := c.try(c.request(http.MethodPost, "/v1/classify", strings.NewReader(string(photo(t, "banana.jpg")))))
			switch {
			case err != nil:
				t.Error(err)
			case r.status == http.StatusOK:
				ok.Add(1)
			case r.status == http.StatusServiceUnavailable && r.header.Get("Retry-After") == "1" && strings.Contains(string(r.body), "loading"):
				unavailable.Add(1)
			default:
				t.Errorf("%d %s", r.status, r.body)
			}
		})
	}
	wg.Wait()
	require.Positive(t, ok.Load(), "whoever began the load waits for it")
	require.EqualValues(t, 8, ok.Load()+unavailable.Load())
	require.Equal(t, 1, strings.Count(c.logs.String(), `"model loaded"`))
}

// TestSharedModels answers from real checkpoints where they are present.
func TestSharedModels(t *testing.T) {
	shared := os.Getenv("VITSERVE_SHARED")
	if shared == "" {
		t.Skip("VITSERVE_SHARED is not set: no real checkpoints")
	}
	dir := filepath.Join(shared, "models", "deit_tiny_patch16_224")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no DeiT-tiny in VITSERVE_SHARED")
	}
	c := start(t, func(cfg *api.Config) { cfg.Models = []api.ModelConfig{{Path: dir}} })
	photos, err := filepath.Glob(filepath.Join(shared, "data", "nips2017", "*", "*.png"))
	require.NoError(t, err)
	truth := nips(t, filepath.Join(shared, "data", "nips2017", "labels.csv"))
	begin := time.Now()
	var top1, top5 int
	for _, p := range photos {
		data, err := os.ReadFile(p)
		require.NoError(t, err)
		want, known := truth[filepath.Base(p)]
		require.True(t, known, p)
		for i, got := range *c.post("/v1/classify?top_k=5", data).classified(t).Results[0].Predictions {
			if got.Index == want {
				top5++
				if i == 0 {
					top1++
				}
			}
		}
	}
	t.Logf("top-1 %d, top-5 %d of %d in %v", top1, top5, len(photos), time.Since(begin))
	require.Len(t, photos, 250)
	require.InDelta(t, 220, top1, 1)
	require.InDelta(t, 248, top5, 1)
}

// nips reads the true labels of the photos.
func nips(t testing.TB, path string) map[string]int {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	truth := map[string]int{}
	for _, row := range rows[1:] {
		truth[row[0]], err = strconv.Atoi(row[1])
		require.NoError(t, err)
	}
	return truth
}

// TestSlash: an id may have one slash, as names of hubs have; in a path it is
// escaped.
func TestSlash(t *testing.T) {
	c := start(t, func(cfg *api.Config) { cfg.Models = []api.ModelConfig{{ID: "org/vit", Path: "starter"}} })
	banana := photo(t, "banana.jpg")
	require.Equal(t, "org/vit", c.post("/v1/classify?model=org/vit", banana).classified(t).Model)
	require.Equal(t, "org/vit", c.post("/v1/classify?model=org%2Fvit", banana).classified(t).Model)
	require.Contains(t, string(c.get("/v1/models/org%2Fvit").body), `"id":"org/vit"`)
	require.Equal(t, http.StatusOK, c.post("/v1/models/org%2Fvit/unload", nil).status)
	require.Equal(t, http.StatusOK, c.post("/v1/models/org%2Fvit/load", nil).status)
	require.Equal(t, http.StatusNotFound, c.get("/v1/models/org/vit").status)
}
