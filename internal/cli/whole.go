package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// wholeFile is written beside its place and moved there when it is whole, so
// that nobody finds half a file under its name. What is no regular file, such
// as /dev/stdout or a pipe, is written as it is.
type wholeFile struct {
	*os.File
	place string // "": it is there already
}

// createWhole begins a file. One that is there stays until the end, which leaves
// its permissions as they are.
func createWhole(path string) (*wholeFile, error) {
	place := path
	if real, err := filepath.EvalSymlinks(path); err == nil {
		place = real
	}
	info, err := os.Stat(place)
	if err == nil {
		// It would have to be one that can be written.
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil || !info.Mode().IsRegular() {
			return &wholeFile{File: f}, err
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	for {
		beside := filepath.Join(filepath.Dir(place), fmt.Sprintf(".%.100s-%08x", filepath.Base(place), rand.Uint32()))
		f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		switch {
		case errors.Is(err, fs.ErrExist):
			continue
		case err != nil && info != nil: // the file may be written, the folder may not
			f, err = os.Create(path)
			return &wholeFile{File: f}, err
		case err != nil:
			var of *fs.PathError
			if errors.As(err, &of) {
				of.Path = path
			}
			return nil, err
		case info != nil:
			err = f.Chmod(info.Mode().Perm())
		}
		w := &wholeFile{f, place}
		if err != nil {
			return nil, w.end(err)
		}
		return w, nil
	}
}

// end closes the file: where err, which it returns, is nil, it has its place,
// and else it is gone.
func (f *wholeFile) end(err error) error {
	err = errors.Join(err, f.Close())
	if f.place == "" {
		return err
	}
	if err == nil {
		err = os.Rename(f.Name(), f.place)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

// endRows closes a file that grew row by row under its own name, where others
// can follow it. One that could not be written does not stay.
func endRows(f *os.File, err error) error {
	info, unknown := f.Stat()
	if err = errors.Join(err, f.Close()); err != nil && unknown == nil && info.Mode().IsRegular() {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

// createFile writes a file, whole or not at all.
func createFile(path string, write func(w io.Writer) error) error {
	f, err := createWhole(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 64<<10)
	if err = write(w); err == nil {
		err = w.Flush()
	}
	if err = f.end(err); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
