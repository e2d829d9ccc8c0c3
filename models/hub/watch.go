package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// Limits of what the hub sends. A hub slower than a modem of 1995 keeps a
// program waiting and brings nothing.
const (
	defaultStall = 30 * time.Second // over which leastRate is asked for
	leastRate    = 1 << 10          // bytes a second
	listStalls   = 4                // so many of them, and a list of files has ended
)

// watch ends the reading of an answer that brings too little.
type watch struct {
	ctx    context.Context // of the request, which ends with it
	cancel context.CancelCauseFunc
	span   time.Duration
	most   int // spans that the answer may take; 0: as many as it needs
	spans  int
	came   atomic.Int64 // bytes of this span
	timer  *time.Timer
}

// watch returns the context that a request is sent with. Its answer may take
// so many spans of time, 0 for any number.
func (c *Client) watch(ctx context.Context, most int) *watch {
	w := &watch{span: cmp.Or(c.stall, defaultStall), most: most}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	return w
}

// start begins to count when the head of the answer is there, and stop ends it.
func (w *watch) start() {
	w.timer = time.AfterFunc(time.Hour, w.tick) // which reads timer
	w.timer.Reset(w.span)
}

func (w *watch) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
	w.cancel(nil)
}

// tick judges a span of time.
func (w *watch) tick() {
	w.spans++
	came, want := w.came.Swap(0), int64(leastRate*w.span.Seconds())
	switch {
	case came == 0:
		w.cancel(fmt.Errorf("nothing came for %v", w.span))
	case came < want:
		w.cancel(fmt.Errorf("%d bytes came in %v, want at least %d", came, w.span, want))
	case w.spans == w.most:
		w.cancel(fmt.Errorf("the answer had not ended after %v", time.Duration(w.most)*w.span))
	default:
		w.timer.Reset(w.span)
	}
}

// read reads from an answer. Its error says why the reading was ended.
func (w *watch) read(body io.Reader, buf []byte) (int, error) {
	n, err := body.Read(buf)
	w.came.Add(int64(n))
	if err != nil && !errors.Is(err, io.EOF) && context.Cause(w.ctx) != nil {
		err = context.Cause(w.ctx)
	}
	return n, err
}

// readAll reads an answer of at most limit bytes.
func (w *watch) readAll(body io.Reader, limit int) ([]byte, error) {
	all, err := io.ReadAll(io.LimitReader(readerFunc(func(buf []byte) (int, error) { return w.read(body, buf) }), int64(limit)+1))
	if err == nil && len(all) > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	return all, err
}

// readerFunc is a reader of one function.
type readerFunc func([]byte) (int, error)

// Read implements io.Reader.
func (f readerFunc) Read(buf []byte) (int, error) { return f(buf) }
