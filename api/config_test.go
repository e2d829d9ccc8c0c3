package api_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
)

func TestLoadConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vitserve.yaml")
	require.NoError(t, os.WriteFile(path, []byte(`
addr: :9000
max_batch: 4
read_timeout: 1m30s
models:
  - {id: tiny, path: ./deit_tiny}
  - {id: starter, lazy: true}
keys:
  - {name: me, sha256: `+api.HashKey("secret")+`, admin: true}
`), 0o600))
	cfg, err := api.LoadConfig(path, []string{
		"HOME=/home/me", "VITSERVE_SHARED=elsewhere", "VITSERVE_SERVE_MAX_BATCH=16", "VITSERVE_SERVE_BATCH_DELAY=2ms",
		"VITSERVE_SERVE_CORS_ORIGINS=[https://a.example, https://b.example]", "VITSERVE_SERVE_RATE_LIMIT=2.5", "VITSERVE_SERVE_TLS_CERT=", "VITSERVE_SERVE_IMAGE_HOSTS=[pictures.example]",
	})
	require.NoError(t, err)
	want := api.DefaultConfig()
	want.Addr, want.MaxBatch, want.ReadTimeout, want.BatchDelay, want.RateLimit = ":9000", 16, api.Duration(90*time.Second), api.Duration(2*time.Millisecond), 2.5
	want.Models = []api.ModelConfig{{ID: "tiny", Path: "./deit_tiny"}, {ID: "starter", Lazy: true}}
	want.Keys = []api.Key{{Name: "me", SHA256: api.HashKey("secret"), Admin: true}}
	want.CORSOrigins = []string{"https://a.example", "https://b.example"}
	want.ImageHosts = []string{"pictures.example"}
	require.Equal(t, want, cfg)

	var b bytes.Buffer
	require.NoError(t, cfg.Print(&b))
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
	again, err := api.LoadConfig(path, nil)
	require.NoError(t, err)
	require.Equal(t, cfg, again, "what is printed can be read")

	require.NoError(t, os.WriteFile(path, []byte(`{"addr": ":1", "idle_timeout": "1s"}`), 0o600))
	asJSON, err := api.LoadConfig(path, nil)
	require.NoError(t, err)
	require.Equal(t, ":1", asJSON.Addr)

	require.NoError(t, os.WriteFile(path, []byte("max_body: 3e7\nrate_limit: 0.5\nmodels: [&m {id: a}, {<<: *m, id: b}, {<<: [*m], id: c}]\n"), 0o600))
	floats, err := api.LoadConfig(path, nil)
	require.NoError(t, err)
	require.EqualValues(t, 30_000_000, floats.MaxBody, "a whole number, however it is written")
	require.Equal(t, 0.5, floats.RateLimit)
	require.Equal(t, []api.ModelConfig{{ID: "a"}, {ID: "b"}, {ID: "c"}}, floats.Models)

	require.NoError(t, os.WriteFile(path, nil, 0o600))
	empty, err := api.LoadConfig(path, nil)
	require.NoError(t, err)
	require.Equal(t, api.DefaultConfig(), empty)
}

func TestLoadConfigRefuses(t *testing.T) {
	for _, c := range []struct{ name, file, env, want string }{
		{"unknown key", "max_bacth: 3", "", "max_bacth"},
		{"unknown key of a model", "models: [{name: x}]", "", "name"},
		{"kind", "max_batch: many", "", "many"},
		{"fraction", "max_batch: 1.5", "", "max_batch: line 1: 1.5, want a whole number"},
		{"fraction of an alias", "rate_limit: &x 2.5\nmax_queue: *x", "", "max_queue: line 1: 2.5"},
		{"variable's fraction", "", "VITSERVE_SERVE_MAX_BODY=0.5", "VITSERVE_SERVE_MAX_BODY: 0.5, want a whole number"},
		{"duration", "read_timeout: 5", "", "5"},
		{"syntax", "addr: [", "", "yaml"},
		{"two documents", "addr: a\n---\naddr: b", "", "more than one document"},
		{"unknown variable", "", "VITSERVE_SERVE_MAX_BACTH=3", "VITSERVE_SERVE_MAX_BACTH"},
		{"variable's kind", "", "VITSERVE_SERVE_MAX_BATCH=x", "VITSERVE_SERVE_MAX_BATCH"},
		{"variable's syntax", "", "VITSERVE_SERVE_ADDR=[", "VITSERVE_SERVE_ADDR"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "c.yaml")
			require.NoError(t, os.WriteFile(path, []byte(c.file), 0o600))
			_, err := api.LoadConfig(path, []string{c.env})
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err := api.LoadConfig(filepath.Join(t.TempDir(), "none"), nil)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestValidate(t *testing.T) {
	require.NoError(t, api.DefaultConfig().Validate())
	for want, change := range map[string]func(*api.Config){
		"addr":                           func(c *api.Config) { c.Addr = "8080" },
		"debug_addr":                     func(c *api.Config) { c.DebugAddr = ":6060" },
		"tls_cert":                       func(c *api.Config) { c.TLSKey = "key.pem" },
		"threads 100000":                 func(c *api.Config) { c.Threads = 100_000 },
		"threads -1":                     func(c *api.Config) { c.Threads = -1 },
		"precision":                      func(c *api.Config) { c.Precision = "f64" },
		"max_batch 0":                    func(c *api.Config) { c.MaxBatch = 0 },
		"max_queue 0":                    func(c *api.Config) { c.MaxQueue = 0 },
		"explain_max_batch":              func(c *api.Config) { c.ExplainMaxBatch = 0 },
		"body_budget":                    func(c *api.Config) { c.BodyBudget = c.MaxBody - 1 },
		"decode_budget 0":                func(c *api.Config) { c.DecodeBudget = 0 },
		"write_timeout 59.9":             func(c *api.Config) { c.WriteTimeout = api.Duration(time.Minute - 1) },
		"read_timeout 0s":                func(c *api.Config) { c.ReadTimeout = 0 },
		"rate_limit -1":                  func(c *api.Config) { c.RateLimit = -1 },
		`id "a" twice`:                   func(c *api.Config) { c.Models = []api.ModelConfig{{ID: "a"}, {ID: "a"}} },
		"id \"a/b/c\", want at most one": func(c *api.Config) { c.Models = []api.ModelConfig{{ID: "a/b/c"}} },
		"id \"a/\", want at most one":    func(c *api.Config) { c.Models = []api.ModelConfig{{ID: "a/"}} },
		"lazy and has no id":             func(c *api.Config) { c.Models = []api.ModelConfig{{Path: "a", Lazy: true}} },
		"sha256 of \"k\"":                func(c *api.Config) { c.Keys = []api.Key{{Name: "k", SHA256: "secret"}} },
		"cors_origins: \"x\"":            func(c *api.Config) { c.CORSOrigins = []string{"x"} },
		"cors_origins: \"https://a?b\"":  func(c *api.Config) { c.CORSOrigins = []string{"https://a?b"} },
		"trusted_proxies: \"proxy\"":     func(c *api.Config) { c.TrustedProxies = []string{"proxy"} },
		"allowed_hosts: \"a:80\"":        func(c *api.Config) { c.AllowedHosts = []string{"a:80"} },
		"body_rate -1":                   func(c *api.Config) { c.BodyRate = -1 },
		"body_rate_after":                func(c *api.Config) { c.BodyRateAfter = 0 },
		"stall_timeout":                  func(c *api.Config) { c.StallTimeout = -1 },
		"image_hosts":                    func(c *api.Config) { c.ImageHosts = []string{"*.example.org"} },
		"no backend \"tpu\"":             func(c *api.Config) { c.Backend = "tpu" },
	} {
		cfg := api.DefaultConfig()
		change(&cfg)
		_, err := api.New(cfg)
		require.ErrorContains(t, err, want)
	}
	bad := api.DefaultConfig()
	bad.MaxBatch, bad.MaxQueue = 0, 0
	require.ErrorContains(t, bad.Validate(), "max_batch 0")
	require.ErrorContains(t, bad.Validate(), "max_queue 0", "all at once")
}

// TestKubernetes: what a cluster says of a service that begins as our settings
// do is no setting; a setting that looks like it is still refused.
func TestKubernetes(t *testing.T) {
	environ := []string{
		"VITSERVE_SERVE_PORT=tcp://10.0.0.1:80", "VITSERVE_SERVE_SERVICE_HOST=10.0.0.1", "VITSERVE_SERVE_SERVICE_PORT=80", "VITSERVE_SERVE_SERVICE_PORT_HTTP=80",
		"VITSERVE_SERVE_PORT_8080_TCP=tcp://10.0.0.1:8080", "VITSERVE_SERVE_PORT_8080_TCP_PROTO=tcp", "VITSERVE_SERVE_PORT_8080_TCP_PORT=8080",
		"VITSERVE_SERVE_PORT_8080_TCP_ADDR=fd00::1", "VITSERVE_SERVE_CANARY_SERVICE_HOST=fd00::1", "VITSERVE_SERVE_CANARY_PORT=udp://[fd00::1]:53",
		"VITSERVE_SERVE_CANARY_PORT_53_UDP=udp://[fd00::1]:53",
	}
	var names []string
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		names = append(names, name)
	}
	require.Equal(t, names, api.PassedOver(append([]string{"VITSERVE_SERVE_MAX_BATCH=3", "KUBERNETES_PORT=tcp://10.0.0.1:443"}, environ...)))
	cfg, err := api.LoadConfig("", append(environ, "VITSERVE_SERVE_MAX_BATCH=3"))
	require.NoError(t, err)
	want := api.DefaultConfig()
	want.MaxBatch = 3
	require.Equal(t, want, cfg)
	for _, e := range []string{"VITSERVE_SERVE_PORT=8080", "VITSERVE_SERVE_SERVICE_HOST=photos.example", "VITSERVE_SERVE_SERVICE_PORT=http", "VITSERVE_SERVE_MAX_BACTH=tcp://10.0.0.1:80", "VITSERVE_SERVE_ADDR_PORTS=1"} {
		name, _, _ := strings.Cut(e, "=")
		_, err := api.LoadConfig("", []string{e})
		require.ErrorContains(t, err, name)
	}
}
