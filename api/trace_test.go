package api_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
)

// TestTraces: a request's span joins its caller's trace, says what was asked
// and how it ended, and is sent; one that the caller does not sample is not,
// and nor are probes. Without an endpoint nothing is sent.
func TestTraces(t *testing.T) {
	type value struct{ StringValue, IntValue string }
	type span struct {
		TraceID      string `json:"traceId"`
		SpanID       string `json:"spanId"`
		ParentSpanID string `json:"parentSpanId"`
		Name         string
		Attributes   []struct {
			Key   string
			Value value
		}
		StartTimeUnixNano, EndTimeUnixNano string
	}
	var mu sync.Mutex
	var spans []span
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var sent struct {
			ResourceSpans []struct{ ScopeSpans []struct{ Spans []span } }
		}
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/v1/traces" && r.Header.Get("Content-Type") == "application/json" && json.Unmarshal(body, &sent) == nil {
			mu.Lock()
			defer mu.Unlock()
			for _, s := range sent.ResourceSpans {
				spans = append(spans, s.ScopeSpans[0].Spans...)
			}
		}
	}))
	defer collector.Close()
	cfg := api.DefaultConfig()
	cfg.TraceEndpoint = collector.URL
	s, err := api.New(cfg)
	require.NoError(t, err)
	require.NoError(t, s.Preload(t.Context()))
	photo, err := os.ReadFile(filepath.Join("..", "testdata", "images", "banana.jpg"))
	require.NoError(t, err)
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	ask := func(method, path, traceparent string) {
		r := httptest.NewRequest(method, path, strings.NewReader(string(photo)))
		r.Header.Set("Traceparent", traceparent)
		s.Handler().ServeHTTP(httptest.NewRecorder(), r)
	}
	ask(http.MethodPost, "/v1/classify", "00-"+trace+"-"+parent+"-01")
	ask(http.MethodPost, "/v1/classify?model=none", "nonsense")
	ask(http.MethodPost, "/v1/classify", "00-"+trace+"-"+parent+"-00")
	ask(http.MethodGet, "/readyz", "00-"+trace+"-"+parent+"-01")
	require.NoError(t, s.Close())
	require.Len(t, spans, 2)
	said := func(s span) map[string]value {
		all := map[string]value{}
		for _, a := range s.Attributes {
			all[a.Key] = a.Value
		}
		return all
	}
	require.Equal(t, trace, spans[0].TraceID)
	require.Equal(t, parent, spans[0].ParentSpanID)
	require.Len(t, spans[0].SpanID, 16)
	require.Equal(t, "POST /v1/classify", spans[0].Name)
	require.Equal(t, "200", said(spans[0])["http.response.status_code"].IntValue)
	require.Equal(t, "starter", said(spans[0])["vitserve.model"].StringValue)
	require.Contains(t, said(spans[0])["http.response.header.server-timing"].StringValue, "infer")
	require.Less(t, spans[0].StartTimeUnixNano, spans[0].EndTimeUnixNano)
	require.NotEqual(t, trace, spans[1].TraceID)
	require.Empty(t, spans[1].ParentSpanID)
	require.Equal(t, "404", said(spans[1])["http.response.status_code"].IntValue)

	cfg.TraceEndpoint = "collector:4318"
	_, err = api.New(cfg)
	require.ErrorContains(t, err, "trace_endpoint")
}
