package oip_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/api/oip"
	"github.com/vitserve/vitserve/api/oip/inference"
	"github.com/vitserve/vitserve/api/op"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// logged keeps what a server logs.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestGRPCEnd: a server that ends answers what it has accepted over gRPC, tells
// who watches it, and ends streams on which nothing is asked.
func TestGRPCEnd(t *testing.T) {
	logs := &logged{}
	cfg := api.DefaultConfig()
	cfg.Addr, cfg.GRPCAddr, cfg.Backend = "127.0.0.1:0", "127.0.0.1:0", "gated"
	cfg.Logger = slog.New(slog.NewTextHandler(logs, nil))
	cfg.Dialects = []op.Dialect{oip.Dialect()}
	s, err := api.New(cfg)
	require.NoError(t, err)
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	var addr string
	require.Eventually(t, func() bool {
		m := regexp.MustCompile(`msg="listening for gRPC" addr=(\S+)`).FindStringSubmatch(logs.String())
		if m != nil {
			addr = m[1]
		}
		return m != nil && bytes.Contains([]byte(logs.String()), []byte("msg=ready"))
	}, 30*time.Second, 10*time.Millisecond)
	c := connect(t, &client{t: t, s: s}, addr)
	file := photo(t, "banana.jpg")
	c.ask(raw("starter", file))
	watch, err := grpc_health_v1.NewHealthClient(c.conn).Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	require.NoError(t, err)
	w, err := watch.Recv()
	require.NoError(t, err)
	require.Equal(t, grpc_health_v1.HealthCheckResponse_SERVING, w.Status)
	stream, err := c.ModelStreamInfer(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(raw("starter", file)))
	_, err = stream.Recv()
	require.NoError(t, err)

	gate.Lock()
	free := sync.OnceFunc(gate.Unlock)
	defer free()
	answered := make(chan error, 1)
	go func() {
		_, err := c.ModelInfer(t.Context(), raw("starter", file))
		answered <- err
	}()
	require.NoError(t, stream.Send(raw("starter", file)))
	time.Sleep(200 * time.Millisecond) // both are at the model, or wait for it
	end()
	time.Sleep(200 * time.Millisecond)
	free()
	require.NoError(t, <-answered)
	a, err := stream.Recv()
	require.NoError(t, err)
	require.Empty(t, a.ErrorMessage)
	_, err = stream.Recv()
	refused(t, err, codes.Unavailable, "shutting down")
	for err = nil; err == nil; {
		_, err = watch.Recv()
	}
	refused(t, err, codes.Unavailable)
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(20 * time.Second):
		t.Fatal("the server does not end")
	}
	_, err = c.ModelInfer(t.Context(), raw("starter", file))
	refused(t, err, codes.Unavailable)
}

// TestGRPCAddress: what cannot be listened on is an error at the start.
func TestGRPCAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	cfg := api.DefaultConfig()
	cfg.Addr, cfg.GRPCAddr = "127.0.0.1:0", l.Addr().String()
	s, err := api.New(cfg)
	require.NoError(t, err)
	require.ErrorContains(t, s.Serve(t.Context()), "--grpc-addr 127.0.0.1:")
	cfg.GRPCAddr = "8001"
	require.ErrorContains(t, cfg.Validate(), "grpc_addr")
}

// FuzzGRPC sends any bytes as a message of ModelInfer: they are answered or
// refused, and nothing is a fault of the server.
func FuzzGRPC(f *testing.F) {
	c := dial(f, func(cfg *api.Config) {
		cfg.Models = []api.ModelConfig{{ID: "m", Path: filepath.Join("..", "..", "models", "testdata", "golden", "timm_vit")}}
		cfg.MaxPixels, cfg.MaxBody, cfg.BodyBudget, cfg.MaxImages = 1<<16, 1<<16, 1<<20, 4
	})
	seed := func(r *inference.ModelInferRequest) {
		b, err := proto.Marshal(r)
		require.NoError(f, err)
		f.Add(b, false)
		f.Add(b, true)
	}
	r := raw("m", []byte("\x89PNG\r\n\x1a\n"), []byte("GIF89a"))
	r.Id = "7"
	r.Parameters = map[string]*inference.InferParameter{"layer": {ParameterChoice: &inference.InferParameter_Int64Param{Int64Param: 1}}, "l2": {ParameterChoice: &inference.InferParameter_BoolParam{BoolParam: true}}}
	r.Outputs = []*inference.ModelInferRequest_InferRequestedOutputTensor{{Name: "attention"}, {Name: "probs", Parameters: map[string]*inference.InferParameter{"classification": {ParameterChoice: &inference.InferParameter_Int64Param{Int64Param: 3}}}}}
	seed(r)
	seed(typed("m.pixels", "pixel_values", "FP32", []int64{1, 3, 32, 32}, &inference.InferTensorContents{Fp32Contents: []float32{1, 2}}))
	seed(typed("m.embed", "IMAGE", "UINT8", []int64{1, 3}, &inference.InferTensorContents{UintContents: []uint32{1, 2, 256}}))
	seed(typed("m", "IMAGE", "BYTES", []int64{1 << 40}, &inference.InferTensorContents{BytesContents: [][]byte{nil, []byte("a")}}))
	f.Fuzz(func(t *testing.T, b []byte, zipped bool) {
		var o []grpc.CallOption
		if zipped {
			o = append(o, grpc.UseCompressor("gzip"))
		}
		err := c.conn.Invoke(t.Context(), "/inference.GRPCInferenceService/ModelInfer", bytesOf(b), &inference.ModelInferResponse{}, append(o, grpc.ForceCodec(asIs{}))...)
		switch code := status.Code(err); code {
		case codes.OK, codes.InvalidArgument, codes.NotFound, codes.Unimplemented, codes.DeadlineExceeded:
		default:
			t.Fatalf("%v: %v", code, err)
		}
	})
}
