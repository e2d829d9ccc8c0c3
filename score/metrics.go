package score

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are what a job tells Prometheus. Those of nil tell nobody.
type Metrics struct {
	registry                 *prometheus.Registry
	rows, failed, bytes      prometheus.Counter
	flights                  prometheus.Gauge
	shard, shards, committed prometheus.Gauge
}

// NewMetrics returns metrics that start at nothing.
func NewMetrics() *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &Metrics{
		registry:  prometheus.NewRegistry(),
		rows:      counter("vitserve_score_rows_total", "Rows of the part so far, of broken photos too."),
		failed:    counter("vitserve_score_failed_total", "Rows with an error."),
		bytes:     counter("vitserve_score_fetched_bytes_total", "Bytes of photos that were fetched from elsewhere."),
		flights:   gauge("vitserve_score_fetches_in_flight", "Photos that are being fetched."),
		shard:     gauge("vitserve_score_shard", "The shard, from 0."),
		shards:    gauge("vitserve_score_shards", "How many shards the job has."),
		committed: gauge("vitserve_score_committed", "1 once the part is there."),
	}
	m.registry.MustRegister(m.rows, m.failed, m.bytes, m.flights, m.shard, m.shards, m.committed,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves them.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func (m *Metrics) begin(shard, shards int) {
	if m != nil {
		m.shard.Set(float64(shard))
		m.shards.Set(float64(shards))
	}
}

func (m *Metrics) row(failed bool) {
	if m != nil {
		m.rows.Inc()
		if failed {
			m.failed.Inc()
		}
	}
}

func (m *Metrics) fetching(n float64) {
	if m != nil {
		m.flights.Add(n)
	}
}

func (m *Metrics) fetched(bytes int) {
	if m != nil {
		m.bytes.Add(float64(bytes))
	}
}

func (m *Metrics) end() {
	if m != nil {
		m.committed.Set(1)
	}
}
