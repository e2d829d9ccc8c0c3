package page

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// modules are the sources of the page's modules, by name.
func modules(t *testing.T) map[string]string {
	all := map[string]string{}
	names, err := fs.Glob(sources, "web/*.js")
	require.NoError(t, err)
	for _, name := range names {
		data, err := sources.ReadFile(name)
		require.NoError(t, err)
		all[filepath.Base(name)] = string(data)
	}
	return all
}

// TestModules holds the modules to the few forms that join reads: it would
// leave others standing, and the page would not run.
func TestModules(t *testing.T) {
	top := regexp.MustCompile(`(?m)^(?:export )?(?:async )?(?:function|const|let|class) (?:(\w+)|\{)`)
	owner := map[string]string{}
	for name, text := range modules(t) {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "import ") {
				require.Regexp(t, importLine, line, name)
			}
			if strings.HasPrefix(line, "export ") && name != "types.js" {
				require.Regexp(t, `^export (async )?(function|const|let|class) \w+`, line, name)
			}
		}
		require.NotContains(t, text, "import(\"./\"", name)
		for _, m := range top.FindAllStringSubmatch(text, -1) {
			require.NotEmpty(t, m[1], "%s: a top-level name that is taken apart", name)
			require.Empty(t, owner[m[1]], "%s in %s, too", m[1], name)
			owner[m[1]] = name
		}
		require.LessOrEqual(t, strings.Count(text, "\n"), 400, name)
	}
	joined := string(files()["page.js"].plain)
	require.NotRegexp(t, `(?m)^(import|export) `, joined)
	for name := range modules(t) {
		if name != "types.js" { // which has types alone
			require.Equal(t, 1, strings.Count(joined, "// "+name+"\n"), name)
		}
	}
	require.Less(t, strings.Index(joined, "// dom.js\n"), strings.Index(joined, "// main.js\n"))
}

func TestJoin(t *testing.T) {
	folder := fstest.MapFS{
		"w/a.js": {Data: []byte("// A.\nimport { b, c } from \"./b.js\";\nimport { d } from \"./d.js\";\nb(c, d);\n")},
		"w/b.js": {Data: []byte("import { d } from \"./d.js\";\nexport function b() {}\nexport const c = d;\n")},
		"w/d.js": {Data: []byte("export const d = 1;\n")},
		"w/e.js": {Data: []byte("import { f } from \"./f.js\";\n")},
	}
	got, err := join(folder, "w", "a.js")
	require.NoError(t, err)
	require.Equal(t, "// d.js\nconst d = 1;\n// b.js\nfunction b() {}\nconst c = d;\n// a.js\n// A.\nb(c, d);\n", string(got))
	_, err = join(folder, "w", "e.js")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestNothingInline: no script, style or address from elsewhere stands in the
// page, so that its policy can refuse all of them.
func TestNothingInline(t *testing.T) {
	html := string(files()[Index].plain)
	require.NotContains(t, html, "<style")
	require.NotRegexp(t, `\sstyle=`, html)
	require.NotRegexp(t, `\son[a-z]+=`, html)
	require.NotRegexp(t, `<script[^>]*>[^<]`, html)
	for name, f := range files() {
		if strings.HasPrefix(f.media, "text/") {
			require.NotRegexp(t, `https?://`, strings.ReplaceAll(string(f.plain), "http://www.w3.org/2000/svg", ""), name)
		}
	}
	for name, text := range modules(t) {
		require.NotContains(t, text, "innerHTML", name)
		require.NotContains(t, text, "localStorage", name)
		require.NotContains(t, text, "sessionStorage", name)
		require.NotContains(t, text, "document.cookie", name)
		require.NotContains(t, text, "eval(", name)
		require.NotRegexp(t, `setAttribute\("style"`, text, name)
	}
}

// TestSize: the page with its samples is small, and few requests.
func TestSize(t *testing.T) {
	sum := 0
	for name, f := range files() {
		n := len(f.plain)
		if f.folded != nil {
			n = len(f.folded)
		}
		t.Logf("%-14s %6d bytes, sent %6d", name, len(f.plain), n)
		sum += n
	}
	require.LessOrEqual(t, sum, 120_000, "of 150 kB; the rest is what the API says of itself")
	require.LessOrEqual(t, len(files()), 8, "of 12 requests")
}

func TestServe(t *testing.T) {
	get := func(name string, header ...string) *http.Response {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		require.True(t, Serve(w, r, name))
		return w.Result()
	}
	for name, f := range files() {
		r := get(name)
		require.Equal(t, http.StatusOK, r.StatusCode, name)
		require.Equal(t, Policy, r.Header.Get("Content-Security-Policy"), name)
		require.Equal(t, "nosniff", r.Header.Get("X-Content-Type-Options"), name)
		require.Equal(t, f.media, r.Header.Get("Content-Type"), name)
		require.NotEmpty(t, f.media, name)
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.Equal(t, f.plain, body, name)

		same := get(name, "If-None-Match", `"other", `+r.Header.Get("ETag"))
		require.Equal(t, http.StatusNotModified, same.StatusCode, name)
		body, err = io.ReadAll(same.Body)
		require.NoError(t, err)
		require.Empty(t, body)
		require.Equal(t, http.StatusNotModified, get(name, "If-None-Match", "W/"+r.Header.Get("ETag")).StatusCode)
		require.Equal(t, http.StatusOK, get(name, "If-None-Match", `"other"`).StatusCode)

		folded := get(name, "Accept-Encoding", "br, gzip")
		if f.folded == nil {
			require.Empty(t, folded.Header.Get("Content-Encoding"), name)
			continue
		}
		require.Equal(t, "gzip", folded.Header.Get("Content-Encoding"), name)
		require.NotEqual(t, r.Header.Get("ETag"), folded.Header.Get("ETag"), "other bytes, another tag")
		require.Contains(t, folded.Header.Values("Vary"), "Accept-Encoding")
		z, err := gzip.NewReader(folded.Body)
		require.NoError(t, err)
		var plain bytes.Buffer
		_, err = plain.ReadFrom(z)
		require.NoError(t, err)
		require.Equal(t, f.plain, plain.Bytes(), name)
		require.Empty(t, get(name, "Accept-Encoding", "gzip;q=0").Header.Get("Content-Encoding"))
	}
	require.False(t, Serve(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), "main.go"))
}

func TestWanted(t *testing.T) {
	for accept, want := range map[string]bool{
		"":    false,
		"*/*": false,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": true,
		"TEXT/HTML":                    true,
		"text/html;q=0, */*":           false,
		"application/json, text/plain": false,
		"text/*":                       false,
		"application/json,text/html; charset=utf-8;q=0.5": true,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept", accept)
		require.Equal(t, want, Wanted(r), accept)
	}
}

// TestSamples: the sample photos are the project's own, to the byte.
func TestSamples(t *testing.T) {
	all, err := fs.Glob(sources, "samples/*")
	require.NoError(t, err)
	require.NotEmpty(t, all)
	for _, name := range all {
		got, err := sources.ReadFile(name)
		require.NoError(t, err)
		want, err := os.ReadFile(filepath.Join("..", "..", "testdata", "images", filepath.Base(name)))
		require.NoError(t, err)
		require.Equal(t, want, got, name)
		require.Contains(t, modules(t)["intake.js"], `"`+filepath.Base(name)+`"`)
	}
}
