package hub

import (
	"cmp"
	"context"
	"crypto/sha1" // git's hash, which names small files
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Limits of a conversation with the hub.
const (
	maxRedirects = 10
	maxTries     = 6
	maxWait      = time.Minute // between tries, whatever Retry-After says
	reportEvery  = 1 << 20     // bytes

	// A try that brought less is one of maxTries: a hub that sends a byte
	// at a time would be asked for ever.
	leastProgress = 64 << 10

	defaultFirstWait = 500 * time.Millisecond // before the second try; it doubles
)

// transport has timeouts for everything but the body, which watch bounds.
var transport = func() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	t.ResponseHeaderTimeout = 30 * time.Second
	return t
}()

// ask sends a request to the hub and follows redirects within it, as renamed
// repositories have them. A redirect to another host is returned as it is.
func (c *Client) ask(ctx context.Context, method, path string, header http.Header) (*http.Response, error) {
	base, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	at := base.String() + path
	for range maxRedirects {
		res, err := c.try(ctx, method, at, header)
		if err != nil {
			return nil, err
		}
		if res.StatusCode < 300 || res.StatusCode >= 400 {
			return res, nil
		}
		to, err := res.Location()
		if err != nil || to.Host != base.Host || to.Scheme != base.Scheme || res.Header.Get("X-Linked-Etag") != "" {
			return res, nil
		}
		res.Body.Close()
		at = to.String()
	}
	return nil, errors.New("too many redirects")
}

// temporary is an error after which another try may do better.
type temporary struct {
	error
	after time.Duration // as the server asks; 0: it does not say
}

func (t temporary) Unwrap() error { return t.error }

// try sends a request until there is an answer that will not change soon.
func (c *Client) try(ctx context.Context, method, at string, header http.Header) (res *http.Response, err error) {
	err = c.retry(ctx, func() (bool, error) {
		res, err = c.send(ctx, method, at, header)
		return false, err
	})
	return res, err
}

// retry repeats do while it fails temporarily. do reports whether it got
// anywhere, which starts the count afresh.
func (c *Client) retry(ctx context.Context, do func() (progress bool, err error)) error {
	firstWait := cmp.Or(c.firstWait, defaultFirstWait)
	wait := firstWait
	for tries := 1; ; tries++ {
		progress, err := do()
		var again temporary
		if err == nil || !errors.As(err, &again) || ctx.Err() != nil {
			return err
		}
		if progress {
			tries, wait = 1, firstWait
		}
		if tries == maxTries {
			return fmt.Errorf("after %d tries: %w", tries, err)
		}
		select {
		case <-time.After(min(max(wait, again.after), maxWait)):
		case <-ctx.Done():
			return ctx.Err()
		}
		wait *= 2
	}
}

// send sends one request. The token goes to the endpoint alone: to its very
// host and scheme, not to a host below it, as net/http would have it.
func (c *Client) send(ctx context.Context, method, at string, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, at, nil)
	if err != nil {
		return nil, err
	}
	base, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	if req.URL.Scheme != "https" && (req.URL.Scheme != "http" || base.Scheme != "http") {
		return nil, fmt.Errorf("redirect to %q, which is not https", at)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", "vitserve")
	// Compressed, a file would have neither its size nor its hash.
	req.Header.Set("Accept-Encoding", "identity")
	if c.Token != "" && req.URL.Host == base.Host && req.URL.Scheme == base.Scheme {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	carrier := c.HTTP
	if carrier == nil {
		carrier = transport
	}
	res, err := carrier.RoundTrip(req)
	if err != nil {
		// Another try would find no name, and no trust, either.
		var name *net.DNSError
		var trust *tls.CertificateVerificationError
		switch {
		case errors.As(err, &name) && name.IsNotFound:
			return nil, fmt.Errorf("host %s is not known: check the network, HF_ENDPOINT and the proxy: %w", req.URL.Host, err)
		case errors.As(err, &trust):
			return nil, fmt.Errorf("host %s is not trusted: %w", req.URL.Host, err)
		}
		return nil, temporary{error: err}
	}
	switch code := res.StatusCode; {
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code >= 500:
		res.Body.Close()
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
		return nil, temporary{fmt.Errorf("%s answers %s", req.URL.Host, res.Status), time.Duration(min(max(seconds, 0), 3600)) * time.Second}
	}
	return res, nil
}

// download brings the bytes of a file to blob, going on where an earlier
// download stopped, and checks their hash.
func (c *Client) download(ctx context.Context, cache *cache, file, blob string, r remote) (size int64, err error) {
	partial := blob + ".incomplete"
	have := int64(0)
	if info, err := cache.Lstat(partial); err == nil {
		have = info.Size()
	}
	if err := fits(cache.Name(), r.size-have); err != nil {
		return 0, err
	}
	f, err := cache.create(partial)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for fresh := r.size < 0; ; fresh = true {
		if size, err = c.fill(ctx, file, f, r); err != nil {
			return 0, err
		}
		if strings.HasPrefix(r.etag, opaque) {
			break // it has its size, and more nobody says
		}
		sum, err := sumOf(ctx, f, r, size)
		if err != nil {
			return 0, err
		}
		if sum == r.etag {
			break
		}
		// What an earlier download left may be at fault; what this one
		// brought from the first byte on is not.
		if err := f.Truncate(0); err != nil {
			return 0, err
		}
		if fresh {
			return 0, errors.Join(fmt.Errorf("hash %s, want %s: what the hub sends is not what it says", sum, r.etag), f.Close(), cache.Remove(partial))
		}
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return 0, err
	}
	return size, cache.Rename(partial, blob)
}

// unsized bounds a file of weights whose size nobody says, in bytes.
const unsized = 32 << 30

// fill completes f, retrying as long as it grows, and returns its size. What
// has none is begun anew each time.
func (c *Client) fill(ctx context.Context, file string, f *os.File, r remote) (size int64, err error) {
	var grown int64 // the most that f has had when a try was counted as progress
	err = c.retry(ctx, func() (bool, error) {
		info, err := f.Stat()
		if err != nil {
			return false, err
		}
		have := info.Size()
		if r.size < 0 || have > r.size {
			have = 0
			if err := f.Truncate(0); err != nil {
				return false, err
			}
		}
		grown = max(grown, have)
		if size = have; have == r.size {
			return false, nil
		}
		end, err := c.body(ctx, file, f, have, r)
		size = end
		progress := r.size >= 0 && end >= grown+leastProgress
		if progress {
			grown = end
		}
		if err != nil {
			err = fmt.Errorf("%w (%d of %d bytes are there)", err, end, r.size)
		}
		return progress, err
	})
	return size, err
}

// body appends what one request brings to the have bytes of f and returns
// how many it has then.
func (c *Client) body(ctx context.Context, file string, f *os.File, have int64, r remote) (end int64, err error) {
	header := http.Header{}
	if have > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	w := c.watch(ctx, 0)
	defer w.stop()
	res, err := c.follow(w.ctx, r.url, header)
	if err != nil {
		return have, err
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusPartialContent:
		if want := fmt.Sprintf("bytes %d-", have); !strings.HasPrefix(res.Header.Get("Content-Range"), want) {
			return have, fmt.Errorf("asked for %s, answered with %q", want, res.Header.Get("Content-Range"))
		}
	case http.StatusOK: // the whole of it, asked for or not
		have = 0
		if err := f.Truncate(0); err != nil {
			return have, err
		}
	case http.StatusRequestedRangeNotSatisfiable:
		return 0, temporary{error: errors.Join(statusError(res, ""), f.Truncate(0))}
	default:
		return have, statusError(res, "")
	}
	if _, err := f.Seek(have, io.SeekStart); err != nil {
		return have, err
	}
	most, says := r.size, "the hub says"
	if r.size < 0 {
		most, says = unsized, "a file of no known size may have"
		if filepath.Ext(file) != ".safetensors" {
			most = maxText
		}
	}
	w.start()
	buf, told := make([]byte, 128<<10), have
	for {
		n, err := w.read(res.Body, buf)
		if n > 0 {
			if int64(n) > most-have {
				return have, fmt.Errorf("more than the %d bytes that %s", most, says)
			}
			if _, err := f.Write(buf[:n]); err != nil {
				return have, full(err)
			}
			have += int64(n)
			if have-told >= reportEvery {
				c.progress(file, have, r.size)
				told = have
			}
		}
		switch {
		case errors.Is(err, io.EOF) && (have == r.size || r.size < 0):
			return have, nil
		case errors.Is(err, io.EOF):
			return have, temporary{error: io.ErrUnexpectedEOF}
		case err != nil:
			return have, temporary{error: err}
		}
	}
}

// follow sends a GET and follows redirects to wherever the bytes are.
func (c *Client) follow(ctx context.Context, at string, header http.Header) (*http.Response, error) {
	for range maxRedirects {
		res, err := c.send(ctx, http.MethodGet, at, header)
		if err != nil || res.StatusCode < 300 || res.StatusCode >= 400 {
			return res, err
		}
		to, err := res.Location()
		res.Body.Close()
		if err != nil {
			return nil, err
		}
		at = to.String()
	}
	return nil, errors.New("too many redirects")
}

// sumOf returns the hash of a file's content that its etag is of.
func sumOf(ctx context.Context, f *os.File, r remote, size int64) (string, error) {
	var h hash.Hash = sha256.New()
	if len(r.etag) == 2*sha1.Size {
		// https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
		h = sha1.New()
		fmt.Fprintf(h, "blob %d\x00", size)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	for buf := make([]byte, 1<<20); ; {
		n, err := f.Read(buf)
		h.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			break
		}
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
