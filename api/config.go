package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/vitserve/vitserve/api/op"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/internal/words"
	"github.com/vitserve/vitserve/patch"
)

// Config is everything a Server is told. DefaultConfig is where to start;
// LoadConfig reads one from a file and the environment.
type Config struct {
	Addr      string `json:"addr" yaml:"addr"`             // host:port to listen on
	GRPCAddr  string `json:"grpc_addr" yaml:"grpc_addr"`   // host:port of gRPC; "": none
	DebugAddr string `json:"debug_addr" yaml:"debug_addr"` // loopback host:port of pprof and metrics; "": none
	TLSCert   string `json:"tls_cert" yaml:"tls_cert"`     // PEM file; "": plain HTTP
	TLSKey    string `json:"tls_key" yaml:"tls_key"`       // PEM file

	Backend   string `json:"backend" yaml:"backend"`     // registered name
	Precision string `json:"precision" yaml:"precision"` // f32, bf16 or int8; vitserve serve takes auto, too
	Threads   int    `json:"threads" yaml:"threads"`     // of the backend; 0: all

	Models       []ModelConfig `json:"models" yaml:"models"`               // the first is the default; none: the embedded one
	FetchModels  string        `json:"fetch_models" yaml:"fetch_models"`   // when an ORG/NAME of the hub that is not in its cache is fetched: start, request (a lazy one, by its first request), or never
	MemoryBudget int64         `json:"memory_budget" yaml:"memory_budget"` // bytes that resident models may take together; 0: no limit
	MemoryLimit  int64         `json:"memory_limit" yaml:"memory_limit"`   // bytes that the process may take, for the garbage collector; 0: those of its cgroup. GOMEMLIMIT goes before both

	MaxBatch        int      `json:"max_batch" yaml:"max_batch"`                 // pictures of a model that are classified at the same time
	MaxQueue        int      `json:"max_queue" yaml:"max_queue"`                 // pictures of each priority that may wait for a model
	BatchDelay      Duration `json:"batch_delay" yaml:"batch_delay"`             // how long an idle model waits for company
	ExplainMaxBatch int      `json:"explain_max_batch" yaml:"explain_max_batch"` // pictures explained together
	ExplainMaxQueue int      `json:"explain_max_queue" yaml:"explain_max_queue"`

	MaxBody      int64 `json:"max_body" yaml:"max_body"`           // bytes of one request
	BodyBudget   int64 `json:"body_budget" yaml:"body_budget"`     // bytes of all request bodies in memory; half of it, or one MaxBody, for one address
	MaxImages    int   `json:"max_images" yaml:"max_images"`       // pictures in one request
	MaxAnswer    int64 `json:"max_answer" yaml:"max_answer"`       // bytes of pictures and values in one answer
	MaxPixels    int   `json:"max_pixels" yaml:"max_pixels"`       // declared size of one picture
	DecodeBudget int64 `json:"decode_budget" yaml:"decode_budget"` // bytes of all pictures decoded and drawn on at the same time

	Decoders Decoders `json:"decoders" yaml:"decoders"` // programs for pictures that only they decode; none: 415

	ReadHeaderTimeout Duration `json:"read_header_timeout" yaml:"read_header_timeout"`
	ReadTimeout       Duration `json:"read_timeout" yaml:"read_timeout"`         // of a whole request
	BodyRate          float64  `json:"body_rate" yaml:"body_rate"`               // bytes a second that a body must arrive at; 0: any
	BodyRateAfter     Duration `json:"body_rate_after" yaml:"body_rate_after"`   // how long it may be slower, all told
	RequestTimeout    Duration `json:"request_timeout" yaml:"request_timeout"`   // from the request's last byte to its answer
	WriteTimeout      Duration `json:"write_timeout" yaml:"write_timeout"`       // from the request's header to the answer's last byte
	IdleTimeout       Duration `json:"idle_timeout" yaml:"idle_timeout"`         // between requests of one connection
	DrainDelay        Duration `json:"drain_delay" yaml:"drain_delay"`           // not ready, but serving, before shutdown
	ShutdownTimeout   Duration `json:"shutdown_timeout" yaml:"shutdown_timeout"` // for accepted requests to be answered; what hangs is given up then
	StallTimeout      Duration `json:"stall_timeout" yaml:"stall_timeout"`       // not ready when something waits and nothing has finished for so long; 0: never

	DriftMetrics bool `json:"drift_metrics" yaml:"drift_metrics"` // /metrics has confidence and predicted classes

	GRPCReflection bool `json:"grpc_reflection" yaml:"grpc_reflection"` // gRPC tells which methods it has

	Keys        []Key    `json:"keys" yaml:"keys"`                 // API keys; none: everybody
	RateLimit   float64  `json:"rate_limit" yaml:"rate_limit"`     // requests a second of one key, or one address without keys; 0: no limit
	RateBurst   int      `json:"rate_burst" yaml:"rate_burst"`     // requests at once
	NoPage      bool     `json:"no_page" yaml:"no_page"`           // no page for browsers at /
	CORSOrigins []string `json:"cors_origins" yaml:"cors_origins"` // that browsers may call from; "*": any
	// AllowedHosts are names that requests to a loopback address may come under
	// where no key is asked for, beside this machine's own.
	AllowedHosts []string `json:"allowed_hosts" yaml:"allowed_hosts"`
	// TrustedProxies are addresses, or networks such as 10.0.0.0/8, whose
	// X-Forwarded-For says who the client is.
	TrustedProxies []string `json:"trusted_proxies" yaml:"trusted_proxies"`
	ImageHosts     []string `json:"image_hosts" yaml:"image_hosts"` // hosts that images may be fetched from; none: no fetching

	TraceEndpoint string  `json:"trace_endpoint" yaml:"trace_endpoint"` // collector of OTLP over HTTP that spans are sent to; "": none
	TraceShare    float64 `json:"trace_share" yaml:"trace_share"`       // of requests without a traceparent, which has a say of its own

	// Fetch brings a model into the hub's cache if it is an ORG/NAME that is
	// not there; of any other path it does nothing. nil: nothing is fetched.
	Fetch func(ctx context.Context, path string) error `json:"-" yaml:"-"`

	Logger   *slog.Logger `json:"-" yaml:"-"` // nil: slog.Default()
	Logs     *LogWriter   `json:"-" yaml:"-"` // that Logger writes to, for /metrics; nil: another
	Dialects []op.Dialect `json:"-" yaml:"-"` // beside /v1
	Version  string       `json:"-" yaml:"-"` // of the program, for /version
}

// Values of Config.FetchModels.
const (
	FetchStart   = "start"
	FetchRequest = "request"
	FetchNever   = "never"
)

// ModelConfig is a model that a Server may load.
type ModelConfig struct {
	ID     string `json:"id" yaml:"id"`         // in requests; "": the checkpoint's own name, see models.Open
	Path   string `json:"path" yaml:"path"`     // what models.Open takes
	Labels string `json:"labels" yaml:"labels"` // file of label names; "": what the checkpoint says
	Lazy   bool   `json:"lazy" yaml:"lazy"`     // loaded by the first request, not at the start

	Temperature   string  `json:"temperature" yaml:"temperature"`       // file of models.Calibration; TemperatureBeside: the one beside the model; "": none
	MinConfidence float64 `json:"min_confidence" yaml:"min_confidence"` // below which /v1/classify abstains; 0: never
	MinEnergy     float64 `json:"min_energy" yaml:"min_energy"`         // likewise, of vit.Energy; 0: never
}

// TemperatureBeside is the temperature file that lies beside a model.
const TemperatureBeside = "beside"

// Key is an API key.
type Key struct {
	Name   string  `json:"name" yaml:"name"`     // in logs
	SHA256 string  `json:"sha256" yaml:"sha256"` // of the key, hexadecimal: the key itself is nowhere
	Admin  bool    `json:"admin" yaml:"admin"`   // may load and unload models
	Rate   float64 `json:"rate" yaml:"rate"`     // requests a second; 0: RateLimit
}

// HashKey returns what Key.SHA256 is for a key.
func HashKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// Duration is a time.Duration that is written as "1.5s".
type Duration time.Duration

// MarshalText writes "1.5s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads "1.5s".
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

func (d Duration) std() time.Duration { return time.Duration(d) }

// DefaultConfig serves the embedded model on the CPU to this machine.
func DefaultConfig() Config {
	return Config{
		Addr:    "127.0.0.1:8080",
		Backend: "cpu",

		FetchModels: FetchStart,
		Precision:   backend.F32.String(),

		MaxBatch:        8,
		MaxQueue:        64,
		ExplainMaxBatch: 2,
		ExplainMaxQueue: 32,

		MaxBody:      32 << 20,
		BodyBudget:   256 << 20,
		MaxImages:    64,
		MaxAnswer:    128 << 20,
		MaxPixels:    patch.DefaultMaxPixels,
		DecodeBudget: 500_000_000,

		Decoders: defaultDecoders(),

		ReadHeaderTimeout: Duration(5 * time.Second),
		ReadTimeout:       Duration(30 * time.Second),
		BodyRate:          1000,
		BodyRateAfter:     Duration(5 * time.Second),
		RequestTimeout:    Duration(30 * time.Second),
		WriteTimeout:      Duration(75 * time.Second),
		IdleTimeout:       Duration(2 * time.Minute),
		ShutdownTimeout:   Duration(45 * time.Second),
		TraceShare:        1,
		StallTimeout:      Duration(10 * time.Second),

		GRPCReflection: true,

		RateBurst: 16,

		AllowedHosts:   []string{}, // as they are read, so that what is printed can be
		TrustedProxies: []string{},
	}
}

// Validate says everything that is wrong with c, if anything.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("api: "+format, args...)) }
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		bad("addr %q, want host:port: %v", c.Addr, err)
	}
	if _, _, err := net.SplitHostPort(c.GRPCAddr); c.GRPCAddr != "" && err != nil {
		bad("grpc_addr %q, want host:port: %v", c.GRPCAddr, err)
	}
	if c.DebugAddr != "" && !loopback(c.DebugAddr) {
		bad("debug_addr %q, want a loopback address such as 127.0.0.1:6060: pprof shows the memory of the process", c.DebugAddr)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		bad("tls_cert %q with tls_key %q, want both or none", c.TLSCert, c.TLSKey)
	}
	if _, err := backend.ParsePrecision(c.Precision); err != nil {
		bad("precision: %v", err)
	}
	if all := []string{FetchStart, FetchRequest, FetchNever}; !slices.Contains(all, c.FetchModels) {
		bad("fetch_models %q, %s", c.FetchModels, words.Among(c.FetchModels, all...))
	}
	for _, n := range []struct {
		name string
		v    int64
		min  int64
	}{
		{"threads", int64(c.Threads), 0},
		{"memory_budget", c.MemoryBudget, 0},
		{"memory_limit", c.MemoryLimit, 0},
		{"max_batch", int64(c.MaxBatch), 1},
		{"max_queue", int64(c.MaxQueue), 1},
		{"explain_max_batch", int64(c.ExplainMaxBatch), 1},
		{"explain_max_queue", int64(c.ExplainMaxQueue), 1},
		{"max_body", c.MaxBody, 1},
		{"body_budget", c.BodyBudget, c.MaxBody},
		{"max_images", int64(c.MaxImages), 1},
		{"max_answer", c.MaxAnswer, 1},
		{"max_pixels", int64(c.MaxPixels), 1},
		{"decode_budget", c.DecodeBudget, 1},
		{"rate_burst", int64(c.RateBurst), 1},
	} {
		if n.v < n.min {
			bad("%s %d, want at least %d", n.name, n.v, n.min)
		}
	}
	if c.Threads > backend.MaxThreads {
		bad("threads %d, want at most %d", c.Threads, backend.MaxThreads)
	}
	for _, d := range []struct {
		name string
		v    Duration
		min  Duration
	}{
		{"batch_delay", c.BatchDelay, 0},
		{"read_header_timeout", c.ReadHeaderTimeout, 1},
		{"read_timeout", c.ReadTimeout, 1},
		{"body_rate_after", c.BodyRateAfter, 1},
		{"request_timeout", c.RequestTimeout, 1},
		// An answer that is allowed to be ready must be allowed to be written.
		{"write_timeout", c.WriteTimeout, c.ReadTimeout + c.RequestTimeout},
		{"idle_timeout", c.IdleTimeout, 1},
		{"drain_delay", c.DrainDelay, 0},
		{"shutdown_timeout", c.ShutdownTimeout, 1},
		{"stall_timeout", c.StallTimeout, 0},
	} {
		if d.v < d.min {
			bad("%s %v, want at least %v", d.name, d.v.std(), d.min.std())
		}
	}
	if !(c.BodyRate >= 0) {
		bad("body_rate %g, want at least 0", c.BodyRate)
	}
	if !(c.RateLimit >= 0) {
		bad("rate_limit %g, want at least 0", c.RateLimit)
	}
	for format, d := range c.Decoders.byFormat() {
		if len(d.Command) > 0 && d.Memory > c.DecodeBudget {
			bad("decoders: memory %d of %s, want at most decode_budget, %d", d.Memory, format, c.DecodeBudget)
		}
	}
	ids := map[string]bool{}
	for i, m := range c.Models {
		if m.ID != "" && ids[m.ID] {
			bad("models: id %q twice", m.ID)
		}
		if strings.Count(m.ID, "/") > 1 || strings.HasPrefix(m.ID, "/") || strings.HasSuffix(m.ID, "/") {
			bad("models: id %q, want at most one slash, between two names", m.ID)
		}
		if m.ID == "" && m.Lazy {
			bad("models: number %d is lazy and has no id", i+1)
		}
		if !(m.MinConfidence >= 0 && m.MinConfidence <= 1) {
			bad("models: min_confidence %g of %q, want 0 to 1", m.MinConfidence, m.ID)
		}
		ids[m.ID] = true
	}
	for _, k := range c.Keys {
		if sum, err := hex.DecodeString(k.SHA256); err != nil || len(sum) != sha256.Size {
			bad("keys: sha256 of %q, want %d hexadecimal digits", k.Name, 2*sha256.Size)
		}
		if !(k.Rate >= 0) {
			bad("keys: rate %g of %q, want at least 0", k.Rate, k.Name)
		}
	}
	for _, o := range c.CORSOrigins {
		if u, err := url.Parse(o); o != "*" && (err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || http.NewCrossOriginProtection().AddTrustedOrigin(o) != nil) {
			bad("cors_origins: %q, want * or an origin such as https://example.org", o)
		}
	}
	for _, p := range c.TrustedProxies {
		if _, err := prefix(p); err != nil {
			bad("trusted_proxies: %q, want an address or a network such as 10.0.0.0/8", p)
		}
	}
	for _, h := range c.AllowedHosts {
		if h == "" || strings.ContainsAny(h, "/:*@") {
			bad("allowed_hosts: %q, want a host name without a port", h)
		}
	}
	for _, h := range c.ImageHosts {
		if h == "" || strings.ContainsAny(h, "/:*@") {
			bad("image_hosts: %q, want a host name", h)
		}
	}
	if u, err := url.Parse(c.TraceEndpoint); c.TraceEndpoint != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		bad("trace_endpoint: %q, want http://HOST:PORT of a collector", c.TraceEndpoint)
	}
	if !(c.TraceShare >= 0 && c.TraceShare <= 1) {
		bad("trace_share: %v, want 0 to 1", c.TraceShare)
	}
	return errors.Join(errs...)
}

// loopback reports whether addr is an address of this machine only.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
