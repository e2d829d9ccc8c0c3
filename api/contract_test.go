package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"image"
	"math"
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
	name := rapid.SampledFrom(append(parametersOf(c.spec), "topk", "file", "masses", "Model", ""))
	query := url.Values{}
	for range max(0, rapid.IntRange(-2, 3).Draw(t, "parameters")) {
		query.Add(name.Draw(t, "name"), value.Draw(t, "value"))
	}
	way := rapid.SampledFrom(waysOf(c.spec)).Draw(t, "path")
	method, path := way.method, strings.ReplaceAll(way.path, "{id}", rapid.SampledFrom([]string{"starter", "starter", "x", "a%2Fb"}).Draw(t, "id"))
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
	require.Equal(t, []string{"400", "401", "403", "404", "408", "413", "415", "422", "429", "500", "503", "504"}, errorCodes(doc.Paths.Value("/v1/classify").Post.Responses.Map()))
}

// TestParameters: every parameter is understood in the query, in a form and in
// JSON, and named to whoever uses another.
func TestParameters(t *testing.T) {
	doc, _ := contract(t)
	c := start(t, nil)
	for path, item := range doc.Paths.Map() {
		if item.Post == nil || item.Post.RequestBody == nil {
			continue
		}
		unknown := c.post(path+"?no-such=1", photo(t, "banana.jpg")).problem(t).Detail
		content := item.Post.RequestBody.Value.Content
		for media, pictures := range map[string][]string{"multipart/form-data": {"file"}, "application/json": {"images", "image"}} {
			properties := content[media].Schema.Value.Properties
			require.Len(t, properties, len(item.Post.Parameters)+len(pictures), "%s %s", path, media)
			for _, name := range pictures {
				require.Contains(t, properties, name, "%s %s", path, media)
			}
			for _, p := range item.Post.Parameters {
				require.Contains(t, properties, p.Value.Name, "%s %s", path, media)
				require.Contains(t, unknown, p.Value.Name)
			}
		}
	}
}

// TestContractExamples sends the examples of the contract: each is answered,
// and with the members and labels that the example of its answer shows.
func TestContractExamples(t *testing.T) {
	doc, _ := contract(t)
	c := start(t, nil)
	sent := 0
	for _, way := range waysOf(doc) {
		op := doc.Paths.Value(way.path).GetOperation(way.method)
		ok := op.Responses.Value("200").Value.Content.Get("application/json")
		if ok == nil || ok.Schema.Value.Type.Is("object") && len(ok.Schema.Value.Properties) == 0 {
			continue // the description itself
		}
		require.NotNil(t, ok.Example, "%s %s: no example of an answer", way.method, way.path)
		var body []byte
		if op.RequestBody != nil {
			example := op.RequestBody.Value.Content.Get("application/json").Example
			require.NotNil(t, example, "%s %s: no example of a request", way.method, way.path)
			body = []byte(jsonOf(t, example))
		}
		if strings.HasSuffix(way.path, "/unload") {
			continue // its answer is that of load, but for the state
		}
		r := c.do(c.request(way.method, strings.ReplaceAll(way.path, "{id}", "starter"), bytes.NewReader(body), "Content-Type", "application/json"))
		require.Equal(t, http.StatusOK, r.status, "%s: %s", way.path, r.body)
		var answer any
		require.NoError(t, json.Unmarshal(r.body, &answer))
		requireLike(t, way.path, ok.Example, answer)
		sent++
	}
	require.Greater(t, sent, 8)
}

// requireLike holds an answer to an example of it: the same members, labels
// and whole numbers, and other numbers nearby. What differs from run to run
// (timings, builds, memory) only needs to be there, as does what an example
// leaves out of a long list.
func requireLike(t *testing.T, at string, example, answer any) {
	t.Helper()
	switch want := example.(type) {
	case map[string]any:
		got, ok := answer.(map[string]any)
		require.True(t, ok, "%s: %v is no object", at, answer)
		for name, v := range got {
			require.Contains(t, want, name, "%s: the example lacks a member", at)
			if slices.Contains([]string{"timings_ms", "version", "commit", "go", "backend", "memory_bytes", "b64"}, name) {
				continue
			}
			requireLike(t, at+"."+name, want[name], v)
		}
		for name := range want {
			if name != "commit" {
				require.Contains(t, got, name, "%s: the answer lacks a member", at)
			}
		}
	case []any:
		got, ok := answer.([]any)
		require.True(t, ok, "%s: %v is no list", at, answer)
		require.LessOrEqual(t, len(want), len(got), at)
		for i := range want {
			requireLike(t, at+"."+strconv.Itoa(i), want[i], got[i])
		}
	case float64:
		require.InDelta(t, want, answer, 1e-3*(1+math.Abs(want)), at)
	default:
		require.Equal(t, example, answer, at)
	}
}

// way is an operation of the contract.
type way struct{ method, path string }

func waysOf(doc *openapi3.T) (all []way) {
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			all = append(all, way{method, path})
		}
	}
	slices.SortFunc(all, func(a, b way) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return all
}

// parametersOf returns the names of all parameters in the contract.
func parametersOf(doc *openapi3.T) (names []string) {
	for _, way := range waysOf(doc) {
		for _, p := range doc.Paths.Value(way.path).GetOperation(way.method).Parameters {
			if p.Value.In == "query" {
				names = append(names, p.Value.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
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
