package api_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
)

func TestKeys(t *testing.T) {
	c := start(t, func(cfg *api.Config) {
		cfg.Keys = []api.Key{{Name: "boss", SHA256: api.HashKey("b0ss"), Admin: true}, {Name: "user", SHA256: strings.ToUpper(api.HashKey("us3r"))}}
	})
	banana := photo(t, "banana.jpg")
	for _, header := range [][]string{nil, {"X-API-Key", "wrong"}, {"X-API-Key", api.HashKey("us3r")}, {"Authorization", "Bearer wrong"}, {"Authorization", "Basic us3r"}, {"Authorization", "us3r"}} {
		for _, path := range []string{"/v1/classify", "/v1/explain", "/v1/models/starter/load", "/v1/models/starter/unload"} {
			r := c.post(path, banana, header...)
			require.Equal(t, http.StatusUnauthorized, r.status, "%s %v", path, header)
			require.Equal(t, `Bearer realm="vitserve"`, r.header.Get("WWW-Authenticate"))
			r.problem(t)
		}
		require.Equal(t, http.StatusUnauthorized, c.get("/v1/models", header...).status)
		require.Equal(t, http.StatusUnauthorized, c.get("/metrics", header...).status)
	}
	require.Equal(t, http.StatusUnauthorized, c.post("/v1/unknown", nil).status, "what exists is nobody's business")
	for _, header := range [][]string{{"X-API-Key", "us3r"}, {"Authorization", "Bearer us3r"}, {"Authorization", "bearer us3r"}} {
		require.Equal(t, http.StatusOK, c.post("/v1/classify", banana, header...).status)
		require.Equal(t, http.StatusForbidden, c.post("/v1/models/starter/load", nil, header...).status)
		require.Equal(t, http.StatusForbidden, c.post("/v1/models/starter/unload", nil, header...).status)
	}
	require.Equal(t, http.StatusOK, c.post("/v1/models/starter/load", nil, "X-API-Key", "b0ss").status)
	for _, path := range []string{"/healthz", "/readyz", "/version", "/openapi.json", "/docs", "/docs/docs.js"} {
		require.Equal(t, http.StatusOK, c.get(path).status, path)
	}
	require.Contains(t, c.logs.String(), `"key":"user"`)
	require.NotContains(t, c.logs.String(), "us3r")
}

func TestRateLimit(t *testing.T) {
	c := start(t, func(cfg *api.Config) {
		cfg.RateLimit, cfg.RateBurst = 0.2, 3
		cfg.Keys = []api.Key{{Name: "a", SHA256: api.HashKey("a")}, {Name: "b", SHA256: api.HashKey("b")}, {Name: "fast", SHA256: api.HashKey("fast"), Rate: 1e6}}
	})
	ask := func(key string) reply { return c.get("/v1/models", "X-API-Key", key, "X-Forwarded-For", key) }
	for range 3 {
		require.Equal(t, http.StatusOK, ask("a").status)
	}
	r := ask("a")
	require.Equal(t, http.StatusTooManyRequests, r.status)
	require.Equal(t, "5", r.header.Get("Retry-After"), "a token takes five seconds")
	require.Equal(t, http.StatusOK, ask("b").status, "of another key")
	for range 50 {
		require.Equal(t, http.StatusOK, ask("fast").status)
	}

	byAddress := start(t, func(cfg *api.Config) { cfg.RateLimit, cfg.RateBurst = 0.001, 2 })
	for i, want := range []int{200, 200, 429} {
		r := byAddress.get("/v1/models", "X-Forwarded-For", string(rune('1'+i))+".1.1.1", "X-Real-IP", "9.9.9.9")
		require.Equal(t, want, r.status, "an address cannot be made up")
	}
	require.Equal(t, http.StatusOK, byAddress.get("/healthz").status, "probes have no limit")
}

func TestCORS(t *testing.T) {
	c := start(t, func(cfg *api.Config) { cfg.CORSOrigins = []string{"https://app.example"} })
	r := c.do(c.request(http.MethodOptions, "/v1/classify", nil, "Origin", "https://app.example", "Access-Control-Request-Method", "POST"))
	require.Equal(t, http.StatusNoContent, r.status)
	require.Equal(t, "https://app.example", r.header.Get("Access-Control-Allow-Origin"))
	require.Contains(t, r.header.Get("Access-Control-Allow-Headers"), "X-API-Key")
	require.Equal(t, "https://app.example", c.get("/v1/models", "Origin", "https://app.example").header.Get("Access-Control-Allow-Origin"))
	require.Empty(t, c.get("/v1/models", "Origin", "https://evil.example").header.Get("Access-Control-Allow-Origin"))
	none := start(t, nil)
	require.Empty(t, none.get("/v1/models", "Origin", "https://app.example").header.Get("Access-Control-Allow-Origin"))
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(certFile, certPEM, 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg := api.DefaultConfig()
	cfg.TLSCert, cfg.TLSKey, cfg.Logger = certFile, keyFile, slog.New(slog.DiscardHandler)
	s, err := api.New(cfg)
	require.NoError(t, err)
	ctx, stop := contextOf(t)
	ended := make(chan error, 1)
	go func() { ended <- s.ServeListener(ctx, l) }()
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(certPEM))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	client := &http.Client{Transport: transport}
	var resp *http.Response
	require.Eventually(t, func() bool {
		resp, err = client.Post("https://"+l.Addr().String()+"/v1/classify", "", bytes.NewReader(photo(t, "banana.jpg")))
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, 5*time.Second, 10*time.Millisecond)
	require.Equal(t, 2, resp.ProtoMajor)
	require.GreaterOrEqual(t, resp.TLS.Version, uint16(tls.VersionTLS12))
	transport.CloseIdleConnections()
	stop()
	require.NoError(t, <-ended)

	cfg.TLSCert = filepath.Join(dir, "none.pem")
	s, err = api.New(cfg)
	require.NoError(t, err)
	cfg.Addr = "127.0.0.1:0"
	l, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.ErrorContains(t, s.ServeListener(t.Context(), l), "none.pem")
}

func TestDebug(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := free.Addr().String()
	require.NoError(t, free.Close())
	c, stop, ended := serve(t, func(cfg *api.Config) {
		cfg.DebugAddr = addr
		cfg.Keys = []api.Key{{Name: "k", SHA256: api.HashKey("k")}}
	})
	for path, want := range map[string]string{"/debug/pprof/": "goroutine", "/debug/pprof/goroutine?debug=1": "goroutine profile", "/metrics": "vitserve_queue_depth"} {
		resp, err := http.Get("http://" + addr + path)
		require.NoError(t, err)
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Contains(t, string(b), want)
	}
	require.Equal(t, http.StatusNotFound, c.get("/debug/pprof/", "X-API-Key", "k").status, "not on the port of the service")
	stop()
	require.NoError(t, <-ended)
	_, err = net.Dial("tcp", addr)
	require.Error(t, err)
}

func TestMetrics(t *testing.T) {
	c := start(t, nil)
	c.post("/v1/classify", photo(t, "banana.jpg"))
	c.post("/v1/explain", photo(t, "ladybug.png"))
	c.post("/v1/nothing/here/at/all", nil)
	c.post("/v1/classify?model=made-up", photo(t, "banana.jpg"))
	r := c.get("/metrics")
	require.Contains(t, r.header.Get("Content-Type"), "text/plain")
	for _, line := range []string{
		`vitserve_request_duration_seconds_count{code="200",route="/v1/classify"} 1`,
		`vitserve_request_duration_seconds_count{code="404",route="/v1/classify"} 1`,
		`vitserve_request_duration_seconds_count{code="404",route="none"} 1`,
		`vitserve_stage_duration_seconds_count{stage="decode"} 2`,
		`vitserve_stage_duration_seconds_count{stage="preprocess"} 1`,
		`vitserve_stage_duration_seconds_count{stage="queue"} 2`,
		`vitserve_stage_duration_seconds_count{stage="infer"} 2`,
		`vitserve_stage_duration_seconds_count{stage="explain"} 1`,
		`vitserve_stage_duration_seconds_count{stage="encode"} 2`,
		`vitserve_batch_size_count{lane="classify",model="starter"} 1`,
		`vitserve_pictures_total{lane="explain",model="starter"} 1`,
		`vitserve_queue_depth{lane="classify",model="starter",priority="high"} 0`,
		`vitserve_requests_in_flight 1`,
	} {
		require.Contains(t, string(r.body), "\n"+line+"\n")
	}
	require.NotContains(t, string(r.body), "made-up", "senders do not make up labels")
	require.NotContains(t, string(r.body), "here/at/all")
}

func TestDocs(t *testing.T) {
	c := start(t, nil)
	page := c.get("/docs")
	require.Contains(t, string(page.body), `src="docs/docs.js"`, "beside it, behind whatever proxy")
	require.Contains(t, page.header.Get("Content-Security-Policy"), "default-src 'none'")
	for _, b := range [][]byte{page.body, c.get("/docs/docs.js").body} {
		require.NotContains(t, string(b), "https://", "nothing is loaded from elsewhere")
	}
	require.Contains(t, string(c.get("/openapi.json").body), `"/v1/classify"`)
	require.Contains(t, string(c.get("/version").body), `"version":"test"`)
}

// TestImageAddresses: pictures by address are refused unless their host is on
// the list, and private addresses are refused at connect even then.
func TestImageAddresses(t *testing.T) {
	hits := 0
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hits++
		_, _ = w.Write(photo(t, "banana.jpg"))
	}))
	defer inside.Close()
	_, port, err := net.SplitHostPort(inside.Listener.Addr().String())
	require.NoError(t, err)
	c := start(t, func(cfg *api.Config) {
		cfg.ImageHosts = []string{"localhost", "127.0.0.1", "::1", "169.254.169.254", "10.0.0.1"}[:2]
		cfg.ImageHosts = append(cfg.ImageHosts, "169.254.169.254", "10.0.0.1", "192.168.0.1", "0.0.0.0")
	})
	for url, want := range map[string]string{
		"http://localhost:" + port + "/x.jpg":          "not a public address",
		"http://127.0.0.1:" + port + "/x.jpg":          "not a public address",
		"http://169.254.169.254/latest/meta-data/":     "not a public address",
		"http://10.0.0.1/x.jpg":                        "not a public address",
		"https://192.168.0.1/x.jpg":                    "not a public address",
		"http://0.0.0.0/x.jpg":                         "not a public address",
		"http://[::1]:" + port + "/x.jpg":              "not on this server's list",
		"http://example.org/x.jpg":                     "not on this server's list",
		"http://localhost.example.org/x.jpg":           "not on this server's list",
		"file:///etc/passwd":                           "scheme",
		"gopher://localhost/":                          "scheme",
		"http://user:password@localhost:" + port + "/": "credentials",
		"http://%zz/":                                  "cannot be read",
	} {
		r := c.post("/v1/classify", []byte(jsonOf(t, map[string]any{"images": []any{map[string]any{"url": url}}})), "Content-Type", "application/json")
		require.Equal(t, http.StatusUnprocessableEntity, r.status, "%s: %s", url, r.body)
		require.Contains(t, r.problem(t).Detail, want, url)
	}
	require.Zero(t, hits)
}
