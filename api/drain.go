package api

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// How a listener is emptied: connections that the kernel has accepted and
// nobody has taken yet would be reset, with the requests that their clients
// believe sent, if it were just closed.
const (
	emptyAfter = 20 * time.Millisecond // without a connection, nobody waits: a busy kernel is that late
	emptyMost  = time.Second           // clients that never stop are cut off in the end
)

// drainable is a listener that can take what waits before it ends.
type drainable struct {
	net.Listener
	until atomic.Pointer[time.Time] // nil: it is not ending
}

// drain has Accept take the connections that wait and then fail with
// net.ErrClosed.
func (d *drainable) drain() {
	deafen(d.Listener)
	until := time.Now().Add(emptyMost)
	d.until.Store(&until)
	d.extend(until)
}

// extend waits for one more connection. A listener without deadlines is not
// emptied.
func (d *drainable) extend(until time.Time) {
	if l, ok := d.Listener.(interface{ SetDeadline(time.Time) error }); ok {
		next := time.Now().Add(emptyAfter)
		if next.After(until) {
			next = until
		}
		if l.SetDeadline(next) == nil {
			return
		}
	}
	_ = d.Close()
}

// Accept is of net.Listener.
func (d *drainable) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		until := d.until.Load()
		switch {
		case until == nil:
		case err == nil:
			d.extend(*until)
		case errors.Is(err, os.ErrDeadlineExceeded):
			// On a busy machine the deadline may be over before anybody looks.
			if pending(d.Listener) && time.Now().Before(*until) {
				d.extend(*until)
				continue
			}
			return nil, errors.Join(net.ErrClosed, d.Close())
		}
		return c, err
	}
}
