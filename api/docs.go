package api

import (
	_ "embed"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

//go:embed docs/docs.html
var docsPage []byte

//go:embed docs/docs.js
var docsCode []byte

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
	c.Response().Header().Set(echo.HeaderContentSecurityPolicy,
		"default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	return c.Blob(http.StatusOK, echo.MIMETextHTMLCharsetUTF8, docsPage)
}

func (s *Server) docsScript(c echo.Context) error {
	return c.Blob(http.StatusOK, "text/javascript; charset=utf-8", docsCode)
}
