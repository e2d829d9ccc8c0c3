package score

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Store is a place where files lie. Names are whole, with their scheme. What is
// not there is fs.ErrNotExist; what did not answer, though it was asked
// several times, is *Unreachable, also when it stops in the middle of a file.
type Store interface {
	Open(ctx context.Context, name string) (io.ReadCloser, error)
	List(ctx context.Context, prefix string, yield func(name string) bool) error // in lexical order
	Create(ctx context.Context, name string) (File, error)
}

// File is a file that is being written. Nobody sees it before Commit.
type File interface {
	io.Writer
	Commit() error
	Abort() // does nothing after Commit
}

// Stores are the places beyond the disk, by their scheme: s3, https.
type Stores map[string]Store

// Web returns the stores of http and https, which can be read and not written.
func Web() Stores {
	w := &web{client: &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
		DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: time.Minute,
	}}}
	return Stores{"http": w, "https": w}
}

// schemeOf is "" for a name of the disk.
func schemeOf(name string) string {
	scheme, _, found := strings.Cut(name, "://")
	if !found || len(scheme) < 2 || strings.ContainsAny(scheme, `/\`) {
		return ""
	}
	return strings.ToLower(scheme)
}

// of returns the store of a name; nil: the disk.
func (s Stores) of(name string) (Store, error) {
	scheme := schemeOf(name)
	if scheme == "" {
		return nil, nil
	}
	if store, ok := s[scheme]; ok {
		return store, nil
	}
	if slices.Contains([]string{"s3", "gs", "azblob"}, scheme) {
		return nil, never("%s: this program does not read %s://; the one of github.com/vitserve/vitserve/cloud/cmd/vitserve does", name, scheme)
	}
	return nil, never("%s: no store for %s://", name, scheme)
}

// Join is a name that stands in a file, in a folder or beside a list there. The
// parameters of a URL go on to those of the same bucket.
func Join(base, name string) string {
	if schemeOf(name) != "" || name == "" {
		return name
	}
	if schemeOf(base) == "" {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(base, name)
	}
	u, err := url.Parse(base)
	if err != nil {
		return name
	}
	if strings.HasPrefix(name, "/") {
		u.Path = name
	} else {
		u.Path = path.Join("/", u.Path, name)
	}
	u.RawPath = ""
	return u.String()
}

// folderOf is the folder that a file lies in.
func folderOf(name string) string {
	if schemeOf(name) == "" {
		return filepath.Dir(name)
	}
	u, err := url.Parse(name)
	if err != nil {
		return name
	}
	u.Path, u.RawPath = path.Dir(u.Path), ""
	return u.String()
}

// pathOf is a name without what follows the path of a URL.
func pathOf(name string) string {
	if schemeOf(name) == "" {
		return filepath.ToSlash(name)
	}
	if u, err := url.Parse(name); err == nil {
		return u.Path
	}
	return name
}

// web reads from servers of HTTP.
type web struct{ client *http.Client }

// Tries of a place that does not answer, with a pause before all but the first.
var pauses = []time.Duration{0, 200 * time.Millisecond, time.Second, 3 * time.Second}

// Open is of Store. A body that breaks off is asked for again from there.
func (w *web) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	b := &body{w: w, ctx: ctx, name: name}
	if err := b.connect(); err != nil {
		return nil, err
	}
	return b, nil
}

// List is of Store.
func (w *web) List(_ context.Context, prefix string, _ func(string) bool) error {
	return never("%s: a web server does not list its files, want a manifest", prefix)
}

// Create is of Store.
func (w *web) Create(_ context.Context, name string) (File, error) {
	return nil, never("%s: a web server is read and not written", name)
}

// body is a file that is being read.
type body struct {
	w    *web
	ctx  context.Context
	name string
	at   int64
	tag  string // If-Range: it must be the same file that goes on
	r    io.ReadCloser
}

// connect asks for the file from where it has been read to.
func (b *body) connect() error {
	var last error
	for _, pause := range pauses {
		select {
		case <-time.After(pause):
		case <-b.ctx.Done():
			return b.ctx.Err()
		}
		again, err := b.ask()
		if err == nil || !again {
			return err
		}
		if last = err; b.ctx.Err() != nil {
			return b.ctx.Err()
		}
	}
	return &Unreachable{b.name, last}
}

// ask asks once, and says whether asking again may help.
func (b *body) ask() (again bool, err error) {
	req, err := http.NewRequestWithContext(b.ctx, http.MethodGet, b.name, nil)
	if err != nil {
		return false, err
	}
	if b.at > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(b.at, 10)+"-")
		if b.tag != "" {
			req.Header.Set("If-Range", b.tag)
		}
	}
	resp, err := b.w.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return true, err
	}
	switch code := resp.StatusCode; {
	case code == http.StatusOK && b.at > 0:
		// From the start again: what has been read is passed over.
		if _, err := io.CopyN(io.Discard, resp.Body, b.at); err != nil {
			resp.Body.Close()
			return true, err
		}
	case code == http.StatusOK:
		if b.tag = resp.Header.Get("ETag"); strings.HasPrefix(b.tag, "W/") {
			b.tag = ""
		}
	case code == http.StatusPartialContent && b.at > 0:
	default:
		resp.Body.Close()
		switch {
		case code == http.StatusNotFound, code == http.StatusGone:
			return false, fmt.Errorf("%s: %w", resp.Status, fs.ErrNotExist)
		case code == http.StatusRequestTimeout, code == http.StatusTooManyRequests, code >= 500:
			return true, errors.New(resp.Status)
		}
		return false, errors.New(resp.Status)
	}
	b.r = resp.Body
	return false, nil
}

// Read is of io.Reader.
func (b *body) Read(p []byte) (int, error) {
	for broken := 0; ; {
		n, err := b.r.Read(p)
		b.at += int64(n)
		if err == nil || errors.Is(err, io.EOF) || n > 0 {
			if n > 0 && !errors.Is(err, io.EOF) {
				err = nil // it comes again if it is there to stay
			}
			return n, err
		}
		if b.ctx.Err() != nil {
			return 0, b.ctx.Err()
		}
		if broken++; broken == len(pauses) {
			return 0, &Unreachable{b.name, err}
		}
		b.r.Close()
		if err := b.connect(); err != nil {
			b.r = io.NopCloser(strings.NewReader(""))
			if _, is := errors.AsType[*Unreachable](err); !is && b.ctx.Err() == nil {
				err = &Unreachable{b.name, err} // it was there
			}
			return 0, err
		}
	}
}

// Close is of io.Closer.
func (b *body) Close() error { return b.r.Close() }
