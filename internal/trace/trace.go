// Package trace tells where requests spent their time: a span for each, sent as
// OTLP over HTTP in JSON, and the W3C's traceparent that joins it to its
// caller's. It is small on purpose: docs/decisions/0013-scale.md says why the
// SDK of OpenTelemetry is not taken.
//
// https://opentelemetry.io/docs/specs/otlp/#otlphttp
// https://www.w3.org/TR/trace-context/
package trace

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Parent is what a traceparent says.
type Parent struct {
	Trace   string // 32 hexadecimal digits; "": there is none
	Span    string // 16
	Sampled bool
}

// ParseParent reads a traceparent; one that is none is the zero value.
func ParseParent(header string) (p Parent) {
	part := strings.Split(header, "-")
	if len(part) < 4 || len(part[0]) != 2 || part[0] == "ff" || part[0] == "00" && len(part) != 4 {
		return p
	}
	hexes := func(s string, n int) bool {
		_, err := hex.DecodeString(s)
		return err == nil && len(s) == n && s == strings.ToLower(s)
	}
	none := func(s string) bool { return strings.Trim(s, "0") == "" }
	if !hexes(part[0], 2) || !hexes(part[1], 32) || none(part[1]) || !hexes(part[2], 16) || none(part[2]) || !hexes(part[3], 2) {
		return p
	}
	flags, err := strconv.ParseUint(part[3], 16, 8)
	if err != nil {
		return p
	}
	return Parent{part[1], part[2], flags&1 == 1}
}

// Span is a request.
type Span struct {
	Trace, ID, Parent string
	Name              string
	Start, End        time.Time
	Failed            bool           // it is this server's fault
	Attributes        map[string]any // string, int, float64
}

// Begin begins a span under a parent, and of a request without one with a trace
// of its own. It is nil where it is not to be sent: the parent says so, or, of
// share of those without one, chance.
func Begin(p Parent, share float64) *Span {
	var b [24]byte
	_, _ = rand.Read(b[:]) // it does not fail
	if p.Trace == "" {
		if float64(binary.BigEndian.Uint64(b[16:])) >= share*math.MaxUint64 {
			return nil
		}
		p = Parent{Trace: hex.EncodeToString(b[:16]), Sampled: true}
	}
	if !p.Sampled {
		return nil
	}
	return &Span{Trace: p.Trace, ID: hex.EncodeToString(b[16:]), Parent: p.Span, Start: time.Now(), Attributes: map[string]any{}}
}

// Exporter sends spans in batches. What cannot be sent in time is lost and
// counted: requests never wait for it.
type Exporter struct {
	url      string
	service  map[string]any
	client   *http.Client
	spans    chan *Span
	stop     chan struct{}
	done     chan struct{}
	lost     atomic.Int64
	interval time.Duration
}

// Sizes of an exporter.
const (
	waiting = 4096
	batch   = 512
)

// NewExporter sends to the collector at endpoint, http://host:4318; resource
// says what this process is. It is to be closed.
func NewExporter(endpoint string, resource map[string]any) *Exporter {
	e := &Exporter{
		url: strings.TrimSuffix(endpoint, "/") + "/v1/traces", service: resource, client: &http.Client{Timeout: 5 * time.Second},
		spans: make(chan *Span, waiting), stop: make(chan struct{}), done: make(chan struct{}), interval: 2 * time.Second,
	}
	go e.run()
	return e
}

// End sends a span, sooner or later.
func (e *Exporter) End(s *Span) {
	s.End = time.Now()
	select {
	case e.spans <- s:
	default:
		e.lost.Add(1)
	}
}

// Lost is how many spans could not be sent.
func (e *Exporter) Lost() int64 { return e.lost.Load() }

// Close sends what waits. It takes as long as the collector, at most some
// seconds.
func (e *Exporter) Close() {
	close(e.stop)
	<-e.done
	e.client.CloseIdleConnections()
}

func (e *Exporter) run() {
	defer close(e.done)
	tick := time.NewTicker(e.interval)
	defer tick.Stop()
	var held []*Span
	flush := func() {
		if len(held) > 0 {
			if err := e.send(held); err != nil {
				e.lost.Add(int64(len(held)))
			}
			held = held[:0]
		}
	}
	for {
		select {
		case s := <-e.spans:
			if held = append(held, s); len(held) == batch {
				flush()
			}
		case <-tick.C:
			flush()
		case <-e.stop:
			for {
				select {
				case s := <-e.spans:
					held = append(held, s)
					continue
				default:
				}
				break
			}
			flush()
			return
		}
	}
}

func (e *Exporter) send(spans []*Span) error {
	body, err := json.Marshal(e.message(spans))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), e.client.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := e.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("trace: %s", resp.Status)
	}
	return nil
}

// object is one of JSON.
type object map[string]any

// message is an ExportTraceServiceRequest.
func (e *Exporter) message(spans []*Span) object {
	const server, failed = 2, 2 // SPAN_KIND_SERVER, STATUS_CODE_ERROR
	var all []object
	for _, s := range spans {
		o := object{
			"traceId": s.Trace, "spanId": s.ID, "name": s.Name, "kind": server, "attributes": attributes(s.Attributes),
			"startTimeUnixNano": strconv.FormatInt(s.Start.UnixNano(), 10), "endTimeUnixNano": strconv.FormatInt(s.End.UnixNano(), 10),
		}
		if s.Parent != "" {
			o["parentSpanId"] = s.Parent
		}
		if s.Failed {
			o["status"] = object{"code": failed}
		}
		all = append(all, o)
	}
	return object{"resourceSpans": []object{{
		"resource":   object{"attributes": attributes(e.service)},
		"scopeSpans": []object{{"scope": object{"name": "github.com/vitserve/vitserve"}, "spans": all}},
	}}}
}

func attributes(of map[string]any) []object {
	all := []object{}
	for key, v := range of {
		value := object{"stringValue": v}
		switch v := v.(type) {
		case int:
			value = object{"intValue": strconv.Itoa(v)}
		case float64:
			value = object{"doubleValue": v}
		}
		all = append(all, object{"key": key, "value": value})
	}
	return all
}
