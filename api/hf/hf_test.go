package hf_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/api/hf"
	"github.com/vitserve/vitserve/api/op"
)

// server is one that speaks the dialect.
type server struct {
	t   testing.TB
	url string
}

func start(t testing.TB, change func(*api.Config)) server {
	cfg := api.DefaultConfig()
	cfg.Addr = "127.0.0.1:0"
	cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	cfg.Dialects = []op.Dialect{hf.Dialect()}
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

// post sends a body as these clients do: without a Content-Type unless there
// is one among the headers.
func (s server) post(path string, body []byte, header ...string) reply {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+path, bytes.NewReader(body))
	require.NoError(s.t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return reply{resp.StatusCode, resp.Header, string(text)}
}

// ask is a post that is answered; v is what the answer is read into.
func (s server) ask(path string, body []byte, v any, header ...string) {
	s.t.Helper()
	r := s.post(path, body, header...)
	require.Equal(s.t, http.StatusOK, r.status, r.body)
	require.Equal(s.t, "application/json", r.header.Get("Content-Type"))
	require.NotEmpty(s.t, r.header.Get("X-Request-Id"))
	require.NoError(s.t, json.Unmarshal([]byte(r.body), v), r.body)
}

type label struct {
	Label string
	Score float64
}

func photo(t testing.TB, name string) []byte {
	b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "images", name))
	require.NoError(t, err)
	return b
}

func golden(name string) string {
	return filepath.Join("..", "..", "models", "testdata", "golden", name)
}

// jsonOf is a body of JSON with a picture in base64.
func jsonOf(t testing.TB, inputs any, members ...any) []byte {
	all := map[string]any{"inputs": inputs}
	for i := 0; i < len(members); i += 2 {
		all[members[i].(string)] = members[i+1]
	}
	b, err := json.Marshal(all)
	require.NoError(t, err)
	return b
}

// TestPipelines: scores and features are those of transformers' pipelines with
// Pillow's processor.
func TestPipelines(t *testing.T) {
	b, err := os.ReadFile("testdata/pipelines.json")
	require.NoError(t, err)
	var pipelines struct {
		Cases []struct {
			Task, Model, Photo string
			Parameters         map[string]any
			Answer             json.RawMessage
		}
	}
	require.NoError(t, json.Unmarshal(b, &pipelines))
	require.NotEmpty(t, pipelines.Cases)
	s := start(t, func(cfg *api.Config) {
		named := map[string]bool{}
		for _, c := range pipelines.Cases {
			if !named[c.Model] {
				cfg.Models = append(cfg.Models, api.ModelConfig{ID: c.Model, Path: golden(c.Model), Lazy: true})
			}
			named[c.Model] = true
		}
	})
	for _, c := range pipelines.Cases {
		t.Run(fmt.Sprint(c.Task, c.Model, c.Photo, c.Parameters), func(t *testing.T) {
			s := server{t, s.url}
			body := photo(t, c.Photo)
			if len(c.Parameters) > 0 {
				body = jsonOf(t, body, "parameters", c.Parameters)
			}
			path := "/models/" + c.Model + "/pipeline/" + c.Task
			if c.Task == "image-classification" {
				var want, got []label
				require.NoError(t, json.Unmarshal(c.Answer, &want))
				s.ask(path, body, &got)
				require.Len(t, got, len(want))
				for i := range want {
					// Where nobody named the classes, transformers says LABEL_4.
					require.Equal(t, strings.Replace(want[i].Label, "LABEL_", "class ", 1), got[i].Label)
					require.InDelta(t, want[i].Score, got[i].Score, 1e-5)
				}
				return
			}
			var want struct {
				Shape []int
				Sum   float64
				Every []float64
			}
			require.NoError(t, json.Unmarshal(c.Answer, &want))
			var got any
			s.ask(path, body, &got)
			shape, values := flat(t, got)
			require.Equal(t, want.Shape, shape)
			var sum float64
			for i, v := range values {
				sum += v
				if i%37 == 0 {
					require.InDelta(t, want.Every[i/37], v, 1e-5, "value %d", i)
				}
			}
			require.InDelta(t, want.Sum, sum, 1e-5*float64(len(values)))
		})
	}
}

// flat is a nested list: its shape, which it must have everywhere, and its
// numbers.
func flat(t *testing.T, v any) (shape []int, values []float64) {
	list, ok := v.([]any)
	if !ok {
		return []int{}, []float64{v.(float64)}
	}
	for i, e := range list {
		inner, vs := flat(t, e)
		if i == 0 {
			shape = append([]int{len(list)}, inner...)
		}
		require.Equal(t, shape[1:], inner)
		values = append(values, vs...)
	}
	return shape, values
}

// TestWays: every way of sending a picture to every route gives the same.
func TestWays(t *testing.T) {
	s := start(t, func(cfg *api.Config) {
		cfg.Models = []api.ModelConfig{{ID: "google/vit", Path: "starter"}, {ID: "plain", Path: "starter", Lazy: true}}
	})
	banana := photo(t, "banana.jpg")
	text := base64.StdEncoding.EncodeToString(banana)
	var want []label
	s.ask("/", banana, &want)
	require.Len(t, want, 5)
	require.Equal(t, "banana", want[0].Label)

	for _, path := range []string{
		"/", "/models/google/vit", "/models/google%2Fvit", "/models/plain", "/models/plain/", "/models/google/vit/pipeline/image-classification",
		"/models/plain/pipeline/image-classification/", "/pipeline/image-classification/google/vit", "/pipeline/image-classification/plain",
		"/?top_k=5", "/models/plain?top_k=5&function_to_apply=softmax",
	} {
		var got []label
		s.ask(path, banana, &got)
		require.Equal(t, want, got, path)
	}
	type sent struct {
		body   []byte
		header []string
	}
	kind := func(v string) []string { return []string{"Content-Type", v} }
	for name, e := range map[string]sent{
		"its type":                    {banana, kind("image/jpeg")},
		"a wrong type":                {banana, kind("image/png")},
		"curl's default":              {banana, kind("application/x-www-form-urlencoded")},
		"JavaScript's text":           {[]byte(text), kind("text/plain;charset=UTF-8")},
		"base64":                      {[]byte(text + "\n"), nil},
		"base64 in lines":             {[]byte(text[:76] + "\r\n" + text[76:]), nil},
		"data: URL":                   {[]byte("data:image/jpeg;base64," + text), nil},
		"JSON":                        {jsonOf(t, text), kind("application/json")},
		"JSON, charset":               {jsonOf(t, text), kind("application/json; charset=utf-8")},
		"JSON without a type":         {append([]byte(" \n"), jsonOf(t, text)...), nil},
		"JSON of curl -d":             {jsonOf(t, text), kind("application/x-www-form-urlencoded")},
		"JSON as text":                {jsonOf(t, text), kind("text/plain;charset=UTF-8")},
		"JSON, data: URL":             {jsonOf(t, "data:image/jpeg;base64,"+text), nil},
		"an object":                   {jsonOf(t, map[string]string{"image": text}), nil},
		"options":                     {jsonOf(t, text, "options", map[string]bool{"wait_for_model": true, "use_cache": false}), nil},
		"parameters":                  {jsonOf(t, text, "parameters", map[string]any{"top_k": 5, "function_to_apply": "Softmax"}), nil},
		"parameters that are nothing": {jsonOf(t, text, "parameters", map[string]any{"top_k": nil}), nil},
		"null":                        {jsonOf(t, text, "parameters", nil, "options", nil), nil},
	} {
		var got []label
		s.ask("/models/plain", e.body, &got, e.header...)
		require.Equal(t, want, got, name)
	}

	var two []label
	s.ask("/?top_k=2", banana, &two)
	require.Equal(t, want[:2], two)
	s.ask("/?top_k=2", jsonOf(t, text, "parameters", map[string]int{"top_k": 3}), &two)
	require.Equal(t, want[:3], two, "the body goes before the query")

	orange := photo(t, "orange.jpg")
	var lists [][]label
	s.ask("/?top_k=1", jsonOf(t, []any{text, map[string]string{"image": base64.StdEncoding.EncodeToString(orange)}}), &lists)
	require.Len(t, lists, 2)
	require.Equal(t, "banana", lists[0][0].Label)
	require.Equal(t, "orange", lists[1][0].Label)
	s.ask("/?top_k=1", jsonOf(t, []string{text}), &lists)
	require.Len(t, lists, 1)
}

// TestFeatures: a model without classes answers its features unless a task is
// named, and a picture in base64 is a text of feature-extraction.
func TestFeatures(t *testing.T) {
	s := start(t, func(cfg *api.Config) {
		cfg.Models = []api.ModelConfig{{ID: "dino", Path: golden("hf_dino")}, {ID: "dinov2", Path: golden("hf_dinov2"), Lazy: true}, {ID: "clip", Path: golden("hf_clip_vision"), Lazy: true}}
	})
	banana := photo(t, "banana.jpg")
	text := base64.StdEncoding.EncodeToString(banana)
	var hidden [][][]float64
	s.ask("/", banana, &hidden)
	require.Len(t, hidden, 1)
	var again [][][]float64
	s.ask("/pipeline/image-feature-extraction/dino?pool=false", jsonOf(t, text), &again)
	require.Equal(t, hidden, again)
	var list [][][][]float64
	s.ask("/", jsonOf(t, []string{text, text}), &list)
	require.Equal(t, [][][][]float64{hidden, hidden}, list)

	var vector, vectorAgain, part, unit [][]float64
	s.ask("/models/dino/pipeline/feature-extraction", jsonOf(t, text), &vector)
	require.Len(t, vector, 1)
	require.InDeltaSlice(t, hidden[0][0], vector[0], 1e-6, "a model of DINO looks at its class token")
	s.ask("/pipeline/feature-extraction/dino", banana, &vectorAgain)
	require.Equal(t, vector, vectorAgain)
	s.ask("/pipeline/feature-extraction/dino", jsonOf(t, text, "dimensions", 8, "truncate", true), &part)
	require.Equal(t, vector[0][:8], part[0])
	s.ask("/pipeline/feature-extraction/dino", jsonOf(t, text, "normalize", true, "dimensions", 8, "encoding_format", "float"), &unit)
	var length float64
	for _, v := range unit[0] {
		length += v * v
	}
	require.InDelta(t, 1, length, 1e-6)
	require.InDelta(t, part[0][0]/part[0][1], unit[0][0]/unit[0][1], 1e-5)
	s.ask("/pipeline/feature-extraction/dino", jsonOf(t, []string{text, text, text}, "parameters", map[string]any{"normalize": true}), &unit)
	require.Len(t, unit, 3)

	s.ask("/models/dinov2?pool=true", banana, &vector)
	require.Len(t, vector, 1)
	s.ask("/models/clip", banana, &vector)
	require.Len(t, vector, 1, "what CLIP's image tower is made for is its embedding")
}

// TestCompressed: what is long is sent compressed to whoever takes that.
func TestCompressed(t *testing.T) {
	s := start(t, func(cfg *api.Config) { cfg.Models = []api.ModelConfig{{ID: "dino", Path: golden("hf_dino")}} })
	banana := photo(t, "banana.jpg")
	plain := s.post("/", banana, "Accept-Encoding", "identity")
	require.Equal(t, strconv.Itoa(len(plain.body)), plain.header.Get("Content-Length"))
	folded := s.post("/", banana, "Accept-Encoding", "gzip") // given by hand, it is not unfolded
	require.Equal(t, "gzip", folded.header.Get("Content-Encoding"))
	require.Less(t, len(folded.body), len(plain.body))
	z, err := gzip.NewReader(strings.NewReader(folded.body))
	require.NoError(t, err)
	text, err := io.ReadAll(z)
	require.NoError(t, err)
	require.Equal(t, plain.body, string(text))
}

// TestErrors: statuses are the few that these clients know, and the words
// stand where they look for them.
func TestErrors(t *testing.T) {
	s := start(t, func(cfg *api.Config) {
		cfg.Models = []api.ModelConfig{{ID: "starter", Path: "starter"}, {ID: "dino", Path: golden("hf_dino"), Lazy: true}, {ID: "clip", Path: golden("hf_clip_vision"), Lazy: true}, {ID: "none", Path: "testdata/none", Lazy: true}}
		cfg.MaxBody, cfg.MaxImages = 300_000, 2
	})
	text := base64.StdEncoding.EncodeToString(photo(t, "banana.jpg"))
	with := func(parameters any) []byte { return jsonOf(t, text, "parameters", parameters) }
	asJSON := []string{"Content-Type", "application/json"}
	for _, e := range []struct {
		path   string
		body   []byte
		header []string
		status int
		says   string
	}{
		{"/", nil, nil, 400, "no picture"},
		{"/", []byte(" \n"), nil, 400, "no picture"},
		{"/", []byte("GIF89a"), nil, 400, ""},
		{"/", []byte("what is in the picture?"), nil, 400, "a text that is no picture"},
		{"/", []byte("\xff\xd8\xff\xe0 cut short"), nil, 400, ""},
		{"/", []byte("--x\r\n"), []string{"Content-Type", "multipart/form-data; boundary=x"}, 400, "/v1/classify takes forms"},
		{"/", []byte("x"), []string{"Content-Type", "ima ge/"}, 400, "content type"},
		{"/", []byte("x"), []string{"Content-Encoding", "gzip"}, 400, "content coding"},
		{"/", []byte("[1]"), asJSON, 400, "want an object"},
		{"/", []byte(`{"inputs":`), nil, 400, "JSON"},
		{"/", []byte(`{"inputs":"` + text + `"} {}`), nil, 400, "after top-level value"},
		{"/", []byte(`{"inputs":"a","inputs":"b"}`), nil, 400, `"inputs" twice`},
		{"/", []byte(`{"parameters":{}}`), nil, 400, "no member inputs"},
		{"/", []byte(`{"inputs":null}`), nil, 400, "no member inputs"},
		{"/", jsonOf(t, []string{}), nil, 400, "empty list"},
		{"/", jsonOf(t, 3), nil, 400, "inputs"},
		{"/", jsonOf(t, "%%%"), nil, 400, "illegal base64"},
		{"/", jsonOf(t, ""), nil, 400, "no picture"},
		{"/", jsonOf(t, []any{text, 7}), nil, 400, "inputs[1]"},
		{"/", jsonOf(t, []any{text, base64.StdEncoding.EncodeToString([]byte("GIF89a"))}), nil, 400, "inputs[1]"},
		{"/", jsonOf(t, map[string]string{"picture": text}), nil, 400, `"picture", want image`},
		{"/", jsonOf(t, "https://example.org/a.jpg"), nil, 400, "fetches no pictures"},
		{"/", jsonOf(t, text, "top_k", 3), nil, 400, `unknown member "top_k"`},
		{"/", jsonOf(t, text, "options", 3), nil, 400, "options: "},
		{"/", with(many(100)), nil, 400, "parameters: more than 64 members"},
		{"/", []byte("{" + strings.Repeat(`"a":`, 20_000) + "1}"), nil, 400, "JSON"},
		{"/", []byte(strings.Repeat(`{"inputs":`, 20_000)), nil, 400, "JSON"},
		{"/", with(map[string]any{"candidate_labels": []string{"a"}}), nil, 400, `"candidate_labels"`},
		{"/", with(map[string]any{"top_k": 0}), nil, 400, "top_k: value not allowed"},
		{"/", with(map[string]any{"top_k": 1.5}), nil, 400, "top_k"},
		{"/", with(map[string]any{"top_k": "3"}), nil, 400, "top_k"},
		{"/", with(map[string]any{"function_to_apply": "tanh"}), nil, 400, "want softmax or sigmoid or none"},
		{"/", with([]int{1}), nil, 400, "want an object"},
		{"/?top_k=many", []byte(text), nil, 400, "top_k"},
		{"/?topk=3", []byte(text), nil, 400, "topk"},
		{"/?top_k=%zz", []byte(text), nil, 400, "query"},
		{"/models/starter/pipeline/object-detection", []byte(text), nil, 400, "object-detection"},
		{"/models/starter/pipeline/zero-shot-image-classification", jsonOf(t, map[string]string{"image": text}, "parameters", map[string]any{"candidate_labels": []string{"cat", "dog"}}), nil, 400, "model starter has no text tower"},
		{"/pipeline/image-classification/dino", []byte(text), nil, 400, "model dino has no classification head"},
		{"/models/dino?pool=true", []byte(text), nil, 400, "no pooler"},
		{"/pipeline/feature-extraction/dino", jsonOf(t, text, "dimensions", 100_000), nil, 400, "dimensions 100000"},
		{"/pipeline/feature-extraction/dino", jsonOf(t, text, "encoding_format", "base64"), nil, 400, "want float"},
		{"/pipeline/feature-extraction/dino", jsonOf(t, text, "prompt_name", "query"), nil, 400, "prompt_name"},
		{"/pipeline/feature-extraction/dino", jsonOf(t, "a cat on a mat", "normalize", true), nil, 400, "not an image"},
		{"/pipeline/feature-extraction/dino", jsonOf(t, "What is it?", "normalize", true), nil, 400, "want a picture in base64"},
		{"/pipeline/image-feature-extraction/clip", []byte(text), nil, 400, "feature-extraction gives its embedding"},
		{"/models/resnet", []byte(text), nil, 404, "want one of starter"},
		{"/models/starter/pipeline", []byte(text), nil, 404, "not found"},
		{"/models/none", []byte(text), nil, 429, "not available"},
		{"/", make([]byte, 300_001), nil, 413, "300000"},
		{"/", jsonOf(t, []string{text, text, text}), nil, 413, "more than 2 pictures"},
	} {
		r := s.post(e.path, e.body, e.header...)
		name := fmt.Sprintf("%s %.80s: %s", e.path, e.body, r.body)
		require.Equal(t, e.status, r.status, name)
		require.Equal(t, "application/json", r.header.Get("Content-Type"), name)
		var said struct {
			Error, Title, Detail, Type string
			Status                     int
			RequestID                  string `json:"request_id"`
		}
		require.NoError(t, json.Unmarshal([]byte(r.body), &said), name)
		require.Contains(t, said.Error, e.says, name)
		require.Equal(t, said.Error, said.Detail)
		require.Equal(t, e.status, said.Status)
		require.Equal(t, r.header.Get("X-Request-Id"), said.RequestID)
		require.NotEmpty(t, r.header.Get("X-Error-Message"))
		if e.status == 429 {
			require.NotEmpty(t, r.header.Get("Retry-After"))
		}
	}
}

// many are members that no task has.
func many(n int) map[string]int {
	all := map[string]int{}
	for i := range n {
		all[fmt.Sprint("member", i)] = i
	}
	return all
}

// TestKeys: the key comes as a bearer token, and a page's preflight is
// answered.
func TestKeys(t *testing.T) {
	s := start(t, func(cfg *api.Config) {
		cfg.Keys = []api.Key{{Name: "user", SHA256: api.HashKey("hf_secret")}}
		cfg.CORSOrigins = []string{"https://page.example"}
	})
	banana := photo(t, "banana.jpg")
	r := s.post("/", banana)
	require.Equal(t, http.StatusUnauthorized, r.status)
	require.Contains(t, r.body, `"error":"no valid API key`)
	require.NotEmpty(t, r.header.Get("WWW-Authenticate"))
	require.Equal(t, http.StatusOK, s.post("/", banana, "Authorization", "Bearer hf_secret").status)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, s.url+"/models/starter", nil)
	require.NoError(t, err)
	req.Header.Set("Origin", "https://page.example")
	req.Header.Set("Access-Control-Request-Method", "POST")
	req.Header.Set("Access-Control-Request-Headers", "authorization,content-type,user-agent")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusNoContent, resp.StatusCode)
	allowed := strings.ToLower(resp.Header.Get("Access-Control-Allow-Headers"))
	for _, name := range []string{"authorization", "content-type", "user-agent"} {
		require.Contains(t, allowed, name)
	}
	r = s.post("/", banana, "Authorization", "Bearer hf_secret", "Origin", "https://page.example")
	require.Equal(t, http.StatusOK, r.status)
	require.Contains(t, r.header.Get("Access-Control-Expose-Headers"), "X-Request-Id")
}

// TestBesides: what was served before is as it was.
func TestBesides(t *testing.T) {
	s := start(t, nil)
	resp, err := http.Get(s.url + "/")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "/docs", resp.Request.URL.Path)
	r := s.post("/v1/classify?model=resnet", photo(t, "banana.jpg"))
	require.Equal(t, http.StatusNotFound, r.status)
	require.NotContains(t, r.body, `"error"`)
	require.Equal(t, "application/problem+json", r.header.Get("Content-Type"))
}
