package models

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"unsafe"
)

// errChanged is in the chain of the error about a file that shrank while it
// was in use.
var errChanged = errors.New("the file became shorter while it was read")

// file is an opened safetensors file. Its data stay where they are, in a
// read-only memory map where the system has one, until a tensor is asked for.
//
// A file that somebody truncates while it is mapped makes every touch of the
// lost pages a SIGBUS, which ends a Go process. So whoever reads tensors does
// it inside guard, which turns that signal into an error. Copying every
// tensor out of the map would avoid the question at the price of holding the
// weights twice while a model loads.
type file struct {
	path string
	head *header
	data []byte // the whole file
	src  io.ReaderAt
	f    *os.File // nil for bytes that are in memory anyway
	free func() error
}

// openFile opens, checks and maps a safetensors file.
func openFile(path string) (*file, error) {
	// Opening a named pipe would wait for its writer.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	in, err := newFile(path, f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return in, nil
}

func newFile(path string, f *os.File) (*file, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size()
	head, err := readHeader(f, size)
	if err != nil {
		return nil, err
	}
	if size > math.MaxInt {
		return nil, fmt.Errorf("file of %d bytes does not fit this machine's address space", size)
	}
	data, free, err := mapFile(f, int(size))
	if err != nil {
		return nil, fmt.Errorf("mapping %d bytes: %w", size, err)
	}
	return &file{path: path, head: head, data: data, src: f, f: f, free: free}, nil
}

// memoryFile is a safetensors file that is in memory, as the embedded one is.
func memoryFile(path string, data []byte) (*file, error) {
	src := bytes.NewReader(data)
	head, err := readHeader(src, int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &file{path: path, head: head, data: data, src: src}, nil
}

// bytes returns the stored bytes of a tensor. They are read inside guard.
func (f *file) bytes(e entry) []byte {
	return f.data[f.head.data+e.lo : f.head.data+e.hi]
}

// sum returns the sha256 of the whole file. It reads past the map, so that a
// truncated file is an error of its own.
func (f *file) sum() (string, error) {
	h := sha256.New()
	n, err := io.Copy(h, io.NewSectionReader(f.src, 0, int64(len(f.data))))
	if err != nil {
		return "", fmt.Errorf("%s: %w", f.path, err)
	}
	if n != int64(len(f.data)) {
		return "", fmt.Errorf("%s: %w", f.path, errChanged)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (f *file) close() error {
	var err error
	if f.free != nil {
		err = f.free()
	}
	if f.f != nil {
		err = errors.Join(err, f.f.Close())
	}
	f.data, f.free, f.f = nil, nil, nil
	return err
}

// guard runs do, which reads the files' maps on this goroutine, and returns
// an error where it touched a page that a file has lost. Any other panic goes
// on.
func guard(files []*file, do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		fault, ok := r.(interface {
			runtime.Error
			Addr() uintptr
		})
		if !ok {
			panic(r)
		}
		for _, f := range files {
			if len(f.data) > 0 {
				begin := uintptr(unsafe.Pointer(unsafe.SliceData(f.data)))
				if at := fault.Addr(); at >= begin && at-begin < uintptr(len(f.data)) {
					err = fmt.Errorf("%s: %w", f.path, errChanged)
					return
				}
			}
		}
		panic(r)
	}()
	return do()
}
