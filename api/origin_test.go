package api_test

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
)

// under asks under a host name, from a connection to the loopback address.
func (c *client) under(host, method, path string, body []byte, header ...string) reply {
	c.t.Helper()
	req := c.request(method, path, bytes.NewReader(body), header...)
	req.Host = host
	return c.do(req)
}

// TestOtherOrigins: a page of another origin changes and costs nothing.
func TestOtherOrigins(t *testing.T) {
	banana := photo(t, "banana.jpg")
	paths := []string{"/v1/models/starter/unload", "/v1/models/starter/load", "/v1/classify", "/v1/explain", "/v1/embed", "/v1/preprocess"}
	from := func(site, origin string) []string { return []string{"Sec-Fetch-Site", site, "Origin", origin} }
	c := start(t, func(cfg *api.Config) { cfg.CORSOrigins = []string{"https://app.example"} })
	for _, path := range paths {
		for _, header := range [][]string{
			from("cross-site", "https://evil.example"), from("same-site", "https://evil.app.example"), {"Origin", "https://evil.example"}, {"Origin", "null"},
			from("cross-site", "null"), {"Sec-Fetch-Site", "cross-site"}, {"Origin", "http://app.example"},
		} {
			r := c.post(path, banana, header...)
			require.Equal(t, http.StatusForbidden, r.status, "%s %v", path, header)
			require.Contains(t, r.problem(t).Detail, "cors_origins")
			require.Empty(t, r.header.Get("Access-Control-Allow-Origin"))
		}
		for _, header := range [][]string{nil, from("cross-site", "https://app.example"), from("same-origin", c.url), from("none", ""), {"Origin", c.url}} {
			require.Equal(t, http.StatusOK, c.post(path, banana, header...).status, "%s %v", path, header)
		}
	}
	require.Equal(t, http.StatusOK, c.get("/v1/models", from("cross-site", "https://evil.example")...).status, "it cannot read the answer")

	anybody := start(t, func(cfg *api.Config) { cfg.CORSOrigins = []string{"*"} })
	for i, path := range paths {
		want := http.StatusOK
		if i < 2 {
			want = http.StatusForbidden
		}
		require.Equal(t, want, anybody.post(path, banana, from("cross-site", "https://evil.example")...).status, path)
	}
}

// TestHostIsLocal: a page whose own name leads here is told by it.
func TestHostIsLocal(t *testing.T) {
	c := start(t, func(cfg *api.Config) { cfg.AllowedHosts = []string{"vit.Example"} })
	banana := photo(t, "banana.jpg")
	for _, host := range []string{
		"evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example:8080", "192.168.0.1", "[2001:db8::1]:80", "0.0.0.0", "[::]", "128.0.0.1",
		"vit.example.evil", "xvit.example", "127.1", "2130706433", "localhost:80:80",
	} {
		for _, path := range []string{"/v1/classify", "/v1/models/starter/unload"} {
			r := c.under(host, http.MethodPost, path, banana)
			require.Equal(t, http.StatusForbidden, r.status, "%s %s", host, path)
			require.Contains(t, r.problem(t).Detail, "allowed_hosts")
		}
		for _, path := range []string{"/v1/models", "/metrics", "/docs", "/openapi.json", "/version", "/"} {
			require.Equal(t, http.StatusForbidden, c.under(host, http.MethodGet, path, nil).status, "%s %s", host, path)
		}
		for _, path := range []string{"/healthz", "/readyz"} {
			require.Equal(t, http.StatusOK, c.under(host, http.MethodGet, path, nil).status, "%s %s", host, path)
		}
	}
	for _, host := range []string{"localhost", "LocalHost:1", "localhost.", "127.0.0.1", "127.9.8.7:80", "[::1]", "[::1]:8080", "vit.example", "VIT.example:99"} {
		require.Equal(t, http.StatusOK, c.under(host, http.MethodPost, "/v1/classify", banana).status, host)
	}
	keyed := start(t, func(cfg *api.Config) { cfg.Keys = []api.Key{{Name: "k", SHA256: api.HashKey("k")}} })
	require.Equal(t, http.StatusOK, keyed.under("photos.example", http.MethodPost, "/v1/classify", banana, "X-API-Key", "k").status, "a page knows no key")
}

// TestTrustedProxies: behind one every client has its own bucket, and none
// can make an address up.
func TestTrustedProxies(t *testing.T) {
	c := start(t, func(cfg *api.Config) {
		cfg.RateLimit, cfg.RateBurst = 0.001, 2
		cfg.TrustedProxies = []string{"127.0.0.0/8", "10.0.0.1", "2001:db8::/32"}
	})
	for _, client := range []string{"192.0.2.1", "192.0.2.2, 10.0.0.1", "8.8.8.8, 192.0.2.3", "127.0.0.1, 192.0.2.4", "2a00::1", "junk, 192.0.2.5,2001:db8::7"} {
		for i, want := range []int{200, 200, 429} {
			header := client
			if i == 1 {
				header = fmt.Sprintf("203.0.113.%d, %s", i, client) // made up
			}
			require.Equal(t, want, c.get("/v1/models", "X-Forwarded-For", header).status, header)
		}
	}
	require.Equal(t, http.StatusTooManyRequests, c.get("/v1/models", "X-Forwarded-For", "2a00::2").status, "the same customer's network")
	require.Contains(t, c.logs.String(), `"remote":"192.0.2.3"`)

	free := start(t, func(cfg *api.Config) { cfg.TrustedProxies = []string{"127.0.0.1"} })
	for _, client := range []string{"192.0.2.1", "127.0.0.1", "", "127.0.0.1, 192.0.2.1"} {
		r := free.post("/v1/models/starter/load", nil, "X-Forwarded-For", client)
		require.Equal(t, http.StatusForbidden, r.status, "a proxy's client is not of this machine: %q", client)
	}
}

// TestShareBehindAProxy: bodies are counted for the client, and for nobody
// where the proxy does not say for whom.
func TestShareBehindAProxy(t *testing.T) {
	c := start(t, func(cfg *api.Config) {
		cfg.MaxBody, cfg.BodyBudget, cfg.TrustedProxies = 1<<20, 4_010_000, []string{"127.0.0.2"}
	})
	banana := photo(t, "banana.jpg")
	whole := fmt.Sprintf("Content-Length: %d\r\n", len(banana))
	ask := func(client string) int {
		conn := dialFrom(c, "127.0.0.2")
		send(t, conn, client+whole, string(banana))
		code, _ := status(t, conn)
		return code
	}
	one, two := "X-Forwarded-For: 192.0.2.1\r\n", "X-Forwarded-For: 192.0.2.2\r\n"
	for range 2 {
		send(t, dialFrom(c, "127.0.0.2"), one+declared, string(bytes.Repeat([]byte{0xff}, 990_000)))
	}
	held(c, 2_000_002, 2_000_002)
	require.Equal(t, http.StatusTooManyRequests, ask(one))
	require.Equal(t, http.StatusOK, ask(two))
	send(t, dialFrom(c, "127.0.0.2"), declared, string(bytes.Repeat([]byte{0xff}, 990_000)))
	held(c, 3_000_003, 3_000_003)
	require.Equal(t, http.StatusOK, ask(""))
}
