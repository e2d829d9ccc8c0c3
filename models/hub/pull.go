package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	repo, err := c.repo(name)
	if err != nil {
		return "", err
	}
	if revision == "" {
		revision = "main"
	}
	dir, err := c.pull(ctx, name, repo, revision)
	if err != nil {
		return "", fmt.Errorf("hub: pull %s: %w", name, err)
	}
	return dir, nil
}

func (c *Client) pull(ctx context.Context, name, repo, revision string) (string, error) {
	if !filepath.IsLocal(revision) {
		return "", fmt.Errorf("revision %q", revision)
	}
	commit, files, err := c.list(ctx, name, revision)
	if err != nil {
		return "", err
	}
	snapshot := filepath.Join(repo, "snapshots", commit)
	get := func(file string) error {
		if err := c.file(ctx, name, commit, file, repo, snapshot); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		return nil
	}
	has := func(file string) bool { return slices.Contains(files, file) }
	for _, file := range []string{"config.json", "preprocessor_config.json", "README.md"} {
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
			err = c.shards(snapshot, has, get)
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
		ref := filepath.Join(repo, "refs", revision)
		if err := os.MkdirAll(filepath.Dir(ref), 0o755); err != nil {
			return "", err
		}
		if err := writeFile(ref, []byte(commit)); err != nil {
			return "", err
		}
	}
	return snapshot, nil
}

// shards gets the weight files that an index names.
func (c *Client) shards(snapshot string, has func(string) bool, get func(string) error) error {
	text, err := os.ReadFile(filepath.Join(snapshot, indexFile))
	if err != nil {
		return err
	}
	var index struct {
		Map map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &index); err != nil {
		return fmt.Errorf("%s: %w", indexFile, err)
	}
	var shards []string
	for _, file := range index.Map {
		if !slices.Contains(shards, file) {
			shards = append(shards, file)
		}
	}
	slices.Sort(shards)
	for _, file := range shards {
		if !has(file) || filepath.Base(file) != file || filepath.Ext(file) != ".safetensors" {
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
func (c *Client) list(ctx context.Context, name, revision string) (string, []string, error) {
	res, err := c.ask(ctx, http.MethodGet, "/api/models/"+name+"/revision/"+url.PathEscape(revision), nil)
	if err != nil {
		return "", nil, err
	}
	defer res.Body.Close()
	if err := statusError(res, name); err != nil {
		return "", nil, err
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxList+1))
	if err != nil {
		return "", nil, err
	}
	var info struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Name string `json:"rfilename"`
		} `json:"siblings"`
	}
	if len(text) > maxList {
		return "", nil, fmt.Errorf("a list of files of more than %d bytes", maxList)
	}
	if err := json.Unmarshal(text, &info); err != nil {
		return "", nil, fmt.Errorf("list of files: %w", err)
	}
	if !commitName.MatchString(info.SHA) {
		return "", nil, fmt.Errorf("list of files: commit %q", info.SHA)
	}
	var files []string
	for _, s := range info.Siblings {
		files = append(files, s.Name)
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
	etag string // sha256 of a large file, git's sha1 of another
	size int64
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
		return remote{}, fmt.Errorf("etag %q, want the hash of the file", r.etag)
	}
	size := h.Get("X-Linked-Size")
	if size == "" && !away {
		size = h.Get("Content-Length")
	}
	if r.size, err = strconv.ParseInt(size, 10, 64); err != nil || r.size < 0 {
		return remote{}, fmt.Errorf("size %q", size)
	}
	return r, nil
}

// file brings one file into the snapshot.
func (c *Client) file(ctx context.Context, name, commit, file, repo, snapshot string) error {
	pointer := filepath.Join(snapshot, file)
	if info, err := os.Stat(pointer); err == nil {
		c.progress(file, info.Size(), info.Size())
		return nil
	}
	r, err := c.head(ctx, name, commit, file)
	if err != nil {
		return err
	}
	for _, dir := range []string{filepath.Join(repo, "blobs"), snapshot} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	unlock, err := lock(ctx, filepath.Join(c.Cache, ".locks", filepath.Base(repo), r.etag+".lock"))
	if err != nil {
		return err
	}
	defer unlock()
	blob := filepath.Join(repo, "blobs", r.etag)
	if info, err := os.Stat(blob); err != nil || info.Size() != r.size {
		if err := c.download(ctx, file, blob, r); err != nil {
			return err
		}
	}
	c.progress(file, r.size, r.size)
	return link(filepath.Join("..", "..", "blobs", r.etag), blob, pointer)
}

func (c *Client) progress(file string, done, size int64) {
	if c.Progress != nil {
		c.Progress(file, done, size)
	}
}

// link makes pointer lead to the blob: by a relative link as the hub's own
// library does, or where links are not allowed by moving the blob there.
func link(relative, blob, pointer string) error {
	if _, err := os.Stat(pointer); err == nil {
		return nil // another process was faster
	}
	_ = os.Remove(pointer) // a link that leads nowhere
	if err := os.Symlink(relative, pointer); err == nil || errors.Is(err, os.ErrExist) {
		return nil
	}
	return os.Rename(blob, pointer)
}

// writeFile writes a small file at once or not at all.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}
