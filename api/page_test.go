package api_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/attention/focus"
)

const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

// TestPage: browsers are shown the page, under any prefix and without a key,
// and programs are answered as without it.
func TestPage(t *testing.T) {
	c := start(t, func(cfg *api.Config) { cfg.Keys = []api.Key{{Name: "k", SHA256: api.HashKey("k")}} })
	page := c.get("/", "Accept", browser)
	require.Equal(t, http.StatusOK, page.status)
	require.Equal(t, "text/html; charset=utf-8", page.header.Get("Content-Type"))
	require.Contains(t, page.header.Values("Vary"), "Accept")
	require.Contains(t, page.header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'; style-src 'self';")
	require.NotContains(t, page.header.Get("Content-Security-Policy"), "unsafe")
	require.Equal(t, http.StatusNotModified, c.get("/", "Accept", browser, "If-None-Match", page.header.Get("ETag")).status)

	found := regexp.MustCompile(`(?:src|href)="(page/[^"]+|favicon.ico|docs)"`).FindAllStringSubmatch(string(page.body), -1)
	require.Len(t, found, 5, "and no address that begins with a slash")
	require.NotRegexp(t, `(src|href)="/`, string(page.body))
	for _, m := range found {
		require.Equal(t, http.StatusOK, c.get("/"+m[1]).status, m[1])
	}
	for _, path := range []string{"/page/banana.jpg", "/page/index.html"} {
		require.Equal(t, http.StatusOK, c.get(path).status, path)
	}
	for _, path := range []string{"/page/main.go", "/page/..%2fpage.go", "/page/main.js", "/docs/docs.html", "/docs/x.js"} {
		require.Equal(t, http.StatusNotFound, c.get(path).status, path)
	}
	require.NotEqual(t, page.body, c.get("/", "Accept", "application/json").body)
	require.NotEqual(t, page.body, c.get("/").body)
	require.Equal(t, http.StatusUnauthorized, c.get("/v1/models").status)
	var version v1.Version
	require.NoError(t, json.Unmarshal(c.get("/version").body, &version))
	require.True(t, version.Keys)
}

func TestNoPage(t *testing.T) {
	c := start(t, func(cfg *api.Config) { cfg.NoPage = true })
	require.Equal(t, c.get("/docs").body, c.get("/", "Accept", browser).body, "they are led to the docs")
	require.Equal(t, http.StatusNotFound, c.get("/page/page.js").status)
	require.Equal(t, http.StatusNotFound, c.get("/page/index.html").status)
	require.NotContains(t, string(c.get("/version").body), "keys")
}

// TestCardFocus: a card says of each method what a request may ask it for,
// which the server then understands, and of no other.
func TestCardFocus(t *testing.T) {
	c := start(t, func(cfg *api.Config) {
		cfg.Models = []api.ModelConfig{{Path: "starter"}, {ID: "dino", Path: golden("hf_dino")}}
	})
	card := func(id string) (m v1.Model) {
		require.NoError(t, json.Unmarshal(c.get("/v1/models/"+id).body, &m))
		return m
	}
	m := card("starter")
	require.Len(t, m.Focus, len(m.Methods))
	require.Contains(t, m.Corruptions, "fog")
	given := map[string]string{"layer": "1", "head": "1", "fusion": "max", "queries": "1,1", "discard": "0.5"}
	for i, f := range m.Focus {
		require.Equal(t, m.Methods[i], f.Method)
		if f.Method == "rise" || f.Method == focus.AutoMethod {
			continue // which are slow
		}
		understood := map[string]bool{}
		for _, o := range f.Options {
			understood[o] = true
		}
		ask := func(parameters string) bool {
			return c.post("/v1/explain?method="+f.Method+parameters, photo(t, "banana.jpg")).status == http.StatusOK
		}
		for name, v := range given {
			require.Equal(t, understood[name], ask("&"+name+"="+v), "%s with %s", f.Method, name)
		}
		require.Equal(t, f.Class, ask("&class=pizza"), f.Method)
		require.Equal(t, f.Versus, ask("&class=pizza&versus=banana"), f.Method)
	}
	for _, f := range card("dino").Focus {
		require.False(t, f.Class, "a model without classes has no method of them")
	}
	var list v1.ModelList
	require.NoError(t, json.Unmarshal(c.get("/v1/models").body, &list))
	require.Nil(t, list.Models[0].Focus)
	require.Nil(t, list.Models[0].Corruptions)
}
