package api

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/vitserve/vitserve/api/op"
)

// triton are counters under the names that Triton's dashboards ask for, of all
// dialects, beside our own: a model is labelled by its id and by the version
// that the Open Inference Protocol gives it.
//
// https://github.com/triton-inference-server/server/blob/main/docs/user_guide/metrics.md
type triton struct {
	success, failure, pictures, executed *prometheus.CounterVec
	all, queue, input, infer, output     *prometheus.CounterVec
}

const tritonVersion = "1"

var tritonPending = prometheus.NewDesc("nv_inference_pending_request_count",
	"Instantaneous number of pending requests awaiting execution per-model.", []string{"model", "version"}, nil)

func newTriton(r prometheus.Registerer) *triton {
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "nv_inference_" + name, Help: help}, append([]string{"model", "version"}, more...))
		r.MustRegister(c)
		return c
	}
	return &triton{
		success:  counter("request_success", "Number of successful inference requests."),
		failure:  counter("request_failure", "Number of failed inference requests.", "reason"),
		pictures: counter("count", "Number of inferences performed: a request of n pictures counts n."),
		executed: counter("exec_count", "Number of passes of the model."),
		all:      counter("request_duration_us", "Cumulative time of successful requests in microseconds."),
		queue:    counter("queue_duration_us", "Cumulative time of successful requests in the queue in microseconds."),
		input:    counter("compute_input_duration_us", "Cumulative time of decoding and preprocessing in microseconds."),
		infer:    counter("compute_infer_duration_us", "Cumulative time of the model in microseconds."),
		output:   counter("compute_output_duration_us", "Cumulative time of making answers in microseconds."),
	}
}

// request counts what became of a request to a model, and where its time went:
// of its pictures, which are answered side by side, that of the slowest counts.
func (t *triton) request(j *job, took time.Duration, err error) {
	if j.operation == "preprocess" {
		return // no model computes it
	}
	id := j.model.id
	if err != nil {
		t.failure.WithLabelValues(id, tritonVersion, reasonOf(err)).Inc()
		return
	}
	add := func(c *prometheus.CounterVec, us float64) { c.WithLabelValues(id, tritonVersion).Add(us) }
	add(t.success, 1)
	add(t.pictures, float64(j.done))
	add(t.all, float64(took.Microseconds()))
	s := j.slowest
	add(t.queue, 1e3*s.Queue)
	add(t.input, 1e3*(s.Decode+s.Preprocess))
	add(t.infer, 1e3*(s.Infer+s.Explain))
	add(t.output, 1e3*s.Encode)
}

// reasonOf is why a request failed, in Triton's words.
func reasonOf(err error) string {
	switch kindOf(err) {
	case op.Busy, op.Deadline:
		return "REJECTED"
	case op.Gone:
		return "CANCELED"
	case op.Internal, op.Unavailable:
		return "BACKEND"
	}
	return "OTHER"
}
