// Package cloud has the stores of clouds for vitserve score: S3 and what is
// compatible with it (s3://bucket/key), Google Cloud Storage (gs://) and Azure
// Blob Storage (azblob://), by gocloud.dev/blob. Credentials are those that
// each cloud's own tools find. Parameters of a URL, such as
// ?endpoint=http://127.0.0.1:9000&use_path_style=true&region=us-east-1, hold for
// all names of its bucket; https://gocloud.dev/howto/blob/ lists them.
package cloud

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/vitserve/vitserve/score"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/gcsblob"   // gs://
	_ "gocloud.dev/blob/s3blob"    // s3://
	"gocloud.dev/gcerrors"
)

// Stores returns the stores of all clouds, by their schemes.
func Stores() score.Stores {
	b := &buckets{opened: map[string]*bucket{}}
	return score.Stores{"s3": b, "gs": b, "azblob": b}
}

// buckets are opened once each.
type buckets struct {
	mu     sync.Mutex
	opened map[string]*bucket // by scheme and host
}

type bucket struct {
	*blob.Bucket
	query string
}

// of returns the bucket of a name, and the key in it.
func (b *buckets) of(ctx context.Context, name string) (*bucket, string, error) {
	u, err := url.Parse(name)
	if err != nil || u.Host == "" {
		return nil, "", fmt.Errorf("%s: want SCHEME://BUCKET/KEY", name)
	}
	at := u.Scheme + "://" + u.Host
	b.mu.Lock()
	defer b.mu.Unlock()
	found, ok := b.opened[at]
	if ok && u.RawQuery != "" && u.RawQuery != found.query && found.query != "" {
		return nil, "", fmt.Errorf("%s: parameters %q, those of the bucket are %q", name, u.RawQuery, found.query)
	}
	if !ok || found.query == "" && u.RawQuery != "" {
		address := at
		if u.RawQuery != "" {
			address += "?" + u.RawQuery
		}
		opened, err := blob.OpenBucket(context.WithoutCancel(ctx), address)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", name, err)
		}
		found = &bucket{opened, u.RawQuery}
		b.opened[at] = found
	}
	return found, strings.TrimPrefix(u.Path, "/"), nil
}

// pauses are before each try of a store that fails. The clouds' own libraries
// try again, too.
var pauses = []time.Duration{0, 500 * time.Millisecond, 2 * time.Second}

// trouble sorts an error: what is not there, what was refused for good, and what
// may be there later.
func trouble(ctx context.Context, name string, err error) (again bool, _ error) {
	switch {
	case err == nil:
		return false, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	}
	switch gcerrors.Code(err) {
	case gcerrors.NotFound:
		return false, fmt.Errorf("%w in the bucket", fs.ErrNotExist)
	case gcerrors.InvalidArgument, gcerrors.Unimplemented:
		return false, err
	}
	return true, &score.Unreachable{Name: name, Err: err}
}

// Open is of score.Store.
func (b *buckets) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	bucket, key, err := b.of(ctx, name)
	if err != nil {
		return nil, err
	}
	o := &object{ctx: ctx, bucket: bucket, key: key, name: name}
	if err := o.open(); err != nil {
		return nil, err
	}
	return o, nil
}

// object is a file that is being read; one that breaks off goes on.
type object struct {
	ctx       context.Context
	bucket    *bucket
	key, name string
	at        int64
	r         *blob.Reader
}

func (o *object) open() (err error) {
	for _, pause := range pauses {
		select {
		case <-time.After(pause):
		case <-o.ctx.Done():
			return o.ctx.Err()
		}
		var again bool
		o.r, err = o.bucket.NewRangeReader(o.ctx, o.key, o.at, -1, nil)
		if again, err = trouble(o.ctx, o.name, err); !again {
			return err
		}
	}
	return err
}

// Read is of io.Reader.
func (o *object) Read(p []byte) (int, error) {
	for broken := 0; ; broken++ {
		n, err := o.r.Read(p)
		o.at += int64(n)
		if n > 0 || err == nil || err == io.EOF { //nolint:errorlint // io.Reader's own
			if n > 0 {
				err = nil // it comes again
			}
			return n, err
		}
		if o.ctx.Err() != nil {
			return 0, o.ctx.Err()
		}
		if broken == len(pauses) {
			return 0, &score.Unreachable{Name: o.name, Err: err}
		}
		o.r.Close()
		if err := o.open(); err != nil {
			return 0, &score.Unreachable{Name: o.name, Err: err}
		}
	}
}

// Close is of io.Closer.
func (o *object) Close() error { return o.r.Close() }

// List is of score.Store.
func (b *buckets) List(ctx context.Context, prefix string, yield func(name string) bool) error {
	bucket, key, err := b.of(ctx, prefix)
	if err != nil {
		return err
	}
	root, err := url.Parse(prefix)
	if err != nil {
		return err
	}
	for list := bucket.List(&blob.ListOptions{Prefix: key}); ; {
		o, err := list.Next(ctx)
		if err == io.EOF { //nolint:errorlint // as blob says
			return nil
		}
		if _, err := trouble(ctx, prefix, err); err != nil {
			return err
		}
		name := url.URL{Scheme: root.Scheme, Host: root.Host, Path: "/" + o.Key}
		if !o.IsDir && !strings.HasSuffix(o.Key, "/") && !yield(name.String()) {
			return nil
		}
	}
}

// Create is of score.Store.
func (b *buckets) Create(ctx context.Context, name string) (score.File, error) {
	bucket, key, err := b.of(ctx, name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	w, err := bucket.NewWriter(ctx, key, nil)
	if err != nil {
		cancel()
		return nil, &score.Unreachable{Name: name, Err: err}
	}
	return &writing{Writer: w, cancel: cancel, name: name}, nil
}

// writing is an object that appears when it is whole.
type writing struct {
	*blob.Writer
	cancel context.CancelFunc
	name   string
	done   bool
}

// Commit is of score.File.
func (w *writing) Commit() error {
	w.done = true
	defer w.cancel()
	if err := w.Close(); err != nil {
		return &score.Unreachable{Name: w.name, Err: err}
	}
	return nil
}

// Abort is of score.File. A writer that is cancelled before it is closed leaves
// nothing.
func (w *writing) Abort() {
	if !w.done {
		w.done = true
		w.cancel()
		_ = w.Close()
	}
}
