package api_test

import (
	"bytes"
	"flag"
	"image"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	"pgregory.net/rapid"
)

// TestContract asks with thousands of generated requests, right and wrong:
// every answer is as the contract says and none is a 5xx.
func TestContract(t *testing.T) {
	if !given("rapid.checks") && !testing.Short() {
		checks := "5000"
		if raceEnabled {
			checks = "500" // each takes ten times as long
		}
		old := flag.Lookup("rapid.checks").Value.String()
		require.NoError(t, flag.Set("rapid.checks", checks))
		defer func() { require.NoError(t, flag.Set("rapid.checks", old)) }()
	}
	c := start(t, func(cfg *api.Config) {
		cfg.MaxBody, cfg.MaxPixels, cfg.MaxImages = 100_000, 500_000, 4
	})
	pictures := [][]byte{
		pngOf(t, pattern(64, 64, 3)), jpegOf(t, pattern(50, 80, 5)), pngOf(t, pattern(1, 1, 1)), jpegOf(t, image.NewGray(image.Rect(0, 0, 9, 200))),
		photo(t, "text.png"), photo(t, "broken.jpg")[:2000], hugePNG(t), {}, []byte("\xff\xd8\xff"), []byte("GIF89a"), make([]byte, 100_001),
	}
	counts := map[int]int{}
	rapid.Check(t, func(rt *rapid.T) {
		req := generate(rt, c, pictures)
		r, err := c.try(req)
		if err != nil {
			rt.Fatalf("%v", err)
		}
		if r.status >= 500 || r.status == 499 {
			rt.Fatalf("%s %s answers %d %s", req.Method, req.URL, r.status, r.body)
		}
		counts[r.status]++
	})
	t.Log("answers by status:", counts)
	for _, status := range []int{200, 400, 404, 405, 406, 413, 415, 422} {
		require.NotZero(t, counts[status], "no answer %d: the generator lost its bite", status)
	}
	require.NotContains(t, c.logs.String(), "panic")
}

func given(name string) (found bool) {
	flag.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

// generate draws a request.
func generate(t *rapid.T, c *client, pictures [][]byte) *http.Request {
	value := rapid.OneOf(
		rapid.SampledFrom([]string{
			"", "0", "1", "3", "-1", "0.5", "1.0", "1e3", "NaN", "Inf", "true", "false", "on", "off", "low", "high", "starter", "rollout", "raw", "mean", "max",
			"turbo", "jet", "nearest", "2,3", "9,9", "none", "relevance", "gradcam", "occlusion", "auto", "pizza", "crop", "model", "vit-explain", "99999999999999999999",
			"overlay", "heat", "sheet", "map", "attention", "json", "png", "jpeg", "npy", "grid", "class", "50", "%", "ä", "\x00",
		}),
		rapid.StringN(0, 8, 20))
	name := rapid.SampledFrom([]string{
		"model", "top_k", "min_score", "logits", "exif", "preprocess", "priority", "method", "layer", "head", "fusion", "discard", "start", "queries", "mass",
		"compat", "colors", "alpha", "upsample", "topk", "file", "class", "evidence", "window", "keep", "resize", "seed", "versus", "steps",
		"classes", "picture", "values", "format", "quality", "pool", "l2",
	})
	query := url.Values{}
	for range max(0, rapid.IntRange(-2, 3).Draw(t, "parameters")) {
		query.Add(name.Draw(t, "name"), value.Draw(t, "value"))
	}
	path := rapid.SampledFrom([]string{
		"/v1/classify", "/v1/classify", "/v1/classify", "/v1/explain", "/v1/explain", "/v1/explain", "/v1/embed", "/v1/embed", "/v1/preprocess", "/v1/models", "/v1/models/starter", "/v1/models/x",
		"/v1/models/starter/load", "/v1/models/x/unload", "/healthz", "/readyz", "/version", "/docs", "/openapi.json", "/metrics", "/v1", "/v1/classify/x",
	}).Draw(t, "path")
	method := "GET"
	if strings.Contains(path, "ify") || strings.Contains(path, "explain") || strings.Contains(path, "embed") || strings.Contains(path, "preprocess") || strings.Contains(path, "load") {
		method = "POST"
	}
	if rapid.IntRange(0, 9).Draw(t, "other method") == 0 {
		method = rapid.SampledFrom([]string{"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"}).Draw(t, "method")
	}
	var body []byte
	contentType := rapid.SampledFrom([]string{"", "image/png", "application/octet-stream", "text/plain", "multipart/form-data", "application/json", "image", ";"}).Draw(t, "type")
	picture := rapid.SampledFrom(pictures)
	switch rapid.SampledFrom([]string{"raw", "form", "json", "noise"}).Draw(t, "body") {
	case "raw":
		body = picture.Draw(t, "picture")
	case "form":
		var files []file
		for i := range rapid.IntRange(0, 5).Draw(t, "parts") {
			f := file{"file", strconv.Itoa(i) + ".jpg", nil}
			if rapid.Bool().Draw(t, "picture?") {
				f.data = picture.Draw(t, "picture")
			} else {
				f = file{name.Draw(t, "name"), "", []byte(value.Draw(t, "value"))}
			}
			files = append(files, f)
		}
		body, contentType = form(t, files...)
	case "json":
		m := map[string]any{}
		var images []any
		for range rapid.IntRange(0, 5).Draw(t, "images") {
			images = append(images, map[string]any{rapid.SampledFrom([]string{"b64", "b64", "b64", "url", "name", "path"}).Draw(t, "member"): picture.Draw(t, "picture")})
		}
		m["images"] = images
		for range rapid.IntRange(0, 2).Draw(t, "members") {
			m[name.Draw(t, "name")] = rapid.SampledFrom([]any{
				0, 1, 3, -1, 0.5, true, "raw", "starter", nil, []int{1}, []string{}, []string{"1", "pizza"}, []string{"2,3", "0,7"}, map[string]int{"a": 1}, "heat", "png", "sheet",
			}).Draw(t, "json")
		}
		body, contentType = []byte(jsonOf(c.t, m)), "application/json"
	case "noise":
		body = rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "noise")
	}
	// A quarter of the bodies are cut or spoilt.
	switch rapid.IntRange(0, 7).Draw(t, "fault") {
	case 0:
		body = body[:rapid.IntRange(0, len(body)).Draw(t, "cut")]
	case 1:
		if len(body) > 0 {
			body = bytes.Clone(body)
			body[rapid.IntRange(0, len(body)-1).Draw(t, "at")] ^= rapid.Byte().Draw(t, "by")
		}
	}
	encoded := query.Encode()
	if encoded != "" {
		path += "?" + encoded
	}
	req := c.request(method, path, bytes.NewReader(body))
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if accept := rapid.SampledFrom([]string{"", "*/*", "image/png", "image/jpeg", "application/x-npy", "image/*;q=0.5, */*;q=0.1", "application/json", "text/html", ";;q=x"}).Draw(t, "accept"); accept != "" {
		req.Header.Set("Accept", accept)
	}
	return req
}

// TestEveryAnswerHasASchema: the contract names every status that the one
// function of errors can give.
func TestEveryAnswerHasASchema(t *testing.T) {
	doc, _ := contract(t)
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			for code, r := range op.Responses.Map() {
				for media, m := range r.Value.Content {
					require.NotNil(t, m.Schema, "%s %s %s %s", method, path, code, media)
				}
				require.NotEmpty(t, r.Value.Content, "%s %s %s", method, path, code)
			}
			require.NotEmpty(t, op.OperationID)
		}
	}
	require.Equal(t, []string{"400", "401", "404", "408", "413", "415", "422", "429", "500", "503", "504"}, errorCodes(doc.Paths.Value("/v1/classify").Post.Responses.Map()))
}

// TestGenerated makes sure that routes and parameters of the contract are
// those that are served: generated code that is not current does not compile
// or does not answer.
func TestGenerated(t *testing.T) {
	doc, _ := contract(t)
	c := start(t, nil)
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			r, err := c.try(c.request(method, strings.ReplaceAll(path, "{id}", "starter"), nil))
			require.NoError(t, err)
			require.NotEqual(t, http.StatusNotFound, r.status, "%s %s", method, path)
			require.NotEqual(t, http.StatusMethodNotAllowed, r.status, "%s %s", method, path)
		}
	}
	// Every parameter is understood in the query, in a form and in JSON.
	for path, schemas := range map[string][2]string{"/v1/classify": {"ClassifyForm", "ClassifyRequest"}, "/v1/explain": {"ExplainForm", "ExplainRequest"},
		"/v1/embed": {"EmbedForm", "EmbedRequest"}, "/v1/preprocess": {"PreprocessForm", "PreprocessRequest"}} {
		var names []string
		for _, p := range doc.Paths.Value(path).Post.Parameters {
			names = append(names, p.Value.Name)
			unknown := c.post(path+"?no-such=1", photo(t, "banana.jpg"))
			require.Contains(t, unknown.problem(t).Detail, p.Value.Name)
		}
		for _, schema := range schemas {
			for _, name := range names {
				require.Contains(t, doc.Components.Schemas[schema].Value.Properties, name, schema)
			}
			require.Len(t, doc.Components.Schemas[schema].Value.Properties, len(names)+1, schema)
		}
	}
}

func errorCodes(responses map[string]*openapi3.ResponseRef) (codes []string) {
	for code := range responses {
		if code[0] >= '4' {
			codes = append(codes, code)
		}
	}
	slices.Sort(codes)
	return codes
}
