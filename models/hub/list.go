package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Entry is a model in the cache.
type Entry struct {
	Name  string // ORG/NAME
	Dir   string // of its files at Revision
	Bytes int64  // of these files
	Err   error  // why it cannot be opened: it was not pulled to its end
}

// maxEntries bounds the folders of a cache that are looked at.
const maxEntries = 10_000

// List returns the models in the cache, by name: those that a revision main is
// of. It asks nobody. There is no cache yet where nothing was ever pulled.
func (c *Client) List() ([]Entry, error) {
	dir, err := os.Open(c.Cache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(maxEntries)
	if err != nil && len(names) == 0 {
		return nil, nil // it is empty
	}
	var all []Entry
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, "models--")
		if !ok {
			continue
		}
		repo := strings.Replace(rest, "--", "/", 1)
		if !IsName(repo) {
			continue
		}
		e := Entry{Name: repo}
		if e.Dir, e.Err = c.Cached(repo, ""); e.Err == nil {
			e.Bytes, e.Err = weightsOf(e.Dir)
		}
		if errors.Is(e.Err, errNoModel) {
			continue // of another kind: a tokenizer, a language model of other programs
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

var errNoModel = errors.New("no config.json and weights in safetensors")

// weightsOf returns the bytes of a snapshot's files. One without a
// configuration or weights in safetensors is no model of ours.
func weightsOf(dir string) (sum int64, err error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	config, weights := false, false
	for _, e := range list {
		info, err := os.Stat(filepath.Join(dir, e.Name()))
		if err != nil {
			return 0, fmt.Errorf("hub: %s: %w", e.Name(), err)
		}
		config = config || e.Name() == "config.json"
		weights = weights || filepath.Ext(e.Name()) == ".safetensors"
		if info.Mode().IsRegular() {
			sum += info.Size()
		}
	}
	if !config || !weights {
		return 0, errNoModel
	}
	return sum, nil
}

// Reach asks the hub for a sign of life, once.
func (c *Client) Reach(ctx context.Context) error {
	if c.Offline {
		return ErrOffline
	}
	base, err := c.endpoint()
	if err != nil {
		return err
	}
	res, err := c.send(ctx, http.MethodHead, base.String()+"/", nil)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// ErrOffline is the error of a client that must not ask the hub.
var ErrOffline = errors.New("the hub is not to be asked")
