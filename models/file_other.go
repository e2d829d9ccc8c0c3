//go:build !unix

package models

import (
	"io"
	"os"
)

// mapFile reads the first size bytes of f, where there is no map to have. The
// header has been checked against the size, so the file is what it says.
func mapFile(f *os.File, size int) (data []byte, free func() error, err error) {
	data = make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, int64(size)), data); err != nil {
		return nil, nil, err
	}
	return data, func() error { return nil }, nil
}
