package api

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
)

// door is a listener, and what serves it.
type door struct {
	*http.Server
	accepts *drainable
	ended   chan struct{} // closed when nothing is accepted any more
}

// doors are those of a server: one for HTTP, and one for gRPC.
type doors struct {
	all    []*door
	failed chan error // why one of them ended
}

// httpServer serves h with the times of the configuration.
func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: s.cfg.ReadHeaderTimeout.std(),
		ReadTimeout:       s.cfg.ReadTimeout.std(),
		WriteTimeout:      s.cfg.WriteTimeout.std(),
		IdleTimeout:       s.cfg.IdleTimeout.std(),
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12},
	}
}

// open has srv serve a listener, with TLS where there is a certificate.
func (ds *doors) open(s *Server, srv *http.Server, l net.Listener) {
	if ds.failed == nil {
		ds.failed = make(chan error, 2) // nobody may be there to hear of it
	}
	d := &door{srv, &drainable{Listener: l}, make(chan struct{})}
	ds.all = append(ds.all, d)
	go func() {
		defer close(d.ended)
		if s.cfg.TLSCert != "" {
			ds.failed <- srv.ServeTLS(d.accepts, s.cfg.TLSCert, s.cfg.TLSKey)
			return
		}
		ds.failed <- srv.Serve(d.accepts)
	}()
}

// cut closes all connections.
func (ds *doors) cut() (err error) {
	for _, d := range ds.all {
		err = errors.Join(err, d.Close())
	}
	return err
}
