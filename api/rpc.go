package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/vitserve/vitserve/api/op"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
)

// Headers of gRPC over HTTP/2:
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
const (
	grpcStatus   = "Grpc-Status"
	grpcMessage  = "Grpc-Message"
	grpcEncoding = "Grpc-Encoding"
	grpcType     = "application/grpc"
)

// rpcBuffer is how much of the requests of one connection lies in buffers of
// HTTP/2 before anybody has asked for it.
const rpcBuffer = 1 << 20

// rpcRoutes builds the handler of gRPC: the methods of the dialects, and those
// that tell about the server. A request goes through what all requests go
// through, and then to the library of gRPC as a handler of net/http.
func (s *Server) rpcRoutes() http.Handler {
	s.grpc = grpc.NewServer(
		grpc.UnaryInterceptor(s.unary), grpc.StreamInterceptor(s.stream), grpc.ForceServerCodecV2(codec{}),
		grpc.MaxRecvMsgSize(int(s.cfg.MaxBody)), grpc.MaxSendMsgSize(int(s.cfg.MaxAnswer)),
	)
	open := map[string]bool{}
	for _, d := range s.cfg.Dialects {
		if d.RPC == nil {
			continue
		}
		d.RPC.Register(s.grpc)
		for _, method := range d.RPC.Open {
			open[method] = true
		}
	}
	grpc_health_v1.RegisterHealthServer(s.grpc, health{s: s})
	probe := "/" + grpc_health_v1.Health_ServiceDesc.ServiceName + "/"
	if s.cfg.GRPCReflection {
		reflection.Register(s.grpc)
	}
	e := echo.New()
	e.HTTPErrorHandler = s.fail
	e.IPExtractor = addressOf(s.cfg)
	e.Use(s.identify, s.traced, s.observe, s.recover, s.guard, s.authorize)
	for name, service := range s.grpc.GetServiceInfo() {
		for _, m := range service.Methods {
			path := "/" + name + "/" + m.Name
			told := strings.HasPrefix(path, probe) || strings.HasPrefix(path, "/grpc.reflection.")
			s.ways.set(http.MethodPost, path, way{open: open[path] || told, probe: strings.HasPrefix(path, probe), rpc: true})
			e.POST(path, func(c echo.Context) error {
				return s.rpc(c, m.IsClientStream || m.IsServerStream, m.IsClientStream && !told)
			})
		}
	}
	s.ways.set(http.MethodPost, "/*", way{rpc: true})
	e.POST("/*", func(c echo.Context) error {
		return fmt.Errorf("%w: method %s of gRPC", op.ErrUnsupported, op.Clip(c.Request().URL.Path))
	})
	return e
}

// rpc answers a request of gRPC. That of a dialect's stream has parts.
func (s *Server) rpc(c echo.Context, stream, parts bool) error {
	call := s.call(c)
	defer call.body.release()
	w, r := c.Response(), c.Request()
	if stream {
		// Its messages have their times, and it has none.
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Time{})
		_ = control.SetWriteDeadline(time.Time{})
	}
	call.arriving = newMessages(call, r, !stream, parts)
	r = r.WithContext(op.WithCall(r.Context(), call))
	// Messages are unfolded as they arrive; the library learns how the client
	// compresses, to answer alike.
	if call.arriving.coding != gzip.Name {
		r.Header = r.Header.Clone()
		r.Header.Del(grpcEncoding)
	}
	r.Body = call.arriving
	s.grpc.ServeHTTP(w, r)
	call.arriving.leave()
	// What could not be read the library knows as a connection that broke.
	h := w.Header()
	if err := call.arriving.failed(); err != nil && h.Get(grpcStatus) != "0" {
		setStatus(h, s.reported(c, err))
	} else if c.Get(keyError) == nil && h.Get(grpcStatus) == strconv.Itoa(int(codes.Internal)) {
		// What is wrong inside is known; this is a message that is none.
		c.Set(keyError, errSyntax)
		h.Set(grpcStatus, strconv.Itoa(int(codes.InvalidArgument)))
	}
	return nil
}

// rpcFail answers a request that nobody has looked at.
func rpcFail(c echo.Context, f op.Failure) {
	w := c.Response()
	w.Header().Set(echo.HeaderContentType, grpcType)
	setStatus(w.Header(), f)
	w.WriteHeader(http.StatusOK)
}

// setStatus writes a failure where gRPC has it: before an answer that is
// nothing else, or behind one.
func setStatus(h http.Header, f op.Failure) {
	h.Set(grpcStatus, strconv.FormatUint(uint64(f.Kind.GRPC()), 10))
	h.Set(grpcMessage, percented(f.Detail))
}

// percented is a text as Grpc-Message has it.
func percented(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// rpcStatus is the status that an answer of gRPC would have in HTTP: metrics
// and log know no other.
func rpcStatus(c echo.Context) int {
	if err, ok := c.Get(keyError).(error); ok {
		return kindOf(err).HTTP()
	}
	code, _ := strconv.ParseUint(c.Response().Header().Get(grpcStatus), 10, 32)
	switch codes.Code(code) {
	case codes.OK:
		return http.StatusOK
	case codes.Canceled:
		return op.Gone.HTTP()
	case codes.DeadlineExceeded:
		return op.Deadline.HTTP()
	case codes.Unimplemented:
		return op.Unsupported.HTTP()
	case codes.InvalidArgument:
		return op.Syntax.HTTP()
	}
	return op.Internal.HTTP()
}

// unary is what every request that is answered once goes through.
func (s *Server) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (answer any, err error) {
	call := op.CallOf(ctx).(*call)
	err = s.guarded(call, func() (err error) {
		answer, err = handle(ctx, req)
		return err
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// stream is what every other one goes through.
func (s *Server) stream(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	return s.guarded(op.CallOf(stream.Context()).(*call), func() error { return handle(server, stream) })
}

// guarded returns an error of f with the code of its kind, and a panic as one.
func (s *Server) guarded(c *call, f func() error) (err error) {
	if !c.arriving.enter() {
		return status.FromContextError(context.Canceled).Err()
	}
	defer c.arriving.running.Done()
	defer func() {
		if p := recover(); p != nil {
			err = s.rpcError(c, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	if err = f(); err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok && errors.Unwrap(err) == nil {
		return err // of the library
	}
	return s.rpcError(c, err)
}

// rpcError is err for its sender.
func (s *Server) rpcError(c *call, err error) error {
	f := s.reported(c.c, err)
	return status.Error(codes.Code(f.Kind.GRPC()), f.Detail)
}

// serveRPC opens the door of gRPC, if there is to be one.
func (s *Server) serveRPC(doors *doors) error {
	if s.rpcs == nil {
		return nil
	}
	l, err := net.Listen("tcp", s.cfg.GRPCAddr)
	if err != nil {
		return fmt.Errorf("api: grpc_addr %s: %w", s.cfg.GRPCAddr, inWords("--grpc-addr", s.cfg.GRPCAddr, err))
	}
	doors.open(s, s.rpcServer(), l)
	s.log.Info("listening for gRPC", "addr", l.Addr().String(), "tls", s.cfg.TLSCert != "")
	return nil
}

// rpcServer serves gRPC: HTTP/2, with TLS or without it. Who does not answer
// for long has gone, though a stream is open.
func (s *Server) rpcServer() *http.Server {
	srv := s.httpServer(s.rpcs)
	srv.Protocols = new(http.Protocols)
	srv.Protocols.SetHTTP2(true)
	srv.Protocols.SetUnencryptedHTTP2(s.cfg.TLSCert == "")
	srv.HTTP2 = &http.HTTP2Config{
		MaxReceiveBufferPerConnection: rpcBuffer, MaxReceiveBufferPerStream: rpcBuffer,
		SendPingTimeout: s.cfg.IdleTimeout.std(), PingTimeout: s.cfg.ReadHeaderTimeout.std(),
	}
	return srv
}
