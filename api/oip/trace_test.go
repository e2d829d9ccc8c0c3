package oip_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/api/oip/inference"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// traceSpan is what a collector is told of a span.
type traceSpan struct {
	TraceID      string `json:"traceId"`
	ParentSpanID string `json:"parentSpanId"`
	Name         string
	Status       struct{ Code int }
	Attributes   []struct {
		Key   string
		Value struct{ StringValue, IntValue string }
	}
}

func (s traceSpan) says(key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.StringValue + a.Value.IntValue
		}
	}
	return ""
}

// TestGRPCTraces: the metadata traceparent joins a call's span to its caller's
// trace, as the header of that name does over HTTP, and says whether it is sent
// at all; a call without one, or with nonsense, has a trace of its own.
func TestGRPCTraces(t *testing.T) {
	var mu sync.Mutex
	var spans []traceSpan
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var sent struct {
			ResourceSpans []struct{ ScopeSpans []struct{ Spans []traceSpan } }
		}
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, of := range sent.ResourceSpans {
			spans = append(spans, of.ScopeSpans[0].Spans...)
		}
	}))
	defer collector.Close()
	c := dial(t, func(cfg *api.Config) { cfg.TraceEndpoint = collector.URL })

	const parent = "00f067aa0ba902b7"
	trace := func(digit string) string { return strings.Repeat(digit, 32) }
	under := func(digit, flags string) string { return "00-" + trace(digit) + "-" + parent + "-" + flags }
	ask := func(model, traceparent string, code codes.Code) {
		t.Helper()
		ctx := t.Context()
		if traceparent != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "traceparent", traceparent)
		}
		_, err := c.ModelInfer(ctx, raw(model, photo(t, "banana.jpg")))
		require.Equal(t, code.String(), status.Code(err).String(), "%v", err)
	}
	ask("starter", under("a", "01"), codes.OK)
	ask("none", under("b", "01"), codes.NotFound)
	ask("starter", under("c", "00"), codes.OK) // not sampled: not sent
	ask("starter", "", codes.OK)
	ask("starter", "nonsense", codes.OK)
	stream, err := c.ModelStreamInfer(metadata.AppendToOutgoingContext(t.Context(), "traceparent", under("d", "01")))
	require.NoError(t, err)
	require.NoError(t, stream.Send(raw("starter", photo(t, "banana.jpg"))))
	_, err = stream.Recv()
	require.NoError(t, err)
	require.NoError(t, stream.CloseSend())
	_, err = grpc_health_v1.NewHealthClient(c.conn).Check(metadata.AppendToOutgoingContext(t.Context(), "traceparent", under("e", "01")), &grpc_health_v1.HealthCheckRequest{})
	require.NoError(t, err)
	err = c.conn.Invoke(metadata.AppendToOutgoingContext(t.Context(), "traceparent", under("f", "01")), "/inference.GRPCInferenceService/None",
		&inference.ServerReadyRequest{}, &inference.ServerReadyResponse{})
	require.Equal(t, codes.Unimplemented.String(), status.Code(err).String(), "%v", err)
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(spans) >= 6
	}, time.Minute, 10*time.Millisecond) // a call's span may end behind its answer
	require.NoError(t, c.s.Close()) // sends what waits

	mu.Lock()
	defer mu.Unlock()
	by := map[string]traceSpan{}
	for _, s := range spans {
		require.NotContains(t, by, s.TraceID)
		by[s.TraceID] = s
	}
	const service = "inference.GRPCInferenceService/"
	const failed = 2 // STATUS_CODE_ERROR: the server's fault
	for digit, want := range map[string]struct {
		name   string
		code   codes.Code
		failed int
	}{
		"a": {service + "ModelInfer", codes.OK, 0}, "b": {service + "ModelInfer", codes.NotFound, 0},
		"d": {service + "ModelStreamInfer", codes.OK, 0}, "f": {"*", codes.Unimplemented, failed},
	} {
		s := by[trace(digit)]
		require.Equal(t, parent, s.ParentSpanID, digit)
		require.Equal(t, want.name, s.Name, digit)
		require.Equal(t, want.failed, s.Status.Code, digit)
		require.Equal(t, "grpc", s.says("rpc.system"), digit)
		require.Equal(t, strconv.Itoa(int(want.code)), s.says("rpc.grpc.status_code"), digit)
		delete(by, trace(digit))
	}
	require.NotContains(t, by, trace("c"))
	require.NotContains(t, by, trace("e"), "a probe")
	require.Len(t, by, 2, "of calls without a parent")
	for _, s := range by {
		require.Empty(t, s.ParentSpanID)
		require.Equal(t, service+"ModelInfer", s.Name)
	}
}
