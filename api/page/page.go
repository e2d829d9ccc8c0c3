// Package page is the page in the browser: drop a photo, see what a model
// thinks and where it looks. It is plain ES modules and CSS in web/, kept as
// they are written; it speaks with the server by /v1 alone, by relative
// addresses, and loads nothing from elsewhere.
//
// Browsers are sent all modules as one, because each file is a request: see
// join.
package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

// Folder is the path under which the server has the files of the page, with
// its slashes.
const Folder = "/page/"

// Index is the name of the page itself among its files.
const Index = "index.html"

// Policy is the Content-Security-Policy of the page: what is not the server's
// own is neither loaded nor asked, and nothing runs that stands in the page.
// Pictures may be made in the browser.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

//go:embed web samples
var sources embed.FS

// types are the media types of files by their ends.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".jpg":  "image/jpeg",
}

// file is what is sent, made once.
type file struct {
	media  string
	plain  []byte
	folded []byte // by gzip; nil: it would not become smaller
	tag    string // of plain, without quotes
}

// files are the page's, by name. What is embedded is whole, or tests fail.
var files = sync.OnceValue(func() map[string]*file {
	all := map[string]*file{}
	read := func(folder, name string) []byte {
		data, err := sources.ReadFile(path.Join(folder, name))
		if err != nil {
			panic(err)
		}
		return data
	}
	for _, name := range []string{Index, "page.css"} {
		all[name] = newFile(name, read("web", name))
	}
	script, err := join(sources, "web", "main.js")
	if err != nil {
		panic(err)
	}
	all["page.js"] = newFile("page.js", script)
	samples, err := sources.ReadDir("samples")
	if err != nil {
		panic(err)
	}
	for _, s := range samples {
		all[s.Name()] = newFile(s.Name(), read("samples", s.Name()))
	}
	return all
})

func newFile(name string, data []byte) *file {
	sum := sha256.Sum256(data)
	f := &file{media: types[path.Ext(name)], plain: data, tag: hex.EncodeToString(sum[:8])}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		panic(err) // a level that there is
	}
	if _, err := z.Write(data); err != nil {
		panic(err) // to memory
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	if b.Len() < len(data)*9/10 {
		f.folded = b.Bytes()
	}
	return f
}

// Wanted reports whether a request is a browser's, for something to look at:
// its Accept names HTML. What takes anything is a program.
func Wanted(r *http.Request) bool {
	for _, part := range strings.Split(strings.Join(r.Header.Values("Accept"), ","), ",") {
		media, rest, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(media), "text/html") && !refused(rest) {
			return true
		}
	}
	return false
}

// refused reports whether the parameters of a media type or a coding have a
// quality of zero.
func refused(parameters string) bool {
	for _, p := range strings.Split(parameters, ";") {
		if q, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(p)), "q="); ok {
			v, err := strconv.ParseFloat(q, 64)
			return err == nil && v == 0
		}
	}
	return false
}

// Serve answers a request with a file of the page, and reports whether there
// is one of that name. Who has it already is told so: RFC 9110, 13.1.2.
func Serve(w http.ResponseWriter, r *http.Request, name string) bool {
	f := files()[name]
	if f == nil {
		return false
	}
	h := w.Header()
	h.Set("Content-Security-Policy", Policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	data, tag := f.plain, f.tag
	if f.folded != nil {
		h.Add("Vary", "Accept-Encoding")
		if takesGzip(r) {
			data, tag = f.folded, f.tag+"-gzip"
			h.Set("Content-Encoding", "gzip")
		}
	}
	h.Set("ETag", strconv.Quote(tag))
	if has(r, tag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	h.Set("Content-Type", f.media)
	h.Set("Content-Length", fmt.Sprint(len(data)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(data) // nobody is left who could be told
	return true
}

func takesGzip(r *http.Request) bool {
	for _, part := range strings.Split(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		coding, rest, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			return !refused(rest)
		}
	}
	return false
}

// has reports whether a client has what has that tag.
func has(r *http.Request, tag string) bool {
	for _, part := range strings.Split(strings.Join(r.Header.Values("If-None-Match"), ","), ",") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "W/")
		if part == "*" || part == strconv.Quote(tag) {
			return true
		}
	}
	return false
}
