package hub

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxText bounds what is read from the cache whole: an index of shards, a ref.
const maxText = 16 << 20

// cache is the part of the cache's folder that belongs to one repository.
// Whatever links lie in it, nothing outside of the folder is read or written.
type cache struct {
	*os.Root        // Client.Cache
	repo     string // below it: models--ORG--NAME
}

// open opens the cache's part of a repository; the caller closes it.
func (c *Client) open(name string) (*cache, error) {
	if !IsName(name) {
		return nil, fmt.Errorf("hub: %q is no repository, want ORG/NAME", name)
	}
	if c.Cache == "" {
		return nil, errors.New("hub: no folder for the cache")
	}
	root, err := os.OpenRoot(c.Cache)
	if err != nil {
		return nil, err
	}
	return &cache{root, "models--" + strings.ReplaceAll(name, "/", "--")}, nil
}

// path returns the whole path of what lies in the cache.
func (c *cache) path(in ...string) string {
	return filepath.Join(append([]string{c.Name(), c.repo}, in...)...)
}

// in returns a path below the cache's folder.
func (c *cache) in(parts ...string) string {
	return filepath.Join(append([]string{c.repo}, parts...)...)
}

// text returns a small file. A FIFO would be waited for, and is refused.
func (c *cache) text(name string) ([]byte, error) {
	info, err := c.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s of the cache is no regular file", name)
	}
	f, err := c.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err == nil && len(text) > maxText {
		err = fmt.Errorf("%s of the cache has more than %d bytes", name, maxText)
	}
	return text, err
}

// create opens a file for reading and writing, a new one or the one that is
// there. Whoever can write to the cache may have put a link in its place: it
// is not followed, not even to another file of the cache.
func (c *cache) create(name string) (*os.File, error) {
	f, err := c.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if !errors.Is(err, fs.ErrExist) {
		return f, err
	}
	there, err := c.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !there.Mode().IsRegular() {
		return nil, fmt.Errorf("%s of the cache is a link or no file: it is not written through, remove it", name)
	}
	if f, err = c.OpenFile(name, os.O_RDWR, 0); err != nil {
		return nil, err
	}
	opened, err := f.Stat()
	if err == nil && !os.SameFile(there, opened) {
		err = fmt.Errorf("%s of the cache was replaced while it was opened", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// point makes a name of a snapshot lead to a blob of the repository: by a
// relative link as the hub's own library does, or where links are not
// allowed by moving the blob there.
func (c *cache) point(name, blob string) error {
	if _, err := c.Stat(name); err == nil {
		return nil // another process was faster
	}
	_ = c.Remove(name) // a link that leads nowhere, or out of the cache
	err := c.Symlink(filepath.Join("..", "..", "blobs", filepath.Base(blob)), name)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return c.Rename(blob, name)
}

// write writes a small file at once or not at all.
func (c *cache) write(name string, data []byte) error {
	partial := name + ".new-" + rand.Text()
	f, err := c.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = c.Rename(partial, name)
	}
	if err != nil {
		err = errors.Join(err, c.Remove(partial))
	}
	return err
}
