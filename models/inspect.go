package models

import (
	"errors"
	"fmt"
	"sort"

	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// Report is everything that can be said of a checkpoint without running it,
// also of one that is refused.
type Report struct {
	Name         string            `json:"name"`
	Source       string            `json:"source"`
	Layout       string            `json:"layout,omitempty"`
	Architecture string            `json:"architecture,omitempty"`
	Revision     string            `json:"revision,omitempty"`
	Note         string            `json:"note,omitempty"`
	Metadata     map[string]string `json:"metadata,omitempty"` // of the safetensors headers
	Decisions    []Decision        `json:"decisions"`
	Tensors      []TensorReport    `json:"tensors"`

	Refused string       `json:"refused,omitempty"`       // why it cannot be opened; "": it can
	Wrong   *TensorError `json:"wrong_tensors,omitempty"` // the tensors for which it is refused, if they are why

	// Of a checkpoint that can be opened.
	Config     *vit.Config      `json:"config,omitempty"`
	Transform  *patch.Transform `json:"transform,omitempty"`
	MultiLabel bool             `json:"multi_label,omitempty"`
	Scoring    vit.Scoring      `json:"scores,omitempty"`
	Labels     []string         `json:"labels,omitempty"`

	Params          int64 `json:"params"`                     // numbers in the tensors that are used
	FileBytes       int64 `json:"file_bytes"`                 //
	WeightBytes     int64 `json:"weight_bytes,omitempty"`     // in memory, float32, folded
	ActivationBytes int64 `json:"activation_bytes,omitempty"` // about, for each image of a batch
	FLOPs           int64 `json:"flops,omitempty"`            // of one image, see vit.FLOPs
}

// TensorReport is one tensor of a weight file.
type TensorReport struct {
	Name   string `json:"name"`
	Dtype  string `json:"dtype"`
	Shape  []int  `json:"shape"`
	Status string `json:"status"` // "used", "skipped" (known and not needed) or "unused"
}

// Inspect reports what Open would make of a model and why. Its error is that
// of files which cannot be read at all; a checkpoint that Open refuses is a
// report that says so.
func Inspect(name string, o Options) (*Report, error) {
	c := &Checkpoint{}
	if name == "" {
		name = embedded[0].name
	}
	dir, err := c.find(name)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("models: inspect %s: %w", name, err), c.Close())
	}
	defer c.Close()
	l := &loader{options: o}
	refused := c.load(dir, l)
	r := &Report{
		Name: c.Name, Source: c.Source, Layout: c.Layout, Architecture: c.Arch, Revision: c.Revision(), Note: c.Note,
		Decisions: l.decisions, MultiLabel: c.Scoring == vit.Sigmoid && c.Config.Classes > 1, Scoring: c.Scoring, Labels: c.Labels,
	}
	r.tensors(c, l)
	if refused != nil {
		r.Refused = refused.Error()
		errors.As(refused, &r.Wrong)
		return r, nil
	}
	r.Config, r.Transform = &c.Config, &c.Transform
	r.WeightBytes = 4 * vit.Params(c.Config)
	// The residual stream, its norm, q, k, v, the attention's output and the
	// MLP's hidden layer.
	r.ActivationBytes = 4 * int64(c.Config.Tokens()) * int64(6*c.Config.Dim+c.Config.Hidden)
	r.FLOPs = vit.FLOPs(c.Config)
	return r, nil
}

// tensors lists what the files hold.
func (r *Report) tensors(c *Checkpoint, l *loader) {
	for _, f := range c.files {
		r.FileBytes += int64(len(f.data))
		for k, v := range f.head.metadata {
			if r.Metadata == nil {
				r.Metadata = map[string]string{}
			}
			r.Metadata[k] = v
		}
		for _, e := range f.head.entries {
			t := TensorReport{Name: e.name, Dtype: string(e.dtype), Shape: append([]int{}, e.shape...), Status: "unused"}
			if l.Reader != nil {
				t.Status = l.status(e.name)
			}
			if t.Status == "used" {
				r.Params += int64(tensor.Shape(e.shape).TotalSize())
			}
			r.Tensors = append(r.Tensors, t)
		}
	}
	sort.Slice(r.Tensors, func(i, j int) bool { return r.Tensors[i].Name < r.Tensors[j].Name })
}

// status says what became of a tensor.
func (r *Reader) status(stored string) string {
	if i := sort.SearchStrings(r.skipped, stored); i < len(r.skipped) && r.skipped[i] == stored {
		return "skipped"
	}
	if r.used[r.names[stored]] {
		return "used"
	}
	return "unused"
}
