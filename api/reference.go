package api

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Setting is a row of the reference of settings.
type Setting struct {
	Name    string // in a file; those of a list or of names within names are parted by dots
	What    string // it is, with its unit
	Default string // as YAML
	Example string // as YAML, that can be put into a file
}

// Environment returns the name of the setting in the environment; "": it is
// part of another one.
func (s Setting) Environment() string {
	if strings.Contains(s.Name, ".") {
		return ""
	}
	return environmentName(s.Name)
}

// explained are the settings in words, each with an example. A test holds that
// none is missing.
var explained = []struct{ name, what, example string }{
	{"addr", "host:port to listen on; `:8080` is every address of the machine", ":8080"},
	{"grpc_addr", "host:port of gRPC; empty: none", ":8081"},
	{"no_page", "whether browsers are shown no page at `/`, but led to `/docs`", "true"},
	{"grpc_reflection", "whether gRPC tells which methods it has", "false"},
	{"debug_addr", "loopback host:port of pprof and metrics; empty: none", "127.0.0.1:6060"},
	{"tls_cert", "PEM file of the certificate; empty: plain HTTP", "/etc/vitserve/cert.pem"},
	{"tls_key", "PEM file of its key", "/etc/vitserve/key.pem"},
	{"backend", "what computes: cpu, or a GPU by cuda, cuda:1 or opencl:0", "cpu"},
	{"precision", "arithmetic of the layers: `f32`, `bf16` or `int8`", "int8"},
	{"threads", "threads that compute; 0: one a core", "8"},
	{"models", "models, the first of which is the default; none: the one inside the program. Each is a text, FOLDER or ORG/NAME or NAME=one of these, or has the names below", "[starter, large=./vit_large]"},
	{"models.id", "name in requests; empty: the checkpoint's own", "tiny"},
	{"models.path", "folder, file, ORG/NAME of the hub or embedded model", "./deit_tiny_patch16_224"},
	{"models.labels", "file of class names, one a line; empty: what the checkpoint says", "labels.txt"},
	{"models.lazy", "whether it is loaded by its first request and not at the start", "true"},
	{"models.temperature", "temperature file (`vitserve robust --fit-temperature`) that scores are made by; `beside`: the one beside the model; empty: none", "beside"},
	{"models.min_confidence", "score of the best label below which `/v1/classify` abstains; 0: never", "0.5"},
	{"models.min_energy", "log Σ exp(logits) below which `/v1/classify` abstains; 0: never", "7.5"},
	{"fetch_models", "when an ORG/NAME that is not in the hub's cache is fetched: `start`, `request` (a lazy one, by its first request), or `never`", "never"},
	{"memory_budget", "bytes that models in memory may take together; beyond it the one that was not used for longest is unloaded; 0: no limit", "4000000000"},
	{"memory_limit", "bytes that the process may take, for the garbage collector; 0: those of its cgroup; GOMEMLIMIT goes before both", "2000000000"},
	{"max_batch", "pictures of a model that are classified at the same time", "16"},
	{"max_queue", "pictures of each priority that may wait for a model; more are 429", "256"},
	{"batch_delay", "how long an idle model waits for company", "2ms"},
	{"explain_max_batch", "pictures that are explained together", "4"},
	{"explain_max_queue", "pictures of each priority that may wait to be explained; more are 429", "64"},
	{"max_body", "bytes of one request; more are 413", "67108864"},
	{"body_budget", "bytes of all requests in memory, half of it for one address; more are 429", "536870912"},
	{"max_images", "pictures in one request; more are 413", "16"},
	{"max_answer", "bytes of pictures and values in one answer; more are 422", "268435456"},
	{"max_pixels", "width × height that a picture may declare; more are 422", "40000000"},
	{"decode_budget", "bytes of all pictures that are decoded and drawn on at the same time", "1000000000"},
	{"decoders", "programs for pictures that only they decode, by format: `heic`, `avif`, `jxl`; without one they are 415", "{heic: {command: 'heif-convert {in} {out}.png'}}"},
	{"decoders.heic.command", "the program and its arguments, with {in} and {out}; no shell reads them", "['heif-convert', '{in}', '{out}.png']"},
	{"decoders.heic.timeout", "time for one picture", "20s"},
	{"decoders.heic.memory", "bytes of address space of one process, which are of `decode_budget`", "300000000"},
	{"decoders.heic.at_once", "processes at the same time", "2"},
	{"read_header_timeout", "time for a request's header to arrive", "10s"},
	{"read_timeout", "time for a request to arrive; later is 408", "45s"},
	{"body_rate", "bytes a second that a body must arrive at; slower is 408; 0: any", "10000"},
	{"body_rate_after", "how long a body may be slower, all told", "10s"},
	{"request_timeout", "time from a request's last byte to its answer; later is 504", "45s"},
	{"write_timeout", "time from a request's header to the answer's last byte; at least `read_timeout` and `request_timeout` together", "3m"},
	{"idle_timeout", "time between requests of a connection", "5m"},
	{"drain_delay", "how long it serves on, but is not ready, before the end", "10s"},
	{"shutdown_timeout", "time for accepted requests to be answered at the end", "1m"},
	{"stall_timeout", "not ready when something waits and nothing has finished for so long; 0: never", "30s"},
	{"keys", "API keys; none: everybody may ask. Each has the names below", "[{name: shop, sha256: 2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b}]"},
	{"keys.name", "in the log", "shop"},
	{"keys.sha256", "of the key, in hexadecimal: `printf %s \"$KEY\" | sha256sum`", "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"},
	{"keys.admin", "whether it may load and unload models", "true"},
	{"keys.rate", "requests a second; 0: `rate_limit`", "20"},
	{"rate_limit", "requests a second of one key, or of one address without keys; more are 429; 0: no limit", "50"},
	{"rate_burst", "requests at once, before `rate_limit` holds", "100"},
	{"cors_origins", "origins of web pages that browsers may call from; `\"*\"` is any", "[\"https://example.org\"]"},
	{"allowed_hosts", "host names that a loopback address answers under without keys, beside this machine's own", "[vit.internal]"},
	{"trusted_proxies", "addresses or networks whose X-Forwarded-For says who the client is", "[10.0.0.0/8]"},
	{"drift_metrics", "whether `/metrics` has histograms of confidence and counts of predicted classes, by model", "true"},
	{"image_hosts", "hosts that pictures may be fetched from by `url`; none: no fetching", "[images.example.org]"},
	{"trace_endpoint", "collector that spans of requests are sent to, as OTLP over HTTP (`/v1/traces`); empty: none", "http://127.0.0.1:4318"},
	{"trace_share", "share of requests without a `traceparent` that is sent; one with it says so itself", "0.01"},
}

// Settings returns the reference, in the order in which people read it.
func Settings() (all []Setting) {
	defaults := reflect.ValueOf(DefaultConfig())
	for _, e := range explained {
		all = append(all, Setting{Name: e.name, What: e.what, Example: e.example, Default: defaultOf(defaults, e.name)})
	}
	return all
}

// defaultOf is the default of a setting as YAML.
func defaultOf(v reflect.Value, name string) string {
	for part := range strings.SplitSeq(name, ".") {
		if v.Kind() == reflect.Slice {
			v = reflect.New(v.Type().Elem()).Elem() // of an item that says nothing
		}
		t := v.Type()
		for i := range t.NumField() {
			if t.Field(i).Tag.Get("yaml") == part {
				v = v.Field(i)
				break
			}
		}
	}
	switch {
	case v.Type() == reflect.TypeFor[Duration]():
		return time.Duration(v.Int()).String()
	case v.Kind() == reflect.Struct:
		return "none"
	case v.Kind() == reflect.Slice && v.Len() == 0:
		return "none"
	case v.Kind() == reflect.String && v.Len() == 0:
		return "empty"
	}
	b, err := yaml.Marshal(v.Interface())
	if err != nil {
		panic(fmt.Sprintf("api: default of %s: %v", name, err))
	}
	return strings.TrimSpace(string(b))
}

// WriteReference writes the settings as Markdown: docs/settings.md. flags names
// the flag of a setting, or "".
func WriteReference(w io.Writer, flags func(setting string) string) error {
	var b strings.Builder
	b.WriteString(`# Settings of the server

Defaults, then a file (` + "`" + `--config` + "`" + `, YAML or JSON), then the environment, then flags; later ones go
before earlier ones. A name that is no setting is refused. In the environment a setting is its name
in capitals behind ` + "`" + `VITSERVE_SERVE_` + "`" + `: ` + "`" + `VITSERVE_SERVE_MAX_BATCH=16` + "`" + `. Lists are ` + "`" + `[a, b]` + "`" + ` or ` + "`" + `a,b` + "`" + `.
` + "`" + `vitserve serve --print-config` + "`" + ` writes all of them as they hold. This page is made by the program.

| setting | flag | what it is | default | example |
|---|---|---|---|---|
`)
	for _, s := range Settings() {
		flag := flags(s.Name)
		if flag != "" {
			flag = "`--" + flag + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | `%s` | `%s` |\n", s.Name, flag, strings.ReplaceAll(s.What, "|", "\\|"), s.Default, s.Example)
	}
	b.WriteString("\n`decoders.avif` and `decoders.jxl` have what `decoders.heic` has.\n")
	_, err := io.WriteString(w, b.String())
	return err
}
