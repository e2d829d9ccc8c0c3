package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// wire asks over kept connections with as little work as can be: the clients
// share the cores with the server, and what they take is missing there. A
// request is bytes made once, written in one call by the goroutine that reads
// the answer; net/http's client copies the body and has two more goroutines a
// connection.
type wire struct {
	addr string

	mu       sync.Mutex
	idle     []*link
	requests map[string][][]byte // by path, one for each photo
}

type link struct {
	net.Conn
	r *bufio.Reader
}

// request returns the bytes that ask path about photo i.
func (w *wire) request(path string, photos [][]byte, i int) []byte {
	return w.asked(path, len(photos), i, func(i int) ([]string, []byte) { return nil, photos[i] })
}

// asked returns the bytes of request i of n to a path, whose headers and body
// are made once.
func (w *wire) asked(path string, n, i int, make func(i int) (header []string, body []byte)) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.requests[path]
	if all == nil {
		for i := range n {
			header, body := make(i)
			head := strings.Join(append([]string{
				fmt.Sprintf("POST %s HTTP/1.1", path), "Host: " + w.addr, fmt.Sprintf("Content-Length: %d", len(body)),
			}, header...), "\r\n")
			all = append(all, fmt.Appendf(nil, "%s\r\n\r\n%s", head, body))
		}
		w.requests[path] = all
	}
	return all[i%len(all)]
}

// ask sends a request and returns the status of its answer, all of which has
// arrived.
func (w *wire) ask(request []byte) (status int, err error) {
	for {
		l, kept, err := w.take()
		if err != nil {
			return 0, err
		}
		status, keep, err := l.exchange(request)
		if err == nil && keep {
			w.mu.Lock()
			w.idle = append(w.idle, l)
			w.mu.Unlock()
			return status, nil
		}
		_ = l.Close()
		// A server may end a connection that nobody uses at any time.
		if kept && errors.Is(err, io.ErrUnexpectedEOF) {
			continue
		}
		return status, err
	}
}

func (w *wire) take() (l *link, kept bool, err error) {
	w.mu.Lock()
	if n := len(w.idle); n > 0 {
		l, w.idle = w.idle[n-1], w.idle[:n-1]
	}
	w.mu.Unlock()
	if l != nil {
		return l, true, nil
	}
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		return nil, false, err
	}
	return &link{conn, bufio.NewReader(conn)}, false, nil
}

func (l *link) exchange(request []byte) (status int, keep bool, err error) {
	if err := l.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return 0, false, err
	}
	if _, err := l.Write(request); err != nil {
		return 0, false, err
	}
	resp, err := http.ReadResponse(l.r, nil)
	if err != nil {
		return 0, false, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, !resp.Close, err
}

// close ends the connections that wait.
func (w *wire) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.idle {
		_ = l.Close()
	}
	w.idle = nil
}
