package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/vitserve/vitserve/api/op"
	"github.com/vitserve/vitserve/api/page"
	"github.com/vitserve/vitserve/internal/words"
)

// endpoint is one way into the server.
type endpoint struct {
	id     string // operationId in the contract; "": the contract is silent
	method string
	path   string
	open   bool // needs no key and has no limit
	probe  bool // see op.Route
	handle func(*Server, echo.Context) error
}

// endpoints are all of them. A test holds them to the contract.
var endpoints = []endpoint{
	{id: "classify", method: http.MethodPost, path: "/v1/classify", handle: calling(classifyPictures.handle)},
	{id: "explain", method: http.MethodPost, path: "/v1/explain", handle: calling(explainPictures.handle)},
	{id: "embed", method: http.MethodPost, path: "/v1/embed", handle: calling(embedPictures.handle)},
	{id: "preprocess", method: http.MethodPost, path: "/v1/preprocess", handle: calling(preprocessPictures.handle)},
	{id: "corrupt", method: http.MethodPost, path: "/v1/corrupt", handle: calling(corruptPictures.handle)},

	{id: "listModels", method: http.MethodGet, path: "/v1/models", handle: (*Server).listModels},
	{id: "getModel", method: http.MethodGet, path: "/v1/models/:id", handle: (*Server).getModel},
	{id: "loadModel", method: http.MethodPost, path: "/v1/models/:id/load", handle: (*Server).loadModel},
	{id: "unloadModel", method: http.MethodPost, path: "/v1/models/:id/unload", handle: (*Server).unloadModel},

	{id: "health", method: http.MethodGet, path: "/healthz", open: true, probe: true, handle: (*Server).health},
	{id: "ready", method: http.MethodGet, path: "/readyz", open: true, probe: true, handle: (*Server).ready},
	{id: "version", method: http.MethodGet, path: "/version", open: true, handle: (*Server).version},
	{id: "metrics", method: http.MethodGet, path: "/metrics", handle: (*Server).metrics},
	{id: "openapi", method: http.MethodGet, path: "/openapi.json", open: true, handle: (*Server).openapi},
	{id: "docs", method: http.MethodGet, path: "/docs", open: true, handle: (*Server).docs},
	{method: http.MethodGet, path: "/docs/:file", open: true, handle: (*Server).docsFile},
	{method: http.MethodGet, path: page.Folder + ":file", open: true, handle: (*Server).pageFile},
	{method: http.MethodGet, path: "/favicon.ico", open: true, handle: (*Server).icon},
	{method: http.MethodGet, path: "/", open: true, handle: toDocs},
}

// way is what is known of a route when its request is answered.
type way struct {
	open    bool
	probe   bool
	dialect *op.Dialect // nil: none
	rpc     bool        // of gRPC
}

// way returns that of a request. One of another method than its path's routes
// have is as all of them are.
func (s *Server) way(c echo.Context) way {
	ways := s.ways[c.Path()]
	method := c.Request().Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if w, ok := ways[method]; ok {
		return w
	}
	all := way{open: len(ways) > 0}
	for _, w := range ways {
		all.open = all.open && w.open
		all.dialect = w.dialect
	}
	for _, w := range ways {
		if w.dialect != all.dialect {
			all.dialect = nil
		}
	}
	return all
}

// routes builds the handler: every endpoint, and every route of the dialects
// beside them, which may take an endpoint's place.
func (s *Server) routes() *echo.Echo {
	e := echo.New()
	e.HTTPErrorHandler = s.fail
	e.IPExtractor = addressOf(s.cfg)
	e.Pre(withoutSlash)
	e.Use(s.identify, s.traced, s.observe, s.recover, s.cors(), s.guard, s.authorize)
	for _, at := range endpoints {
		s.ways.set(at.method, at.path, way{open: at.open, probe: at.probe})
		add(e, at.method, at.path, s.behindPage(at.method, at.path, func(c echo.Context) error { return at.handle(s, c) }))
	}
	for _, d := range s.cfg.Dialects {
		for _, at := range d.Routes {
			s.ways.set(at.Method, at.Path, way{open: at.Open, probe: at.Probe, dialect: &d})
			handle := calling(func(c *call) error { return at.Handle(c, c.c.Response(), c.c.Request()) })
			add(e, at.Method, at.Path, s.behindPage(at.Method, at.Path, func(c echo.Context) error { return handle(s, c) }))
		}
	}
	return e
}

// ways are those of all routes, by path and method.
type ways map[string]map[string]way

func (all ways) set(method, path string, w way) {
	if all[path] == nil {
		all[path] = map[string]way{}
	}
	all[path][method] = w
}

// wayIn says how what a request wanted is asked for: a path that no route has,
// or a method that the path has not.
func (s *Server) wayIn(r *http.Request, k op.Kind) string {
	const most = 256
	path := r.URL.Path
	if len(path) > most {
		path = path[:most] + "…"
	}
	asked := strings.Split(path, "/")
	var methods, paths []string
	for _, at := range s.echo.Routes() {
		if at.Method == http.MethodHead || at.Path == "/" {
			continue
		}
		paths = append(paths, filled(at.Path, asked))
		if leadsTo(strings.Split(at.Path, "/"), asked) {
			methods = append(methods, at.Method)
		}
	}
	if k == op.NotFound {
		slices.Sort(paths)
		return fmt.Sprintf("not found: no such path: %s%s; see /docs", path, words.DidYouMean(path, slices.Compact(paths)...))
	}
	what := ""
	if slices.Contains(methods, http.MethodPost) && !strings.Contains(path, "/models/") {
		what = " a picture to"
	}
	slices.Sort(methods)
	return fmt.Sprintf("method not allowed: %s%s %s; see /docs", strings.Join(slices.Compact(methods), " or "), what, path)
}

// filled is a route's path with what was asked for in place of names such as
// :id.
func filled(route string, asked []string) string {
	parts := strings.Split(route, "/")
	for i, part := range parts {
		if strings.HasPrefix(part, ":") && i < len(asked) && asked[i] != "" {
			parts[i] = asked[i]
		}
	}
	return strings.Join(parts, "/")
}

// leadsTo reports whether a route's path is that of a request, part by part.
func leadsTo(route, asked []string) bool {
	return slices.EqualFunc(route, asked, func(part, found string) bool { return strings.HasPrefix(part, ":") || part == found })
}

// add adds a route. HEAD is answered wherever GET is: RFC 9110, 9.1. net/http
// leaves the content out.
func add(e *echo.Echo, method, path string, handle echo.HandlerFunc) {
	e.Add(method, path, handle)
	if method == http.MethodGet {
		e.HEAD(path, handle)
	}
}

// withoutSlash takes a path that ends with a slash for the one without: clients
// join addresses either way.
func withoutSlash(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		u := c.Request().URL
		if escaped := u.EscapedPath(); len(escaped) > 1 && strings.HasSuffix(escaped, "/") {
			u.Path = strings.TrimSuffix(u.Path, "/")
			u.RawPath = strings.TrimSuffix(u.RawPath, "/")
		}
		return next(c)
	}
}
