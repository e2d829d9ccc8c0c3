//go:build !linux && !darwin

package cli

import (
	"errors"
	"runtime"
	"syscall"
)

// diskFull and handleDiskFull are ERROR_DISK_FULL and ERROR_HANDLE_DISK_FULL of
// Windows.
const (
	diskFull       = syscall.Errno(112)
	handleDiskFull = syscall.Errno(39)
)

// lacksRoom says why there was no room for what was to be written, if that is
// what an error is about.
func lacksRoom(err error) string {
	if runtime.GOOS == "windows" && (errors.Is(err, diskFull) || errors.Is(err, handleDiskFull)) {
		return "the disk is full"
	}
	return ""
}

// openFiles is not limited here.
func openFiles() (uint64, bool) { return 0, false }
