package api

import (
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/vitserve/vitserve/api/op"
)

// streamAhead is how many messages of a stream are read before the first of
// them is answered.
const streamAhead = 16

// messages is the body of a request of gRPC: messages, each behind a byte that
// says whether it is compressed and its length in four more. Like a body over
// HTTP they are charged as they arrive, must keep a pace, and are held to the
// limit of a body; what is compressed is unfolded here, where it is charged.
type messages struct {
	c       *call
	from    io.ReadCloser
	coding  string
	single  bool          // there is one message
	tokens  chan struct{} // one for each message that has not been answered; nil: nobody says when one is
	freed   chan struct{} // a token: one of them has been answered
	closed  chan struct{}
	closing sync.Once

	// Of the message that arrives.
	head []byte    // what is left of its first five bytes, for the reader
	rest io.Reader // and of the others
	left int64     // bytes of it that have not arrived
	seen int       // messages, with it

	mu    sync.Mutex
	sizes []int64 // charged for messages that nobody has begun to answer
	size  int64   // charged for the one that arrives
	err   error   // why nothing more can be read

	over    bool           // the request is over, and nobody may begin to handle it
	running sync.WaitGroup // who handles it
}

// newMessages returns the body of r. Of parts, who handles them says when one
// is answered, by begin.
func newMessages(c *call, r *http.Request, single, parts bool) *messages {
	m := &messages{c: c, single: single, from: r.Body, coding: strings.ToLower(r.Header.Get(grpcEncoding)), freed: make(chan struct{}, 1), closed: make(chan struct{})}
	if parts {
		m.tokens = make(chan struct{}, streamAhead)
	}
	return m
}

// Read is of io.Reader.
func (m *messages) Read(p []byte) (int, error) {
	n, err := m.read(p)
	if err != nil && !errors.Is(err, io.EOF) && !m.isClosed() {
		err = bodyError(m.c.c.Request(), err)
		m.mu.Lock()
		m.err = err
		m.mu.Unlock()
		m.c.s.hurry(m.c.c.Response(), m.c.began)
	}
	return n, err
}

func (m *messages) read(p []byte) (int, error) {
	if len(m.head) == 0 && m.left == 0 {
		if err := m.next(); err != nil {
			return 0, err
		}
	}
	if len(m.head) > 0 {
		n := copy(p, m.head)
		if m.head = m.head[n:]; len(m.head) == 0 && m.left == 0 {
			m.arrived()
		}
		return n, nil
	}
	n, err := m.rest.Read(p[:min(int64(len(p)), m.left)])
	m.left -= int64(n)
	if e := m.charge(int64(n)); e != nil {
		return 0, e
	}
	switch {
	case m.left == 0:
		m.arrived()
		return n, nil
	case errors.Is(err, io.EOF):
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

// next waits until one more message may arrive, and reads its head.
func (m *messages) next() error {
	if m.tokens != nil {
		select {
		case m.tokens <- struct{}{}:
		case <-m.closed:
			return io.EOF
		case <-m.c.c.Request().Context().Done():
			return m.c.c.Request().Context().Err()
		}
	}
	var head [5]byte
	if n, err := io.ReadFull(m.from, head[:]); err != nil {
		if n == 0 && errors.Is(err, io.EOF) {
			return io.EOF
		}
		return err
	}
	if m.single && m.seen > 0 {
		return fmt.Errorf("%w: a second message", errSyntax)
	}
	m.seen++
	size, most := int64(binary.BigEndian.Uint32(head[1:])), m.c.s.cfg.MaxBody
	if size > most {
		return fmt.Errorf("%w: a message of %d bytes, the limit is %d", errTooLarge, size, most)
	}
	paced := m.c.s.paced(m.c.c.Response(), m.from)
	m.head, m.rest, m.left = head[:], paced, size
	if head[0] == 0 {
		return nil
	}
	whole, err := m.unfold(io.LimitReader(paced, size))
	if err != nil {
		return err
	}
	m.head[0] = 0
	binary.BigEndian.PutUint32(m.head[1:], uint32(len(whole)))
	m.head, m.left = append(m.head, whole...), 0
	return nil
}

// unfold reads a compressed message.
func (m *messages) unfold(from io.Reader) ([]byte, error) {
	var z io.Reader
	var err error
	switch m.coding {
	case "gzip":
		z, err = gzip.NewReader(from)
	case "deflate":
		z, err = zlib.NewReader(from)
	default:
		return nil, fmt.Errorf("%w: compression %s of a message, want gzip, deflate or identity", op.ErrUnsupported, op.Clip(m.coding))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: compression %s: %v", errSyntax, m.coding, err)
	}
	most := m.c.s.cfg.MaxBody
	var whole []byte
	part := make([]byte, firstBytes)
	for {
		n, err := z.Read(part)
		if e := m.charge(int64(n)); e != nil {
			return nil, e
		}
		if whole = append(whole, part[:n]...); int64(len(whole)) > most {
			return nil, fmt.Errorf("%w: a message unfolds to more than the limit of %d bytes", errTooLarge, most)
		}
		switch {
		case errors.Is(err, io.EOF):
			_, err = io.Copy(io.Discard, from)
			return whole, err
		case err != nil:
			return nil, err
		}
	}
}

// charge charges n bytes of a message: they are copied into its fields. A
// stream that has none left waits until one of its messages is answered.
func (m *messages) charge(n int64) error {
	for {
		m.mu.Lock()
		err := m.c.body.charge(2 * n)
		if err == nil {
			m.size += 2 * n
		}
		m.mu.Unlock()
		if !errors.Is(err, errBodies) || len(m.tokens) <= 1 {
			return err
		}
		select {
		case <-m.freed:
		case <-m.closed:
			return err
		case <-m.c.c.Request().Context().Done():
			return err
		}
	}
}

// arrived ends a message.
func (m *messages) arrived() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sizes, m.size = append(m.sizes, m.size), 0
}

// begin is called for each message of a stream when it is begun to be answered,
// and what it returns when it has been.
func (m *messages) begin() (free func()) {
	m.mu.Lock()
	size := m.sizes[0]
	m.sizes = m.sizes[1:]
	m.mu.Unlock()
	return func() {
		m.mu.Lock()
		m.c.body.repay(size)
		m.mu.Unlock()
		<-m.tokens
		select {
		case m.freed <- struct{}{}:
		default:
		}
	}
}

// enter is called by who handles the request. It is false where the client has
// gone before: the library does not wait for its handlers.
func (m *messages) enter() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over {
		return false
	}
	m.running.Add(1)
	return true
}

// leave ends the request when nobody handles it any more.
func (m *messages) leave() {
	m.mu.Lock()
	m.over = true
	m.mu.Unlock()
	m.running.Wait()
}

// failed returns why nothing more could be read, if so.
func (m *messages) failed() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

func (m *messages) isClosed() bool {
	select {
	case <-m.closed:
		return true
	default:
		return false
	}
}

// Close is of io.Closer.
func (m *messages) Close() error {
	m.closing.Do(func() { close(m.closed) })
	return m.from.Close()
}
