package api

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/vitserve/vitserve/api/op"
)

// guard refuses what a web page makes its visitor's browser ask: requests of
// other origins that change or cost something, and, where no key is asked for
// and only this machine is served, requests under a name that is not this
// machine's: a page's own name may lead here (DNS rebinding), and then the
// browser takes this server for the page's.
func (s *Server) guard(next echo.HandlerFunc) echo.HandlerFunc {
	anybody := slices.Contains(s.cfg.CORSOrigins, "*")
	return func(c echo.Context) error {
		r := c.Request()
		if s.way(c).probe {
			return next(c)
		}
		if len(s.cfg.Keys) == 0 && onLoopback(r) && !s.local(r.Host) {
			return fmt.Errorf("%w: host %s, want localhost, or a name of allowed_hosts", errForbidden, op.Clip(r.Host))
		}
		if !anybody {
			if err := s.trustedPage(r); err != nil {
				return err
			}
		}
		return next(c)
	}
}

// trustedPage refuses a request that a page of an origin beside CORSOrigins
// has a browser make, unless it only reads.
func (s *Server) trustedPage(r *http.Request) error {
	if err := s.pages.Check(r); err != nil {
		return fmt.Errorf("%w: a page of another origin asks, want one of cors_origins", errForbidden)
	}
	return nil
}

// pagesOf returns what tells whose pages a request comes from.
func pagesOf(cfg Config) *http.CrossOriginProtection {
	p := http.NewCrossOriginProtection()
	for _, o := range cfg.CORSOrigins {
		if o != "*" {
			_ = p.AddTrustedOrigin(o) // see Validate
		}
	}
	return p
}

// onLoopback reports whether a request came to an address that only this
// machine reaches.
func onLoopback(r *http.Request) bool {
	at, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if at == nil {
		return false
	}
	to, err := netip.ParseAddrPort(at.String())
	return err == nil && to.Addr().Unmap().IsLoopback()
}

// local reports whether a Host header names this machine, on any port. One
// that is empty is no browser's.
func (s *Server) local(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "" || host == "localhost" {
		return true
	}
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil && ip.IsLoopback() {
		return true
	}
	return slices.ContainsFunc(s.cfg.AllowedHosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// prefix reads an address, or a network of them.
func prefix(text string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(text); err == nil {
		return ip.Prefix(ip.BitLen())
	}
	return netip.ParsePrefix(text)
}

// addressOf returns how to find the address of a client: that of the
// connection, or behind a trusted proxy the last one in X-Forwarded-For that
// is no such proxy. A client's own header must not choose its rate limit.
func addressOf(cfg Config) echo.IPExtractor {
	if len(cfg.TrustedProxies) == 0 {
		return echo.ExtractIPDirect()
	}
	trust := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, text := range cfg.TrustedProxies {
		if p, err := prefix(text); err == nil { // see Validate
			trust = append(trust, echo.TrustIPRange(&net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}))
		}
	}
	return echo.ExtractIPFromXFFHeader(trust...)
}

// proxied reports whether an address is a trusted proxy's, which has not said
// whom it speaks for.
func (s *Server) proxied(address string) bool {
	ip, err := netip.ParseAddr(address)
	return err == nil && slices.ContainsFunc(s.cfg.TrustedProxies, func(text string) bool {
		p, err := prefix(text)
		return err == nil && p.Contains(ip.Unmap())
	})
}

// sender is whom a request's body is counted for; "" for a trusted proxy,
// which speaks for many.
func (s *Server) sender(c echo.Context) string {
	if s.proxied(c.RealIP()) {
		return ""
	}
	return sender(c.RealIP())
}
