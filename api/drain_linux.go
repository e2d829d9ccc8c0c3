package api

import (
	"math"
	"net"

	"golang.org/x/sys/unix"
)

// deafen has the kernel begin no more connections to l: who asks for one finds
// nobody. Those that are made, or half made, can still be accepted. Where a
// kernel refuses, a connection made just before the end is reset.
//
// It binds the listener to a network interface that there is not, so that no
// packet matches it any more (man 7 socket, SO_BINDTOIFINDEX, of Linux 5.0);
// connections that have begun are found by their own addresses and keep the
// interface that they came in on.
func deafen(l net.Listener) {
	control(l, func(fd int) { _ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, math.MaxInt32) })
}

// pending reports whether a connection waits to be accepted.
func pending(l net.Listener) (yes bool) {
	control(l, func(fd int) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		yes = err == nil && n > 0
	})
	return yes
}

// control calls f with the listener's socket, if it has one.
func control(l net.Listener, f func(fd int)) {
	if tcp, ok := l.(*net.TCPListener); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { f(int(fd)) })
		}
	}
}
