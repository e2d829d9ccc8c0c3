//go:build linux || darwin

package cli

import (
	"errors"
	"syscall"
)

// lacksRoom says why there was no room for what was to be written, if that is
// what an error is about.
func lacksRoom(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return "the disk is full"
	case errors.Is(err, syscall.EDQUOT):
		return "the user's share of the disk is used up"
	case errors.Is(err, syscall.EFBIG):
		return "no file may be so large here (ulimit -f)"
	}
	return ""
}

// openFiles is how many files the process may have open.
func openFiles() (uint64, bool) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, false
	}
	return l.Cur, true
}
