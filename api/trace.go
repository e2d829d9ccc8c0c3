package api

import (
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/vitserve/vitserve/internal/trace"
)

// newTracer returns what sends spans, and nil where nobody asks for them.
func newTracer(c Config) *trace.Exporter {
	if c.TraceEndpoint == "" {
		return nil
	}
	return trace.NewExporter(c.TraceEndpoint, map[string]any{"service.name": "vitserve", "service.version": c.Version})
}

// traced makes a span of every request but probes, over REST and over gRPC: its
// metadata are headers. Names of attributes are OpenTelemetry's.
func (s *Server) traced(next echo.HandlerFunc) echo.HandlerFunc {
	if s.tracer == nil {
		return next
	}
	return func(c echo.Context) error {
		r := c.Request()
		way := s.way(c)
		if way.probe || c.Path() == "/metrics" {
			return next(c)
		}
		span := trace.Begin(trace.ParseParent(r.Header.Get("traceparent")), s.cfg.TraceShare)
		if span == nil {
			return next(c)
		}
		defer s.tracer.End(span)
		if err := next(c); err != nil {
			s.fail(err, c)
		}
		route, code := c.Path(), c.Response().Status
		span.Name = r.Method + " " + route
		span.Attributes["http.request.method"] = r.Method
		span.Attributes["http.route"] = route
		span.Attributes["http.response.status_code"] = code
		span.Attributes["vitserve.request_id"] = c.Response().Header().Get(echo.HeaderXRequestID)
		if way.rpc {
			code = rpcStatus(c)
			said, _ := strconv.Atoi(c.Response().Header().Get(grpcStatus))
			span.Name = strings.TrimPrefix(route, "/")
			span.Attributes["rpc.system"] = "grpc"
			span.Attributes["rpc.grpc.status_code"] = said
		}
		if timing := c.Response().Header().Get("Server-Timing"); timing != "" {
			span.Attributes["http.response.header.server-timing"] = timing
		}
		if model, ok := c.Get(keyModel).(string); ok {
			span.Attributes["vitserve.model"] = model
		}
		if err, ok := c.Get(keyError).(error); ok {
			span.Attributes["error.message"] = err.Error()
		}
		span.Failed = code >= 500
		return nil
	}
}
