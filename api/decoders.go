package api

import (
	"context"
	"math"
	"runtime/debug"

	"github.com/vitserve/vitserve/patch"
	"golang.org/x/sync/semaphore"
)

// decoders bound the pictures that are decoded or drawn on at the same time, in
// number and in bytes. What may take long waits in a line of its own, so that
// an ordinary photo does not wait behind it.
type decoders struct {
	pulse
	ordinary, large *line
	drawing         *semaphore.Weighted
}

// newDecoders has n places in each line and budget bytes for large pictures; an
// eighth of that for ordinary ones is part of it, unless a picture needs it.
func newDecoders(n int, budget int64) *decoders {
	part := budget / 8
	return &decoders{
		ordinary: newLine(n, part, math.MaxInt64), large: newLine(n, budget-part, part),
		drawing: semaphore.NewWeighted(int64(n)),
	}
}

// line is where pictures wait for memory and for a place, the first first.
type line struct {
	bytes  int64
	much   int64 // of them, that go back to the system at once
	room   *semaphore.Weighted
	places *semaphore.Weighted
}

func newLine(n int, bytes, much int64) *line {
	return &line{bytes: bytes, much: much, room: semaphore.NewWeighted(bytes), places: semaphore.NewWeighted(int64(n))}
}

// An ordinary picture has at most so many pixels, and a file of so many bytes:
// whatever it holds, it is decoded in a moment.
const (
	ordinaryPixels = 4 << 20
	ordinaryBytes  = 1 << 20
)

// line is where a file of size bytes waits that declares decl and takes room bytes
// to decode.
func (d *decoders) line(decl patch.Declaration, size int, room int64) *line {
	if decl.Width*decl.Height <= ordinaryPixels && size <= ordinaryBytes && room <= d.ordinary.bytes/2 {
		return d.ordinary
	}
	return d.large
}

// take waits for room, of which a line has no more than its bytes.
func (l *line) take(ctx context.Context, room int64) error {
	return l.room.Acquire(ctx, min(room, l.bytes))
}

// keep gives room back but for what is kept of it.
func (l *line) keep(room, kept int64) {
	l.vacate(min(room, l.bytes) - min(kept, l.bytes))
}

// vacate gives room back. Of a large part of the budget, the memory is given
// back to the system first: until the garbage collector comes by itself, it is
// still taken, and what a decoder had in pieces is of no use for a picture.
func (l *line) vacate(room int64) {
	if room >= l.much {
		debug.FreeOSMemory()
	}
	l.room.Release(room)
}

// decode waits for a place in a line and calls f in it.
func (d *decoders) decode(ctx context.Context, l *line, f func() error) error {
	if l == d.large {
		return d.turn(ctx, l.places, func() error { return gently(f) })
	}
	return d.turn(ctx, l.places, f)
}

// draw waits for a place to draw in and calls f in it.
func (d *decoders) draw(ctx context.Context, f func() error) error {
	return d.turn(ctx, d.drawing, func() error { return gently(f) })
}

func (d *decoders) turn(ctx context.Context, places *semaphore.Weighted, f func() error) error {
	d.enter()
	defer d.leave()
	if err := places.Acquire(ctx, 1); err != nil {
		return err
	}
	defer d.beat()
	defer places.Release(1)
	return f()
}
