//go:build unix

package score

import (
	"io/fs"
	"sync"

	"golang.org/x/sys/unix"
)

// umask is what new files are not. It can only be read by setting it.
var umask = sync.OnceValue(func() fs.FileMode {
	m := unix.Umask(0o077)
	unix.Umask(m)
	return fs.FileMode(m)
})
