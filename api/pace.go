package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// paced is a body whose sender must keep a pace: it has credit to begin with,
// waiting for it uses that up, and every byte earns some back, to the credit
// of the beginning at most. Who has none left is cut off.
type paced struct {
	io.ReadCloser
	cut    func()        // ends the read that waits
	each   time.Duration // that a byte earns
	most   time.Duration
	slow   error // of who is cut off
	credit time.Duration

	mu    sync.Mutex
	timer *time.Timer // nil before the first read
	reads bool        // a read is under way
	late  bool
}

// paced has a request's body keep the pace of the configuration.
func (s *Server) paced(w http.ResponseWriter, body io.ReadCloser) io.ReadCloser {
	if s.cfg.BodyRate == 0 {
		return body
	}
	c := http.NewResponseController(w)
	most := s.cfg.BodyRateAfter.std()
	return &paced{
		ReadCloser: body, most: most, credit: most, each: time.Duration(float64(time.Second) / s.cfg.BodyRate),
		slow: fmt.Errorf("%w: its body arrives at less than %g bytes a second", errSlow, s.cfg.BodyRate),
		cut:  func() { _ = c.SetReadDeadline(time.Unix(1, 0)) },
	}
}

// Read is of io.Reader.
func (p *paced) Read(b []byte) (int, error) {
	began := time.Now()
	p.mu.Lock()
	p.reads = true
	if p.timer == nil {
		p.timer = time.AfterFunc(p.credit, p.expire)
	} else {
		p.timer.Reset(p.credit)
	}
	p.mu.Unlock()
	n, err := p.ReadCloser.Read(b)
	p.mu.Lock()
	p.reads = false
	p.timer.Stop()
	late := p.late
	p.mu.Unlock()
	p.credit = min(p.most, p.credit-time.Since(began)+time.Duration(n)*p.each)
	if late && err != nil && !errors.Is(err, io.EOF) {
		return n, p.slow
	}
	if p.credit <= 0 && err == nil {
		p.cut() // or what little comes would be waited for
		return n, p.slow
	}
	return n, err
}

// hurry gives the rest of a body that nobody wants any more as long as the
// pace gives: net/http reads some of it before it answers.
func (s *Server) hurry(w http.ResponseWriter, began time.Time) {
	if s.cfg.BodyRate == 0 {
		return
	}
	until := time.Now().Add(s.cfg.BodyRateAfter.std())
	if most := began.Add(s.cfg.ReadTimeout.std()); most.Before(until) {
		until = most
	}
	_ = http.NewResponseController(w).SetReadDeadline(until)
}

// expire cuts a read off. One that has just ended is left alone, or the
// deadline would be the next request's.
func (p *paced) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reads {
		p.late = true
		p.cut()
	}
}
