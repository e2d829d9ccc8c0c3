package kserve_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/api/kserve"
	"github.com/vitserve/vitserve/api/op"
)

// FuzzAsk sends any body with any query: it is answered in JSON or refused
// with words, and nothing is a 5xx.
func FuzzAsk(f *testing.F) {
	cfg := api.DefaultConfig()
	cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	cfg.Models = []api.ModelConfig{{ID: "vit", Path: filepath.Join("..", "..", "models", "testdata", "golden", "hf_vit")}}
	cfg.Dialects = []op.Dialect{kserve.Dialect()}
	cfg.MaxPixels, cfg.MaxBody, cfg.BodyBudget, cfg.MaxImages = 1<<16, 1<<16, 1<<20, 4
	s, err := api.New(cfg)
	require.NoError(f, err)
	require.NoError(f, s.Preload(f.Context()))
	f.Cleanup(func() { require.NoError(f, s.Close()) })

	gif := []byte("GIF89a\x02\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x02\x00\x01\x00\x00\x02\x02D\n\x00;")
	f.Add(false, "", request(f, nil, object{"image": object{"b64": gif}}))
	f.Add(false, "top_k=1", request(f, object{"top_k": 2, "logits": true}, object{"b64": gif}, gif))
	f.Add(true, "method=rollout", request(f, object{"layer": 1}, object{"data": gif}))
	f.Add(true, "", request(f, object{"method": "relevance", "class": []string{"ant"}, "queries": []string{"1,1"}}, object{"image_bytes": object{"b64": gif}}))
	f.Add(false, "", []byte(`{"instances":[{"image":{"b64":{"b64":"AAAA"}}},null,[[1.0]]],"parameters":null}`))
	f.Fuzz(func(t *testing.T, explain bool, query string, body []byte) {
		path := "/v1/models/vit:predict"
		if explain {
			path = "/v1/models/vit:explain"
		}
		r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		require.Equal(t, "application/json", w.Header().Get("Content-Type"))
		var said struct {
			Error                     string
			Predictions, Explanations []any
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &said))
		if w.Code == http.StatusOK {
			require.NotEmpty(t, append(said.Predictions, said.Explanations...))
			return
		}
		require.NotEmpty(t, said.Error)
		require.Contains(t, []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge}, w.Code, said.Error)
	})
}
