package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/internal/batch"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
)

// Errors of requests. The text of what wraps them is for the sender.
var (
	errSyntax      = errors.New("bad request")              // cannot be read
	errValue       = errors.New("value not allowed")        // can be read, and is impossible
	errTooLarge    = errors.New("request too large")        //
	errAccept      = errors.New("not acceptable")           //
	errCoding      = errors.New("content coding")           // a body that is compressed
	errSlow        = errors.New("request too slow")         //
	errKey         = errors.New("no valid API key")         //
	errForbidden   = errors.New("not allowed")              //
	errRate        = errors.New("too many requests")        //
	errBodies      = errors.New("too many bytes in flight") //
	errSender      = fmt.Errorf("%w from one address", errBodies)
	errHead        = errors.New("no classification head")  //
	errLoading     = errors.New("model is loading")        //
	errUnavailable = errors.New("model is not available")  // a load failed a moment ago
	errDraining    = errors.New("server is shutting down") //
	errStalled     = errors.New("server stands still")     //
	errLoad        = errors.New("model cannot be loaded")  // by the request of an administrator
	errClientGone  = errors.New("client has gone")         //
)

// statusClientGone is what the log says when nobody waits for the answer,
// nginx's code for it.
const statusClientGone = 499

// status is the only place that knows which error is which HTTP status.
func status(err error) int {
	var he *echo.HTTPError
	var tooLarge *http.MaxBytesError
	var timeout net.Error
	switch {
	case errors.Is(err, errClientGone), errors.Is(err, context.Canceled):
		return statusClientGone
	case errors.As(err, &tooLarge), errors.Is(err, errTooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.As(err, &he):
		return he.Code
	case errors.Is(err, errKey):
		return http.StatusUnauthorized
	case errors.Is(err, errForbidden):
		return http.StatusForbidden
	case errors.Is(err, models.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, errAccept):
		return http.StatusNotAcceptable
	case errors.Is(err, batch.ErrBusy), errors.Is(err, errRate), errors.Is(err, errBodies):
		return http.StatusTooManyRequests
	case errors.Is(err, errLoading), errors.Is(err, errUnavailable), errors.Is(err, errDraining), errors.Is(err, errStalled), errors.Is(err, batch.ErrClosed):
		return http.StatusServiceUnavailable
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	case errors.Is(err, errSlow), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return http.StatusRequestTimeout
	case errors.Is(err, patch.ErrFormat), errors.Is(err, errCoding):
		return http.StatusUnsupportedMediaType
	case errors.Is(err, patch.ErrSize), errors.Is(err, patch.ErrShape), errors.Is(err, errValue),
		errors.Is(err, focus.ErrOption), errors.Is(err, errFetch), errors.Is(err, focus.ErrFlat), errors.Is(err, focus.ErrNotFinite),
		errors.Is(err, models.ErrClass), errors.Is(err, errLoad), errors.Is(err, errHead), errors.Is(err, vit.ErrNotFinite):
		return http.StatusUnprocessableEntity
	case errors.Is(err, patch.ErrImage), errors.Is(err, errSyntax):
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

// problem is err for its sender. What went wrong inside stays inside: it is
// in the log, under the same request id.
func problem(err error, requestID string) v1.Problem {
	code := status(err)
	p := v1.Problem{Type: "about:blank", Title: http.StatusText(code), Status: code, Detail: err.Error(), RequestID: requestID}
	var he *echo.HTTPError
	switch {
	case code == http.StatusGatewayTimeout:
		p.Detail = "the answer was not ready in time"
	case code == http.StatusInternalServerError:
		p.Detail = "the server failed; its log says why, under this request id"
	case errors.As(err, &he):
		p.Detail = strings.ToLower(http.StatusText(code))
		if text, ok := he.Message.(string); ok {
			p.Detail = text
		}
	}
	return p
}

// hint is an error with the time after which trying again is worth it.
type hint struct {
	error
	after time.Duration
}

func (h hint) Unwrap() error { return h.error }

// retryAfter returns the seconds of Retry-After, or "" where trying again
// does not help.
func retryAfter(err error) string {
	switch status(err) {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
	default:
		return ""
	}
	seconds := 1.0
	var h hint
	if errors.As(err, &h) {
		seconds = max(1, math.Ceil(h.after.Seconds()))
	}
	return strconv.Itoa(int(min(seconds, 60)))
}

// fail answers err as application/problem+json.
func (s *Server) fail(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	id := c.Response().Header().Get(echo.HeaderXRequestID)
	p := problem(err, id)
	if p.Status == http.StatusInternalServerError {
		s.log.LogAttrs(c.Request().Context(), slog.LevelError, "request failed", slog.String("request_id", id), slog.String("error", err.Error()))
	}
	h := c.Response().Header()
	if after := retryAfter(err); after != "" {
		h.Set(echo.HeaderRetryAfter, after)
	}
	if errors.Is(err, errCoding) {
		h.Set(echo.HeaderAcceptEncoding, "identity") // RFC 9110, 15.5.16
	}
	if p.Status == http.StatusUnauthorized {
		h.Set(echo.HeaderWWWAuthenticate, `Bearer realm="vitserve"`)
	}
	c.Set(keyError, err)
	if p.Status == statusClientGone {
		c.Response().WriteHeader(p.Status)
		return
	}
	if err := writeJSON(c, p.Status, "application/problem+json", p); err != nil {
		s.log.LogAttrs(c.Request().Context(), slog.LevelDebug, "answer not written", slog.String("request_id", id), slog.String("error", err.Error()))
	}
}
