package remote

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/vitserve/vitserve/patch"
)

// Mapping says how a server is asked, and where its answer has what.
type Mapping struct {
	// Body is the request: a JSON text in which "{{image}}" stands for the PNG
	// file in base64 and "{{classes}}" for the number of classes. "": the file
	// itself.
	Body    string            `json:"body"`
	Headers map[string]string `json:"headers"`

	// Predictions is where the list of predictions is, as members and indices
	// between dots ("result.0.predictions"); "": the answer itself. Of each
	// Label, Index and Score name the members.
	Predictions string `json:"predictions"`
	Label       string `json:"label"`
	Index       string `json:"index"`
	Score       string `json:"score"`

	// Scores is where a list of a number for each class is, in place of
	// Predictions.
	Scores string `json:"scores"`
	Logits bool   `json:"logits"` // the numbers are logits

	Labels []string `json:"labels"` // by class; none: those of the first answer, by the alphabet

	// Of the Open Inference Protocol: how a photo becomes its input, where the
	// server does not say it.
	Transform *patch.Transform `json:"transform"`
	Input     string           `json:"input"`  // name of the tensor; "": the model's first
	Output    string           `json:"output"` // likewise
}

// HuggingFace is the mapping of the task API.
func HuggingFace() Mapping {
	return Mapping{
		Body:  `{"inputs": "{{image}}", "parameters": {"top_k": {{classes}}}}`,
		Label: "label", Score: "score",
	}
}

// ReadMapping reads one from a JSON file.
func ReadMapping(name string) (Mapping, error) {
	var m Mapping
	data, err := os.ReadFile(name)
	if err != nil {
		return m, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return m, fmt.Errorf("mapping %s: %w", name, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return m, fmt.Errorf("mapping %s: more than one JSON value", name)
	}
	if m.Scores == "" && m.Score == "" && m.Output == "" && m.Transform == nil {
		return m, fmt.Errorf("mapping %s: want score, the member of each prediction, or scores, the list of all", name)
	}
	return m, nil
}

// request is the body of one, and what kind it is.
func (m *Mapping) request(png []byte, classes int) (body []byte, kind string) {
	if m.Body == "" {
		return png, "image/png"
	}
	r := strings.NewReplacer("{{image}}", base64.StdEncoding.EncodeToString(png), "{{classes}}", strconv.Itoa(classes))
	return []byte(r.Replace(m.Body)), "application/json"
}

// at follows a path of members and indices.
func at(v any, path string) (any, error) {
	if path == "" {
		return v, nil
	}
	for step := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			var ok bool
			if v, ok = x[step]; !ok {
				return nil, fmt.Errorf("no member %q of %s in the answer", step, path)
			}
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(x) {
				return nil, fmt.Errorf("no element %q of %s in the answer, which has %d there", step, path, len(x))
			}
			v = x[i]
		default:
			return nil, fmt.Errorf("%s leads nowhere in the answer: at %q there is neither an object nor a list", path, step)
		}
	}
	return v, nil
}

// named is a score of a class by its label or its index.
type named struct {
	label string
	index int // -1: only the label is known
	score float64
}

// read finds the scores of an answer.
func (m *Mapping) read(answer []byte) ([]named, error) {
	var v any
	if err := json.Unmarshal(answer, &v); err != nil {
		return nil, fmt.Errorf("answer: want JSON: %w", err)
	}
	if m.Scores != "" {
		return m.list(v)
	}
	list, err := at(v, m.Predictions)
	if err != nil {
		return nil, err
	}
	all, ok := list.([]any)
	if !ok {
		return nil, fmt.Errorf("predictions %q: want a list in the answer", m.Predictions)
	}
	var out []named
	for i, p := range all {
		n := named{index: -1}
		score, err := at(p, m.Score)
		if err != nil {
			return nil, err
		}
		if n.score, ok = score.(float64); !ok {
			return nil, fmt.Errorf("prediction %d: %s is no number", i, m.Score)
		}
		if m.Index != "" {
			index, err := at(p, m.Index)
			if err != nil {
				return nil, err
			}
			f, ok := index.(float64)
			if !ok || f != float64(int(f)) || f < 0 {
				return nil, fmt.Errorf("prediction %d: %s is no index", i, m.Index)
			}
			n.index = int(f)
		}
		if m.Label != "" {
			label, err := at(p, m.Label)
			if err != nil {
				return nil, err
			}
			n.label = fmt.Sprint(label)
		}
		out = append(out, n)
	}
	return out, nil
}

func (m *Mapping) list(v any) ([]named, error) {
	list, err := at(v, m.Scores)
	if err != nil {
		return nil, err
	}
	all, ok := list.([]any)
	if !ok {
		return nil, fmt.Errorf("scores %q: want a list in the answer", m.Scores)
	}
	var out []named
	for i, s := range all {
		f, ok := s.(float64)
		if !ok {
			return nil, fmt.Errorf("scores %q: element %d is no number", m.Scores, i)
		}
		out = append(out, named{index: i, score: f})
	}
	return out, nil
}

// labelsOf are the labels of a first answer, by the alphabet where it names
// them, and numbers where it does not.
func labelsOf(answer []named) []string {
	var labels []string
	for i, n := range answer {
		if n.label == "" {
			labels = append(labels, strconv.Itoa(i))
		} else {
			labels = append(labels, n.label)
		}
	}
	if len(answer) > 0 && answer[0].label != "" {
		if answer[0].index >= 0 {
			byIndex := make([]string, len(answer))
			for _, n := range answer {
				if n.index < len(byIndex) {
					byIndex[n.index] = n.label
				}
			}
			return byIndex
		}
		slices.Sort(labels)
	}
	return labels
}
