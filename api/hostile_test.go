package api_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/internal/hostile"
)

// kinds are the pictures of package patch's goldens by what they are.
var kinds = []struct{ name, files string }{
	{"baseline JPEG", "42?.jpg 444.jpg exif6.jpg"},
	{"progressive JPEG", "*p.jpg"},
	{"gray JPEG", "gray*.jpg"},
	{"CMYK JPEG", "cmyk*.jpg ycck*.jpg"},
	{"PNG", "*.png"},
	{"WebP", "*.webp"},
	{"GIF", "*.gif"},
	{"BMP", "*.bmp *.dib"},
	{"ICO", "*.ico"},
	{"TIFF", "*.tif"},
}

// pictures reads the files that a list of patterns names.
func pictures(t testing.TB, patterns string) (all [][]byte) {
	for _, p := range strings.Fields(patterns) {
		paths, err := filepath.Glob(filepath.Join("..", "patch", "testdata", "formats", p))
		require.NoError(t, err)
		for _, path := range paths {
			if strings.HasSuffix(path, ".golden.png") {
				continue
			}
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			all = append(all, data)
		}
	}
	require.NotEmpty(t, all, patterns)
	return all
}

// tally counts what became of pictures, by status.
type tally struct {
	t      testing.TB
	status [600]atomic.Int64
}

// refused takes note of an error about a picture, which must be the sender's
// and say what is wrong.
func (n *tally) refused(p v1.Problem) {
	n.status[p.Status].Add(1)
	said := strings.ToLower(p.Detail)
	if p.Status/100 != 4 || p.Status == 429 || p.Title == "" || len(said) < 20 || strings.Contains(said, "runtime error") || strings.Contains(said, "goroutine") {
		n.t.Errorf("no clear refusal: %+v", p)
	}
}

// send asks about pictures in one request, in one of three ways.
func (n *tally) send(c *client, way int, files [][]byte) {
	body, contentType := files[0], ""
	switch way {
	case 1:
		var parts []file
		for i, data := range files {
			parts = append(parts, file{"file", strconv.Itoa(i), data})
		}
		body, contentType = form(n.t, parts...)
	case 2:
		var images []v1.Image
		for _, data := range files {
			images = append(images, v1.Image{B64: data})
		}
		var err error
		if body, err = json.Marshal(map[string]any{"images": images}); err != nil {
			n.t.Error(err)
		}
		contentType = "application/json"
	}
	r, err := c.try(c.request(http.MethodPost, "/v1/classify?top_k=1", bytes.NewReader(body), "Content-Type", contentType))
	var p v1.Problem
	var a v1.ClassifyAnswer
	switch {
	case err != nil:
		n.t.Errorf("no answer as the contract has it: %v", err)
	case r.status != http.StatusOK:
		if json.Unmarshal(r.body, &p) != nil || p.Status != r.status || r.header.Get("Content-Type") != "application/problem+json" {
			n.t.Errorf("%d %s", r.status, r.body)
		}
		n.refused(p)
	case json.Unmarshal(r.body, &a) != nil || len(a.Results) != len(files):
		n.t.Errorf("%d pictures are answered %s", len(files), r.body)
	default:
		for _, one := range a.Results {
			if one.Error.Status != 0 {
				n.refused(one.Error)
				continue
			}
			n.status[http.StatusOK].Add(1)
			if one.Predictions == nil || len(*one.Predictions) != 1 {
				n.t.Errorf("no predictions: %s", r.body)
			}
		}
	}
}

// TestHostilePictures sends a thousand spoilt files of every format: each is
// answered or refused with what is wrong, no answer is a 5xx, memory stays
// within what the configuration bounds, and the server is right afterwards.
func TestHostilePictures(t *testing.T) {
	const (
		together, workers = 20, 4
		bodies, room      = 8 << 20, 8 << 20
	)
	each := 1000
	if raceEnabled {
		each = 100
	}
	c := start(t, func(cfg *api.Config) {
		cfg.Models = []api.ModelConfig{{Path: filepath.Join("..", "models", "testdata", "golden", "timm_vit")}}
		cfg.MaxPixels, cfg.DecodeBudget, cfg.BodyBudget, cfg.MaxBody = 1<<16, room, bodies, 1<<20
		cfg.MaxQueue = workers * together
	})
	banana := photo(t, "banana.jpg")
	before := c.post("/v1/classify?logits=true", pngOf(t, pattern(90, 70, 3))).classified(t)
	require.Equal(t, http.StatusUnprocessableEntity, c.post("/v1/classify", banana).status, "76,800 pixels are over this server's limit")

	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	base, most := m.HeapAlloc, uint64(0)
	for _, k := range kinds {
		files := pictures(t, k.files)
		rng := rand.New(rand.NewPCG(3, 9))
		n := tally{t: t}
		requests := make(chan [][]byte)
		var wg sync.WaitGroup
		var way atomic.Int64
		for range workers {
			wg.Go(func() {
				for spoilt := range requests {
					if len(spoilt) == 1 {
						n.send(c, 0, spoilt)
						continue
					}
					n.send(c, 1+int(way.Add(1))%2, spoilt)
				}
			})
		}
		for sent := 0; sent < each; {
			// Four requests of five are one picture, as the body itself.
			n := 1
			if rng.IntN(5) == 0 {
				n = together
			}
			var spoilt [][]byte
			for range n {
				spoilt = append(spoilt, hostile.Mutate(rng, files[sent%len(files)]))
				sent++
			}
			requests <- spoilt
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
		close(requests)
		wg.Wait()
		var all int64
		for status := range n.status {
			if times := n.status[status].Load(); times > 0 {
				all += times
				t.Logf("%s: %d × %d", k.name, times, status)
			}
		}
		require.GreaterOrEqual(t, all, int64(each), k.name)
		if !raceEnabled { // of a hundred PNGs, whose parts have checksums, none need survive
			require.Positive(t, n.status[http.StatusOK].Load(), "%s: some survive", k.name)
		}
		require.Positive(t, n.status[http.StatusBadRequest].Load(), "%s: some do not", k.name)
	}
	// Bodies, pictures with their decoders' planes and tables, and as much again
	// that is garbage and not collected yet.
	require.Less(t, most-base, uint64(2*(bodies+room)))
	require.Equal(t, before.Results[0].Logits, c.post("/v1/classify?logits=true", pngOf(t, pattern(90, 70, 3))).classified(t).Results[0].Logits)
	require.NotContains(t, c.logs.String(), `"status":5`)
	require.NotContains(t, c.logs.String(), "panic")
	require.Contains(t, string(c.get("/metrics").body), "\nvitserve_body_bytes 0\n")
	require.Equal(t, http.StatusOK, c.get("/readyz").status)
}

// TestBomb: 300 kB that declare 50,000 × 50,000 pixels are refused in less
// than 50 ms of the server's time, and without their memory.
func TestBomb(t *testing.T) {
	c := start(t, nil)
	bomb := hostile.Bomb(50000)
	require.InDelta(t, 300_000, len(bomb), 30_000)
	require.Equal(t, http.StatusOK, c.post("/v1/classify", photo(t, "banana.jpg")).status)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const times = 5
	for range times {
		r := c.post("/v1/classify", bomb)
		require.Equal(t, http.StatusUnprocessableEntity, r.status, "%s", r.body)
		require.Contains(t, r.problem(t).Detail, "png declares 50000×50000 pixels, the limit is 50000000")
	}
	runtime.ReadMemStats(&after)
	// The body itself, as it is sent and as it grows while it arrives.
	require.Less(t, (after.TotalAlloc-before.TotalAlloc)/times, uint64(4*len(bomb)))
	best := 1e9
	for _, l := range strings.Split(strings.TrimSpace(c.logs.String()), "\n") {
		var line struct {
			Status int
			MS     float64
		}
		require.NoError(t, json.Unmarshal([]byte(l), &line))
		if line.Status == http.StatusUnprocessableEntity {
			best = min(best, line.MS)
		}
	}
	t.Logf("%.2f ms, %.1f MB a request", best, float64(after.TotalAlloc-before.TotalAlloc)/times/1e6)
	require.Less(t, best, 50.0)
}
