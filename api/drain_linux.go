package api

import (
	"net"

	"golang.org/x/sys/unix"
)

// deafen has the kernel begin no more connections to l, as if the packets that
// ask for one were lost: a client asks again a second later and finds nobody.
// Those that are made, or half made, can still be accepted. Where a kernel
// refuses, a connection made just before the end is reset.
//
// It is a filter of the socket that drops what has the flag SYN, in byte 13 of
// a TCP header (RFC 9293, 3.1): man 7 socket, SO_ATTACH_FILTER.
func deafen(l net.Listener) {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	const flags, syn, all = 13, 2, 1<<32 - 1
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jf: 1, K: syn},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: all},
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	})
}
