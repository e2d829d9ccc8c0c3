//go:build !linux

package api

import "net"

// deafen can do nothing here: a connection that the kernel makes in the
// microseconds before the listener ends is reset.
func deafen(net.Listener) {}

// pending cannot tell whether a connection waits to be accepted.
func pending(net.Listener) bool { return false }
