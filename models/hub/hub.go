// Package hub keeps models of the Hugging Face hub in the hub's own cache on
// this machine, where its Python library finds them and leaves them too:
//
//	$HF_HUB_CACHE/models--ORG--NAME/
//	    blobs/ETAG                    a file by its hash
//	    refs/main                     the commit that a revision was at
//	    snapshots/COMMIT/config.json  links to blobs
//
// Layout and variables:
// https://huggingface.co/docs/huggingface_hub/guides/manage-cache and
// https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables.
package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// ErrNotFound is in the chain of errors about a repository, revision or file
// that is not there: on the hub, or offline, in the cache.
var ErrNotFound = errors.New("not found")

// DefaultEndpoint is where the hub is.
const DefaultEndpoint = "https://huggingface.co"

// Client reads one hub and keeps one cache. Its methods may be called from
// several goroutines, and several processes may share a cache.
type Client struct {
	Endpoint string // base URL; DefaultEndpoint if empty
	Cache    string // folder; must be set
	Token    string // sent to Endpoint and to no other host; "": none
	Offline  bool   // never ask the hub

	// Progress is told how many bytes of a file are there, from time to
	// time and at its end; nil: nobody is told.
	Progress func(file string, done, size int64)

	// HTTP carries the requests; nil: a transport with timeouts of its own.
	HTTP http.RoundTripper

	stall, firstWait time.Duration // for tests; see the defaults in watch.go and download.go
}

// first returns the first of environment variables that is not empty.
func first(names ...string) string {
	for _, name := range names {
		if v := os.Getenv(name); v != "" {
			return v
		}
	}
	return ""
}

// folder returns a folder or file of the first variable that is not empty, as
// the hub's own library reads it: a ~ at its start is the user's home, and
// $NAME or ${NAME} a variable, or itself where there is none.
func folder(names ...string) (string, error) {
	path := first(names...)
	if path == "~" || strings.HasPrefix(path, "~/") || strings.HasPrefix(path, "~"+string(filepath.Separator)) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("hub: %s: %w", path, err)
		}
		path = home + path[1:]
	}
	return variable.ReplaceAllStringFunc(path, func(found string) string {
		if v, set := os.LookupEnv(strings.Trim(found, "${}")); set {
			return v
		}
		return found
	}), nil
}

var variable = regexp.MustCompile(`\$(\w+|\{\w+\})`)

// isOn reports whether a variable says yes, as the hub's own library reads it.
func isOn(name string) bool {
	switch strings.ToUpper(os.Getenv(name)) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

// FromEnv returns the client that HF_ENDPOINT, HF_HOME, HF_HUB_CACHE (or
// HUGGINGFACE_HUB_CACHE), HF_TOKEN (or HUGGING_FACE_HUB_TOKEN), HF_TOKEN_PATH,
// HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE and XDG_CACHE_HOME describe.
func FromEnv() (*Client, error) {
	home, err := folder("HF_HOME")
	if err != nil {
		return nil, err
	}
	if home == "" {
		cache, err := folder("XDG_CACHE_HOME")
		if err != nil {
			return nil, err
		}
		if cache == "" {
			user, err := os.UserHomeDir()
			if err != nil {
				return nil, fmt.Errorf("hub: no folder for the cache, set HF_HOME: %w", err)
			}
			cache = filepath.Join(user, ".cache")
		}
		home = filepath.Join(cache, "huggingface")
	}
	c := &Client{
		Endpoint: os.Getenv("HF_ENDPOINT"), Token: first("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
		Offline: isOn("HF_HUB_OFFLINE") || isOn("TRANSFORMERS_OFFLINE"),
	}
	if c.Cache, err = folder("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"); err != nil {
		return nil, err
	}
	if c.Cache == "" {
		c.Cache = filepath.Join(home, "hub")
	}
	if c.Token == "" {
		path, err := folder("HF_TOKEN_PATH")
		if err != nil {
			return nil, err
		}
		if path == "" {
			path = filepath.Join(home, "token")
		}
		text, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("hub: token: %w", err)
		}
		c.Token = string(text)
	}
	c.Token = strings.TrimSpace(c.Token)
	if _, err := c.endpoint(); err != nil {
		return nil, err
	}
	return c, nil
}

// endpoint returns the base URL.
func (c *Client) endpoint() (*url.URL, error) {
	text := c.Endpoint
	if text == "" {
		text = DefaultEndpoint
	}
	u, err := url.Parse(strings.TrimRight(text, "/"))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("hub: endpoint %q, want a URL of http or https", text)
	}
	return u, nil
}

// repoName is ORG/NAME, as the hub allows it.
var repoName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}$`)

// IsName reports whether a string can be the name of a repository, ORG/NAME.
func IsName(s string) bool {
	return repoName.MatchString(s) && !strings.Contains(s, "--") && !strings.Contains(s, "..")
}

// commitName is a commit of a repository.
var commitName = regexp.MustCompile(`^[0-9a-f]{40}$`)

// Cached returns the folder of a repository at a revision that was pulled
// before: a branch, a tag or a commit, "" for main. It asks nobody.
func (c *Client) Cached(name, revision string) (string, error) {
	if revision == "" {
		revision = "main"
	}
	dir, err := c.cached(name, revision)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("hub: %s at %s: %w in the cache %s", name, revision, ErrNotFound, c.Cache)
	}
	return dir, err
}

func (c *Client) cached(name, revision string) (string, error) {
	cache, err := c.open(name)
	if err != nil {
		return "", err
	}
	defer cache.Close()
	if !filepath.IsLocal(revision) {
		return "", fmt.Errorf("hub: revision %q", revision)
	}
	commit := revision
	if !commitName.MatchString(commit) {
		text, err := cache.text(cache.in("refs", revision))
		if err != nil {
			return "", fmt.Errorf("hub: %w", err)
		}
		commit = strings.TrimSpace(string(text))
	}
	if !commitName.MatchString(commit) {
		return "", fmt.Errorf("hub: %s: refs/%s of the cache holds no commit", name, revision)
	}
	if _, err := cache.Stat(cache.in("snapshots", commit)); err != nil {
		return "", fmt.Errorf("hub: %w", err)
	}
	return cache.path("snapshots", commit), nil
}

// Snapshot returns the folder of a model in a folder of the cache that was
// given as it is, models--ORG--NAME: what refs/main says, or the only one that
// is there. ok is false of any other folder.
func Snapshot(dir string) (snapshot, name string, ok bool, err error) {
	rest, ok := strings.CutPrefix(filepath.Base(dir), "models--")
	if !ok {
		return "", "", false, nil
	}
	list, err := os.ReadDir(filepath.Join(dir, "snapshots"))
	if err != nil {
		return "", "", false, nil // a folder that is only called so
	}
	name = rest
	if _, after, found := strings.Cut(rest, "--"); found {
		name = after
	}
	var commits []string
	for _, e := range list {
		if e.IsDir() && commitName.MatchString(e.Name()) {
			commits = append(commits, e.Name())
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", "", true, err
	}
	defer root.Close()
	c := &cache{Root: root}
	text, err := c.text(filepath.Join("refs", "main"))
	commit := strings.TrimSpace(string(text))
	switch {
	case err == nil && slices.Contains(commits, commit):
	case len(commits) == 1:
		commit = commits[0]
	case len(commits) == 0:
		return "", "", true, fmt.Errorf("hub: %s holds no snapshot: the model was not pulled to its end", dir)
	default:
		return "", "", true, fmt.Errorf("hub: %s holds %d snapshots and no refs/main that names one: name one of %s", dir, len(commits), filepath.Join(dir, "snapshots"))
	}
	return filepath.Join(dir, "snapshots", commit), name, true, nil
}
