package oip

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/vitserve/vitserve/api/oip/inference"
	"github.com/vitserve/vitserve/api/op"
	v1 "github.com/vitserve/vitserve/api/v1"
	"google.golang.org/grpc"
)

// service is the protocol over gRPC.
type service struct {
	inference.UnimplementedGRPCInferenceServiceServer
	d *dialect
}

// rpc is the protocol's side of gRPC.
func (d *dialect) rpc() *op.RPC {
	return &op.RPC{
		Register: func(to grpc.ServiceRegistrar) { inference.RegisterGRPCInferenceServiceServer(to, service{d: d}) },
		Open: []string{
			inference.GRPCInferenceService_ServerLive_FullMethodName, inference.GRPCInferenceService_ServerReady_FullMethodName,
			inference.GRPCInferenceService_ServerMetadata_FullMethodName,
		},
	}
}

// ServerLive is of the service, as are the methods below.
func (service) ServerLive(context.Context, *inference.ServerLiveRequest) (*inference.ServerLiveResponse, error) {
	return &inference.ServerLiveResponse{Live: true}, nil
}

func (service) ServerReady(ctx context.Context, _ *inference.ServerReadyRequest) (*inference.ServerReadyResponse, error) {
	return &inference.ServerReadyResponse{Ready: op.CallOf(ctx).Ready() == nil}, nil
}

func (service) ServerMetadata(ctx context.Context, _ *inference.ServerMetadataRequest) (*inference.ServerMetadataResponse, error) {
	m := serverOf(op.CallOf(ctx))
	return &inference.ServerMetadataResponse{Name: m.Name, Version: m.Version, Extensions: m.Extensions}, nil
}

func (service) ModelReady(ctx context.Context, r *inference.ModelReadyRequest) (*inference.ModelReadyResponse, error) {
	t, err := find(op.CallOf(ctx), r.Name, r.Version)
	if err != nil {
		return nil, err
	}
	return &inference.ModelReadyResponse{Ready: t.card.State == v1.Ready}, nil
}

// shaped returns the model that a client names, with its sizes.
func (service) shaped(ctx context.Context, name, version string) (shaped, error) {
	c := op.CallOf(ctx)
	t, err := find(c, name, version)
	if err != nil {
		return shaped{}, err
	}
	return shapes(ctx, c, t, op.Options{})
}

func (s service) ModelMetadata(ctx context.Context, r *inference.ModelMetadataRequest) (*inference.ModelMetadataResponse, error) {
	m, err := s.shaped(ctx, r.Name, r.Version)
	if err != nil {
		return nil, err
	}
	told := func(t tensorMetadata) []*inference.ModelMetadataResponse_TensorMetadata {
		return []*inference.ModelMetadataResponse_TensorMetadata{{Name: t.Name, Datatype: t.Datatype, Shape: t.Shape}}
	}
	return &inference.ModelMetadataResponse{
		Name: m.name(), Versions: []string{version}, Platform: platform,
		Inputs: told(m.inputTensor().metadata()), Outputs: told(m.outputTensor().metadata()),
	}, nil
}

func (s service) ModelConfig(ctx context.Context, r *inference.ModelConfigRequest) (*inference.ModelConfigResponse, error) {
	m, err := s.shaped(ctx, r.Name, r.Version)
	if err != nil {
		return nil, err
	}
	c := m.config()
	out := &inference.ModelConfig{
		Name: c.Name, Platform: c.Platform, Backend: c.Backend, MaxBatchSize: int32(min(c.MaxBatch, math.MaxInt32)),
		Parameters: map[string]*inference.ModelParameter{},
	}
	for _, t := range c.Input {
		out.Input = append(out.Input, &inference.ModelInput{
			Name: t.Name, Dims: t.Dims, DataType: inference.DataType(inference.DataType_value[t.DataType]),
			Format: inference.ModelInput_Format(inference.ModelInput_Format_value[t.Format]),
		})
	}
	for _, t := range c.Output {
		out.Output = append(out.Output, &inference.ModelOutput{
			Name: t.Name, Dims: t.Dims, DataType: inference.DataType(inference.DataType_value[t.DataType]), LabelFilename: t.Labels,
		})
	}
	batching := &inference.ModelDynamicBatching{
		MaxQueueDelayMicroseconds: uint64(c.Batching.Delay),
		PriorityLevels:            uint64(c.Batching.PriorityLevels), DefaultPriorityLevel: uint64(c.Batching.DefaultLevel),
	}
	for _, n := range c.Batching.Preferred {
		batching.PreferredBatchSize = append(batching.PreferredBatchSize, int32(n))
	}
	out.SchedulingChoice = &inference.ModelConfig_DynamicBatching{DynamicBatching: batching}
	for k, v := range c.Parameters {
		out.Parameters[k] = &inference.ModelParameter{StringValue: v.Value}
	}
	return &inference.ModelConfigResponse{Config: out}, nil
}

func (s service) ModelStatistics(ctx context.Context, r *inference.ModelStatisticsRequest) (*inference.ModelStatisticsResponse, error) {
	c := op.CallOf(ctx)
	ts := targets(c.Models())
	if r.Name != "" {
		t, err := find(c, r.Name, r.Version)
		if err != nil {
			return nil, err
		}
		ts = []target{t}
	}
	out := &inference.ModelStatisticsResponse{}
	for _, t := range ts {
		out.ModelStats = append(out.ModelStats, statisticsOf(s.d.statsOf(t)))
	}
	return out, nil
}

func statisticsOf(n stats) *inference.ModelStatistics {
	of := func(c counted) *inference.StatisticDuration {
		return &inference.StatisticDuration{Count: c.Count, Ns: c.Ns}
	}
	i := n.Inference
	out := &inference.ModelStatistics{
		Name: n.Name, Version: n.Version, LastInference: n.Last, InferenceCount: n.Inferences, ExecutionCount: n.Executions,
		InferenceStats: &inference.InferStatistics{
			Success: of(i["success"]), Fail: of(i["fail"]), Queue: of(i["queue"]), ComputeInput: of(i["compute_input"]),
			ComputeInfer: of(i["compute_infer"]), ComputeOutput: of(i["compute_output"]), CacheHit: of(counted{}), CacheMiss: of(counted{}),
		},
	}
	for _, b := range n.Batches {
		out.BatchStats = append(out.BatchStats, &inference.InferBatchStatistics{
			BatchSize: uint64(b.Size), ComputeInput: of(b.Input), ComputeInfer: of(b.Infer), ComputeOutput: of(b.Output),
		})
	}
	return out
}

func (service) RepositoryIndex(ctx context.Context, r *inference.RepositoryIndexRequest) (*inference.RepositoryIndexResponse, error) {
	out := &inference.RepositoryIndexResponse{}
	for _, x := range indexOf(op.CallOf(ctx), r.Ready) {
		out.Models = append(out.Models, &inference.RepositoryIndexResponse_ModelIndex{Name: x.Name, Version: x.Version, State: x.State, Reason: x.Reason})
	}
	return out, nil
}

func (service) RepositoryModelLoad(ctx context.Context, r *inference.RepositoryModelLoadRequest) (*inference.RepositoryModelLoadResponse, error) {
	c := op.CallOf(ctx)
	if err := changeModel(ctx, c, r.ModelName, slices.Sorted(maps.Keys(r.Parameters)), c.Load); err != nil {
		return nil, err
	}
	return &inference.RepositoryModelLoadResponse{}, nil
}

func (service) RepositoryModelUnload(ctx context.Context, r *inference.RepositoryModelUnloadRequest) (*inference.RepositoryModelUnloadResponse, error) {
	c := op.CallOf(ctx)
	if err := changeModel(ctx, c, r.ModelName, slices.Sorted(maps.Keys(r.Parameters)), c.Unload); err != nil {
		return nil, err
	}
	return &inference.RepositoryModelUnloadResponse{}, nil
}

// There are no regions of shared memory, and so forgetting them is done.

func (service) SystemSharedMemoryStatus(context.Context, *inference.SystemSharedMemoryStatusRequest) (*inference.SystemSharedMemoryStatusResponse, error) {
	return &inference.SystemSharedMemoryStatusResponse{}, nil
}

func (service) SystemSharedMemoryUnregister(context.Context, *inference.SystemSharedMemoryUnregisterRequest) (*inference.SystemSharedMemoryUnregisterResponse, error) {
	return &inference.SystemSharedMemoryUnregisterResponse{}, nil
}

func (service) SystemSharedMemoryRegister(context.Context, *inference.SystemSharedMemoryRegisterRequest) (*inference.SystemSharedMemoryRegisterResponse, error) {
	return nil, notSupported("system shared memory")
}

func (service) CudaSharedMemoryStatus(context.Context, *inference.CudaSharedMemoryStatusRequest) (*inference.CudaSharedMemoryStatusResponse, error) {
	return &inference.CudaSharedMemoryStatusResponse{}, nil
}

func (service) CudaSharedMemoryUnregister(context.Context, *inference.CudaSharedMemoryUnregisterRequest) (*inference.CudaSharedMemoryUnregisterResponse, error) {
	return &inference.CudaSharedMemoryUnregisterResponse{}, nil
}

func (service) CudaSharedMemoryRegister(context.Context, *inference.CudaSharedMemoryRegisterRequest) (*inference.CudaSharedMemoryRegisterResponse, error) {
	return nil, notSupported("cuda shared memory")
}

func (service) TraceSetting(context.Context, *inference.TraceSettingRequest) (*inference.TraceSettingResponse, error) {
	return nil, notSupported("tracing")
}

func (service) LogSettings(context.Context, *inference.LogSettingsRequest) (*inference.LogSettingsResponse, error) {
	return nil, notSupported("settings of the log")
}

// scalarOf is a parameter as it would stand in JSON; nil: it has no value.
func scalarOf(p *inference.InferParameter) json.RawMessage {
	switch v := p.GetParameterChoice().(type) {
	case *inference.InferParameter_BoolParam:
		return strconv.AppendBool(nil, v.BoolParam)
	case *inference.InferParameter_Int64Param:
		return strconv.AppendInt(nil, v.Int64Param, 10)
	case *inference.InferParameter_Uint64Param:
		return strconv.AppendUint(nil, v.Uint64Param, 10)
	case *inference.InferParameter_DoubleParam:
		return strconv.AppendFloat(nil, v.DoubleParam, 'g', -1, 64)
	case *inference.InferParameter_StringParam:
		b, err := json.Marshal(v.StringParam)
		if err != nil {
			return nil
		}
		return b
	}
	return nil
}
