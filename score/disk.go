package score

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// unfinished begins the names of parts that are being written. Programs that
// read a folder pass over what begins with a dot.
const unfinished = ".unfinished-"

// exists reports whether a file is there.
func (j *Job) exists(ctx context.Context, name string) (bool, error) {
	store, err := j.Stores.of(name)
	if err != nil {
		return false, err
	}
	if store == nil {
		_, err = os.Stat(name)
	} else if r, wrong := store.Open(ctx, name); wrong == nil {
		return true, r.Close()
	} else {
		err = wrong
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("score: output %s, want a folder that can be written: %w", j.Output, err)
	}
	return true, nil
}

// create begins a file of the output.
func (j *Job) create(ctx context.Context, name string) (File, error) {
	store, err := j.Stores.of(name)
	if err != nil {
		return nil, err
	}
	if store != nil {
		return store.Create(ctx, name)
	}
	dir, base := filepath.Split(name)
	if err := os.MkdirAll(filepath.Clean(dir), 0o777); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Clean(dir), unfinished+base+"-*")
	if err != nil {
		return nil, err
	}
	return &diskFile{File: f, name: name}, nil
}

// diskFile is written under another name, and renamed.
type diskFile struct {
	*os.File
	name string
	done bool
}

// Commit is of File.
func (f *diskFile) Commit() error {
	// Like a file that the shell makes: CreateTemp's is its owner's alone.
	err := errors.Join(f.Chmod(0o666&^umask()), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.File.Name(), f.name)
	}
	if err != nil {
		f.Abort()
		return err
	}
	f.done = true
	if dir, err := os.Open(filepath.Dir(f.name)); err == nil { // the name, too, outlasts the machine
		_ = dir.Sync() // which not every file system can
		dir.Close()
	}
	return nil
}

// Abort is of File.
func (f *diskFile) Abort() {
	if !f.done {
		f.Close()
		os.Remove(f.File.Name())
		f.done = true
	}
}

// sweep removes what processes have left that were killed.
func sweep(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if strings.HasPrefix(e.Name(), unfinished) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}
