package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// shutdownGrace is what Serve takes beyond ShutdownTimeout to cut connections
// and to free memory.
const shutdownGrace = 500 * time.Millisecond

// errHangs is the error of an end that was not waited for.
var errHangs = errors.New("given up")

// Listen opens the address of the configuration. "address already in use" and
// the like are found here.
func (s *Server) Listen() (net.Listener, error) {
	l, err := net.Listen("tcp", s.cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("api: addr %s: %w", s.cfg.Addr, inWords("--addr", s.cfg.Addr, err))
	}
	return l, nil
}

// inWords says what to do about the address of a flag that cannot be listened
// on.
func inWords(flag, addr string, err error) error {
	host, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(port)
	switch {
	case errors.Is(err, syscall.EADDRINUSE), strings.Contains(err.Error(), "Only one usage of each socket address"):
		return listenError{fmt.Sprintf("another program has port %s: %s %s (address already in use)", port, flag, net.JoinHostPort(host, strconv.Itoa(n+1))), err}
	case errors.Is(err, fs.ErrPermission) && n < 1024:
		return listenError{fmt.Sprintf("ports below 1024 are for administrators: %s %s", flag, net.JoinHostPort(host, "8080")), err}
	}
	return err
}

// listenError is an error of the system in words.
type listenError struct {
	text string
	of   error
}

func (e listenError) Error() string { return e.text }
func (e listenError) Unwrap() error { return e.of }

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
// one of them cannot be. The server is closed when it returns nil. What hangs,
// be it a decoder, a model's pass, a load or a client, is given up after
// ShutdownTimeout with an error; the process should end then.
func (s *Server) ServeListener(ctx context.Context, l net.Listener) error {
	// Go does not preempt kernels written in assembly. With as many of them as
	// there are places to run, a request that is ready waits for one to end,
	// at every step of its way; with places to spare it is the operating
	// system that divides the cores, and it lets short work go first.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2 * s.cores))
	defer s.memory.hold()()
	srv := s.httpServer(s.echo)
	debugging, err := s.serveDebug()
	if err != nil {
		return errors.Join(err, l.Close(), s.Close())
	}
	defer debugging()
	var doors doors
	if err := s.serveRPC(&doors); err != nil {
		return errors.Join(err, l.Close(), s.Close())
	}
	doors.open(s, srv, l)
	s.log.Info("listening", "addr", l.Addr().String(), "tls", s.cfg.TLSCert != "", "backend", s.backend.Name())
	if err := s.untilDone(ctx, l, doors.failed); err != nil {
		return errors.Join(err, s.within(s.cfg.ShutdownTimeout.std(), func() error { return errors.Join(doors.cut(), s.close()) }))
	}
	s.draining.Store(true)
	s.log.Info("draining", "delay", s.cfg.DrainDelay.std().String(), "timeout", s.cfg.ShutdownTimeout.std().String())
	// Load balancers see /readyz fail, and clients by Connection: close (see
	// identify) that their connections are not kept, while requests are still
	// answered. Connections without a request are closed after that: a
	// balancer that has not looked yet may just be sending one.
	time.Sleep(s.cfg.DrainDelay.std())
	for _, d := range doors.all {
		d.SetKeepAlivesEnabled(false)
	}
	close(s.ending)
	return s.within(s.cfg.ShutdownTimeout.std(), func() error {
		return errors.Join(s.drain(&doors), s.close())
	})
}

// untilDone loads the models and returns nil when ctx ends, or before it what
// makes serving impossible.
func (s *Server) untilDone(ctx context.Context, l net.Listener, ended <-chan error) error {
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
				return err
			}
			if err == nil {
				s.log.Info("ready", "addr", l.Addr().String())
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// drain answers what has been accepted.
func (s *Server) drain(doors *doors) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.ShutdownTimeout.std())
	defer cancel()
	var wait errgroup.Group
	for _, d := range doors.all {
		wait.Go(func() error {
			d.accepts.drain() // ends accepting when nobody waits for it
			<-d.ended
			return d.Shutdown(ctx)
		})
	}
	if err := wait.Wait(); err != nil {
		// Cutting the connections ends the requests' contexts, so the
		// queues drain at once.
		return errors.Join(fmt.Errorf("api: shutdown: requests unanswered after %v: %w", s.cfg.ShutdownTimeout.std(), err), doors.cut())
	}
	s.log.Info("drained")
	return nil
}

// Close answers what is waiting and frees models and backend. Serve does it.
// After ShutdownTimeout it gives up, with an error that says what hangs.
func (s *Server) Close() error { return s.within(s.cfg.ShutdownTimeout.std(), s.close) }

func (s *Server) close() error {
	var err error
	s.closed.Do(func() {
		s.draining.Store(true)
		s.models.close()
		s.fetch.CloseIdleConnections()
		if s.tracer != nil {
			s.tracer.Close()
		}
		err = s.backend.Close()
	})
	return err
}

// within waits so long, and a little longer, for f. Some of what f waits for
// cannot be told to end: a file system that does not answer, a device.
func (s *Server) within(limit time.Duration, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	late := time.NewTimer(limit + shutdownGrace)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
		return fmt.Errorf("api: shutdown: %w after %v: %s", errHangs, limit, s.hanging())
	}
}

// hanging says what is not done.
func (s *Server) hanging() string {
	var what []string
	for _, h := range []struct {
		n    int
		name string
	}{
		{s.models.loading(), "loads of models"}, {s.decoders.working(), "pictures being decoded or drawn"}, {s.device.working(), "pictures at a model"},
	} {
		if h.n > 0 {
			what = append(what, fmt.Sprintf("%d %s", h.n, h.name))
		}
	}
	if what == nil {
		return "requests unanswered"
	}
	return "unfinished: " + strings.Join(what, ", ")
}
