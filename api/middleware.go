package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
)

// What middleware and handlers tell each other through echo.Context.
const (
	keyModel = "vitserve.model" // string: which model answered
	keyName  = "vitserve.key"   // Key: who asks
	keyError = "vitserve.error" // error: what was answered
)

var requestID = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,64}$`)

// identify gives every request an id: the client's own, or a new one. While the
// server is ending, its answer says that the connection does, too; HTTP/2 says
// so by GOAWAY.
func (s *Server) identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		id := c.Request().Header.Get(echo.HeaderXRequestID)
		if !requestID.MatchString(id) {
			id = rand.Text()
		}
		c.Response().Header().Set(echo.HeaderXRequestID, id)
		if s.draining.Load() {
			c.Response().Header().Set(echo.HeaderConnection, "close")
		}
		return next(c)
	}
}

// observe counts and logs every request, when its answer is known.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		s.met.inFlight.Inc()
		defer s.met.inFlight.Dec()
		if err := next(c); err != nil {
			s.fail(err, c)
		}
		r, w, took := c.Request(), c.Response(), time.Since(start)
		code := w.Status
		if s.way(c).rpc {
			code = rpcStatus(c)
		}
		route := c.Path()
		if route == "" {
			route = "none"
		}
		s.met.request(route, code, took)
		level := slog.LevelInfo
		if s.way(c).probe || route == "/metrics" {
			level = slog.LevelDebug // probes would drown the rest
		}
		if !s.log.Enabled(r.Context(), level) {
			return nil
		}
		attrs := []slog.Attr{
			slog.String("request_id", w.Header().Get(echo.HeaderXRequestID)),
			slog.String("method", r.Method), slog.String("route", route), slog.Int("status", code),
			slog.Float64("ms", ms(took)), slog.Int64("bytes_in", r.ContentLength), slog.Int64("bytes_out", w.Size),
			slog.String("remote", c.RealIP()),
		}
		if model, ok := c.Get(keyModel).(string); ok {
			attrs = append(attrs, slog.String("model", model))
		}
		if key, ok := c.Get(keyName).(Key); ok {
			attrs = append(attrs, slog.String("key", key.Name))
		}
		if err, ok := c.Get(keyError).(error); ok {
			attrs = append(attrs, slog.String("error", err.Error()))
		}
		s.log.LogAttrs(context.WithoutCancel(r.Context()), level, "request", attrs...)
		return nil
	}
}

// recover turns a panic of a handler into an error.
func (s *Server) recover(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			if p := recover(); p != nil {
				if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(p)
				}
				err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		return next(c)
	}
}

// cors answers browsers of the allowed origins.
func (s *Server) cors() echo.MiddlewareFunc {
	return middleware.CORSWithConfig(middleware.CORSConfig{
		Skipper:       func(echo.Context) bool { return len(s.cfg.CORSOrigins) == 0 },
		AllowOrigins:  s.cfg.CORSOrigins,
		AllowMethods:  []string{http.MethodGet, http.MethodHead, http.MethodPost},
		AllowHeaders:  []string{echo.HeaderAuthorization, "X-API-Key", echo.HeaderContentType, echo.HeaderAccept, echo.HeaderXRequestID, "User-Agent"},
		ExposeHeaders: []string{echo.HeaderXRequestID, echo.HeaderRetryAfter, "Server-Timing", "X-Model", "X-Model-Revision", "X-Geometry"},
		MaxAge:        3600,
	})
}

// authorize asks for a key where keys are configured, and holds each key, or
// each address, to its rate.
func (s *Server) authorize(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if s.way(c).open {
			return next(c)
		}
		if len(s.cfg.Keys) > 0 {
			key, err := s.key(c.Request())
			if err != nil {
				return err
			}
			c.Set(keyName, key)
		}
		if err := s.rated(c); err != nil {
			return err
		}
		return next(c)
	}
}

// rated holds the sender of a request to its rate.
func (s *Server) rated(c echo.Context) error {
	who, rate, setting := sender(c.RealIP()), s.cfg.RateLimit, "rate_limit"
	if key, ok := c.Get(keyName).(Key); ok {
		who = key.SHA256
		if key.Rate > 0 {
			rate, setting = key.Rate, "rate of this key"
		}
	}
	if wait := s.limits.take(who, rate, time.Now()); wait > 0 {
		return hint{fmt.Errorf("%w: the limit is %g a second (%s)", errRate, rate, setting), wait}
	}
	return nil
}

// key returns the key that a request shows. All keys are compared, each in
// constant time, so that the time tells nothing.
func (s *Server) key(r *http.Request) (Key, error) {
	shown := r.Header.Get("X-API-Key")
	if scheme, token, ok := strings.Cut(r.Header.Get(echo.HeaderAuthorization), " "); ok && strings.EqualFold(scheme, "Bearer") {
		shown = token
	}
	if shown == "" {
		return Key{}, fmt.Errorf("%w: send it as Authorization: Bearer or X-API-Key", errKey)
	}
	sum := sha256.Sum256([]byte(shown))
	var found *Key
	for i := range s.cfg.Keys {
		want, err := hex.DecodeString(s.cfg.Keys[i].SHA256)
		if err == nil && subtle.ConstantTimeCompare(sum[:], want) == 1 {
			found = &s.cfg.Keys[i]
		}
	}
	if found == nil {
		return Key{}, fmt.Errorf("%w: this key is unknown", errKey)
	}
	return *found, nil
}

// admin refuses whoever may not change the models.
func (s *Server) admin(c echo.Context) error {
	if len(s.cfg.Keys) > 0 {
		if key, _ := c.Get(keyName).(Key); !key.Admin {
			return fmt.Errorf("%w: this needs a key with admin", errForbidden)
		}
		return nil
	}
	if ip := net.ParseIP(c.RealIP()); ip == nil || !ip.IsLoopback() || s.proxied(c.RealIP()) {
		return fmt.Errorf("%w: without keys, only clients of this machine may do this", errForbidden)
	}
	return s.trustedPage(c.Request()) // also where any page may ask
}
