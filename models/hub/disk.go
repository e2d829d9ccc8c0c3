package hub

import (
	"errors"
	"fmt"
	"syscall"
)

// ErrDisk is in the chain of the error of a disk that is full, or would be.
var ErrDisk = errors.New("the disk is full")

// fits refuses what the disk of a folder has no room for, as far as that is
// known: a download of hours should not end so.
func fits(dir string, bytes int64) error {
	free, known := freeBytes(dir)
	if !known || bytes <= free {
		return nil
	}
	return fmt.Errorf("%w: %d bytes more are needed in %s, and %d are free: set HF_HOME to a folder elsewhere", ErrDisk, bytes, dir, free)
}

// full is the error of a write in words, if the disk is why.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%w: make room, and pull again: what is there is kept: %w", ErrDisk, err)
	}
	return err
}
