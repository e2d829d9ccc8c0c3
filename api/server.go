// Package api serves Vision Transformers over HTTP: what is in a picture and
// where the model looked. The contract is api/v1/openapi.yaml; routes.go is the
// table of its operations. Only this package knows echo.
package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/vitserve/vitserve/api/op"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/internal/trace"
	"github.com/vitserve/vitserve/patch"
	"google.golang.org/grpc"
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
	pages   *http.CrossOriginProtection
	memory  *memory
	fetch   *http.Client
	cores   int // that this process may use

	ways ways
	grpc *grpc.Server
	rpcs http.Handler // of gRPC; nil: there is none

	bodies   budget // bytes of request bodies
	decoders *decoders
	programs map[string]patch.Decoder // by format; set once
	device   *pulse                   // of the passes of all models
	stalled  atomic.Bool
	draining atomic.Bool
	tracer   *trace.Exporter // nil: nobody asks for spans
	ending   chan struct{}   // closed when what is accepted is answered, and no more
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
	programs, err := cfg.Decoders.programs()
	if err != nil {
		return nil, err
	}
	b, err := backend.Open(cfg.Backend, backend.Options{Precision: precision, Threads: cfg.Threads})
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	cores := runtime.GOMAXPROCS(0)
	s := &Server{
		cfg: cfg, cores: cores, log: log, backend: b, spec: spec, limits: newLimiter(cfg), pages: pagesOf(cfg), memory: newMemory(cfg, os.DirFS("/"), os.Getenv("GOMEMLIMIT")), fetch: newFetcher(cfg),
		decoders: newDecoders(cores, cfg.DecodeBudget), programs: programs, device: &pulse{},
	}
	s.bodies.free.Store(cfg.BodyBudget)
	s.bodies.each = max(cfg.BodyBudget/2, cfg.MaxBody)
	s.met = newMetrics(s)
	s.models = newRegistry(cfg, b, s.met, s.device, s.memory, log)
	s.ways, s.ending = ways{}, make(chan struct{})
	s.tracer = newTracer(cfg)
	s.echo = s.routes()
	if cfg.GRPCAddr != "" {
		s.rpcs = s.rpcRoutes()
	}
	return s, nil
}

// Handler returns the server as a handler, for tests and for embedding.
func (s *Server) Handler() http.Handler { return s.echo }

// RPCHandler returns the server's gRPC as a handler of HTTP/2, likewise; nil
// without GRPCAddr.
func (s *Server) RPCHandler() http.Handler { return s.rpcs }

// Preload loads the models that are not lazy.
func (s *Server) Preload(ctx context.Context) error { return s.models.preload(ctx) }

// health is GET /healthz.
func (s *Server) health(c echo.Context) error {
	return writeJSON(c, http.StatusOK, echo.MIMEApplicationJSON, v1.Status{Status: "ok"})
}

// ready is GET /readyz.
func (s *Server) ready(c echo.Context) error {
	if err := s.isReady(); err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, echo.MIMEApplicationJSON, v1.Status{Status: "ready"})
}

// isReady says why the server is not, if it is not.
func (s *Server) isReady() error {
	if s.draining.Load() {
		return errDraining
	}
	if err := s.device.broken(); err != nil {
		return err
	}
	if err := s.models.ready(); err != nil {
		return err
	}
	return s.moving(time.Now())
}

// version is GET /version.
func (s *Server) version(c echo.Context) error {
	return writeJSON(c, http.StatusOK, echo.MIMEApplicationJSON, s.versions())
}

// versions are those of the program and of what it is made with.
func (s *Server) versions() v1.Version {
	v := v1.Version{Version: s.cfg.Version, Go: runtime.Version(), Backend: s.backend.Name(), Keys: len(s.cfg.Keys) > 0}
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
	return v
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
	// Whoever may not do it does not learn what there is.
	if err := s.admin(c); err != nil {
		return err
	}
	id, err := named(c)
	if err != nil {
		return err
	}
	if err := s.administer(c.Request().Context(), c, id, f); err != nil {
		return err
	}
	return s.getModel(c)
}

// administer has f change a model, for those who may.
func (s *Server) administer(ctx context.Context, c echo.Context, id string, f func(context.Context, string) error) error {
	if err := s.admin(c); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout.std())
	defer cancel()
	return f(ctx, id)
}

// named returns the model id of a path; slashes in it are escaped.
func named(c echo.Context) (string, error) {
	id, err := url.PathUnescape(c.Param("id"))
	if err != nil {
		return "", fmt.Errorf("%w: model id %s: %v", errSyntax, op.Clip(c.Param("id")), err)
	}
	return id, nil
}
