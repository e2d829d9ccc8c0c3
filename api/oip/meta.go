package oip

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/vitserve/vitserve/api/op"
	v1 "github.com/vitserve/vitserve/api/v1"
)

// extensions of the protocol that are offered.
func extensions() []string {
	return []string{
		"classification", "model_repository", "model_repository(unload_dependents)", "schedule_policy",
		"model_configuration", "binary_tensor_data", "parameters", "statistics",
	}
}

// platform is what computes all models.
const platform = "vitserve"

// live answers whether the server is there.
func (d *dialect) live(_ op.Call, w http.ResponseWriter, _ *http.Request) error {
	return send(w, http.StatusOK, map[string]bool{"live": true})
}

// ready answers whether it can be asked.
func (d *dialect) ready(c op.Call, w http.ResponseWriter, _ *http.Request) error {
	if err := c.Ready(); err != nil {
		return err
	}
	return send(w, http.StatusOK, map[string]bool{"ready": true})
}

// serverMetadata describes the server.
type serverMetadata struct {
	Name       string   `json:"name"`
	Version    string   `json:"version"`
	Extensions []string `json:"extensions"`
}

func serverOf(c op.Call) serverMetadata {
	v := c.Version().Version
	if v == "" {
		v = "unknown"
	}
	return serverMetadata{platform, v, extensions()}
}

func (d *dialect) server(c op.Call, w http.ResponseWriter, _ *http.Request) error {
	return send(w, http.StatusOK, serverOf(c))
}

// modelReady answers whether a model is in memory.
func (d *dialect) modelReady(c op.Call, w http.ResponseWriter, _ *http.Request) error {
	t, err := targetOf(c)
	if err != nil {
		return err
	}
	if t.card.State != v1.Ready {
		return fmt.Errorf("%w: model %s is %s", op.ErrUnavailable, t.name(), t.card.State)
	}
	return send(w, http.StatusOK, map[string]any{"name": t.name(), "ready": true})
}

// targetOf returns the model of a path.
func targetOf(c op.Call) (target, error) {
	model, version := name(c)
	return find(c, model, version)
}

// shapedOf returns the model of a path with its sizes.
func shapedOf(c op.Call, r *http.Request) (shaped, error) {
	t, err := targetOf(c)
	if err != nil {
		return shaped{}, err
	}
	return shapes(r.Context(), c, t, op.Options{})
}

// tensorMetadata describes an input or output. Of the batch any number is taken.
type tensorMetadata struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
}

func (t tensorOf) metadata() tensorMetadata {
	return tensorMetadata{t.name, t.datatype, append([]int64{-1}, t.dims...)}
}

func (d *dialect) metadata(c op.Call, w http.ResponseWriter, r *http.Request) error {
	m, err := shapedOf(c, r)
	if err != nil {
		return err
	}
	return send(w, http.StatusOK, struct {
		Name       string            `json:"name"`
		Versions   []string          `json:"versions"`
		Platform   string            `json:"platform"`
		Inputs     []tensorMetadata  `json:"inputs"`
		Outputs    []tensorMetadata  `json:"outputs"`
		Parameters map[string]string `json:"parameters"`
	}{
		m.name(), []string{version}, platform,
		[]tensorMetadata{m.inputTensor().metadata()}, []tensorMetadata{m.outputTensor().metadata()}, m.notes(),
	})
}

// The configuration of a model, of which clients read the sizes.
//
// https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto
type modelConfig struct {
	Name       string                 `json:"name"`
	Platform   string                 `json:"platform"`
	Backend    string                 `json:"backend"`
	MaxBatch   int                    `json:"max_batch_size"`
	Input      []tensorConfig         `json:"input"`
	Output     []tensorConfig         `json:"output"`
	Batching   batchingConfig         `json:"dynamic_batching"`
	Parameters map[string]stringValue `json:"parameters"`
}

type tensorConfig struct {
	Name     string  `json:"name"`
	DataType string  `json:"data_type"`
	Format   string  `json:"format,omitempty"`
	Dims     []int64 `json:"dims"`
	Labels   string  `json:"label_filename,omitempty"`
}

type batchingConfig struct {
	Preferred      []int `json:"preferred_batch_size"`
	Delay          int64 `json:"max_queue_delay_microseconds"`
	PriorityLevels int   `json:"priority_levels"`
	DefaultLevel   int   `json:"default_priority_level"`
}

type stringValue struct {
	Value string `json:"string_value"`
}

// Of the configuration.
const (
	typeFP32, typeString   = "TYPE_FP32", "TYPE_STRING"
	formatNCHW, formatNone = "FORMAT_NCHW", "FORMAT_NONE"
	labelsFile             = "labels.txt" // which classification gives the names of
	priorityLevels         = 2
)

func (m shaped) config() modelConfig {
	in, out := m.inputTensor(), m.outputTensor()
	input := tensorConfig{Name: in.name, DataType: typeString, Format: formatNone, Dims: in.dims}
	if in.name == inPixels {
		input.DataType, input.Format = typeFP32, formatNCHW
	}
	output := tensorConfig{Name: out.name, DataType: typeFP32, Dims: out.dims}
	if m.labelsOf(out.name) != nil {
		output.Labels = labelsFile
	}
	c := modelConfig{
		Name: m.name(), Platform: platform, Backend: platform, MaxBatch: m.maxBatch(),
		Input: []tensorConfig{input}, Output: []tensorConfig{output},
		Batching:   batchingConfig{[]int{min(m.limits.Batch, m.maxBatch())}, m.limits.Delay.Microseconds(), priorityLevels, 1},
		Parameters: map[string]stringValue{},
	}
	for k, v := range m.notes() {
		c.Parameters[k] = stringValue{v}
	}
	return c
}

func (d *dialect) config(c op.Call, w http.ResponseWriter, r *http.Request) error {
	m, err := shapedOf(c, r)
	if err != nil {
		return err
	}
	return send(w, http.StatusOK, m.config())
}

// indexed is a model as the repository lists it.
type indexed struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	State   string `json:"state"`
	Reason  string `json:"reason"`
}

// indexOf lists the models, or those that are ready.
func indexOf(c op.Call, ready bool) []indexed {
	all := []indexed{}
	for _, t := range targets(c.Models()) {
		x := indexed{t.name(), version, "UNAVAILABLE", t.card.Reason}
		switch t.card.State {
		case v1.Ready:
			x.State = "READY"
		case v1.Loading:
			x.State = "LOADING"
		case v1.Unloaded:
			x.Reason = "unloaded"
		}
		if !ready || t.card.State == v1.Ready {
			all = append(all, x)
		}
	}
	return all
}

// settings reads the small body of a request that may have none: an object
// whose members each is given.
func settings(c op.Call, r *http.Request, each func(name string, v []byte) error) error {
	body, err := readBody(c, r)
	if err != nil || len(body) == 0 {
		return err
	}
	if !json.Valid(body) {
		var v any
		return syntax("JSON: %v", json.Unmarshal(body, &v))
	}
	if err := op.Object(body, mostMembers, each); err != nil {
		return unread(err)
	}
	return nil
}

func (d *dialect) index(c op.Call, w http.ResponseWriter, r *http.Request) error {
	ready := false
	err := settings(c, r, func(name string, v []byte) error {
		if name == "ready" {
			return within(name, truth(v, &ready))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return send(w, http.StatusOK, indexOf(c, ready))
}

// load loads a model anew, as its files and the server's configuration say.
func (d *dialect) load(c op.Call, w http.ResponseWriter, r *http.Request) error {
	return d.change(c, w, r, c.Load)
}

func (d *dialect) unload(c op.Call, w http.ResponseWriter, r *http.Request) error {
	return d.change(c, w, r, c.Unload)
}

func (d *dialect) change(c op.Call, w http.ResponseWriter, r *http.Request, f change) error {
	model, _ := name(c)
	var given []string
	err := settings(c, r, func(name string, v []byte) error {
		if name != "parameters" {
			return nil
		}
		return op.Object(v, mostMembers, func(name string, _ []byte) error { given = append(given, name); return nil })
	})
	if err != nil {
		return err
	}
	if err := changeModel(r.Context(), c, model, given, f); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// stats are the statistics of a model.
type stats struct {
	Name       string             `json:"name"`
	Version    string             `json:"version"`
	Last       uint64             `json:"last_inference"` // ms since 1970
	Inferences uint64             `json:"inference_count"`
	Executions uint64             `json:"execution_count"`
	Inference  map[string]counted `json:"inference_stats"`
	Responses  struct{}           `json:"response_stats"` // of models that answer a request several times
	Batches    []batchStats       `json:"batch_stats"`
	Memory     []int              `json:"memory_usage"`
}

// batchStats are those of passes with so many pictures.
type batchStats struct {
	Size   int     `json:"batch_size"`
	Input  counted `json:"compute_input"`
	Infer  counted `json:"compute_infer"`
	Output counted `json:"compute_output"`
}

// statsOf returns the statistics of a model.
func (d *dialect) statsOf(t target) stats {
	n := d.stats.of(t.name())
	s := stats{
		Name: t.name(), Version: version, Inferences: n.pictures, Executions: n.executions(), Memory: []int{}, Batches: []batchStats{},
		Inference: map[string]counted{
			"success": n.success, "fail": n.fail, "queue": n.queue,
			"compute_input": n.input, "compute_infer": n.infer, "compute_output": n.written,
			"cache_hit": {}, "cache_miss": {},
		},
	}
	if !n.last.IsZero() {
		s.Last = uint64(n.last.UnixMilli())
	}
	for _, size := range slices.Sorted(maps.Keys(n.passes)) {
		p := n.passes[size]
		count := p.executions()
		s.Batches = append(s.Batches, batchStats{
			Size: size, Input: counted{count, uint64(p.input)}, Infer: counted{count, uint64(p.infer)}, Output: counted{count, 0},
		})
	}
	return s
}

// sendStats answers statistics: 64-bit numbers as numbers, as Triton has them.
func (d *dialect) sendStats(w http.ResponseWriter, ts ...target) error {
	all := []stats{}
	for _, t := range ts {
		all = append(all, d.statsOf(t))
	}
	return send(w, http.StatusOK, map[string]any{"model_stats": all})
}

func (d *dialect) allStats(c op.Call, w http.ResponseWriter, _ *http.Request) error {
	return d.sendStats(w, targets(c.Models())...)
}

func (d *dialect) modelStats(c op.Call, w http.ResponseWriter, _ *http.Request) error {
	t, err := targetOf(c)
	if err != nil {
		return err
	}
	return d.sendStats(w, t)
}

// change loads a model, or unloads it.
type change func(ctx context.Context, id string) error

// changeModel has f change the model that a client names, with parameters of
// these names.
func changeModel(ctx context.Context, c op.Call, model string, parameters []string, f change) error {
	t, err := find(c, model, "")
	if err != nil {
		return err
	}
	for _, p := range parameters {
		if p != "unload_dependents" { // nothing depends on a model
			return notSupported(fmt.Sprintf("parameter %s: a model is loaded as the server's configuration and its files say", op.Clip(p)))
		}
	}
	return f(ctx, t.card.ID)
}
