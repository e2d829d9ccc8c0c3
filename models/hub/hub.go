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

// FromEnv returns the client that HF_ENDPOINT, HF_HOME, HF_HUB_CACHE,
// HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE and XDG_CACHE_HOME describe.
func FromEnv() (*Client, error) {
	home := os.Getenv("HF_HOME")
	if home == "" {
		cache := os.Getenv("XDG_CACHE_HOME")
		if cache == "" {
			user, err := os.UserHomeDir()
			if err != nil {
				return nil, fmt.Errorf("hub: no folder for the cache, set HF_HOME: %w", err)
			}
			cache = filepath.Join(user, ".cache")
		}
		home = filepath.Join(cache, "huggingface")
	}
	c := &Client{Endpoint: os.Getenv("HF_ENDPOINT"), Cache: os.Getenv("HF_HUB_CACHE"), Token: os.Getenv("HF_TOKEN")}
	if c.Cache == "" {
		c.Cache = filepath.Join(home, "hub")
	}
	switch strings.ToUpper(os.Getenv("HF_HUB_OFFLINE")) {
	case "1", "ON", "YES", "TRUE":
		c.Offline = true
	}
	if c.Token == "" {
		path := os.Getenv("HF_TOKEN_PATH")
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
