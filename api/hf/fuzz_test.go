package hf_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/api/hf"
	"github.com/vitserve/vitserve/api/op"
)

// FuzzAsk sends any body of any content type, with any query, for any task:
// it is answered in JSON or refused with words, nothing is a 5xx, and what a
// request has charged to the budget of bodies comes back.
func FuzzAsk(f *testing.F) {
	cfg := api.DefaultConfig()
	cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	cfg.Models = []api.ModelConfig{{ID: "vit", Path: golden("hf_vit")}}
	cfg.Dialects = []op.Dialect{hf.Dialect()}
	cfg.MaxPixels, cfg.MaxBody, cfg.BodyBudget, cfg.MaxImages = 1<<16, 1<<16, 1<<20, 4
	s, err := api.New(cfg)
	require.NoError(f, err)
	require.NoError(f, s.Preload(f.Context()))
	f.Cleanup(func() { require.NoError(f, s.Close()) })

	gif := []byte("GIF89a\x02\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x02\x00\x01\x00\x00\x02\x02D\n\x00;")
	text := base64.StdEncoding.EncodeToString(gif)
	f.Add(uint8(0), "", "", gif)
	f.Add(uint8(0), "text/plain;charset=UTF-8", "top_k=2&function_to_apply=none", []byte(text))
	f.Add(uint8(1), "application/json", "top_k=1", jsonOf(f, text, "parameters", map[string]any{"top_k": 3, "function_to_apply": "sigmoid"}, "options", map[string]any{"use_cache": true}))
	f.Add(uint8(2), "", "pool=false", jsonOf(f, []any{text, map[string]string{"image": "data:image/gif;base64," + text}}))
	f.Add(uint8(3), "application/x-www-form-urlencoded", "", jsonOf(f, text, "normalize", true, "dimensions", 7, "truncate", nil))
	f.Add(uint8(4), "application/json", "", jsonOf(f, map[string]any{"image": text}, "parameters", map[string]any{"candidate_labels": []string{"a", "b"}}))
	tasks := []string{"/", "/models/vit", "/models/vit/pipeline/image-feature-extraction", "/pipeline/feature-extraction/vit", "/models/vit/pipeline/zero-shot-image-classification"}
	f.Fuzz(func(t *testing.T, task uint8, contentType, query string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, tasks[int(task)%len(tasks)], bytes.NewReader(body))
		r.URL.RawQuery = query
		r.Header["Content-Type"] = []string{contentType}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		require.Equal(t, "application/json", w.Header().Get("Content-Type"))
		if w.Code == http.StatusOK {
			var a []any
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &a))
			return
		}
		var said struct{ Error string }
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &said))
		require.NotEmpty(t, said.Error)
		require.Contains(t, []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge}, w.Code, said.Error)
	})
}
