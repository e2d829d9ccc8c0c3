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
	"github.com/vitserve/vitserve/api/op"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/attention/focus"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/internal/batch"
	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/models"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
)

// Errors of requests. The text of what wraps them is for the sender.
var (
	errSyntax      = op.ErrSyntax                                                     // cannot be read
	errValue       = op.ErrValue                                                      // can be read, and is impossible
	errTooLarge    = op.ErrTooLarge                                                   //
	errAccept      = errors.New("not acceptable")                                     //
	errCoding      = errors.New("content coding")                                     // a body that is compressed
	errSlow        = errors.New("request too slow")                                   //
	errKey         = errors.New("no valid API key")                                   //
	errForbidden   = errors.New("not allowed")                                        //
	errRate        = errors.New("too many requests")                                  //
	errBodies      = errors.New("too many bytes in flight, the limit is body_budget") //
	errSender      = fmt.Errorf("%w from one address", errBodies)
	errHead        = errors.New("no classification head") //
	errLoading     = errors.New("model is loading")       //
	errUnavailable = op.ErrUnavailable                    // a load failed a moment ago
	errDraining    = op.ErrEnding                         //
	errStalled     = errors.New("server stands still")    //
	errLoad        = errors.New("model cannot be loaded") // by the request of an administrator
	errClientGone  = errors.New("client has gone")        //
)

// kinds is the only place that knows which error is of which kind. The first
// row counts that has an error of the chain.
var kinds = []struct {
	kind op.Kind
	of   []error
}{
	{op.Gone, []error{errClientGone, context.Canceled}},
	{op.TooLarge, []error{errTooLarge}},
	{op.Key, []error{errKey}},
	{op.Forbidden, []error{errForbidden}},
	{op.Method, []error{op.ErrMethod}},
	{op.NotFound, []error{models.ErrNotFound}},
	{op.Unacceptable, []error{errAccept}},
	{op.Busy, []error{batch.ErrBusy, errRate, errBodies}},
	{op.Unavailable, []error{errLoading, errUnavailable, errDraining, errStalled, batch.ErrClosed, backend.ErrNoMemory, backend.ErrLost}},
	{op.Deadline, []error{context.DeadlineExceeded, errLate}},
	{op.Slow, []error{errSlow, os.ErrDeadlineExceeded}},
	{op.Unsupported, []error{op.ErrUnsupported}},
	{op.Format, []error{patch.ErrFormat, errCoding}},
	{op.Value, []error{
		patch.ErrSize, patch.ErrShape, errValue, focus.ErrOption, errFetch, focus.ErrFlat, focus.ErrNotFinite,
		models.ErrClass, errLoad, errHead, vit.ErrNotFinite,
	}},
	{op.Syntax, []error{patch.ErrImage, errSyntax}},
}

// kindOf returns what an error is of. What nobody foresaw is a fault of the
// server.
func kindOf(err error) op.Kind {
	var (
		routed   *echo.HTTPError
		tooLarge *http.MaxBytesError
		timeout  net.Error
	)
	switch {
	case errors.As(err, &tooLarge):
		return op.TooLarge
	case errors.As(err, &routed):
		return op.OfHTTP(routed.Code)
	}
	for _, row := range kinds {
		for _, e := range row.of {
			if errors.Is(err, e) {
				return row.kind
			}
		}
	}
	if errors.As(err, &timeout) && timeout.Timeout() {
		return op.Slow
	}
	return op.Internal
}

// failure is err for its sender. What went wrong inside stays inside: it is
// in the log, under the same request id.
func failure(err error, requestID string) op.Failure {
	f := op.Failure{Kind: kindOf(err), Detail: words.Plain(err), RequestID: requestID}
	var routed *echo.HTTPError
	switch {
	case f.Kind == op.Deadline && errors.As(err, new(lateError)):
	case f.Kind == op.Deadline && !errors.Is(err, errLate):
		f.Detail = "the answer was not ready in time"
	case f.Kind == op.Internal:
		f.Detail = "the server failed; its log says why, under this request id"
	case errors.As(err, &routed):
		f.Detail = strings.ToLower(http.StatusText(f.Kind.HTTP()))
		if text, ok := routed.Message.(string); ok {
			f.Detail = text
		}
	}
	if f.Kind.Retry() {
		var h hint
		errors.As(err, &h)
		f.RetryAfter = min(max(h.after, time.Second), time.Minute)
	}
	return f
}

// problem is a failure in the words of the contract.
func problem(f op.Failure) v1.Problem {
	code := f.Kind.HTTP()
	return v1.Problem{Type: "about:blank", Title: http.StatusText(code), Status: code, Detail: f.Detail, RequestID: f.RequestID}
}

// itemProblem is the error of one picture among many.
func itemProblem(err error) v1.Problem { return problem(failure(err, "")) }

// hint is an error with the time after which trying again is worth it.
type hint struct {
	error
	after time.Duration
}

func (h hint) Unwrap() error { return h.error }

// reported is err for its sender, and what its request has failed with.
func (s *Server) reported(c echo.Context, err error) op.Failure {
	c.Set(keyError, err)
	return s.told(c, err)
}

// told is err for its sender and, where it is a fault of the server, for the
// log.
func (s *Server) told(c echo.Context, err error) op.Failure {
	f := failure(err, c.Response().Header().Get(echo.HeaderXRequestID))
	f.Ending = s.draining.Load()
	if f.Kind == op.Internal {
		s.log.LogAttrs(c.Request().Context(), slog.LevelError, "request failed", slog.String("request_id", f.RequestID), slog.String("error", err.Error()))
	}
	return f
}

// fail answers err as the dialect of the route does, or else as
// application/problem+json.
func (s *Server) fail(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	h := c.Response().Header()
	f := s.reported(c, err)
	var routed *echo.HTTPError
	if errors.As(err, &routed) && (f.Kind == op.NotFound || f.Kind == op.Method) {
		f.Detail = s.wayIn(c.Request(), f.Kind)
	}
	if f.RetryAfter > 0 {
		h.Set(echo.HeaderRetryAfter, strconv.Itoa(int(math.Ceil(f.RetryAfter.Seconds()))))
	}
	if errors.Is(err, errCoding) {
		h.Set(echo.HeaderAcceptEncoding, "identity") // RFC 9110, 15.5.16
	}
	if f.Kind == op.Key {
		h.Set(echo.HeaderWWWAuthenticate, `Bearer realm="vitserve"`)
	}
	if s.way(c).rpc {
		rpcFail(c, f)
		return
	}
	if f.Kind == op.Gone {
		c.Response().WriteHeader(f.Kind.HTTP())
		return
	}
	if d := s.way(c).dialect; d != nil {
		d.Fail(c.Response(), c.Request(), f)
		return
	}
	if err := writeJSON(c, f.Kind.HTTP(), "application/problem+json", problem(f)); err != nil {
		s.log.LogAttrs(c.Request().Context(), slog.LevelDebug, "answer not written", slog.String("request_id", f.RequestID), slog.String("error", err.Error()))
	}
}
