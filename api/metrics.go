package api

import (
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/vitserve/vitserve/api/op"
	"github.com/vitserve/vitserve/internal/batch"
)

// metrics are a server's own: two servers in one process do not meet.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec // route, code
	stages   *prometheus.HistogramVec // stage
	sizes    *prometheus.HistogramVec // model, lane
	pictures *prometheus.CounterVec   // model, lane
	inFlight prometheus.Gauge
	triton   *triton

	confidence *prometheus.HistogramVec // model; nil: nobody asked for it
	classes    *prometheus.CounterVec   // model, class, label
}

func newMetrics(s *Server) *metrics {
	// From a tenth of a millisecond to a minute and a half.
	seconds := prometheus.ExponentialBuckets(0.0001, 2, 20)
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "vitserve_request_duration_seconds", Help: "Time from a request's header to its answer.", Buckets: seconds,
		}, []string{"route", "code"}),
		stages: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "vitserve_stage_duration_seconds", Help: "Time of one picture in each stage.", Buckets: seconds,
		}, []string{"stage"}),
		sizes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "vitserve_batch_size", Help: "Pictures computed together.", Buckets: []float64{1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64},
		}, []string{"model", "lane"}),
		pictures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vitserve_pictures_total", Help: "Pictures answered.",
		}, []string{"model", "lane"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "vitserve_requests_in_flight", Help: "Requests being answered."}),
	}
	if s.cfg.DriftMetrics {
		m.confidence = prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "vitserve_confidence", Help: "Score of the best label of a picture.", Buckets: prometheus.LinearBuckets(0.05, 0.05, 20),
		}, []string{"model"})
		m.classes = prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vitserve_predicted_class_total", Help: "Pictures by their best label.",
		}, []string{"model", "class", "label"})
		m.registry.MustRegister(m.confidence, m.classes)
	}
	m.triton = newTriton(m.registry)
	m.registry.MustRegister(m.requests, m.stages, m.sizes, m.pictures, m.inFlight, queues{s},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) request(route string, code int, took time.Duration) {
	m.requests.WithLabelValues(route, strconv.Itoa(code)).Observe(took.Seconds())
}

// stage observes a stage that took so many milliseconds.
func (m *metrics) stage(name string, ms float64) { m.stages.WithLabelValues(name).Observe(ms / 1e3) }

// answered observes what came after decoding, and counts the picture.
func (j *job) answered(t op.Timings) {
	m := j.s.met
	if j.operation != "preprocess" {
		m.stage("queue", t.Queue)
		m.stage("infer", t.Infer)
		m.stage("encode", t.Encode)
	}
	if j.operation == "explain" {
		m.stage("explain", t.Explain)
	}
	m.pictures.WithLabelValues(j.model.id, j.operation).Inc()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.done++
	if t.Sum() > j.slowest.Sum() {
		j.slowest = t
	}
}

func (m *metrics) batches(model, lane string) prometheus.Observer {
	return m.sizes.WithLabelValues(model, lane)
}

// queues collects the depth of the queues when it is asked for.
type queues struct{ s *Server }

var (
	queueDepth = prometheus.NewDesc("vitserve_queue_depth", "Places taken in a queue.", []string{"model", "lane", "priority"}, nil)
	modelBytes = prometheus.NewDesc("vitserve_model_bytes", "Estimate of the memory of a resident model.", []string{"model"}, nil)
	logLost    = prometheus.NewDesc("vitserve_log_lines_lost_total", "Lines of the log that nobody took in time.", nil, nil)
	bodyBytes  = prometheus.NewDesc("vitserve_body_bytes", "Bytes of request bodies in memory.", nil, nil)
)

// Describe is of prometheus.Collector.
func (q queues) Describe(ch chan<- *prometheus.Desc) {
	ch <- queueDepth
	ch <- modelBytes
	ch <- bodyBytes
	ch <- logLost
	ch <- tritonPending
}

// Collect is of prometheus.Collector.
func (q queues) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, m := range q.s.models.resident() {
		for p, name := range map[batch.Priority]string{batch.High: "high", batch.Low: "low"} {
			gauge(queueDepth, float64(m.classify.Len(p)), m.id, "classify", name)
			gauge(queueDepth, float64(m.explain.Len(p)), m.id, "explain", name)
		}
		gauge(modelBytes, float64(m.bytes), m.id)
		waiting := m.classify.Len(batch.High) + m.classify.Len(batch.Low) + m.explain.Len(batch.High) + m.explain.Len(batch.Low)
		gauge(tritonPending, float64(waiting), m.id, tritonVersion)
	}
	if l := q.s.cfg.Logs; l != nil {
		ch <- prometheus.MustNewConstMetric(logLost, prometheus.CounterValue, float64(l.Lost()))
	}
	gauge(bodyBytes, float64(q.s.cfg.BodyBudget-q.s.bodies.free.Load()))
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// metrics is GET /metrics.
func (s *Server) metrics(c echo.Context) error {
	s.met.handler().ServeHTTP(c.Response(), c.Request())
	return nil
}

// serveDebug serves pprof and metrics on their own loopback address, if one
// is configured, until the function that it returns is called.
func (s *Server) serveDebug() (stop func(), err error) {
	if s.cfg.DebugAddr == "" {
		return func() {}, nil
	}
	l, err := net.Listen("tcp", s.cfg.DebugAddr)
	if err != nil {
		return nil, fmt.Errorf("api: debug: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.Handle("/metrics", s.met.handler())
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: s.cfg.ReadHeaderTimeout.std()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	s.log.Info("debugging", "addr", l.Addr().String())
	return func() { _ = srv.Close(); <-done }, nil
}
