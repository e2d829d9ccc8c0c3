package oip_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/api/oip/inference"
	"github.com/vitserve/vitserve/backend"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
)

// TestStream: requests of a stream are answered in their order, what is wrong
// with one is its answer, and large ones follow each other.
func TestStream(t *testing.T) {
	c := dial(t, func(cfg *api.Config) { cfg.BodyBudget = cfg.MaxBody })
	files := [][]byte{photo(t, "banana.jpg"), photo(t, "orange.jpg")}
	var want [][]byte
	for _, f := range files {
		probs, _ := c.classified(f)
		want = append(want, binaryOf(t, probs))
	}
	s, err := c.ModelStreamInfer(t.Context())
	require.NoError(t, err)
	const n = 60
	go func() {
		for i := range n {
			file := append(append([]byte{}, files[i%2]...), make([]byte, 1<<20)...)
			r := raw("starter", file)
			r.Id = fmt.Sprint(i)
			r.Parameters = map[string]*inference.InferParameter{"triton_enable_empty_final_response": {ParameterChoice: &inference.InferParameter_BoolParam{BoolParam: i%3 == 0}}}
			if i%10 == 9 {
				r.ModelName = "x"
			}
			_ = s.Send(r)
		}
		_ = s.CloseSend()
	}()
	for i := range n {
		a, err := s.Recv()
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(i), a.InferResponse.Id)
		if i%10 == 9 {
			require.Contains(t, a.ErrorMessage, "model not found")
			continue
		}
		require.Empty(t, a.ErrorMessage)
		require.Equal(t, want[i%2], a.InferResponse.RawOutputContents[0])
		require.Equal(t, i%3 == 0, a.InferResponse.Parameters["triton_final_response"].GetBoolParam())
	}
	_, err = s.Recv()
	require.ErrorIs(t, err, io.EOF)
	require.NotContains(t, string(c.get("/metrics").body), "vitserve_body_bytes 1", "memory that was charged comes back")
}

// TestGRPCTold: probes and reflection.
func TestGRPCTold(t *testing.T) {
	c := dial(t, func(cfg *api.Config) { cfg.Keys = []api.Key{{Name: "app", SHA256: api.HashKey("secret")}} })
	h := grpc_health_v1.NewHealthClient(c.conn)
	for _, service := range []string{"", "inference.GRPCInferenceService"} {
		a, err := h.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service})
		require.NoError(t, err)
		require.Equal(t, grpc_health_v1.HealthCheckResponse_SERVING, a.Status)
	}
	_, err := h.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: "x"})
	refused(t, err, codes.NotFound, `"x"`)
	ctx, stop := context.WithCancel(t.Context())
	w, err := h.Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
	require.NoError(t, err)
	a, err := w.Recv()
	require.NoError(t, err)
	require.Equal(t, grpc_health_v1.HealthCheckResponse_SERVING, a.Status)
	stop()
	_, err = w.Recv()
	refused(t, err, codes.Canceled)

	ask := func(c *rpc) (names []string, err error) {
		s, err := grpc_reflection_v1.NewServerReflectionClient(c.conn).ServerReflectionInfo(t.Context())
		require.NoError(t, err)
		var a *grpc_reflection_v1.ServerReflectionResponse
		for range 40 { // more than a stream of inferences may have open
			// Of a stream that is over, Recv says why.
			_ = s.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}})
			if a, err = s.Recv(); err != nil {
				return nil, err
			}
		}
		require.NoError(t, s.CloseSend())
		for _, service := range a.GetListServicesResponse().GetService() {
			names = append(names, service.Name)
		}
		return names, err
	}
	names, err := ask(c)
	require.NoError(t, err)
	require.Contains(t, names, "inference.GRPCInferenceService")
	_, err = ask(dial(t, func(cfg *api.Config) { cfg.GRPCReflection = false }))
	refused(t, err, codes.Unimplemented)
}

// gate holds every Sync of the backend "gated" while it is locked.
var gate sync.RWMutex

type gatedBackend struct{ backend.Backend }

func (b gatedBackend) NewStream(o backend.StreamOptions) (backend.Stream, error) {
	s, err := b.Backend.NewStream(o)
	return gatedStream{s}, err
}

func (b gatedBackend) Info() backend.Info {
	i := b.Backend.Info()
	i.Threads = 1
	return i
}

type gatedStream struct{ backend.Stream }

func (s gatedStream) Sync() error {
	gate.RLock()
	defer gate.RUnlock()
	return s.Stream.Sync()
}

func init() {
	backend.Register("gated", func(o backend.Options) (backend.Backend, error) {
		b, err := backend.Open("cpu", o)
		return gatedBackend{b}, err
	})
}

// TestGRPCQueue: who cancels, and whose deadline passes, leaves the queue at
// once; what finds it full is told so.
func TestGRPCQueue(t *testing.T) {
	c := dial(t, func(cfg *api.Config) { cfg.Backend, cfg.MaxBatch, cfg.MaxQueue = "gated", 1, 1 })
	file := photo(t, "banana.jpg")
	waiting := func() bool {
		return strings.Contains(string(c.get("/metrics").body), `vitserve_queue_depth{lane="classify",model="starter",priority="high"} 1`)
	}
	gate.Lock()
	free := sync.OnceFunc(gate.Unlock)
	defer free()
	answers := make(chan error, 2)
	ask := func(ctx context.Context) {
		_, err := c.ModelInfer(ctx, raw("starter", file))
		answers <- err
	}
	go ask(t.Context()) // at the model
	require.Eventually(t, func() bool {
		return strings.Contains(string(c.get("/metrics").body), "vitserve_requests_in_flight 2") && !waiting()
	}, 10*time.Second, 5*time.Millisecond)
	time.Sleep(50 * time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := c.ModelInfer(ctx, raw("starter", file))
		gone <- err
	}()
	require.Eventually(t, waiting, 10*time.Second, 5*time.Millisecond)
	_, err := c.ModelInfer(t.Context(), raw("starter", file))
	refused(t, err, codes.ResourceExhausted, "queue is full")
	cancel()
	refused(t, <-gone, codes.Canceled)
	require.Eventually(t, func() bool { return !waiting() }, 10*time.Second, 5*time.Millisecond, "its place is free")
	late, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	_, err = c.ModelInfer(late, raw("starter", file))
	refused(t, err, codes.DeadlineExceeded)
	require.Eventually(t, func() bool { return !waiting() }, 10*time.Second, 5*time.Millisecond, "its place is free")
	go ask(t.Context())
	require.Eventually(t, waiting, 10*time.Second, 5*time.Millisecond)
	free()
	require.NoError(t, <-answers)
	require.NoError(t, <-answers)
}
