package api_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/internal/hostile"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

func (r reply) embedded(t testing.TB) (a v1.EmbedAnswer) {
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)
	require.NoError(t, json.Unmarshal(r.body, &a))
	return a
}

func (r reply) preprocessed(t testing.TB) (a v1.PreprocessAnswer) {
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)
	require.NoError(t, json.Unmarshal(r.body, &a))
	return a
}

// golden is a tiny model of package models' tests.
func golden(name string) string { return filepath.Join("..", "models", "testdata", "golden", name) }

// directly embeds a picture without a server.
func directly(t testing.TB, path string, data []byte, e vit.Embedding) *tensor.Dense {
	b, err := backend.Open("cpu", backend.Options{})
	require.NoError(t, err)
	defer b.Close()
	ck, err := models.Open(path, models.Options{})
	require.NoError(t, err)
	defer ck.Close()
	model, err := ck.Model(b)
	require.NoError(t, err)
	s, err := model.NewSession(vit.SessionOptions{})
	require.NoError(t, err)
	defer s.Close()
	h, w := ck.Config.Image[0], ck.Config.Image[1]
	x := tensor.New(tensor.WithShape(1, 3, h, w), tensor.Of(tensor.Float32))
	_, err = ck.Transform.Pixels(t.Context(), tensor.New(tensor.WithShape(3, h, w), tensor.WithBacking(x.Float32s())), data, patch.Options{})
	require.NoError(t, err)
	out, err := s.Forward(x, e.Wants())
	require.NoError(t, err)
	return e.Of(out, 0, ck.Config)
}

// TestEmbed holds every pool of models with and without a head to what Go
// computes directly, bit for bit, in JSON and as a file.
func TestEmbed(t *testing.T) {
	c := start(t, func(cfg *api.Config) {
		cfg.Models = []api.ModelConfig{{ID: "starter"}, {ID: "dino", Path: golden("hf_dino")}, {ID: "distilled", Path: golden("hf_deit_distilled")}}
	})
	bus := photo(t, "school_bus.png")
	for id, path := range map[string]string{"starter": "", "dino": golden("hf_dino"), "distilled": golden("hf_deit_distilled")} {
		for _, pool := range vit.Pools() {
			for _, l2 := range []string{"false", "true"} {
				want := directly(t, path, bus, vit.Embedding{Pool: pool, L2: l2 == "true"})
				query := "/v1/embed?model=" + id + "&pool=" + pool + "&l2=" + l2
				a := c.post(query, bus).embedded(t)
				require.Equal(t, []any{id, pool, l2 == "true"}, []any{a.Model, a.Pool, a.L2})
				require.Len(t, a.Results, 1)
				r := a.Results[0]
				got := r.Embedding
				if pool == "grid" {
					require.Nil(t, got)
					require.Equal(t, []int(want.Shape()), []int{len(r.Grid), len(r.Grid[0]), len(r.Grid[0][0])})
					got = slices.Concat(slices.Concat(r.Grid...)...)
				}
				require.Equal(t, want.Float32s(), got, query)
				require.Equal(t, []int{320, 240}, r.Geometry.Photo)
				require.Positive(t, r.TimingsMs.Infer)

				file := c.post(query, bus, "Accept", "application/x-npy")
				require.Equal(t, id, file.header.Get("X-Model"))
				require.Contains(t, file.header.Get("X-Geometry"), `"photo":[320,240]`)
				npy := readNpy(t, file)
				require.Equal(t, want.Shape(), npy.Shape())
				require.Equal(t, want.Float32s(), npy.Float32s())
			}
		}
		require.Equal(t, vit.Pools(), c.model(t, c.get("/v1/models/"+id)).Pools)
	}
	require.Equal(t, vit.PoolModel, c.post("/v1/embed", bus).embedded(t).Pool, "the default")
}

// TestEmbedWays holds that all ways of sending give the same bits, alone and
// in company, also of classifications and of other pools.
func TestEmbedWays(t *testing.T) {
	c := start(t, nil)
	bus, pizza := photo(t, "school_bus.png"), photo(t, "pizza.jpg")
	want := c.post("/v1/embed?pool=mean&l2=true", bus).embedded(t).Results[0].Embedding
	body := jsonOf(t, map[string]any{"pool": "mean", "l2": true, "images": []any{map[string]any{"name": "b", "b64": bus}}})
	for name, r := range map[string]reply{
		"form":         c.form("/v1/embed?pool=mean", file{"file", "b", bus}, file{field: "l2", data: []byte("true")}),
		"JSON":         c.post("/v1/embed?pool=grid", []byte(body), "Content-Type", "application/json"),
		"low priority": c.post("/v1/embed?pool=mean&l2=true&priority=low&timeout_ms=20000", bus),
	} {
		require.Equal(t, want, r.embedded(t).Results[0].Embedding, name)
	}
	many := c.form("/v1/embed?pool=mean&l2=true", file{"file", "a", pizza}, file{"file", "x", photo(t, "broken.jpg")}, file{"file", "b", bus}).embedded(t)
	require.Len(t, many.Results, 3)
	require.Equal(t, http.StatusBadRequest, many.Results[1].Error.Status)
	require.Nil(t, many.Results[1].Embedding)
	require.Equal(t, "b", many.Results[2].Image)
	require.Equal(t, want, many.Results[2].Embedding)

	// One batch of everything.
	paths := []string{"/v1/classify?logits=true", "/v1/embed", "/v1/embed?pool=class", "/v1/embed?pool=mean&l2=true", "/v1/embed?pool=grid", "/v1/classify?logits=true"}
	together := start(t, func(cfg *api.Config) { cfg.MaxBatch, cfg.BatchDelay = len(paths), api.Duration(20*time.Second) })
	alone, waiting := make([]reply, len(paths)), make([]chan reply, len(paths))
	for i, path := range paths {
		alone[i], waiting[i] = c.post(path, bus), together.async(t.Context(), path, bus)
	}
	for i, w := range waiting {
		got := <-w
		if strings.HasPrefix(paths[i], "/v1/classify") {
			a, b := alone[i].classified(t).Results[0], got.classified(t).Results[0]
			require.Equal(t, a.Logits, b.Logits)
			require.Equal(t, len(paths), b.Batch)
			continue
		}
		a, b := alone[i].embedded(t).Results[0], got.embedded(t).Results[0]
		require.Equal(t, a.Embedding, b.Embedding, paths[i])
		require.Equal(t, a.Grid, b.Grid, paths[i])
		require.Equal(t, len(paths), b.Batch)
	}
}

// TestEmbedWaits holds that embeddings have their turn, their places and their
// deadlines among the classifications.
func TestEmbedWaits(t *testing.T) {
	c := start(t, func(cfg *api.Config) { cfg.Backend, cfg.MaxBatch, cfg.MaxQueue = "gated", 1, 1 })
	banana := photo(t, "banana.jpg")
	free := busy(t)
	first := c.async(t.Context(), "/v1/classify", banana)
	waitMetric(c, batches+"1")
	second := c.async(t.Context(), "/v1/embed", banana)
	waitMetric(c, depth+"1")
	r := c.post("/v1/embed", banana)
	require.Equal(t, http.StatusTooManyRequests, r.status, "%s", r.body)
	require.NotEmpty(t, r.header.Get("Retry-After"))
	require.Equal(t, http.StatusGatewayTimeout, c.post("/v1/embed?priority=low&timeout_ms=50", banana).status)
	free()
	require.Equal(t, http.StatusOK, (<-first).status)
	require.Equal(t, http.StatusOK, (<-second).status)
}

// TestHeadless: a model without a head embeds and shows its attention, and
// says so where it is asked about classes.
func TestHeadless(t *testing.T) {
	c := start(t, func(cfg *api.Config) { cfg.Models = []api.ModelConfig{{ID: "dino", Path: golden("hf_dino")}} })
	bus := photo(t, "school_bus.png")
	for _, path := range []string{
		"/v1/classify", "/v1/explain?method=gradcam", "/v1/explain?evidence=true", "/v1/explain?class=3", "/v1/explain?classes=2", "/v1/explain?method=auto", "/v1/explain?method=rise",
	} {
		r := c.post(path, bus)
		require.Equal(t, http.StatusUnprocessableEntity, r.status, "%s: %s", path, r.body)
		require.Contains(t, r.problem(t).Detail, "no classification head: model dino knows no classes: it is an encoder without a head, whose features have 32 values; words cannot be its classes, for no text tower is read; /v1/embed answers with it", path)
	}
	for _, query := range []string{"", "?method=raw&layer=1", "?picture=overlay&format=json"} {
		r := c.post("/v1/explain"+query, bus).explained(t).Results[0]
		require.Len(t, r.Maps, 1, query)
		require.Empty(t, *r.Predictions)
	}
	require.Equal(t, http.StatusOK, c.post("/v1/preprocess", bus).status)
	card := c.model(t, c.get("/v1/models/dino"))
	require.Zero(t, card.Classes)
	require.Equal(t, []string{"explain", "embed", "preprocess"}, card.Operations)
	require.Equal(t, []string{"raw", "rollout", "normrollout"}, card.Methods)
	require.Equal(t, "rollout", card.DefaultMethod)
	require.Equal(t, "rollout", c.post("/v1/explain", bus).explained(t).Results[0].Maps[0].Method)
	for _, method := range card.Methods { // whatever a card lists is answered
		require.Equal(t, http.StatusOK, c.post("/v1/explain?method="+method, bus).status, method)
	}
}

// TestPreprocess holds the receipt to package patch's, and its file to its
// sha256.
func TestPreprocess(t *testing.T) {
	c := start(t, nil)
	ck, err := models.Open("", models.Options{})
	require.NoError(t, err)
	defer ck.Close()
	for _, e := range []struct {
		query, photo string
		preprocess   patch.Preprocess
		o            patch.Options
	}{
		{"", "school_bus.png", "", patch.Options{}}, {"", "sideways.jpg", "", patch.Options{}}, {"?exif=off", "sideways.jpg", "", patch.Options{IgnoreEXIF: true}},
		{"?preprocess=crop", "banana.jpg", patch.PreprocessCrop, patch.Options{}}, {"?resize=fast", "banana.jpg", "", patch.Options{Resize: patch.ResizeFast}},
	} {
		tr, err := ck.Transform.With(e.preprocess)
		require.NoError(t, err)
		want, err := tr.Receipt(t.Context(), photo(t, e.photo), e.o)
		require.NoError(t, err)
		r := c.post("/v1/preprocess"+e.query, photo(t, e.photo)).preprocessed(t).Results[0]
		require.Equal(t, want.Steps, r.Steps)
		require.Equal(t, want.SHA256, r.Sha256)
		require.Equal(t, []int{3, 64, 64}, r.Shape)
		require.Equal(t, want.Geometry.Orientation, r.Geometry.Orientation)
		require.Equal(t, want.Geometry.Photo[:], r.Geometry.Photo)
		require.Equal(t, v1.Rect{X: want.Geometry.Seen.X, Y: want.Geometry.Seen.Y, W: want.Geometry.Seen.W, H: want.Geometry.Seen.H}, r.Geometry.Seen)
		require.Positive(t, r.TimingsMs.Decode)

		file := c.post("/v1/preprocess"+e.query, photo(t, e.photo), "Accept", "application/x-npy")
		sum := sha256.Sum256(file.body)
		require.Equal(t, r.Sha256, hex.EncodeToString(sum[:]))
		require.Equal(t, tensor.Shape{3, 64, 64}, readNpy(t, file).Shape())
	}
	many := c.form("/v1/preprocess", file{"file", "a", photo(t, "pizza.jpg")}, file{"file", "x", photo(t, "text.png")}, file{"file", "b", photo(t, "banana.jpg")}).preprocessed(t)
	require.Equal(t, http.StatusUnsupportedMediaType, many.Results[1].Error.Status)
	require.Equal(t, "b", many.Results[2].Image)
	require.NotEqual(t, many.Results[0].Sha256, many.Results[2].Sha256)
}

// TestSendValues holds what is wrong with requests to either route.
func TestSendValues(t *testing.T) {
	c := start(t, func(cfg *api.Config) {
		cfg.MaxBody, cfg.MaxImages = 1<<20, 2
	})
	banana := photo(t, "banana.jpg")
	two, twoType := form(t, file{"file", "a", banana}, file{"file", "b", banana})
	three, threeType := form(t, file{"file", "a", banana}, file{"file", "b", banana}, file{"file", "c", banana})
	for _, path := range []string{"/v1/embed", "/v1/preprocess"} {
		require.Equal(t, "Accept", c.post(path, banana).header.Get("Vary"))
		require.Equal(t, http.StatusMethodNotAllowed, c.do(c.request(http.MethodHead, path, nil)).status)
		require.Contains(t, c.get(path).header.Get("Allow"), http.MethodPost)
		for _, e := range []struct {
			query  string
			body   []byte
			header []string
			status int
			says   string
		}{
			{"", nil, nil, 400, "no picture"},
			{"", photo(t, "broken.jpg"), nil, 400, "broken image"},
			{"?top_k=3", banana, nil, 400, `unknown parameter "top_k", want one of model, exif, preprocess`},
			{"?model=x", banana, nil, 404, "starter"},
			{"", banana, []string{"Accept", "image/png"}, 406, "application/json, application/x-npy"},
			{"?format=npy", two, []string{"Content-Type", twoType}, 422, "2 pictures as npy"},
			{"", make([]byte, 1<<20+1), nil, 413, "limit"},
			{"", three, []string{"Content-Type", threeType}, 413, "more than 2 pictures"},
			{"", photo(t, "text.png"), nil, 415, "format"},
			{"", banana, []string{"Content-Encoding", "gzip"}, 415, "identity"},
			{"?format=png", banana, nil, 422, "json or npy"},
			{"?preprocess=all", banana, nil, 422, "model or crop or none"},
		} {
			r := c.post(path+e.query, e.body, e.header...)
			require.Equal(t, e.status, r.status, "%s%s: %s", path, e.query, r.body)
			require.Contains(t, r.problem(t).Detail, e.says)
		}
	}
	for query, says := range map[string]string{"pool=sum": "model or class or mean or grid"} {
		r := c.post("/v1/embed?"+query, banana)
		require.Equal(t, http.StatusUnprocessableEntity, r.status)
		require.Contains(t, r.problem(t).Detail, says)
	}
	require.Equal(t, http.StatusBadRequest, c.post("/v1/embed?l2=2", banana).status)
	require.Equal(t, http.StatusBadRequest, c.post("/v1/preprocess?pool=mean", banana).status)
	require.Equal(t, http.StatusBadRequest, c.post("/v1/preprocess?priority=low", banana).status, "nothing waits for a model")

	// What answers take is bounded before anything is computed.
	c = start(t, func(cfg *api.Config) { cfg.MaxAnswer = 10_000 })
	for path, status := range map[string]int{"/v1/embed?pool=grid": 422, "/v1/embed": 200, "/v1/preprocess?format=npy": 422, "/v1/preprocess": 200} {
		r := c.post(path, banana)
		require.Equal(t, status, r.status, "%s: %s", path, r.body)
	}
	require.Contains(t, string(c.get("/metrics").body), "\nvitserve_body_bytes 0\n")
}

// broken is a copy of a golden model whose weights are numbers and whose sums
// are not.
func broken(t *testing.T, name string) string {
	dir := t.TempDir()
	for _, file := range []string{"config.json", "preprocessor_config.json", "model.safetensors"} {
		b, err := os.ReadFile(filepath.Join(golden(name), file))
		require.NoError(t, err)
		if file == "model.safetensors" {
			b = hostile.Overflow(b)
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), b, 0o600))
	}
	return dir
}

// TestNotFinite: what is no number is an error of the picture, and no answer.
func TestNotFinite(t *testing.T) {
	c := start(t, func(cfg *api.Config) {
		cfg.Models = []api.ModelConfig{{ID: "headless", Path: broken(t, "hf_dino")}, {ID: "nan", Path: broken(t, "hf_vit")}}
	})
	for _, path := range []string{
		"/v1/embed?model=headless", "/v1/embed?model=headless&pool=grid", "/v1/embed?model=headless&format=npy",
		"/v1/classify?model=nan", "/v1/classify?model=nan&logits=true", "/v1/explain?model=nan", "/v1/explain?model=nan&method=occlusion&format=png",
	} {
		r := c.post(path, photo(t, "banana.jpg"))
		require.Equal(t, http.StatusUnprocessableEntity, r.status, "%s: %s", path, r.body)
		require.Contains(t, r.problem(t).Detail, "NaN or Inf", path)
	}
}

func TestEmbedMetrics(t *testing.T) {
	c := start(t, nil)
	c.post("/v1/embed", photo(t, "ladybug.png"))
	c.post("/v1/preprocess", photo(t, "banana.jpg"))
	body := string(c.get("/metrics").body)
	for _, line := range []string{
		`vitserve_request_duration_seconds_count{code="200",route="/v1/embed"} 1`,
		`vitserve_request_duration_seconds_count{code="200",route="/v1/preprocess"} 1`,
		`vitserve_stage_duration_seconds_count{stage="decode"} 2`,
		`vitserve_stage_duration_seconds_count{stage="infer"} 1`,
		`vitserve_batch_size_count{lane="classify",model="starter"} 1`,
		`vitserve_pictures_total{lane="embed",model="starter"} 1`,
		`vitserve_pictures_total{lane="preprocess",model="starter"} 1`,
	} {
		require.Contains(t, body, "\n"+line+"\n")
	}
}
