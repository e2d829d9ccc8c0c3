package api

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/patch"
)

// TestLines: an ordinary photo is decoded at once while large pictures have
// all of their places and bytes and more of them wait.
func TestLines(t *testing.T) {
	const budget = 800 << 20
	d := newDecoders(2, budget)
	photo := patch.Declaration{Width: 640, Height: 480}
	huge := patch.Declaration{Width: 7000, Height: 7000}
	require.Same(t, d.ordinary, d.line(photo, 100_000, 4*640*480))
	require.Same(t, d.large, d.line(huge, 400, 196<<20))
	require.Same(t, d.large, d.line(photo, 2<<20, 4*640*480), "a storm of segments")
	require.Same(t, d.large, d.line(photo, 400, 60<<20), "a decoder that takes much for few pixels")

	ctx, cancel := context.WithCancel(t.Context())
	begun, ended := make(chan bool), make(chan error)
	attack := func(room int64) {
		err := d.large.take(ctx, room)
		if err == nil {
			err = d.decode(ctx, d.large, func() error {
				begun <- true
				<-ctx.Done()
				return nil
			})
			d.large.keep(room, 0)
		}
		ended <- err
	}
	go attack(budget) // more than its line has, which it gets alone
	<-begun
	for range 3 {
		go attack(196 << 20)
	}
	for range 10 {
		fine, stop := context.WithTimeout(t.Context(), 5*time.Second)
		require.NoError(t, d.ordinary.take(fine, 1<<20))
		require.NoError(t, d.decode(fine, d.ordinary, func() error { return nil }))
		d.ordinary.keep(1<<20, 1<<10)
		d.ordinary.keep(1<<10, 0)
		stop()
	}
	require.Equal(t, 1, d.working())
	cancel()
	for range 4 {
		<-ended
	}
	require.True(t, d.large.room.TryAcquire(d.large.bytes), "all that was taken is given back")
	require.True(t, d.ordinary.room.TryAcquire(d.ordinary.bytes))
	require.Zero(t, d.working())
}
