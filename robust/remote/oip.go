package remote

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/robust"
	"github.com/vitserve/vitserve/robust/corrupt"
	"github.com/vitserve/vitserve/robust/measure"
)

// Pixels is a target that speaks the Open Inference Protocol: a model whose
// input is pixels (N, 3, H, W) after mean and standard deviation, and whose
// output is logits (N, K).
//
//	https://github.com/kserve/open-inference-protocol
type Pixels struct {
	o             Options
	about         robust.About
	input, output string
	mean, std     [3]float64
}

var _ robust.Target = (*Pixels)(nil)

// OpenPixels reads the model's metadata. The preprocessing is the mapping's: the
// protocol has no word for it.
func OpenPixels(ctx context.Context, o Options) (*Pixels, error) {
	if o.HTTP == nil {
		o.HTTP = &http.Client{Timeout: longest}
	}
	if o.Mapping.Transform == nil {
		return nil, fmt.Errorf("the Open Inference Protocol does not tell how photos become pixels: want transform in the mapping file")
	}
	if o.Labels == nil {
		o.Labels = o.Mapping.Labels
	}
	t := *o.Mapping.Transform
	if err := t.Validate(); err != nil {
		return nil, err
	}
	var meta struct {
		Inputs, Outputs []struct {
			Name  string
			Shape []int
		}
	}
	o.URL = strings.TrimSuffix(o.URL, "/") + "/v2/models/" + url.PathEscape(o.Model)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, o.URL, nil)
	if err != nil {
		return nil, err
	}
	if o.Key != "" {
		r.Header.Set("Authorization", "Bearer "+o.Key)
	}
	answer, _, err := send(o.HTTP, r)
	if err == nil {
		err = decode(answer, &meta)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.URL, err)
	}
	if len(meta.Inputs) == 0 || len(meta.Outputs) == 0 {
		return nil, fmt.Errorf("%s: a model without inputs or outputs", o.URL)
	}
	p := &Pixels{o: o, input: o.Mapping.Input, output: o.Mapping.Output}
	if p.input == "" {
		p.input = meta.Inputs[0].Name
	}
	if p.output == "" {
		p.output = meta.Outputs[0].Name
	}
	if o.Labels == nil {
		for _, out := range meta.Outputs {
			if n := len(out.Shape); out.Name == p.output && n > 0 && out.Shape[n-1] > 1 {
				for i := range out.Shape[n-1] {
					o.Labels = append(o.Labels, strconv.Itoa(i))
				}
			}
		}
	}
	if o.Labels == nil {
		return nil, fmt.Errorf("%s: the number of classes is not known: want labels", o.URL)
	}
	p.mean, p.std = t.Normalisation()
	p.about = robust.About{Kind: o.Kind, Model: o.Model, Labels: o.Labels, Transform: &t, Logits: true, Batch: max(o.Batch, 1)}
	if o.IDs != nil {
		p.about.IDs = o.IDs(o.Labels)
	}
	return p, nil
}

// About implements robust.Target.
func (p *Pixels) About() robust.About { return p.about }

// Answer implements robust.Target: a request for each picture, all at a time.
func (p *Pixels) Answer(ctx context.Context, in []robust.Input) ([]robust.Answer, error) {
	out := make([]robust.Answer, len(in))
	failures := make([]error, len(in))
	var g sync.WaitGroup
	for i := range in {
		g.Go(func() {
			if in[i].Whole {
				out[i].Err = fmt.Errorf("pixels are of the model's size: want mode crop")
				return
			}
			logits, err := p.ask(ctx, in[i].Picture)
			if err != nil {
				out[i].Err, failures[i] = err, ended(ctx, err)
				return
			}
			out[i] = robust.Answer{Logits: logits, Scores: measure.Softmax(logits, 1)}
		})
	}
	g.Wait()
	for _, err := range failures {
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ask sends pixels in binary, as Triton's extension has them.
func (p *Pixels) ask(ctx context.Context, x *corrupt.Picture) ([]float32, error) {
	if want := p.about.Transform.Size; x.H != want[0] || x.W != want[1] {
		return nil, fmt.Errorf("picture of %d×%d pixels, the model's input is %d×%d: %w", x.W, x.H, want[1], want[0], patch.ErrShape)
	}
	type tensor struct {
		Name       string         `json:"name"`
		Shape      []int          `json:"shape,omitempty"`
		Datatype   string         `json:"datatype,omitempty"`
		Parameters map[string]any `json:"parameters"`
	}
	n := x.W * x.H
	head, err := json.Marshal(map[string][]tensor{
		"inputs":  {{p.input, []int{1, 3, x.H, x.W}, "FP32", map[string]any{"binary_data_size": 12 * n}}},
		"outputs": {{Name: p.output, Parameters: map[string]any{"binary_data": false}}},
	})
	if err != nil {
		return nil, err
	}
	body := append(make([]byte, 0, len(head)+12*n), head...)
	for c := range 3 {
		var of [256]uint32
		for v := range of {
			of[v] = math.Float32bits(float32((float64(float32(v)/255) - p.mean[c]) / p.std[c]))
		}
		for i := range n {
			body = binary.LittleEndian.AppendUint32(body, of[x.Pix[3*i+c]])
		}
	}
	header := http.Header{"Content-Type": {"application/octet-stream"}}
	header.Set("Inference-Header-Content-Length", strconv.Itoa(len(head)))
	answer, err := post(ctx, &p.o, p.o.URL+"/infer", body, header)
	if err != nil {
		return nil, err
	}
	var a struct {
		Outputs []struct {
			Name string
			Data []float32
		}
	}
	d := json.NewDecoder(strings.NewReader(string(answer)))
	if err := d.Decode(&a); err != nil && err != io.EOF {
		return nil, fmt.Errorf("answer: %w", err)
	}
	for _, out := range a.Outputs {
		if out.Name == p.output {
			if len(out.Data) != len(p.about.Labels) {
				return nil, fmt.Errorf("output %s of %d values, want %d", p.output, len(out.Data), len(p.about.Labels))
			}
			return out.Data, nil
		}
	}
	return nil, fmt.Errorf("no output %s in the answer", p.output)
}
