package api_test

import (
	"bytes"
	"encoding/json"
	"image"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
)

func TestErrors(t *testing.T) {
	c := start(t, func(cfg *api.Config) { cfg.MaxBody, cfg.MaxImages, cfg.MaxPixels = 1<<20, 3, 1_000_000 })
	banana := photo(t, "banana.jpg")
	two, twoType := form(t, file{"file", "a.jpg", banana}, file{"file", "b.jpg", banana})
	jsonBody := func(s string) []byte { return []byte(strings.ReplaceAll(s, "PIC", jsonOf(t, banana))) }
	jsonType := []string{"Content-Type", "application/json"}
	formType := []string{"Content-Type", twoType}
	png := []string{"Accept", "image/png"}
	for _, e := range []struct {
		name   string
		method string // "": POST
		path   string
		body   []byte
		header []string
		status int
		detail string
	}{
		{"broken image", "", "/v1/classify", photo(t, "broken.jpg"), nil, 400, "broken image"},
		{"truncated image", "", "/v1/classify", banana[:1000], nil, 400, "broken image"},
		{"no body", "", "/v1/classify", nil, nil, 400, "no picture"},
		{"no body, explained", "", "/v1/explain", nil, nil, 400, "no picture"},
		{"not a number", "", "/v1/classify?top_k=many", banana, nil, 400, "top_k"},
		{"not a share", "", "/v1/classify?min_score=half", banana, nil, 400, "min_score"},
		{"NaN", "", "/v1/classify?min_score=NaN", banana, nil, 400, "min_score"},
		{"not a boolean", "", "/v1/classify?logits=maybe", banana, nil, 400, "logits"},
		{"another boolean", "", "/v1/classify?logits=2", banana, nil, 400, "logits"},
		{"twice", "", "/v1/classify?top_k=1&top_k=2", banana, nil, 400, "top_k"},
		{"unknown parameter", "", "/v1/classify?topk=3", banana, nil, 400, "unknown parameter \"topk\", want one of model, top_k"},
		{"percent in a query", "", "/v1/classify?%zz=1", banana, nil, 400, "query"},
		{"semicolon in a query", "", "/v1/classify?top_k=2;logits=true", banana, nil, 400, "query"},
		{"of another route", "", "/v1/classify?method=rollout", banana, nil, 400, "unknown parameter \"method\""},
		{"truncated form", "", "/v1/classify", two[:len(two)-200], formType, 400, "ends too early"},
		{"form without its end", "", "/v1/classify", two[:len(two)-6], formType, 400, "body"},
		{"form without a boundary", "", "/v1/classify", two, []string{"Content-Type", "multipart/form-data"}, 400, "boundary"},
		{"content type", "", "/v1/classify", two, []string{"Content-Type", "multipart/form-data; ="}, 400, "content type"},
		{"JSON syntax", "", "/v1/classify", []byte(`{"images":`), jsonType, 400, "images"},
		{"JSON array", "", "/v1/classify", []byte(`[]`), jsonType, 400, "want a JSON object"},
		{"JSON null", "", "/v1/classify", []byte(`null`), jsonType, 400, "want a JSON object"},
		{"no images", "", "/v1/classify", []byte(`{}`), jsonType, 400, "no picture"},
		{"null images", "", "/v1/classify", []byte(`{"images":null}`), jsonType, 400, "no picture"},
		{"empty image", "", "/v1/classify", []byte(`{"images":[{}]}`), jsonType, 400, "number 1, want one of b64 and url"},
		{"base64", "", "/v1/classify", []byte(`{"images":[{"b64":"!"}]}`), jsonType, 400, "images"},
		{"image member", "", "/v1/classify", jsonBody(`{"images":[{"b64":PIC,"path":"x"}]}`), jsonType, 400, "path"},
		{"member twice", "", "/v1/classify", jsonBody(`{"top_k":1,"images":[{"b64":PIC}],"top_k":2}`), jsonType, 400, "twice"},
		{"unknown member", "", "/v1/classify", jsonBody(`{"topk":1,"images":[{"b64":PIC}]}`), jsonType, 400, "unknown parameter"},
		{"member's kind", "", "/v1/classify", jsonBody(`{"top_k":"1","images":[{"b64":PIC}]}`), jsonType, 400, "want a number"},
		{"member is null", "", "/v1/classify", jsonBody(`{"model":null,"images":[{"b64":PIC}]}`), jsonType, 400, "want a string"},
		{"more JSON", "", "/v1/classify", jsonBody(`{"images":[{"b64":PIC}]} {}`), jsonType, 400, "more than one"},
		{"url", "", "/v1/classify", []byte(`{"images":[{"url":"https://example.org/cat.jpg"}]}`), jsonType, 422, "fetches no pictures"},
		{"unknown model", "", "/v1/classify?model=resnet", banana, nil, 404, "\"resnet\", want one of starter"},
		{"unknown route", "", "/v1/detect", banana, nil, 404, "not found"},
		{"unknown model's card", "GET", "/v1/models/resnet", nil, nil, 404, "resnet"},
		{"unknown model's load", "", "/v1/models/resnet/load", nil, nil, 404, "resnet"},
		{"method", "GET", "/v1/classify", nil, nil, 405, "method not allowed"},
		{"method", "DELETE", "/v1/models", nil, nil, 405, "method not allowed"},
		{"two overlays", "", "/v1/explain", two, append(formType, png...), 406, "2 pictures"},
		{"large body", "", "/v1/classify", make([]byte, 1<<20+1), nil, 413, "limit"},
		{"large form", "", "/v1/classify", append(two, make([]byte, 1<<20)...), formType, 413, "limit"},
		{"many pictures", "", "/v1/classify", nil, nil, 413, "more than 3 pictures"},
		{"many pictures in JSON", "", "/v1/classify", jsonBody(`{"images":[{"b64":PIC},{"b64":PIC},{"b64":PIC},{"b64":PIC}]}`), jsonType, 413, "more than 3 pictures"},
		{"empty pictures in JSON", "", "/v1/classify", []byte(`{"images":[` + strings.Repeat("{},", 100_000) + `{}]}`), jsonType, 400, "number 1, want one of"},
		{"images of another kind", "", "/v1/classify", []byte(`{"images":{"b64":""}}`), jsonType, 400, "want a JSON array"},
		{"text", "", "/v1/classify", []byte("hello"), nil, 415, "not an image"},
		{"text called an image", "", "/v1/classify", photo(t, "text.png"), []string{"Content-Type", "image/png"}, 415, "not an image"},
		{"huge", "", "/v1/classify", hugePNG(t), nil, 422, "65535×65535"},
		{"over the limit", "", "/v1/classify", pngOf(t, image.NewGray(image.Rect(0, 0, 1001, 1000))), nil, 422, "1001×1000"},
		{"not the input's size", "", "/v1/classify?preprocess=none", banana, nil, 422, "64"},
		{"preprocess", "", "/v1/classify?preprocess=all", banana, nil, 422, "model or crop or none"},
		{"negative", "", "/v1/classify?top_k=-1", banana, nil, 422, "parameter top_k: value not allowed: \"-1\", want 0 to 2147483647"},
		{"no number", "", "/v1/classify?top_k=many", banana, nil, 400, "parameter top_k: bad request: \"many\", want a whole number"},
		{"fraction", "", "/v1/explain?layer=1.5", banana, nil, 400, "parameter layer: bad request: \"1.5\", want a whole number"},
		{"no share", "", "/v1/classify?min_score=half", banana, nil, 400, "parameter min_score: bad request: \"half\", want a number"},
		{"no boolean", "", "/v1/classify?logits=yes", banana, nil, 400, "parameter logits: bad request: \"yes\", want true or false"},
		{"larger than any number", "", "/v1/classify?top_k=99999999999999999999", banana, nil, 422, "want 0 to 2147483647"},
		{"long timeout", "", "/v1/classify?timeout_ms=3600001", banana, nil, 422, "want 1 to 3600000"},
		{"seed", "", "/v1/explain?method=rise&seed=9007199254740992", banana, nil, 422, "want 0 to 9007199254740991"},
		{"compressed", "", "/v1/classify", banana, []string{"Content-Encoding", "gzip"}, 415, "\"gzip\", want identity"},
		{"above 1", "", "/v1/classify?min_score=1.5", banana, nil, 422, "0 to 1"},
		{"exif", "", "/v1/classify?exif=no", banana, nil, 422, "on or off"},
		{"priority", "", "/v1/classify?priority=urgent", banana, nil, 422, "high or low"},
		{"timeout", "", "/v1/classify?timeout_ms=0", banana, nil, 422, "timeout_ms"},
		{"explanation method", "", "/v1/explain?method=gradcam3000", banana, nil, 422, "raw, rollout"},
		{"class of a method that knows none", "", "/v1/explain?method=raw&class=banana", banana, nil, 422, "knows no class"},
		{"unknown class", "", "/v1/explain?method=occlusion&class=dog", banana, nil, 422, "0 to 19 or a label"},
		{"class's index", "", "/v1/explain?method=occlusion&class=20", banana, nil, 422, "0 to 19"},
		{"option of auto", "", "/v1/explain?method=auto&layer=2", banana, nil, 422, "it chooses them itself"},
		{"versus of no gradient", "", "/v1/explain?method=occlusion&class=1&versus=2", banana, nil, 422, "want relevance"},
		{"versus alone", "", "/v1/explain?method=relevance&versus=2", banana, nil, 422, "want a class"},
		{"versus unknown", "", "/v1/explain?class=1&versus=dog", banana, nil, 422, "dog"},
		{"steps", "", "/v1/explain?method=integrated&steps=100000", banana, nil, 422, "steps"},
		{"masks", "", "/v1/explain?method=rise&masks=100000", banana, nil, 422, "masks"},
		{"evidence", "", "/v1/explain?evidence=on", banana, nil, 400, "true or false"},
		{"resize", "", "/v1/classify?resize=quick", banana, nil, 422, "exact or fast"},
		{"layer", "", "/v1/explain?method=raw&layer=7", banana, nil, 422, "1 to 6"},
		{"head", "", "/v1/explain?method=raw&head=4", banana, nil, 422, "1 to 3"},
		{"layer of rollout", "", "/v1/explain?layer=2", banana, nil, 422, "has no layer"},
		{"fusion", "", "/v1/explain?fusion=median", banana, nil, 422, "mean, max, min"},
		{"discard", "", "/v1/explain?discard=1", banana, nil, 422, "discard"},
		{"colors", "", "/v1/explain?colors=grey", banana, nil, 422, "want turbo"},
		{"alpha", "", "/v1/explain?alpha=2", banana, nil, 422, "alpha"},
		{"query cell", "", "/v1/explain?queries=8,0", banana, nil, 422, "0,0 to 7,7"},
		{"query syntax", "", "/v1/explain?queries=8", banana, nil, 400, "row,column"},
		{"overlay of a broken image", "", "/v1/explain", photo(t, "broken.jpg"), png, 400, "broken image"},
	} {
		t.Run(e.name, func(t *testing.T) {
			if e.name == "many pictures" {
				f := file{"file", "a.jpg", banana}
				var contentType string
				e.body, contentType = form(t, f, f, f, f)
				e.header = []string{"Content-Type", contentType}
			}
			if e.method == "" {
				e.method = http.MethodPost
			}
			c := *c
			c.t = t
			r := c.do(c.request(e.method, e.path, bytes.NewReader(e.body), e.header...))
			require.Equal(t, e.status, r.status, "%s", r.body)
			p := r.problem(t)
			require.Contains(t, strings.ToLower(p.Detail), strings.ToLower(e.detail))
			require.Equal(t, http.StatusText(e.status), p.Title)
			switch e.status {
			case http.StatusMethodNotAllowed:
				require.NotEmpty(t, r.header.Get("Allow"))
			case http.StatusUnsupportedMediaType:
				require.Equal(t, e.name == "compressed", r.header.Get("Accept-Encoding") == "identity")
			}
		})
	}
	// What is large and has a meaning is none of these errors.
	require.Equal(t, 200, c.post("/v1/classify?top_k=2147483647", banana, "Content-Encoding", "identity").status)
	require.Equal(t, 200, c.post("/v1/explain?method=rise&masks=8&seed=9007199254740991", banana).status)
	// None of it has taken room that it did not give back.
	require.Equal(t, 200, c.post("/v1/classify", banana).status)
	require.Contains(t, string(c.get("/metrics").body), "\nvitserve_body_bytes 0\n")
}

// TestChunkedBody hides the length of a body that is too large.
func TestChunkedBody(t *testing.T) {
	c := start(t, func(cfg *api.Config) { cfg.MaxBody = 100_000 })
	r := c.do(c.request(http.MethodPost, "/v1/classify", io.MultiReader(bytes.NewReader(make([]byte, 100_001)))))
	require.Equal(t, http.StatusRequestEntityTooLarge, r.status)
	r = c.do(c.request(http.MethodPost, "/v1/classify", io.MultiReader(bytes.NewReader(photo(t, "banana.jpg")))))
	require.Equal(t, http.StatusOK, r.status)
}

// TestHead asks without wanting the content: RFC 9110, 9.3.2.
func TestHead(t *testing.T) {
	c := start(t, nil)
	head := func(path string) reply { return c.do(c.request(http.MethodHead, path, nil)) }
	for _, path := range []string{"/v1/models", "/v1/models/starter", "/healthz", "/readyz", "/version", "/metrics", "/openapi.json", "/docs", "/docs/docs.js"} {
		got, want := head(path), c.get(path)
		require.Equal(t, http.StatusOK, got.status, path)
		require.Equal(t, want.header.Get("Content-Type"), got.header.Get("Content-Type"), path)
		require.Empty(t, got.body)
	}
	missing := head("/v1/models/resnet")
	require.Equal(t, http.StatusNotFound, missing.status)
	require.Equal(t, "application/problem+json", missing.header.Get("Content-Type"))
	wrong := head("/v1/classify")
	require.Equal(t, http.StatusMethodNotAllowed, wrong.status)
	require.Contains(t, wrong.header.Get("Allow"), http.MethodPost)
	allow := c.post("/v1/models", nil).header.Get("Allow")
	require.Contains(t, allow, http.MethodGet)
	require.Contains(t, allow, http.MethodHead)
}

// TestRoot leads people who type the address alone to the docs.
func TestRoot(t *testing.T) {
	c := start(t, func(cfg *api.Config) { cfg.Keys = []api.Key{{Name: "k", SHA256: api.HashKey("k")}} })
	r := c.get("/") // the client follows
	require.Equal(t, http.StatusOK, r.status)
	require.Equal(t, c.get("/docs").body, r.body)
}

func TestBodyBudget(t *testing.T) {
	c := start(t, func(cfg *api.Config) { cfg.MaxBody, cfg.BodyBudget = 1<<20, 1<<20 })
	// A sender that has not finished holds what it has sent, not what it declared.
	pr, pw := io.Pipe()
	slow := c.request(http.MethodPost, "/v1/classify", pr)
	done := make(chan reply, 1)
	go func() {
		r, err := c.try(slow)
		if err == nil {
			done <- r
		}
		close(done)
	}()
	_, err := pw.Write(make([]byte, 700_000))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return strings.Contains(string(c.get("/metrics").body), "vitserve_body_bytes 1.048576e+06")
	}, 5*time.Second, 10*time.Millisecond)
	r := c.post("/v1/classify", photo(t, "banana.jpg"))
	require.Equal(t, http.StatusTooManyRequests, r.status, "%s", r.body)
	require.Equal(t, "1", r.header.Get("Retry-After"))
	require.NoError(t, pw.Close())
	require.Equal(t, http.StatusUnsupportedMediaType, (<-done).status, "what it sent was zeros")
	require.Equal(t, http.StatusOK, c.post("/v1/classify", photo(t, "banana.jpg")).status)
}

func TestSlowSender(t *testing.T) {
	c := start(t, func(cfg *api.Config) {
		cfg.ReadTimeout, cfg.WriteTimeout = api.Duration(300*time.Millisecond), api.Duration(40*time.Second)
	})
	pr, pw := io.Pipe()
	go func() {
		for {
			if _, err := pw.Write([]byte{0xff}); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	defer pr.Close()
	req := c.request(http.MethodPost, "/v1/classify", pr)
	r := c.do(req)
	require.Equal(t, http.StatusRequestTimeout, r.status)
	require.Contains(t, r.problem(t).Detail, "in time")
}

func TestBodyIsCutOff(t *testing.T) {
	c := start(t, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n\xff\xd8\xff"))
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	b, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(b), "HTTP/1.1 400 "), "%s", b)
	require.Eventually(t, func() bool { return strings.Contains(c.logs.String(), `"route":"/v1/classify"`) }, 5*time.Second, 10*time.Millisecond)
	require.NotContains(t, c.logs.String(), `"status":5`)
}

func TestAccessLog(t *testing.T) {
	c := start(t, nil)
	c.post("/v1/classify?model=secret", photo(t, "banana.jpg"), "X-Request-ID", "one")
	c.post("/v1/classify", photo(t, "banana.jpg"), "X-Request-ID", "two")
	var lines []map[string]any
	for _, l := range strings.Split(strings.TrimSpace(c.logs.String()), "\n") {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(l), &m))
		if m["msg"] == "request" {
			lines = append(lines, m)
		}
	}
	require.Len(t, lines, 2)
	require.Equal(t, "one", lines[0]["request_id"])
	require.EqualValues(t, 404, lines[0]["status"])
	require.Contains(t, lines[0]["error"], "secret")
	require.Equal(t, "two", lines[1]["request_id"])
	require.EqualValues(t, 200, lines[1]["status"])
	require.Equal(t, "starter", lines[1]["model"])
	require.Equal(t, "/v1/classify", lines[1]["route"])
	require.Positive(t, lines[1]["ms"])
	require.Equal(t, "127.0.0.1", lines[1]["remote"])
}
