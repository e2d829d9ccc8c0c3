package oip_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/api/oip/inference"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// rpc asks a server over gRPC and over HTTP.
type rpc struct {
	*client
	inference.GRPCInferenceServiceClient
	conn *grpc.ClientConn
	addr string
}

// dial starts a server with both doors.
func dial(t testing.TB, change func(*api.Config)) *rpc {
	c := start(t, func(cfg *api.Config) {
		cfg.GRPCAddr = "127.0.0.1:0"
		if change != nil {
			change(cfg)
		}
	})
	srv := httptest.NewUnstartedServer(c.s.RPCHandler())
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	return connect(t, c, srv.Listener.Addr().String())
}

func connect(t testing.TB, c *client, addr string) *rpc {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return &rpc{c, inference.NewGRPCInferenceServiceClient(conn), conn, addr}
}

// raw asks about files as Triton's clients do.
func raw(model string, files ...[]byte) *inference.ModelInferRequest {
	return &inference.ModelInferRequest{
		ModelName: model, RawInputContents: [][]byte{elements(files...)},
		Inputs: []*inference.ModelInferRequest_InferInputTensor{{Name: "IMAGE", Datatype: "BYTES", Shape: []int64{int64(len(files)), 1}}},
	}
}

// sizes are those of the last answer, whole and on the way.
type sizes struct{ whole, sent int }

func (*sizes) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (*sizes) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (*sizes) HandleConn(context.Context, stats.ConnStats)                       {}
func (s *sizes) HandleRPC(_ context.Context, r stats.RPCStats) {
	if in, ok := r.(*stats.InPayload); ok {
		s.whole, s.sent = in.Length, in.CompressedLength
	}
}

// TestGRPCCompresses: who compresses is answered compressed, and nobody else is.
func TestGRPCCompresses(t *testing.T) {
	c := dial(t, nil)
	of := &sizes{}
	conn, err := grpc.NewClient("passthrough:///"+c.addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithStatsHandler(of))
	require.NoError(t, err)
	defer conn.Close()
	asking := inference.NewGRPCInferenceServiceClient(conn)
	r := raw("starter", photo(t, "banana.jpg"))
	r.Outputs = []*inference.ModelInferRequest_InferRequestedOutputTensor{{Name: "attention"}}
	plain, err := asking.ModelInfer(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, of.whole, of.sent)
	small, err := asking.ModelInfer(t.Context(), r, grpc.UseCompressor("gzip"))
	require.NoError(t, err)
	require.Less(t, of.sent, of.whole)
	require.Equal(t, plain.RawOutputContents, small.RawOutputContents)
}

// typed asks about a tensor in the fields of its type.
func typed(model, input, datatype string, shape []int64, of *inference.InferTensorContents) *inference.ModelInferRequest {
	return &inference.ModelInferRequest{
		ModelName: model,
		Inputs:    []*inference.ModelInferRequest_InferInputTensor{{Name: input, Datatype: datatype, Shape: shape, Contents: of}},
	}
}

func (c *rpc) ask(r *inference.ModelInferRequest, o ...grpc.CallOption) *inference.ModelInferResponse {
	c.t.Helper()
	a, err := c.ModelInfer(c.t.Context(), r, o...)
	require.NoError(c.t, err)
	return a
}

// refused holds that an error has a code and says something.
func refused(t testing.TB, err error, code codes.Code, says ...string) {
	t.Helper()
	require.Equal(t, code.String(), status.Code(err).String(), "%v", err)
	for _, s := range says {
		require.Contains(t, status.Convert(err).Message(), s)
	}
}

// TestGRPC: what is answered over gRPC is what is answered over HTTP, to the
// bit, in raw and in typed contents.
func TestGRPC(t *testing.T) {
	c := dial(t, nil)
	file := photo(t, "banana.jpg")
	probs, logits := c.classified(file)
	for name, r := range map[string]*inference.ModelInferRequest{
		"raw":        raw("starter", file),
		"typed":      typed("starter", "IMAGE", "BYTES", []int64{1}, &inference.InferTensorContents{BytesContents: [][]byte{file}}),
		"typed byte": typed("starter", "IMAGE", "UINT8", []int64{1, int64(len(file))}, &inference.InferTensorContents{UintContents: uints(file)}),
	} {
		r.Id = name
		r.Outputs = []*inference.ModelInferRequest_InferRequestedOutputTensor{{Name: "probs"}, {Name: "logits"}}
		for _, o := range [][]grpc.CallOption{nil, {grpc.UseCompressor("gzip")}} {
			a := c.ask(r, o...)
			require.Equal(t, "starter", a.ModelName)
			require.Equal(t, "1", a.ModelVersion)
			require.Equal(t, name, a.Id)
			require.Equal(t, []int64{1, 20}, a.Outputs[0].Shape)
			require.Equal(t, binaryOf(t, probs), a.RawOutputContents[0])
			require.Equal(t, binaryOf(t, logits), a.RawOutputContents[1])
		}
	}
	x := c.normalised(file)
	a := c.ask(typed("starter.pixels", "pixel_values", "FP32", []int64{1, 3, 64, 64}, &inference.InferTensorContents{Fp32Contents: x}))
	require.Equal(t, logits, floats(a.RawOutputContents[0]))
	r := typed("starter.pixels", "pixel_values", "FP32", []int64{1, 3, 64, 64}, nil)
	r.RawInputContents = [][]byte{binaryOf(t, x)}
	require.Equal(t, a.RawOutputContents, c.ask(r).RawOutputContents)

	r = raw("starter.focus", file)
	r.Parameters = map[string]*inference.InferParameter{
		"method": {ParameterChoice: &inference.InferParameter_StringParam{StringParam: "rollout"}}, "discard": {ParameterChoice: &inference.InferParameter_DoubleParam{DoubleParam: 0.5}},
		"priority": {ParameterChoice: &inference.InferParameter_Uint64Param{Uint64Param: 2}}, "timeout": {ParameterChoice: &inference.InferParameter_Int64Param{Int64Param: 9_000_000}},
		"sequence_start": {ParameterChoice: &inference.InferParameter_BoolParam{BoolParam: true}},
	}
	want := c.images("starter.focus", `,"parameters":{"method":"rollout","discard":0.5}`, file).answer().Outputs[0].floats
	require.Equal(t, want, floats(c.ask(r).RawOutputContents[0]))
	r = raw("starter", file, file)
	r.Outputs = []*inference.ModelInferRequest_InferRequestedOutputTensor{{Name: "probs", Parameters: map[string]*inference.InferParameter{"classification": {ParameterChoice: &inference.InferParameter_Int64Param{Int64Param: 2}}}}}
	a = c.ask(r)
	require.Equal(t, "BYTES", a.Outputs[0].Datatype)
	require.Equal(t, []int64{2, 2}, a.Outputs[0].Shape)
	require.Equal(t, fmt.Sprintf("%.6f:18:banana", probs[18]), string(a.RawOutputContents[0][4:][:binary.LittleEndian.Uint32(a.RawOutputContents[0])]))

	// Rough numbers of what is beside inference: the shapes are those of HTTP.
	meta, err := c.ModelMetadata(t.Context(), &inference.ModelMetadataRequest{Name: "starter.pixels"})
	require.NoError(t, err)
	config, err := c.ModelConfig(t.Context(), &inference.ModelConfigRequest{Name: "starter.pixels", Version: "1"})
	require.NoError(t, err)
	require.Equal(t, append([]int64{-1}, config.Config.Input[0].Dims...), meta.Inputs[0].Shape)
	require.Equal(t, inference.DataType_TYPE_FP32, config.Config.Input[0].DataType)
	require.Equal(t, inference.ModelInput_FORMAT_NCHW, config.Config.Input[0].Format)
	require.Equal(t, "0.229 0.224 0.225", config.Config.Parameters["image_std"].StringValue)
	stats, err := c.ModelStatistics(t.Context(), &inference.ModelStatisticsRequest{Name: "starter.pixels"})
	require.NoError(t, err)
	require.EqualValues(t, 2, stats.ModelStats[0].InferenceStats.Queue.Count)
	require.EqualValues(t, 2, stats.ModelStats[0].InferenceCount)
	require.Positive(t, stats.ModelStats[0].InferenceStats.ComputeInfer.Ns)
	index, err := c.RepositoryIndex(t.Context(), &inference.RepositoryIndexRequest{Ready: true})
	require.NoError(t, err)
	require.Len(t, index.Models, 4)
	metrics := string(c.get("/metrics").ok().body)
	require.Contains(t, metrics, `vitserve_request_duration_seconds_count{code="200",route="/inference.GRPCInferenceService/ModelInfer"} `)
}

func uints(b []byte) (all []uint32) {
	for _, v := range b {
		all = append(all, uint32(v))
	}
	return all
}

func floats(b []byte) []float32 {
	all := make([]float32, len(b)/4)
	_ = binary.Read(bytes.NewReader(b), binary.LittleEndian, all)
	return all
}

// TestGRPCRefuses: each kind of error has its code, and says what was expected.
func TestGRPCRefuses(t *testing.T) {
	c := dial(t, func(cfg *api.Config) { cfg.MaxBody = 6 << 20 })
	file := photo(t, "banana.jpg")
	with := func(change func(*inference.ModelInferRequest)) *inference.ModelInferRequest {
		r := raw("starter", file)
		change(r)
		return r
	}
	one := func(v *inference.InferParameter) map[string]*inference.InferParameter {
		return map[string]*inference.InferParameter{"shared_memory_region": v}
	}
	region := &inference.InferParameter{ParameterChoice: &inference.InferParameter_StringParam{StringParam: "left"}}
	for name, q := range map[string]struct {
		r    *inference.ModelInferRequest
		code codes.Code
		says string
	}{
		"unknown model":   {raw("x", file), codes.NotFound, "starter.pixels"},
		"unknown version": {with(func(r *inference.ModelInferRequest) { r.ModelVersion = "7" }), codes.NotFound, "want 1"},
		"no inputs":       {&inference.ModelInferRequest{ModelName: "starter"}, codes.InvalidArgument, "want 1: IMAGE"},
		"no data":         {with(func(r *inference.ModelInferRequest) { r.RawInputContents = nil }), codes.InvalidArgument, "no data"},
		"more raw":        {with(func(r *inference.ModelInferRequest) { r.RawInputContents = append(r.RawInputContents, nil) }), codes.InvalidArgument, "raw_input_contents of 2 inputs"},
		"both": {with(func(r *inference.ModelInferRequest) {
			r.Inputs[0].Contents = &inference.InferTensorContents{BytesContents: [][]byte{file}}
		}), codes.InvalidArgument, "beside raw_input_contents"},
		"negative":        {with(func(r *inference.ModelInferRequest) { r.Inputs[0].Shape = []int64{-1} }), codes.InvalidArgument, "whole numbers from 0"},
		"2^40":            {with(func(r *inference.ModelInferRequest) { r.Inputs[0].Shape = []int64{1 << 40} }), codes.InvalidArgument, "whole numbers from 0"},
		"dimensions":      {with(func(r *inference.ModelInferRequest) { r.Inputs[0].Shape = make([]int64, 9) }), codes.InvalidArgument, "at most 8"},
		"no prefix":       {with(func(r *inference.ModelInferRequest) { r.RawInputContents[0] = file }), codes.InvalidArgument, "begin with a length of 4 bytes"},
		"wrong type":      {typed("starter.pixels", "pixel_values", "FP32", []int64{1, 3, 64, 64}, &inference.InferTensorContents{Int64Contents: []int64{1}}), codes.InvalidArgument, "want fp32_contents"},
		"FP16 typed":      {typed("starter.pixels", "pixel_values", "FP16", []int64{1, 3, 64, 64}, &inference.InferTensorContents{Fp32Contents: []float32{1}}), codes.InvalidArgument, "raw_input_contents"},
		"too few":         {typed("starter.pixels", "pixel_values", "FP32", []int64{1, 3, 64, 64}, &inference.InferTensorContents{Fp32Contents: []float32{1}}), codes.InvalidArgument, "of 1 elements, the shape has 12288"},
		"no value":        {with(func(r *inference.ModelInferRequest) { r.Parameters = map[string]*inference.InferParameter{"layer": {}} }), codes.InvalidArgument, "without a value"},
		"shared input":    {with(func(r *inference.ModelInferRequest) { r.Inputs[0].Parameters = one(region) }), codes.Unimplemented, `region "left"`},
		"broken picture":  {raw("starter", []byte("abcd")), codes.InvalidArgument, "supported format"},
		"many inputs":     {with(func(r *inference.ModelInferRequest) { r.Inputs = make17(); r.RawInputContents = nil }), codes.InvalidArgument, "want at most 16"},
		"a large message": {raw("starter", make([]byte, 7<<20)), codes.InvalidArgument, "the limit is 6291456"},
	} {
		_, err := c.ModelInfer(t.Context(), q.r)
		require.Error(t, err, name)
		refused(t, err, q.code, q.says)
		if q.code == codes.InvalidArgument {
			_, err = c.ModelInfer(t.Context(), q.r, grpc.UseCompressor("gzip"))
			require.Equal(t, codes.InvalidArgument, status.Code(err), "%s compressed: %v", name, err)
		}
	}
	// More than Go's four megabytes, within the server's own limit.
	b := make([]byte, 5<<20)
	copy(b, file)
	c.ask(raw("starter", b))

	bomb := raw("starter", make([]byte, 100<<20))
	_, err := c.ModelInfer(t.Context(), bomb, grpc.UseCompressor("gzip"))
	refused(t, err, codes.InvalidArgument, "unfolds to more than the limit of 6291456 bytes")
	refused(t, c.conn.Invoke(t.Context(), "/inference.GRPCInferenceService/Nothing", raw("starter"), &inference.ModelInferResponse{}), codes.Unimplemented, "Nothing")
	_, err = c.SystemSharedMemoryRegister(t.Context(), &inference.SystemSharedMemoryRegisterRequest{Name: "a"})
	refused(t, err, codes.Unimplemented, "system shared memory")
	_, err = c.RepositoryModelLoad(t.Context(), &inference.RepositoryModelLoadRequest{ModelName: "starter", Parameters: map[string]*inference.ModelRepositoryParameter{"config": {}}})
	refused(t, err, codes.Unimplemented, "config")
}

func make17() (all []*inference.ModelInferRequest_InferInputTensor) {
	for range 17 {
		all = append(all, &inference.ModelInferRequest_InferInputTensor{})
	}
	return all
}

// bytesOf sends a message as it is.
type bytesOf []byte

type asIs struct{}

func (asIs) Name() string { return "proto" }
func (asIs) Marshal(v any) ([]byte, error) {
	if b, ok := v.(bytesOf); ok {
		return b, nil
	}
	return proto.Marshal(v.(proto.Message))
}
func (asIs) Unmarshal(b []byte, v any) error { return proto.Unmarshal(b, v.(proto.Message)) }

// sent sends bytes as a message of ModelInfer.
func (c *rpc) sent(b []byte) error {
	return c.conn.Invoke(c.t.Context(), "/inference.GRPCInferenceService/ModelInfer", bytesOf(b), &inference.ModelInferResponse{}, grpc.ForceCodec(asIs{}))
}

// TestGRPCMemory: a message that would take many times its bytes is refused
// before it does, and one that is none is no fault of the server.
func TestGRPCMemory(t *testing.T) {
	c := dial(t, nil)
	refused(t, c.sent([]byte{0x0a, 0xff}), codes.InvalidArgument, "unmarshal")
	refused(t, c.sent([]byte("no message")), codes.InvalidArgument, "unmarshal")
	for name, b := range map[string][]byte{
		"inputs":     bytes.Repeat([]byte{5<<3 | 2, 0}, 1<<20),
		"parameters": bytes.Repeat([]byte{4<<3 | 2, 0}, 1<<20),
		"raw":        bytes.Repeat([]byte{7<<3 | 2, 0}, 1<<20),
		"elements":   within(5, within(5, bytes.Repeat([]byte{8<<3 | 2, 0}, 1<<20))),
		"int64":      within(5, within(5, within(3, make([]byte, 1<<21)))),
		"shape":      within(5, within(3, make([]byte, 1<<21))),
		"singly":     within(5, within(5, bytes.Repeat([]byte{4 << 3, 1}, 1<<20))),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := c.sent(b)
		runtime.ReadMemStats(&after)
		refused(t, err, codes.InvalidArgument, "more than 4096 fields")
		require.Less(t, float64(after.TotalAlloc-before.TotalAlloc)/float64(len(b)), 12.0, "%s: bytes allocated for each that was sent, by both sides", name)
	}
}

// within is a message in a field of another.
func within(field byte, b []byte) []byte {
	return append(binary.AppendUvarint([]byte{field<<3 | 2}, uint64(len(b))), b...)
}

// TestGRPCAccess: keys, rates and administrators as over HTTP.
func TestGRPCAccess(t *testing.T) {
	c := dial(t, func(cfg *api.Config) {
		cfg.Keys = []api.Key{{Name: "app", SHA256: api.HashKey("secret"), Rate: 0.001}, {Name: "admin", SHA256: api.HashKey("root"), Admin: true}}
		cfg.RateBurst = 3
	})
	as := func(key string) context.Context {
		return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+key)
	}
	file := photo(t, "banana.jpg")
	_, err := c.ServerReady(t.Context(), &inference.ServerReadyRequest{})
	require.NoError(t, err)
	_, err = c.ServerMetadata(t.Context(), &inference.ServerMetadataRequest{})
	require.NoError(t, err)
	_, err = c.ModelInfer(t.Context(), raw("starter", file))
	refused(t, err, codes.Unauthenticated, "Authorization: Bearer")
	_, err = c.ModelInfer(as("wrong"), raw("starter", file))
	refused(t, err, codes.Unauthenticated, "unknown")
	_, err = c.ModelInfer(as("root"), raw("starter", file))
	require.NoError(t, err)
	_, err = c.RepositoryModelUnload(as("secret"), &inference.RepositoryModelUnloadRequest{ModelName: "starter"})
	refused(t, err, codes.PermissionDenied, "admin")
	_, err = c.RepositoryModelUnload(as("root"), &inference.RepositoryModelUnloadRequest{ModelName: "starter.pixels"})
	require.NoError(t, err)
	ready, err := c.ModelReady(as("root"), &inference.ModelReadyRequest{Name: "starter"})
	require.NoError(t, err)
	require.False(t, ready.Ready)

	// A stream is held to the rate by its requests.
	s, err := c.ModelStreamInfer(as("secret"))
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, s.Send(raw("starter", file)))
	}
	require.NoError(t, s.CloseSend())
	var last string
	for {
		a, err := s.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		last = a.ErrorMessage
	}
	require.Contains(t, last, "too many requests")
}
