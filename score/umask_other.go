//go:build !unix

package score

import "io/fs"

func umask() fs.FileMode { return 0 }
