// Package api serves Vision Transformers over HTTP: what is in a picture and
// where the model looked. The contract is api/v1/openapi.yaml; routes.go is the
// table of its operations. Only this package knows echo.
package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/backend"
	"golang.org/x/sync/semaphore"
)

// Server answers requests. It is made by New and ends with Close.
type Server struct {
	cfg     Config
	log     *slog.Logger
	echo    *echo.Echo
	backend backend.Backend
	models  *registry
	met     *metrics
	spec    []byte
	limits  *limiter
	fetch   *http.Client
	cores   int // that this process may use

	bodies   budget              // bytes of request bodies
	pixels   *semaphore.Weighted // pixels of decoded pictures
	decoders *semaphore.Weighted // pictures being decoded or drawn
	draining atomic.Bool
	closed   sync.Once
}

// New makes a Server. Its models are loaded by Serve, or by Preload.
func New(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	precision, err := backend.ParsePrecision(cfg.Precision)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	spec, err := v1.OpenAPI()
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	log := cfg.Logger
	if log == nil {
		log = slog.Default()
	}
	b, err := backend.Open(cfg.Backend, backend.Options{Precision: precision, Threads: cfg.Threads})
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	cores := runtime.GOMAXPROCS(0)
	s := &Server{
		cfg: cfg, cores: cores, log: log, backend: b, spec: spec, limits: newLimiter(cfg), fetch: newFetcher(cfg),
		pixels: semaphore.NewWeighted(int64(cfg.DecodePixels)), decoders: semaphore.NewWeighted(int64(cores)),
	}
	s.bodies.free.Store(cfg.BodyBudget)
	s.met = newMetrics(s)
	s.models = newRegistry(cfg, b, s.met, log)
	s.echo = s.routes()
	return s, nil
}

// Handler returns the server as a handler, for tests and for embedding.
func (s *Server) Handler() http.Handler { return s.echo }

// Preload loads the models that are not lazy.
func (s *Server) Preload(ctx context.Context) error { return s.models.preload(ctx) }

// Close answers what is waiting and frees models and backend. Serve does it.
func (s *Server) Close() error {
	var err error
	s.closed.Do(func() {
		s.draining.Store(true)
		s.models.close()
		s.fetch.CloseIdleConnections()
		err = s.backend.Close()
	})
	return err
}

// Listen opens the address of the configuration. "address already in use" and
// the like are found here.
func (s *Server) Listen() (net.Listener, error) {
	l, err := net.Listen("tcp", s.cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	return l, nil
}

// Serve listens on the configured address and serves until ctx ends; then it
// answers every accepted request and returns nil. See ServeListener.
func (s *Server) Serve(ctx context.Context) error {
	l, err := s.Listen()
	if err != nil {
		return errors.Join(err, s.Close())
	}
	return s.ServeListener(ctx, l)
}

// ServeListener is Serve on a listener of the caller's, which it closes. It
// serves at once, with 503 until the models are loaded, and returns early if
// one of them cannot be. The server is closed when it returns.
func (s *Server) ServeListener(ctx context.Context, l net.Listener) (err error) {
	defer func() { err = errors.Join(err, s.Close()) }()
	// Go does not preempt kernels written in assembly. With as many of them as
	// there are places to run, a request that is ready waits for one to end,
	// at every step of its way; with places to spare it is the operating
	// system that divides the cores, and it lets short work go first.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2 * s.cores))
	srv := &http.Server{
		Handler:           s.echo,
		ReadHeaderTimeout: s.cfg.ReadHeaderTimeout.std(),
		ReadTimeout:       s.cfg.ReadTimeout.std(),
		WriteTimeout:      s.cfg.WriteTimeout.std(),
		IdleTimeout:       s.cfg.IdleTimeout.std(),
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12},
	}
	debugging, err := s.serveDebug()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer debugging()

	ended := make(chan error, 1)
	draining := &drainable{Listener: l}
	go func() {
		if s.cfg.TLSCert != "" {
			ended <- srv.ServeTLS(draining, s.cfg.TLSCert, s.cfg.TLSKey)
			return
		}
		ended <- srv.Serve(draining)
	}()
	s.log.Info("listening", "addr", l.Addr().String(), "tls", s.cfg.TLSCert != "", "backend", s.backend.Name())
	loading, stop := context.WithCancel(ctx)
	defer stop()
	loaded := make(chan error, 1)
	go func() { loaded <- s.Preload(loading) }()

	for {
		select {
		case err := <-ended:
			return fmt.Errorf("api: serve: %w", err)
		case err := <-loaded:
			loaded = nil
			if err != nil && ctx.Err() == nil {
				return errors.Join(err, srv.Close())
			}
			if err == nil {
				s.log.Info("ready", "addr", l.Addr().String())
			}
			continue
		case <-ctx.Done():
		}
		break
	}
	return s.shutdown(srv, func() { draining.drain(); <-ended })
}

// shutdown answers what has been accepted. empty ends accepting when nobody
// waits for it.
func (s *Server) shutdown(srv *http.Server, empty func()) error {
	s.draining.Store(true)
	s.log.Info("draining", "delay", s.cfg.DrainDelay.std().String(), "timeout", s.cfg.ShutdownTimeout.std().String())
	// Load balancers see /readyz fail, and clients that their connections
	// are not kept, while requests are still answered.
	srv.SetKeepAlivesEnabled(false)
	time.Sleep(s.cfg.DrainDelay.std())
	empty()
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.ShutdownTimeout.std())
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		// Cutting the connections ends the requests' contexts, so the
		// queues drain at once.
		return errors.Join(fmt.Errorf("api: shutdown: requests unanswered after %v: %w", s.cfg.ShutdownTimeout.std(), err), srv.Close())
	}
	s.log.Info("drained")
	return nil
}

// health is GET /healthz.
func (s *Server) health(c echo.Context) error {
	return writeJSON(c, http.StatusOK, echo.MIMEApplicationJSON, v1.Status{Status: "ok"})
}

// ready is GET /readyz.
func (s *Server) ready(c echo.Context) error {
	if s.draining.Load() {
		return errDraining
	}
	if err := s.models.ready(); err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, echo.MIMEApplicationJSON, v1.Status{Status: "ready"})
}

// version is GET /version.
func (s *Server) version(c echo.Context) error {
	v := v1.Version{Version: s.cfg.Version, Go: runtime.Version(), Backend: s.backend.Name()}
	if info, ok := debug.ReadBuildInfo(); ok {
		if v.Version == "" {
			v.Version = info.Main.Version
		}
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				v.Commit = setting.Value
			}
		}
	}
	return writeJSON(c, http.StatusOK, echo.MIMEApplicationJSON, v)
}

// listModels is GET /v1/models.
func (s *Server) listModels(c echo.Context) error {
	return writeJSON(c, http.StatusOK, echo.MIMEApplicationJSON, v1.ModelList{Models: s.models.cards()})
}

// getModel is GET /v1/models/{id}.
func (s *Server) getModel(c echo.Context) error {
	id, err := named(c)
	if err != nil {
		return err
	}
	card, err := s.models.one(id)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, echo.MIMEApplicationJSON, card)
}

// loadModel is POST /v1/models/{id}/load.
func (s *Server) loadModel(c echo.Context) error {
	return s.change(c, s.models.reload)
}

// unloadModel is POST /v1/models/{id}/unload.
func (s *Server) unloadModel(c echo.Context) error {
	return s.change(c, s.models.unload)
}

func (s *Server) change(c echo.Context, f func(context.Context, string) error) error {
	if err := s.admin(c); err != nil {
		return err
	}
	id, err := named(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), s.cfg.RequestTimeout.std())
	defer cancel()
	if err := f(ctx, id); err != nil {
		return err
	}
	return s.getModel(c)
}

// named returns the model id of a path; slashes in it are escaped.
func named(c echo.Context) (string, error) {
	id, err := url.PathUnescape(c.Param("id"))
	if err != nil {
		return "", fmt.Errorf("%w: model id %s: %v", errSyntax, clip(c.Param("id")), err)
	}
	return id, nil
}
