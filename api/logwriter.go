package api

import (
	"io"
	"sync"
	"time"
)

// LogWriter writes lines to where logs go without ever waiting for it: who
// reads a log may stall, and no request should. Lines that do not fit in the
// buffer meanwhile are lost, and counted. It is safe for use by several
// goroutines.
type LogWriter struct {
	w    io.Writer
	tell func(lost int64)

	mu      sync.Mutex
	wake    sync.Cond
	pending []byte
	lost    int64
	told    int64 // of lost
	closed  bool
	done    chan struct{}
}

// logBuffer is how many bytes of lines may wait.
const logBuffer = 1 << 20

// NewLogWriter returns a LogWriter to w. When w takes lines again after some
// were lost, tell is called with how many.
func NewLogWriter(w io.Writer, tell func(lost int64)) *LogWriter {
	l := &LogWriter{w: w, tell: tell, done: make(chan struct{})}
	l.wake.L = &l.mu
	go l.work()
	return l
}

// Write takes a line, or loses it. It does not fail.
func (l *LogWriter) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.pending)+len(line) > logBuffer {
		l.lost++
		return len(line), nil
	}
	l.pending = append(l.pending, line...)
	l.wake.Signal()
	return len(line), nil
}

// Lost returns how many lines have been lost.
func (l *LogWriter) Lost() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// Close waits for what is buffered to be written, but not longer than most.
func (l *LogWriter) Close(most time.Duration) {
	l.mu.Lock()
	l.closed = true
	l.wake.Signal()
	l.mu.Unlock()
	late := time.NewTimer(most)
	defer late.Stop()
	select {
	case <-l.done:
	case <-late.C:
	}
}

func (l *LogWriter) work() {
	defer close(l.done)
	var spare []byte
	for {
		l.mu.Lock()
		for len(l.pending) == 0 && !l.closed {
			l.wake.Wait()
		}
		if len(l.pending) == 0 {
			l.mu.Unlock()
			return
		}
		lines := l.pending
		l.pending = spare[:0]
		l.mu.Unlock()
		_, _ = l.w.Write(lines) // if nobody reads any more, nobody misses it
		spare = lines

		l.mu.Lock()
		lost := l.lost - l.told
		l.told = l.lost
		l.mu.Unlock()
		if lost > 0 {
			l.tell(lost)
		}
	}
}
