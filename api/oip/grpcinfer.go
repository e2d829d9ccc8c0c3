package oip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"

	"github.com/vitserve/vitserve/api/oip/inference"
	"github.com/vitserve/vitserve/api/op"
	"google.golang.org/grpc"
)

func (s service) ModelInfer(ctx context.Context, r *inference.ModelInferRequest) (*inference.ModelInferResponse, error) {
	return s.d.inferRPC(ctx, op.CallOf(ctx), r)
}

// inferRPC answers a request over gRPC.
func (d *dialect) inferRPC(ctx context.Context, c op.Call, r *inference.ModelInferRequest) (*inference.ModelInferResponse, error) {
	ask, err := requestOf(r)
	if err != nil {
		return nil, err
	}
	a, err := d.infer(ctx, c, ask)
	if err != nil {
		return nil, err
	}
	out := &inference.ModelInferResponse{ModelName: a.model.name(), ModelVersion: version, Id: a.id}
	for _, o := range a.outputs {
		if err := c.Take(int64(o.size(false))); err != nil {
			return nil, err
		}
		t := &inference.ModelInferResponse_InferOutputTensor{Name: o.name, Datatype: o.datatype}
		for _, n := range o.shape {
			t.Shape = append(t.Shape, int64(n))
		}
		out.Outputs = append(out.Outputs, t)
		out.RawOutputContents = append(out.RawOutputContents, o.binaryData())
	}
	return out, nil
}

// requestOf is a request over gRPC in no encoding's words.
func requestOf(r *inference.ModelInferRequest) (*request, error) {
	out := &request{model: r.ModelName, version: r.ModelVersion, id: r.Id}
	raw := r.RawInputContents
	switch {
	case len(r.Id) > mostName:
		return nil, value("an id of %d bytes, want at most %d", len(r.Id), mostName)
	case len(r.Inputs) > mostInputs, len(r.Outputs) > mostOutputs, len(r.Parameters) > mostMembers:
		return nil, value("%d inputs, %d outputs and %d parameters, want at most %d, %d and %d",
			len(r.Inputs), len(r.Outputs), len(r.Parameters), mostInputs, mostOutputs, mostMembers)
	case len(raw) > 0 && len(raw) != len(r.Inputs):
		return nil, value("raw_input_contents of %d inputs, and there are %d", len(raw), len(r.Inputs))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Parameters)) {
		v := scalarOf(r.Parameters[name])
		if v == nil {
			return nil, value("parameter %s without a value", op.Clip(name))
		}
		out.parameters = append(out.parameters, parameter{name, v})
	}
	for i, t := range r.Inputs {
		in := input{name: t.Name, datatype: t.Datatype}
		if region, ok := t.Parameters["shared_memory_region"]; ok {
			return nil, inShared("input", t.Name, region.GetStringParam())
		}
		if len(t.Shape) > mostDims {
			return nil, value("input %s: shape of %d dimensions, want at most %d", op.Clip(t.Name), len(t.Shape), mostDims)
		}
		for _, d := range t.Shape {
			if d < 0 || d > math.MaxInt32 {
				return nil, value("input %s: shape %v, want whole numbers from 0", op.Clip(t.Name), t.Shape)
			}
			in.shape = append(in.shape, int(d))
		}
		typed := t.Contents != nil && len(contents{t.Contents}.fields()) > 0
		switch {
		case typed && len(raw) > 0:
			return nil, value("input %s has contents beside raw_input_contents, want one of them", op.Clip(t.Name))
		case len(raw) > 0:
			in.data = blob(raw[i])
		case typed:
			in.data = contents{t.Contents}
		default:
			return nil, value("input %s has no data", op.Clip(t.Name))
		}
		out.inputs = append(out.inputs, in)
	}
	for _, t := range r.Outputs {
		o := wanted{name: t.Name}
		if region, ok := t.Parameters["shared_memory_region"]; ok {
			return nil, inShared("output", t.Name, region.GetStringParam())
		}
		if p, ok := t.Parameters["classification"]; ok {
			n, err := strconv.Atoi(string(scalarOf(p)))
			if err != nil || n < 0 || n > math.MaxInt32 {
				return nil, value("output %s: classification %s, want a whole number from 0", op.Clip(t.Name), clip(scalarOf(p)))
			}
			o.classes = n
		}
		out.outputs = append(out.outputs, o)
	}
	return out, nil
}

// contents is a tensor in the typed fields of gRPC.
type contents struct{ *inference.InferTensorContents }

// fields are the names of those that hold something.
func (c contents) fields() (names []string) {
	for _, f := range []struct {
		name string
		n    int
	}{
		{"bool_contents", len(c.BoolContents)}, {"int_contents", len(c.IntContents)}, {"int64_contents", len(c.Int64Contents)},
		{"uint_contents", len(c.UintContents)}, {"uint64_contents", len(c.Uint64Contents)},
		{fp32Field, len(c.Fp32Contents)}, {"fp64_contents", len(c.Fp64Contents)}, {"bytes_contents", len(c.BytesContents)},
	} {
		if f.n > 0 {
			names = append(names, f.name)
		}
	}
	return names
}

const fp32Field = "fp32_contents"

// only holds that nothing but one field holds something, n elements.
func (c contents) only(field string, found, n int) error {
	if names := c.fields(); len(names) != 1 || names[0] != field {
		return value("contents in %v, want %s", names, field)
	}
	if found != n {
		return value("%s of %d elements, the shape has %d", field, found, n)
	}
	return nil
}

func (c contents) elements(n int, _ room) ([][]byte, error) {
	return c.BytesContents, c.only("bytes_contents", len(c.BytesContents), n)
}

func (c contents) bytes(n int, _ []int, take room) ([]byte, error) {
	if err := c.only("uint_contents", len(c.UintContents), n); err != nil {
		return nil, err
	}
	if err := take(int64(n)); err != nil {
		return nil, err
	}
	all := make([]byte, n)
	for i, v := range c.UintContents {
		if v > math.MaxUint8 {
			return nil, value("element %d: %d, want 0 to 255", i, v)
		}
		all[i] = byte(v)
	}
	return all, nil
}

func (c contents) floats(n int, datatype string, _ []int, _ room) ([]float32, error) {
	if datatype != fp32 {
		return nil, value("contents of %s, want it in raw_input_contents", datatype)
	}
	return c.Fp32Contents, c.only(fp32Field, len(c.Fp32Contents), n)
}

// Parameters of a request that has several answers, and of its last one.
const (
	emptyFinal = "triton_enable_empty_final_response"
	isFinal    = "triton_final_response"
)

// mostAhead is how many requests of a stream are answered at the same time.
const mostAhead = 16

type stream = grpc.BidiStreamingServer[inference.ModelInferRequest, inference.ModelStreamInferResponse]

// received is a request of a stream, or why there is none.
type received struct {
	r   *inference.ModelInferRequest
	err error
}

// ModelStreamInfer answers requests side by side, in the order that they were
// made in. What is wrong with one is its answer; the stream goes on, until its
// client ends it, or the server.
func (s service) ModelStreamInfer(to stream) error {
	var parts sync.WaitGroup
	defer parts.Wait() // they are parts of this call
	ctx, stop := context.WithCancel(to.Context())
	defer stop()
	call := op.CallOf(ctx)
	requests := make(chan received)
	go receive(ctx, to, requests)
	ending := call.Ending()
	var waiting []chan *inference.ModelStreamInferResponse // for their answers, the first first
	var end error
	for requests != nil || len(waiting) > 0 {
		more, first := requests, chan *inference.ModelStreamInferResponse(nil)
		if len(waiting) == mostAhead {
			more = nil
		}
		if len(waiting) > 0 {
			first = waiting[0]
		}
		select {
		case next := <-more:
			if next.err != nil {
				requests = nil
				if end = next.err; errors.Is(end, io.EOF) {
					end = nil
				}
				continue
			}
			answer := make(chan *inference.ModelStreamInferResponse, 1)
			waiting = append(waiting, answer)
			parts.Go(func() { answer <- s.part(ctx, call, next.r) })
		case a := <-first:
			waiting = waiting[1:]
			if err := to.Send(a); err != nil {
				return err
			}
		case <-ending:
			ending, requests, end = nil, nil, op.ErrEnding
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return end
}

// receive hands over what comes, until nothing more does.
func receive(ctx context.Context, from stream, to chan<- received) {
	for {
		r, err := from.Recv()
		select {
		case to <- received{r, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// part answers one request of a stream.
func (s service) part(ctx context.Context, c op.Call, r *inference.ModelInferRequest) (answer *inference.ModelStreamInferResponse) {
	failed := func(err error) *inference.ModelStreamInferResponse {
		return &inference.ModelStreamInferResponse{
			ErrorMessage:  c.Failed(err).Detail,
			InferResponse: &inference.ModelInferResponse{ModelName: r.ModelName, ModelVersion: r.ModelVersion, Id: r.Id},
		}
	}
	defer func() {
		if p := recover(); p != nil {
			answer = failed(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	one, end, err := c.Part()
	if err != nil {
		return failed(err)
	}
	defer end()
	a, err := s.d.inferRPC(ctx, one, r)
	if err != nil {
		return failed(err)
	}
	if r.Parameters[emptyFinal].GetBoolParam() {
		a.Parameters = map[string]*inference.InferParameter{isFinal: {ParameterChoice: &inference.InferParameter_BoolParam{BoolParam: true}}}
	}
	return &inference.ModelStreamInferResponse{InferResponse: a}
}
