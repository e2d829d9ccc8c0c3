package api

import (
	"context"
	"errors"
	"fmt"
	"github.com/vitserve/vitserve/api/op"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// errFetch is in the chain of errors about a picture that is an address.
var errFetch = errors.New("image address")

// newFetcher returns a client that only connects to public addresses. The
// check is at connect, after the name was resolved, so a name cannot be
// public when it is looked at and private when it is used.
func newFetcher(cfg Config) *http.Client {
	dialer := &net.Dialer{
		Timeout: 5 * time.Second,
		Control: func(_, addr string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(addr)
			if err != nil {
				return fmt.Errorf("%w: %s", errFetch, addr)
			}
			return public(ap)
		},
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:       nil, // a proxy would connect where we must not
			DialContext: dialer.DialContext, TLSHandshakeTimeout: 5 * time.Second, ResponseHeaderTimeout: 10 * time.Second,
			MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > 3 {
				return fmt.Errorf("%w: more than 3 redirects", errFetch)
			}
			return allowed(r.URL, cfg.ImageHosts)
		},
	}
}

// special are ranges that are not private by name and yet not the Internet:
// https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001::/23"),
	netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
}

// public refuses addresses that are not of the Internet, and ports that are
// not the Web's.
func public(ap netip.AddrPort) error {
	ip := ap.Addr().Unmap()
	bad := !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() ||
		slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(ip) })
	if bad {
		return fmt.Errorf("%w: %s is not a public address", errFetch, ip)
	}
	if ap.Port() != 80 && ap.Port() != 443 {
		return fmt.Errorf("%w: port %d, want 80 or 443", errFetch, ap.Port())
	}
	return nil
}

// allowed refuses addresses that are not on the list.
func allowed(u *url.URL, hosts []string) error {
	switch {
	case len(hosts) == 0:
		return fmt.Errorf("%w: this server fetches no pictures: send the picture itself", errFetch)
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("%w: scheme %s, want https", errFetch, op.Clip(u.Scheme))
	case u.User != nil:
		return fmt.Errorf("%w: credentials in the address", errFetch)
	case !slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, u.Hostname()) }):
		return fmt.Errorf("%w: host %s is not on this server's list", errFetch, op.Clip(u.Hostname()))
	}
	return nil
}

// fetched hands a picture to one, and fetches its file first if need be.
func (s *Server) fetched(ctx context.Context, of *body, p op.Picture, one func(op.Picture) error) error {
	if p.URL == "" {
		return one(p)
	}
	b := body{of: &s.bodies, from: of.from}
	defer b.release()
	var err error
	if p.Data, err = s.get(ctx, p.URL, &b); err != nil {
		return err
	}
	return one(p)
}

// get fetches a picture.
func (s *Server) get(ctx context.Context, address string, b *body) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("%w: %s cannot be read", errFetch, op.Clip(address))
	}
	if err := allowed(u, s.cfg.ImageHosts); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errFetch, err)
	}
	req.Header.Set("User-Agent", "vitserve")
	resp, err := s.fetch.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: %v", errFetch, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: %s answers %d", errFetch, op.Clip(u.Host), resp.StatusCode)
	}
	data, err := b.read(io.LimitReader(resp.Body, s.cfg.MaxBody+1), -1)
	switch {
	case errors.Is(err, errBodies):
		return nil, err
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("%w: %v", errFetch, err)
	case int64(len(data)) > s.cfg.MaxBody:
		return nil, fmt.Errorf("%w: the picture is larger than the limit of %d bytes", errFetch, s.cfg.MaxBody)
	}
	return data, nil
}
