package hub

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const indexFile = "model.safetensors.index.json"

// Pull brings the files of a model into the cache, as far as they are not
// there: its configuration, its card, and its weights in safetensors. It
// returns their folder. The revision is a branch, a tag or a commit; "" is
// main. Offline it returns what is there.
func (c *Client) Pull(ctx context.Context, name, revision string) (string, error) {
	if c.Offline {
		return c.Cached(name, revision)
	}
	if revision == "" {
		revision = "main"
	}
	dir, err := c.pull(ctx, name, revision)
	if err != nil {
		return "", fmt.Errorf("hub: pull %s: %w", name, err)
	}
	return dir, nil
}

func (c *Client) pull(ctx context.Context, name, revision string) (string, error) {
	if !filepath.IsLocal(revision) {
		return "", fmt.Errorf("revision %q", revision)
	}
	if c.Cache != "" {
		if err := os.MkdirAll(c.Cache, 0o755); err != nil {
			return "", err
		}
	}
	cache, err := c.open(name)
	if err != nil {
		return "", err
	}
	defer cache.Close()
	commit, files, err := c.list(ctx, name, revision)
	if err != nil {
		return "", err
	}
	get := func(file string) error {
		if err := c.file(ctx, cache, name, commit, file); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		return nil
	}
	has := func(file string) bool { return files[file] }
	for _, file := range []string{"config.json", "preprocessor_config.json", "processor_config.json", "README.md"} {
		if has(file) {
			if err := get(file); err != nil {
				return "", err
			}
		}
	}
	switch {
	case has("model.safetensors"):
		err = get("model.safetensors")
	case has(indexFile):
		if err = get(indexFile); err == nil {
			err = c.shards(cache, commit, has, get)
		}
	case has("pytorch_model.bin"):
		err = errors.New("the repository has its weights in pytorch_model.bin only; download that file and convert it once: vitserve convert pytorch_model.bin")
	default:
		err = fmt.Errorf("weights: %w: the repository has no model.safetensors", ErrNotFound)
	}
	if err != nil {
		return "", err
	}
	// The name is given last, so that a snapshot that has one is whole.
	if revision != commit {
		ref := cache.in("refs", revision)
		if err := cache.MkdirAll(filepath.Dir(ref), 0o755); err != nil {
			return "", err
		}
		if err := cache.write(ref, []byte(commit)); err != nil {
			return "", err
		}
	}
	return cache.path("snapshots", commit), nil
}

// maxShards bounds the files of one checkpoint, as reading one does.
const maxShards = 1000

// shards gets the weight files that an index names.
func (c *Client) shards(cache *cache, commit string, has func(string) bool, get func(string) error) error {
	text, err := cache.text(cache.in("snapshots", commit, indexFile))
	if err != nil {
		return err
	}
	var index struct {
		Map map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &index); err != nil {
		return fmt.Errorf("%s: %w", indexFile, err)
	}
	shards := map[string]bool{}
	for _, file := range index.Map {
		shards[file] = true
	}
	if len(shards) > maxShards {
		return fmt.Errorf("%s names %d files, want at most %d", indexFile, len(shards), maxShards)
	}
	for _, file := range slices.Sorted(maps.Keys(shards)) {
		if !has(file) || filepath.Base(file) != file || strings.ContainsAny(file, `\:`) || filepath.Ext(file) != ".safetensors" {
			return fmt.Errorf("%s names %q, which is no weight file of the repository", indexFile, file)
		}
		if err := get(file); err != nil {
			return err
		}
	}
	return nil
}

// maxList bounds the answer that lists a repository.
const maxList = 16 << 20

// list returns the commit of a revision and the names of its files.
func (c *Client) list(ctx context.Context, name, revision string) (commit string, files map[string]bool, err error) {
	w := c.watch(ctx, listStalls)
	defer w.stop()
	res, err := c.ask(w.ctx, http.MethodGet, "/api/models/"+name+"/revision/"+url.PathEscape(revision), nil)
	if err != nil {
		return "", nil, err
	}
	defer res.Body.Close()
	if err := statusError(res, name); err != nil {
		return "", nil, err
	}
	w.start()
	text, err := w.readAll(res.Body, maxList)
	if err != nil {
		return "", nil, fmt.Errorf("list of files: %w", err)
	}
	var info struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Name string `json:"rfilename"`
		} `json:"siblings"`
	}
	if err := json.Unmarshal(text, &info); err != nil {
		return "", nil, fmt.Errorf("list of files: %w", err)
	}
	if !commitName.MatchString(info.SHA) {
		return "", nil, fmt.Errorf("list of files: commit %q", info.SHA)
	}
	files = map[string]bool{}
	for _, s := range info.Siblings {
		files[s.Name] = true
	}
	return info.SHA, files, nil
}

// statusError turns an answer that is no success into an error.
func statusError(res *http.Response, name string) error {
	switch code := res.StatusCode; {
	case code < 300:
		return nil
	case code == http.StatusNotFound:
		return fmt.Errorf("%w on %s", ErrNotFound, res.Request.URL.Host)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		// The hub says 401 of what does not exist, too, lest it tell.
		return fmt.Errorf("%w or not open to this token: accept its terms at %s://%s/%s and set HF_TOKEN", ErrNotFound, res.Request.URL.Scheme, res.Request.URL.Host, name)
	}
	return fmt.Errorf("%s answers %s", res.Request.URL.Host, res.Status)
}

// remote is what the hub says of a file before it sends it.
type remote struct {
	etag string // sha256 of a large file, git's sha1 of another; an opaque name of ours where a mirror gives neither
	size int64  // -1: not known until its end
	url  string // of the hub, which leads to where its bytes are, each time anew: such addresses expire
}

// etagName is what an etag may be: it names a file of the cache.
var etagName = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// head asks for a file's hash and size. Large files are a redirect to
// another host, which knows neither.
func (c *Client) head(ctx context.Context, name, commit, file string) (remote, error) {
	res, err := c.ask(ctx, http.MethodHead, "/"+name+"/resolve/"+commit+"/"+url.PathEscape(file), nil)
	if err != nil {
		return remote{}, err
	}
	res.Body.Close()
	r := remote{url: res.Request.URL.String()}
	away := res.StatusCode >= 300 && res.StatusCode < 400
	if !away {
		if err := statusError(res, name); err != nil {
			return remote{}, err
		}
	}
	h := res.Header
	r.etag = strings.Trim(strings.TrimPrefix(cmp.Or(h.Get("X-Linked-Etag"), h.Get("ETag")), "W/"), `"`)
	if !etagName.MatchString(r.etag) {
		// Mirrors and caches have etags of their own, or none: what they
		// send is held to its size alone.
		sum := sha256.Sum256([]byte(commit + "/" + file + "/" + r.etag))
		r.etag = opaque + hex.EncodeToString(sum[:])
	}
	size := h.Get("X-Linked-Size")
	if size == "" && !away {
		size = h.Get("Content-Length")
	}
	if size == "" {
		r.size, err = c.size(ctx, r.url)
		return r, err
	}
	if r.size, err = strconv.ParseInt(size, 10, 64); err != nil || r.size < 0 {
		return remote{}, fmt.Errorf("size %q", size)
	}
	return r, nil
}

// opaque begins the names of blobs whose content no hash is known of.
const opaque = "etag-"

// size asks for the first byte of a file, the answer to which has the size of
// all; -1 where it has not.
func (c *Client) size(ctx context.Context, at string) (size int64, err error) {
	w := c.watch(ctx, listStalls)
	defer w.stop()
	err = c.retry(w.ctx, func() (bool, error) {
		res, err := c.follow(w.ctx, at, http.Header{"Range": {"bytes=0-0"}})
		if err != nil {
			return false, err
		}
		defer res.Body.Close()
		size = res.ContentLength
		switch _, total, _ := strings.Cut(res.Header.Get("Content-Range"), "/"); {
		case res.StatusCode == http.StatusRequestedRangeNotSatisfiable: // of an empty file
			size = -1
		case res.StatusCode == http.StatusPartialContent:
			if size, err = strconv.ParseInt(total, 10, 64); err != nil || size < 0 {
				size = -1
			}
		default:
			return false, statusError(res, "")
		}
		return false, nil
	})
	return size, err
}

// file brings one file into the snapshot.
func (c *Client) file(ctx context.Context, cache *cache, name, commit, file string) error {
	snapshot := cache.in("snapshots", commit)
	pointer := filepath.Join(snapshot, file)
	if info, err := cache.Stat(pointer); err == nil {
		c.progress(file, info.Size(), info.Size())
		return nil
	}
	r, err := c.head(ctx, name, commit, file)
	if err != nil {
		return err
	}
	if filepath.Ext(file) != ".safetensors" && r.size > maxText {
		return fmt.Errorf("%d bytes, want at most %d", r.size, maxText)
	}
	for _, dir := range []string{cache.in("blobs"), snapshot} {
		if err := cache.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	unlock, err := cache.lock(ctx, r.etag)
	if err != nil {
		return err
	}
	defer unlock()
	blob := cache.in("blobs", r.etag)
	info, err := cache.Lstat(blob)
	if err != nil || !info.Mode().IsRegular() || r.size >= 0 && info.Size() != r.size {
		if r.size, err = c.download(ctx, cache, file, blob, r); err != nil {
			return err
		}
	}
	c.progress(file, r.size, r.size)
	return cache.point(pointer, blob)
}

func (c *Client) progress(file string, done, size int64) {
	if c.Progress != nil {
		c.Progress(file, done, size)
	}
}
