package api_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	v1 "github.com/vitserve/vitserve/api/v1"
)

// FuzzBody sends any body of any content type and with any query: forms, JSON
// and pictures are answered or refused, nothing is a 5xx, and what a request
// has charged to the budget of bodies comes back.
func FuzzBody(f *testing.F) {
	cfg := api.DefaultConfig()
	cfg.Logger = slog.New(slog.NewJSONHandler(io.Discard, nil))
	cfg.Models = []api.ModelConfig{{Path: filepath.Join("..", "models", "testdata", "golden", "timm_vit")}}
	cfg.MaxPixels, cfg.MaxBody, cfg.BodyBudget, cfg.MaxImages = 1<<16, 1<<16, 1<<20, 4
	s, err := api.New(cfg)
	require.NoError(f, err)
	require.NoError(f, s.Preload(f.Context()))
	f.Cleanup(func() { require.NoError(f, s.Close()) })

	png := pngOf(f, pattern(9, 7, 3))
	body, contentType := form(f, file{"file", "a.png", png}, file{field: "top_k", data: []byte("3")}, file{"other", "b.png", []byte("GIF89a")})
	f.Add(contentType, "logits=true", body)
	f.Add(contentType, "", body[:len(body)-8])
	f.Add("application/json", "model=timm_vit", []byte(jsonOf(f, map[string]any{"top_k": 2, "min_score": 0.1, "exif": "off", "images": []v1.Image{{B64: png, Name: "a"}, {B64: png}}})))
	f.Add("application/json; charset=utf-8", "", []byte(`{"images":[{"url":"http://127.0.0.1/"}],"images":null}`))
	f.Add("application/json", "", []byte(`{"image":"data:image/png;base64,`+base64.URLEncoding.EncodeToString(png)+`","images":["AA","!",{"image":"AAAA\n"},7],"logits":"True"}`))
	f.Add("image/png", "top_k=1&min_score=0.5&preprocess=crop&resize=fast&priority=low&timeout_ms=1000", png)
	f.Fuzz(func(t *testing.T, contentType, query string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/v1/classify", bytes.NewReader(body))
		r.URL.RawQuery = query
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code == http.StatusOK {
			var a v1.ClassifyAnswer
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &a))
			require.NotEmpty(t, a.Results)
		} else {
			p := reply{w.Code, w.Header(), w.Body.Bytes()}.problem(t)
			require.Equal(t, 4, w.Code/100, p.Detail)
			require.NotEqual(t, http.StatusTooManyRequests, w.Code, "a request before kept its room")
			require.NotEmpty(t, p.Detail)
		}
	})
}
