package api

import (
	_ "embed"
	"net/http"

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

// docs is GET /docs.
func (s *Server) docs(c echo.Context) error {
	c.Response().Header().Set(echo.HeaderContentSecurityPolicy,
		"default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	return c.Blob(http.StatusOK, echo.MIMETextHTMLCharsetUTF8, docsPage)
}

func (s *Server) docsScript(c echo.Context) error {
	return c.Blob(http.StatusOK, "text/javascript; charset=utf-8", docsCode)
}
