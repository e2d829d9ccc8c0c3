package api

import (
	"embed"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/vitserve/vitserve/api/page"
)

//go:embed docs
var docsFiles embed.FS

// docsTypes are the files beside /docs and their media types.
var docsTypes = map[string]string{"docs.js": "text/javascript; charset=utf-8", "docs.css": "text/css; charset=utf-8"}

// openapi is GET /openapi.json.
func (s *Server) openapi(c echo.Context) error {
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, s.spec)
}

// favicon is a picture of a browser's tab: patches, and the one that is looked at.
const favicon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#1b1b3a"/>` +
	`<path d="M3 3h4v4H3zM9 3h4v4H9zM3 9h4v4H3z" fill="#4a6fd0"/><path d="M9 9h4v4H9z" fill="#f5a623"/></svg>`

func (s *Server) icon(c echo.Context) error {
	c.Response().Header().Set(echo.HeaderCacheControl, "max-age=86400")
	return c.Blob(http.StatusOK, "image/svg+xml", []byte(favicon))
}

// docs is GET /docs. Its links are relative, so that it can be behind a proxy
// under any path; they are to what lies beside it.
func (s *Server) docs(c echo.Context) error {
	if path, _, _ := strings.Cut(c.Request().RequestURI, "?"); strings.HasSuffix(path, "/") {
		return c.Redirect(http.StatusFound, "../docs")
	}
	c.Response().Header().Set(echo.HeaderContentSecurityPolicy, page.Policy)
	return s.docsBlob(c, "docs.html", "text/html; charset=UTF-8")
}

// docsFile is GET /docs/{file}.
func (s *Server) docsFile(c echo.Context) error {
	name := c.Param("file")
	media, ok := docsTypes[name]
	if !ok {
		return echo.ErrNotFound
	}
	return s.docsBlob(c, name, media)
}

func (s *Server) docsBlob(c echo.Context, name, media string) error {
	data, err := docsFiles.ReadFile("docs/" + name)
	if err != nil {
		return err
	}
	return c.Blob(http.StatusOK, media, data)
}

// toDocs is GET / where there is neither the page nor a dialect that answers.
func toDocs(_ *Server, c echo.Context) error { return c.Redirect(http.StatusFound, "docs") }

// behindPage puts the page before what answers GET /: browsers are shown it,
// and everybody else is answered as without it.
func (s *Server) behindPage(method, path string, handle echo.HandlerFunc) echo.HandlerFunc {
	if method != http.MethodGet || path != "/" {
		return handle
	}
	return func(c echo.Context) error {
		c.Response().Header().Add(echo.HeaderVary, echo.HeaderAccept)
		if !page.Wanted(c.Request()) {
			return handle(c)
		}
		if s.cfg.NoPage {
			return toDocs(s, c)
		}
		page.Serve(c.Response(), c.Request(), page.Index)
		return nil
	}
}

// pageFile is GET of what the page is made of.
func (s *Server) pageFile(c echo.Context) error {
	if s.cfg.NoPage || !page.Serve(c.Response(), c.Request(), c.Param("file")) {
		return echo.ErrNotFound
	}
	return nil
}
