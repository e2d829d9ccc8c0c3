package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxFile is the largest picture file that is read.
const maxFile = 256 << 20

// source is a picture that has not been read yet.
type source struct {
	name string // as it is reported
	err  error  // why it cannot be read, if that is known already
	open func() (io.ReadCloser, error)
}

// read returns the bytes of the picture. It does not wait longer than ctx: a
// terminal or a pipe may never end.
func (s source) read(ctx context.Context) ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	type answer struct {
		data []byte
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		data, err := s.readAll()
		done <- answer{data, err}
	}()
	select {
	case a := <-done:
		return a.data, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s source) readAll() ([]byte, error) {
	r, err := s.open()
	if err != nil {
		return nil, bare(err)
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, bare(err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("file larger than %d MiB", maxFile>>20)
	}
	return data, nil
}

// bare takes the path out of an error that is reported beside it.
func bare(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// findSources lists the pictures that args name, in their order: files,
// folders with what lies under them by name, and - for stdin. What is not
// there becomes a source that fails, so that one wrong name does not stop the
// others. What is no file at all (a pipe, a socket, a device) is passed over
// in a folder, and stderr is told how many; named itself, a pipe is read, as
// a shell's <(…) is one, and the rest refused.
func findSources(args []string, stdin io.Reader, stderr io.Writer) ([]source, error) {
	var all []source
	for i, arg := range args {
		if arg == "-" {
			if slices.Contains(args[:i], "-") {
				return nil, usageError{errors.New("- (standard input) given twice")}
			}
			all = append(all, source{name: "-", open: func() (io.ReadCloser, error) { return io.NopCloser(stdin), nil }})
			continue
		}
		info, err := os.Stat(arg)
		switch {
		case err != nil:
			all = append(all, source{name: arg, err: bare(err)})
		case info.IsDir():
			found, passed := walk(arg)
			if passed > 0 {
				fmt.Fprintf(stderr, "note: %s: %d passed over that are no files: pipes, sockets or devices\n", printable(arg), passed)
			}
			if len(found) == 0 {
				found = []source{{name: arg, err: errors.New("no pictures in this folder")}}
			}
			all = append(all, found...)
		case info.Mode()&fs.ModeSocket != 0:
			all = append(all, source{name: arg, err: errors.New("a socket, want a file or a pipe")})
		case info.Mode()&(fs.ModeDevice|fs.ModeCharDevice) == fs.ModeDevice:
			all = append(all, source{name: arg, err: errors.New("a device, want a file or a pipe")})
		default:
			all = append(all, fileSource(arg))
		}
	}
	return all, nil
}

func fileSource(path string) source {
	return source{name: path, open: func() (io.ReadCloser, error) { return os.Open(path) }}
}

// walk lists the pictures under a folder in lexical order, and counts what it
// passes over because opening it might wait for ever. Hidden entries are
// passed over, too.
func walk(root string) (found []source, passed int) {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		hidden := path != root && strings.HasPrefix(filepath.Base(path), ".")
		switch {
		case err != nil:
			found = append(found, source{name: path, err: bare(err)})
			return fs.SkipDir
		case d.IsDir() && hidden:
			return fs.SkipDir
		case d.IsDir() || hidden:
			return nil
		}
		regular := d.Type().IsRegular()
		if !regular { // a link to a pipe is a pipe; one that leads nowhere is reported when it is opened
			info, err := os.Stat(path)
			if err == nil && !info.Mode().IsRegular() && !info.IsDir() {
				passed++
				return nil
			}
			regular = err == nil && info.Mode().IsRegular()
		}
		if looksLikePicture(path, regular) {
			found = append(found, fileSource(path))
		}
		return nil
	})
	if err != nil {
		found = append(found, source{name: root, err: bare(err)})
	}
	return found, passed
}

// looksLikePicture decides which files of a folder are meant: those named
// like a picture, so that a broken one is reported and not passed over, and
// those that begin like one whatever their name.
func looksLikePicture(path string, regular bool) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff":
		return true
	}
	if !regular {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 512)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false
	}
	head = head[:n]
	tiff := bytes.HasPrefix(head, []byte("II*\x00")) || bytes.HasPrefix(head, []byte("MM\x00*"))
	return tiff || strings.HasPrefix(http.DetectContentType(head), "image/")
}
