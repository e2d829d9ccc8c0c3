package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// insiders are words of the program that no user should read.
var insiders = regexp.MustCompile(`\b(patch|models|api|attention|vit|hub|yaml|json|op):|strconv|cannot unmarshal|\{0x|%!`)

// parameterMistakes are values that parameters cannot have, of those that may
// be any text.
var parameterMistakes = map[string][2]string{
	"model": {"startr", "did you mean starter"}, "method": {"legard", "did you mean legrad"}, "class": {"school bsu", "did you mean school bus"},
	"versus": {"pizza", "want a class"}, "fusion": {"maxx", "did you mean max"}, "compat": {"vit-explian", "did you mean vit-explain"},
	"colors": {"turbbo", "did you mean turbo"}, "upsample": {"bilinaer", "did you mean bilinear"}, "queries": {"3", "row,column"},
}

// TestEveryParameterHasAMistake: of every operation, in its query and in its
// JSON body. A parameter without a mistake fails.
func TestEveryParameterHasAMistake(t *testing.T) {
	c := start(t, nil)
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters []struct {
				Name   string
				In     string
				Schema struct {
					Type  string
					Enum  []string
					Items struct{ Type string }
				}
			}
		}
	}
	require.NoError(t, json.Unmarshal(c.get("/openapi.json").body, &doc))
	bus := photo(t, "school_bus.png")
	tried := 0
	for path, methods := range doc.Paths {
		for _, p := range methods["post"].Parameters {
			if p.In != "query" {
				continue
			}
			tried++
			t.Run(path+" "+p.Name, func(t *testing.T) {
				value, says := "three", p.Name
				if m, ok := parameterMistakes[p.Name]; ok {
					value, says = m[0], m[1]
				} else if p.Schema.Type == "string" || p.Schema.Type == "array" {
					require.NotEmpty(t, p.Schema.Enum, "a parameter without a mistake: add one to the table")
					says = p.Schema.Enum[0]
				}
				r := c.post(path+"?"+url.Values{p.Name: {value}}.Encode(), bus)
				require.True(t, 400 <= r.status && r.status < 500, "%d %s", r.status, r.body)
				detail := r.problem(t).Detail
				require.NotRegexp(t, insiders, detail)
				require.Contains(t, detail, says)

				// Of another kind in JSON.
				r = c.post(path, []byte(fmt.Sprintf(`{"images": [{"b64": "AAAA"}], %q: {"a": 1}}`, p.Name)), "Content-Type", "application/json")
				detail = r.problem(t).Detail
				require.NotRegexp(t, insiders, detail)
				require.Contains(t, detail, p.Name)
				require.Contains(t, detail, "want a")
			})
		}
	}
	require.Greater(t, tried, 50)
	r := c.post("/v1/classify?topk=3", bus)
	require.Contains(t, r.problem(t).Detail, "did you mean top_k?")
}

// TestEveryRouteHasAMistake: another method, and a name that is almost right.
func TestEveryRouteHasAMistake(t *testing.T) {
	c := start(t, nil)
	tried := 0
	for path, methods := range openapiPaths(t, c) {
		tried++
		at := strings.ReplaceAll(path, "{id}", "starter")
		right, wrong := http.MethodGet, http.MethodDelete
		if _, posts := methods["post"]; posts {
			right, wrong = http.MethodPost, http.MethodGet
		}
		r := c.do(c.request(wrong, at, nil))
		require.Equal(t, http.StatusMethodNotAllowed, r.status, path)
		detail := r.problem(t).Detail
		require.Contains(t, detail, right, path)
		require.Contains(t, detail, at)
		require.Contains(t, detail, "see /docs")
		require.NotRegexp(t, insiders, detail)

		r = c.do(c.request(right, at+"x", nil))
		if !strings.HasSuffix(path, "}") {
			require.Equal(t, http.StatusNotFound, r.status, path)
			detail = r.problem(t).Detail
			require.Contains(t, detail, "no such path: "+at+"x")
			require.Contains(t, detail, "did you mean /", path)
		}
	}
	require.Greater(t, tried, 12)
	require.Contains(t, c.get("/v1/classify").problem(t).Detail, "POST a picture to /v1/classify; see /docs")
}

func openapiPaths(t *testing.T, c *client) map[string]map[string]json.RawMessage {
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	require.NoError(t, json.Unmarshal(c.get("/openapi.json").body, &doc))
	return doc.Paths
}

// TestEveryPictureHasAMessage: what is no picture is told without words of the
// program.
func TestEveryPictureHasAMessage(t *testing.T) {
	c := start(t, nil)
	for name, data := range map[string][]byte{
		"empty": {}, "text": []byte("hello"), "cut": photo(t, "banana.jpg")[:500], "html": []byte("<!DOCTYPE html>"), "pdf": []byte("%PDF-1.7"),
		"heic": []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00heicmif1"), "svg": []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`), "zip": []byte("PK\x03\x04"),
	} {
		r := c.post("/v1/classify", data)
		require.True(t, 400 <= r.status && r.status < 500, name)
		require.NotRegexp(t, insiders, r.problem(t).Detail, name)
	}
	for _, body := range []string{`{`, `[]`, `{"images": 3}`, `{"images": [3]}`, `{"images": [{"b64": 3}]}`, `{"images": [{"b64": "?"}]}`, `{"images": [], "x": 1}`, `{"image": {"url": "ftp://x"}}`, `"x"`, `{"images":[{"name":3}]}`} {
		r := c.post("/v1/classify", []byte(body), "Content-Type", "application/json")
		require.True(t, 400 <= r.status && r.status < 500, body)
		require.NotRegexp(t, insiders, r.problem(t).Detail, body)
	}
}
