package kserve_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/api/kserve"
	"github.com/vitserve/vitserve/api/op"
	v1 "github.com/vitserve/vitserve/api/v1"
)

type server struct {
	t   testing.TB
	url string
}

func start(t testing.TB, change func(*api.Config)) server {
	cfg := api.DefaultConfig()
	cfg.Addr = "127.0.0.1:0"
	cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	cfg.Dialects = []op.Dialect{kserve.Dialect()}
	cfg.Models = []api.ModelConfig{
		{ID: "vit", Path: "starter"}, {ID: "org/vit", Path: "starter", Lazy: true},
		{ID: "dino", Path: filepath.Join("..", "..", "models", "testdata", "golden", "hf_dino"), Lazy: true},
	}
	if change != nil {
		change(&cfg)
	}
	s, err := api.New(cfg)
	require.NoError(t, err)
	require.NoError(t, s.Preload(t.Context()))
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		srv.Close()
		require.NoError(t, s.Close())
	})
	return server{t, srv.URL}
}

type reply struct {
	status int
	header http.Header
	body   string
}

func (s server) do(method, path string, body []byte, header ...string) reply {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(body))
	require.NoError(s.t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // redirects are looked at
	require.NoError(s.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return reply{resp.StatusCode, resp.Header, string(text)}
}

func (s server) ask(path string, body []byte, v any) {
	s.t.Helper()
	r := s.do(http.MethodPost, path, body)
	require.Equal(s.t, http.StatusOK, r.status, r.body)
	require.Equal(s.t, "application/json", r.header.Get("Content-Type"))
	require.NoError(s.t, json.Unmarshal([]byte(r.body), v))
}

func photo(t testing.TB, name string) []byte {
	b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "images", name))
	require.NoError(t, err)
	return b
}

// request is a body with pictures and, if there are any, parameters.
func request(t testing.TB, parameters any, instances ...any) []byte {
	all := map[string]any{"instances": instances}
	if parameters != nil {
		all["parameters"] = parameters
	}
	b, err := json.Marshal(all)
	require.NoError(t, err)
	return b
}

type object = map[string]any

func TestPredict(t *testing.T) {
	s := start(t, nil)
	banana, orange := photo(t, "banana.jpg"), photo(t, "orange.jpg")
	var want v1.ClassifyAnswer
	s.ask("/v1/classify", banana, &want)
	text := base64.StdEncoding.EncodeToString(banana)
	for name, instance := range map[string]any{
		"as KServe's users write it": object{"image": object{"b64": banana}},
		"TensorFlow's":               object{"b64": banana},
		"TensorFlow's with a name":   object{"image_bytes": object{"b64": banana}},
		"TorchServe's":               object{"data": banana},
		"a text":                     text,
		"a data: URL":                "data:image/jpeg;base64," + text,
	} {
		var got struct{ Predictions [][]v1.Prediction }
		s.ask("/v1/models/vit:predict", request(t, nil, instance), &got)
		require.Equal(t, [][]v1.Prediction{*want.Results[0].Predictions}, got.Predictions, name)
	}
	var got struct{ Predictions [][]v1.Prediction }
	for _, path := range []string{"/v1/models/org%2Fvit:predict", "/kserve/v1/models/vit:predict", "/v1/models/vit:predict/", "/v1/models/vit:predict?top_k=1&min_score=0.1"} {
		s.ask(path, request(t, object{"top_k": 2, "priority": "low"}, object{"image": object{"b64": banana}}, object{"image": object{"b64": orange}}), &got)
		require.Len(t, got.Predictions, 2, path)
		require.Equal(t, "banana", got.Predictions[0][0].Label)
		require.Equal(t, "orange", got.Predictions[1][0].Label)
		require.LessOrEqual(t, len(got.Predictions[0]), 2)
	}
	var vectors struct{ Predictions [][]float32 }
	s.ask("/v1/models/dino:predict", request(t, nil, object{"b64": banana}), &vectors)
	var embedded v1.EmbedAnswer
	s.ask("/v1/embed?model=dino", banana, &embedded)
	require.Equal(t, embedded.Results[0].Embedding, vectors.Predictions[0])
}

// TestExplain: an explanation is a result of /v1/explain, to the bit.
func TestExplain(t *testing.T) {
	s := start(t, nil)
	banana := photo(t, "banana.jpg")
	for query, parameters := range map[string]any{
		"":                                   nil,
		"method=relevance&class=banana":      object{"method": "relevance", "class": []string{"banana"}},
		"method=raw&layer=2&head=1":          object{"method": "raw", "layer": 2, "head": 1},
		"logits=true&classes=2&top_k=3":      object{"logits": true, "classes": 2, "top_k": 3},
		"method=rise&masks=16&seed=3":        object{"method": "rise", "masks": 16, "seed": 3},
		"queries=1,1&queries=2,3&top_k=1":    object{"queries": []string{"1,1", "2,3"}, "top_k": 1},
		"method=rollout&fusion=max&exif=off": object{"method": "rollout", "fusion": "max", "exif": "off"},
	} {
		var want v1.ExplainAnswer
		s.ask("/v1/explain?"+query, banana, &want)
		var got struct{ Explanations []v1.ExplainResult }
		s.ask("/v1/models/vit:explain", request(t, parameters, object{"image": object{"b64": banana}}), &got)
		require.Len(t, got.Explanations, 1)
		got.Explanations[0].TimingsMs, got.Explanations[0].Batch = want.Results[0].TimingsMs, want.Results[0].Batch
		require.Equal(t, want.Results, got.Explanations, query)
	}
}

func TestReady(t *testing.T) {
	s := start(t, nil)
	for path, want := range map[string]string{
		"/":                           `{"status":"alive"}`,
		"/kserve":                     `{"status":"alive"}`,
		"/kserve/":                    `{"status":"alive"}`,
		"/kserve/v1/models":           `{"models":["vit","org/vit","dino"]}`,
		"/kserve/v1/models/vit":       `{"name":"vit","ready":true}`,
		"/kserve/v1/models/org%2Fvit": `{"name":"org/vit","ready":false}`,
	} {
		r := s.do(http.MethodGet, path, nil, "Accept", "*/*")
		require.JSONEq(t, want, r.body, path)
		require.Equal(t, path == "/kserve/v1/models/org%2Fvit", r.status == http.StatusServiceUnavailable, path)
	}
	page := s.do(http.MethodGet, "/", nil, "Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	require.Equal(t, http.StatusOK, page.status)
	require.Equal(t, "text/html; charset=utf-8", page.header.Get("Content-Type"))
	require.Equal(t, http.StatusOK, s.do(http.MethodHead, "/", nil).status)

	// What the contract says of the same addresses is as it was.
	r := s.do(http.MethodGet, "/v1/models/vit", nil)
	require.NotContains(t, r.body, `"ready":`)
	r = s.do(http.MethodGet, "/v1/models/resnet", nil)
	require.Equal(t, http.StatusNotFound, r.status)
	require.Equal(t, "application/problem+json", r.header.Get("Content-Type"))
	require.NotContains(t, r.body, `"error"`)
}

func TestErrors(t *testing.T) {
	s := start(t, func(cfg *api.Config) {
		cfg.MaxImages, cfg.MaxBody = 2, 200_000
		cfg.Keys = []api.Key{{Name: "user", SHA256: api.HashKey("k")}}
	})
	banana := object{"image": object{"b64": photo(t, "banana.jpg")}}
	for _, e := range []struct {
		path   string
		body   []byte
		status int
		says   string
	}{
		{"/v1/models/vit:predict", nil, 400, "JSON"},
		{"/v1/models/vit:predict", []byte(`{}`), 400, "no member instances"},
		{"/v1/models/vit:predict", []byte(`{"instances":3}`), 400, "want an array"},
		{"/v1/models/vit:predict", []byte(`{"instances":[`), 400, "JSON"},
		{"/v1/models/vit:predict", []byte(`{"instances":[],"instances":[]}`), 400, "an empty list"},
		{"/v1/models/vit:predict", []byte(`{"parameters":{},"parameters":{}}`), 400, `"parameters" twice`},
		{"/v1/models/vit:predict", []byte(`{"inputs":[]}`), 400, `"inputs"`},
		{"/v1/models/vit:predict", request(t, nil, 3), 400, "instances: number 1"},
		{"/v1/models/vit:predict", request(t, nil, object{}), 400, "empty object"},
		{"/v1/models/vit:predict", request(t, nil, object{"picture": "AAAA"}), 400, `member "picture"`},
		{"/v1/models/vit:predict", request(t, nil, object{"image": object{"image": object{"image": "AAAA"}}}), 400, "instances: number 1"},
		{"/v1/models/vit:predict", request(t, nil, object{"image": object{"b64": "%"}}), 400, "base64"},
		{"/v1/models/vit:predict", request(t, nil, object{"b64": object{"b64": "AAAA"}}), 400, "instances: number 1"},
		{"/v1/models/vit:predict", request(t, nil, [][]float64{{1, 2}}), 400, "instances: number 1"},
		{"/v1/models/vit:predict", request(t, nil, banana, object{"b64": []byte("GIF89a")}), 400, "instances[1]"},
		{"/v1/models/vit:predict", request(t, object{"topk": 1}, banana), 400, "topk"},
		{"/v1/models/vit:predict", request(t, object{"model": "dino"}, banana), 400, "model"},
		{"/v1/models/vit:predict?top_k=x", request(t, nil, banana), 400, "top_k"},
		{"/v1/models/vit:explain", request(t, object{"method": "lime"}, banana), 400, "lime"},
		{"/v1/models/dino:explain", request(t, object{"method": "relevance"}, banana), 400, "dino"},
		{"/v1/models/resnet:predict", request(t, nil, banana), 404, "want one of vit"},
		{"/v1/models/vit:train", request(t, nil, banana), 404, ":train"},
		{"/v1/models/vit", request(t, nil, banana), 405, "method not allowed"},
		{"/v1/models/vit:predict", request(t, nil, banana, banana, banana), 413, "more than 2"},
		{"/v1/models/vit:predict", make([]byte, 200_001), 413, "200000"},
	} {
		r := s.do(http.MethodPost, e.path, e.body, "Authorization", "Bearer k")
		name := e.path + " " + string(e.body[:min(len(e.body), 80)]) + ": " + r.body
		require.Equal(t, e.status, r.status, name)
		require.Equal(t, "application/json", r.header.Get("Content-Type"), name)
		var said struct {
			Error, Detail string
			Status        int
		}
		require.NoError(t, json.Unmarshal([]byte(r.body), &said), name)
		require.Contains(t, said.Error, e.says, name)
		require.Equal(t, e.status, said.Status)
	}
	r := s.do(http.MethodPost, "/v1/models/vit:predict", request(t, nil, banana))
	require.Equal(t, http.StatusUnauthorized, r.status)
	require.Equal(t, http.StatusOK, s.do(http.MethodGet, "/", nil).status, "open")
	require.Equal(t, http.StatusUnauthorized, s.do(http.MethodGet, "/kserve/v1/models", nil).status)
}
