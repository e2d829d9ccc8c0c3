package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/internal/words"
)

type serveFlags struct {
	machineFlags
	fetchFlags
	cfg       api.Config
	models    []string
	decoders  decoderFlag
	labels    string
	logFormat string
	logLevel  string

	own    *pflag.FlagSet // flags of cfg's fields
	config string
	print  bool
}

func newServe() *cobra.Command {
	f := serveFlags{cfg: api.DefaultConfig()}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve models over HTTP",
		Long: `Serve models over HTTP: POST a picture to /v1/classify, /v1/explain,
/v1/embed or /v1/preprocess; /docs
describes everything else. The first --model answers where a request names
none. A --config file holds every setting under the names that --print-config
shows; VITSERVE_SERVE_MAX_BATCH and the like in the environment go before the
file, and flags before both. SIGTERM, SIGHUP or Ctrl-C answers what was accepted and ends with exit code 0; a
second one, but of SIGHUP, ends at once.`,
		Example: `  vitserve serve
  vitserve serve --addr :8080 --model ./deit_tiny_patch16_224
  vitserve serve --model small=./deit_small --model large=./vit_large --threads 8
  curl --data-binary @photo.jpg http://127.0.0.1:8080/v1/classify`,
		Args: exactly(0, "arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.machineFlags.register(cmd)
	f.fetchFlags.register(cmd.Flags())
	c := &f.cfg
	f.own = pflag.NewFlagSet("config", pflag.ContinueOnError)
	flags := f.own
	duration := func(at *api.Duration, name, usage string) {
		flags.DurationVar((*time.Duration)(at), name, time.Duration(*at), usage)
	}
	flags.StringVar(&c.Addr, "addr", c.Addr, "host:port to listen on; :8080 is every address of this machine")
	flags.StringVar(&c.GRPCAddr, "grpc-addr", c.GRPCAddr, "host:port of gRPC (Open Inference Protocol); none without it")
	flags.BoolVar(&c.GRPCReflection, "grpc-reflection", c.GRPCReflection, "tell clients of gRPC which methods there are")
	flags.BoolVar(&c.NoPage, "no-page", c.NoPage, "show browsers no page at /")
	flags.StringVar(&c.DebugAddr, "debug-addr", c.DebugAddr, "loopback host:port of pprof; none without it")
	flags.StringVar(&c.TLSCert, "tls-cert", c.TLSCert, "PEM file of the certificate; plain HTTP without it")
	flags.StringVar(&c.TLSKey, "tls-key", c.TLSKey, "PEM file of its key")
	flags.StringVar(&c.FetchModels, "fetch-models", c.FetchModels, "when an ORG/NAME that is not in the hub's cache is fetched: start, request (a lazy one, by its first request), or never")
	flags.StringSliceVar(&c.CORSOrigins, "cors-origins", c.CORSOrigins, "origins of pages that browsers may call from, such as https://example.org; * is any")
	flags.IntVar(&c.MaxBatch, "max-batch", c.MaxBatch, "pictures that a model classifies at the same time")
	flags.IntVar(&c.MaxQueue, "max-queue", c.MaxQueue, "pictures that may wait for a model; more are answered 429")
	flags.Int64Var(&c.MaxBody, "body-limit", c.MaxBody, "bytes of a request")
	flags.IntVar(&c.MaxPixels, "max-pixels", c.MaxPixels, "largest declared width × height that is decoded")
	flags.IntVar(&c.MaxImages, "max-images", c.MaxImages, "pictures in a request")
	flags.Int64Var(&c.MaxAnswer, "max-answer", c.MaxAnswer, "bytes of pictures and values in one answer")
	duration(&c.ReadTimeout, "read-timeout", "time for a request to arrive")
	duration(&c.RequestTimeout, "request-timeout", "time for a request to be answered")
	duration(&c.WriteTimeout, "write-timeout", "time from a request's header to its answer's last byte")
	duration(&c.IdleTimeout, "idle-timeout", "time between requests of a connection")
	duration(&c.ShutdownTimeout, "shutdown-timeout", "time for accepted requests to be answered at the end")
	duration(&c.DrainDelay, "drain-delay", "time of serving on, but not ready, before the end")
	flags.StringVar(&c.TraceEndpoint, "trace-endpoint", c.TraceEndpoint, "collector that spans are sent to, OTLP over HTTP: http://host:4318; none without it")
	flags.Float64Var(&c.TraceShare, "trace-share", c.TraceShare, "share of requests without a traceparent that is traced")
	flags = cmd.Flags()
	flags.AddFlagSet(f.own)
	flags.StringArrayVarP(&f.models, "model", "m", nil, "folder, file, ORG/NAME or embedded model, or name=one of these; may be given again")
	flags.Var(&f.decoders, "decoder", decoderUsage)
	flags.StringVar(&f.labels, "labels", "", "file of class names of the only model, one a line")
	flags.StringVar(&f.config, "config", "", "file of settings, YAML or JSON")
	flags.BoolVar(&f.print, "print-config", false, "write all settings as YAML and end")
	flags.StringVar(&f.logFormat, "log-format", "text", "text or json")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	return cmd
}

func (f *serveFlags) run(cmd *cobra.Command) error {
	log, logs, err := newLogger(cmd.ErrOrStderr(), f.logFormat, f.logLevel)
	if err != nil {
		return err
	}
	defer logs.Close(lastLines)
	// Who reads the log may go away; the requests go on. Without this, writing
	// to a standard stream that nobody reads ends the process.
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGPIPE)
	cfg, err := f.settings(cmd)
	if err != nil {
		return err
	}
	if passed := api.PassedOver(os.Environ()); len(passed) > 0 {
		log.Info("environment passed over, it is of Kubernetes", "names", strings.Join(passed, " "))
	}
	cfg.Logger, cfg.Logs, cfg.Dialects = log, logs, dialects()
	cfg.Version, _ = buildVersion()
	if err := cfg.Validate(); err != nil {
		return usageError{err}
	}
	if f.print {
		return cfg.Print(cmd.OutOrStdout())
	}
	stderr := cmd.ErrOrStderr()
	cfg.Fetch = func(ctx context.Context, path string) error {
		if isTerminal(stderr) && f.logFormat == "text" {
			return f.fetchFor(ctx, path, stderr)
		}
		report := func(file string, done, size int64) {
			if done == size {
				log.Info("file fetched", "model", path, "file", file, "bytes", size)
			}
		}
		return f.fetch(ctx, path, report, func(text string) { log.Info(words.PlainText(text)) })
	}
	s, err := api.New(cfg)
	if err != nil {
		return err
	}
	return s.Serve(cmd.Context())
}

// settings are those of the file, changed by the environment and then by the
// flags that were given.
func (f *serveFlags) settings(cmd *cobra.Command) (api.Config, error) {
	given := map[*pflag.Flag][]string{}
	f.own.VisitAll(func(flag *pflag.Flag) {
		if list, ok := flag.Value.(pflag.SliceValue); ok && cmd.Flags().Changed(flag.Name) {
			given[flag] = list.GetSlice()
		} else if cmd.Flags().Changed(flag.Name) {
			given[flag] = []string{flag.Value.String()}
		}
	})
	cfg, err := api.LoadConfig(f.config, os.Environ())
	if err != nil {
		return cfg, err
	}
	f.cfg = cfg // which the flags point into
	for flag, values := range given {
		var err error
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			err = list.Replace(values)
		} else {
			err = flag.Value.Set(values[0])
		}
		if err != nil {
			return cfg, usageError{fmt.Errorf("--%s %s: %w", flag.Name, strings.Join(values, ","), err)}
		}
	}
	cfg = f.cfg

	m := f.machineFlags
	if !cmd.Flags().Changed("backend") {
		m.backend = cfg.Backend
	}
	if !cmd.Flags().Changed("precision") {
		m.precision = cfg.Precision
	}
	if !cmd.Flags().Changed("threads") {
		m.threads = cfg.Threads
	}
	o, err := m.resolve()
	if err != nil {
		return cfg, err
	}
	cfg.Backend, cfg.Precision, cfg.Threads = m.backend, o.Precision.String(), o.Threads

	if len(f.models) > 0 {
		cfg.Models = nil
	}
	for _, name := range f.models {
		cfg.Models = append(cfg.Models, api.ParseModel(name))
	}
	if f.labels != "" {
		if len(cfg.Models) > 1 {
			return cfg, usageError{fmt.Errorf("--labels with %d models, want one", len(cfg.Models))}
		}
		if len(cfg.Models) == 0 {
			cfg.Models = []api.ModelConfig{{}}
		}
		cfg.Models[0].Labels = f.labels
	}
	for format, command := range f.decoders {
		if err := cfg.Decoders.Set(format, command); err != nil {
			return cfg, usageError{err}
		}
	}
	// One number of pixels, or of bytes, is all that most people want to say.
	const perPixel = 10 // bytes that no kind of picture but a JPEG in many scans needs more of
	cfg.DecodeBudget = max(cfg.DecodeBudget, perPixel*int64(cfg.MaxPixels))
	cfg.BodyBudget = max(cfg.BodyBudget, cfg.MaxBody)
	return cfg, nil
}

// lastLines is how long the last lines of the log may take to be written.
const lastLines = 200 * time.Millisecond

// newLogger writes structured logs to w, without waiting for it.
func newLogger(w io.Writer, format, level string) (*slog.Logger, *api.LogWriter, error) {
	var o slog.HandlerOptions
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, nil, usageError{fmt.Errorf("--log-level %s, want debug, info, warn or error", level)}
	}
	o.Level = l
	var to func(io.Writer) *slog.Logger
	switch format {
	case "text":
		to = func(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, &o)) }
	case "json":
		to = func(w io.Writer) *slog.Logger { return slog.New(slog.NewJSONHandler(w, &o)) }
	default:
		return nil, nil, usageError{fmt.Errorf("--log-format %s, want text or json", format)}
	}
	direct := to(w)
	logs := api.NewLogWriter(w, func(lost int64) { direct.Warn("lines of the log lost: nobody took them in time", "lines", lost) })
	return to(logs), logs, nil
}
