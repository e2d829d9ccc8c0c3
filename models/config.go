package models

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
)

// maxConfig bounds the JSON files beside the weights; a table of 21,843
// labels takes about 1 MB.
const maxConfig = 16 << 20

// config is a config.json: timm's, transformers', or transformers' wrapper of
// a timm model, which is both.
type config struct {
	// timm
	Architecture      string                     `json:"architecture"`
	GlobalPool        *string                    `json:"global_pool"`
	LabelNames        labelNames                 `json:"label_names"`
	LabelDescriptions map[string]string          `json:"label_descriptions"`
	ModelArgs         map[string]json.RawMessage `json:"model_args"`
	Pretrained        *pretrained                `json:"pretrained_cfg"`
	NumClasses        *int                       `json:"num_classes"`

	// transformers
	ModelType     string     `json:"model_type"`
	Architectures []string   `json:"architectures"`
	Heads         *int       `json:"num_attention_heads"`
	Layers        *int       `json:"num_hidden_layers"`
	Dim           *int       `json:"hidden_size"`
	Hidden        *int       `json:"intermediate_size"`
	PatchSize     *dimension `json:"patch_size"`
	Channels      *int       `json:"num_channels"`
	HiddenAct     *string    `json:"hidden_act"`
	Eps           *float64   `json:"layer_norm_eps"`
	ImageSize     *dimension `json:"image_size"`
	MLPRatio      *float64   `json:"mlp_ratio"`
	Vision        *config    `json:"vision_config"` // of models for pictures and words
	SwiGLU        *bool      `json:"use_swiglu_ffn"`
	RMSEps        *float64   `json:"rms_norm_eps"`
	Native        *bool      `json:"is_native"`
	ClsTokens     *int       `json:"n_cls_tokens"`
	Summary       []int      `json:"summary_idxs"`
	GatedMLP      *bool      `json:"use_gated_mlp"`
	RopeTheta     *float64   `json:"rope_theta"`
	ID2Label      labelNames `json:"id2label"`
	ProblemType   *string    `json:"problem_type"`
}

// pretrained is timm's pretrained_cfg.
type pretrained struct {
	Tag           *string           `json:"tag"`        // how it was trained: laion2b_ft_in12k_in1k
	InputSize     []int             `json:"input_size"` // channels, height, width
	CropPct       *float64          `json:"crop_pct"`
	CropMode      *string           `json:"crop_mode"`
	Interpolation *string           `json:"interpolation"`
	Mean          *triple           `json:"mean"`
	Std           *triple           `json:"std"`
	LabelNames    labelNames        `json:"label_names"`
	LabelTable    map[string]string `json:"label_descriptions"`
	Labels        labelNames        `json:"labels"` // label_names of timm before 0.9
}

// says reports whether anything about photos is said.
func (p *pretrained) says() bool {
	return p.InputSize != nil || p.CropPct != nil || p.CropMode != nil || p.Interpolation != nil || p.Mean != nil || p.Std != nil
}

// dimension is a size as transformers write it: a number, a pair, {"height":
// h, "width": w}, {"shortest_edge": n}, that with a longest_edge, or
// {"max_height": h, "max_width": w}.
type dimension struct {
	Height, Width       int // 0 unless both are said
	Square              int // a single number
	Shortest            int
	Longest             int // that the longer edge does not pass; 0: none
	MaxHeight, MaxWidth int
}

// UnmarshalJSON reads any of the forms.
func (d *dimension) UnmarshalJSON(text []byte) error {
	if json.Unmarshal(text, &d.Square) == nil {
		return inRange(d.Square)
	}
	var pair []int
	if json.Unmarshal(text, &pair) == nil {
		if len(pair) != 2 {
			return fmt.Errorf("size %s, want a height and a width", text)
		}
		d.Height, d.Width = pair[0], pair[1]
		return inRange(pair...)
	}
	var named struct {
		Height   *int `json:"height"`
		Width    *int `json:"width"`
		Shortest *int `json:"shortest_edge"`
		Longest  *int `json:"longest_edge"`

		MaxHeight *int `json:"max_height"`
		MaxWidth  *int `json:"max_width"`
	}
	if err := json.Unmarshal(text, &named); err != nil {
		return err
	}
	switch {
	case named.Height != nil && named.Width != nil:
		d.Height, d.Width = *named.Height, *named.Width
		return inRange(d.Height, d.Width)
	case named.Shortest != nil:
		d.Shortest = *named.Shortest
		if named.Longest == nil {
			return inRange(d.Shortest)
		}
		d.Longest = *named.Longest
		return inRange(d.Shortest, d.Longest)
	case named.MaxHeight != nil && named.MaxWidth != nil:
		d.MaxHeight, d.MaxWidth = *named.MaxHeight, *named.MaxWidth
		return inRange(d.MaxHeight, d.MaxWidth)
	}
	return fmt.Errorf("size %s, want height and width, shortest_edge, or both with longest_edge", strings.Join(strings.Fields(string(text)), " "))
}

// inRange bounds sizes in pixels.
func inRange(sizes ...int) error {
	for _, n := range sizes {
		if n < 1 || n > maxSide {
			return fmt.Errorf("size of %d pixels, want 1 to %d", n, maxSide)
		}
	}
	return nil
}

// maxSide is the largest side of a model's input that is believed.
const maxSide = 1 << 14

// square returns the height and width, of a single number both.
func (d dimension) square() [2]int {
	if d.Square > 0 {
		return [2]int{d.Square, d.Square}
	}
	return [2]int{d.Height, d.Width}
}

// triple is a value for each channel, or one for all.
type triple [3]float32

// UnmarshalJSON reads a list of three, a list of one, or a number.
func (t *triple) UnmarshalJSON(text []byte) error {
	var list []float32
	if json.Unmarshal(text, &list) != nil {
		list = make([]float32, 1)
		if err := json.Unmarshal(text, &list[0]); err != nil {
			return err
		}
	}
	switch len(list) {
	case 3:
		*t = triple(list)
	case 1:
		*t = triple{list[0], list[0], list[0]}
	default:
		return fmt.Errorf("%d channels, want 3", len(list))
	}
	return nil
}

// labelNames are names by class: a list, or an object of names by index.
type labelNames map[int]string

// UnmarshalJSON reads both forms. Some checkpoints have numbers for names.
func (l *labelNames) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	*l = labelNames{}
	var list []name
	if json.Unmarshal(text, &list) == nil {
		for i, n := range list {
			(*l)[i] = string(n)
		}
		return nil
	}
	var byIndex map[string]name
	if err := json.Unmarshal(text, &byIndex); err != nil {
		return err
	}
	for index, n := range byIndex {
		i, err := strconv.Atoi(index)
		if err != nil {
			return fmt.Errorf("label %q of class %q, which is no index", n, index)
		}
		(*l)[i] = string(n)
	}
	return nil
}

type name string

// UnmarshalJSON reads a string or a number.
func (n *name) UnmarshalJSON(text []byte) error {
	var number json.Number
	if err := json.Unmarshal(text, &number); err == nil && len(text) > 0 && text[0] != '"' {
		*n = name(number)
		return nil
	}
	return json.Unmarshal(text, (*string)(n))
}

// readJSON decodes a file of dir. It reports false where there is none.
func readJSON(dir fs.FS, path string, v any) (bool, error) {
	info, err := fs.Stat(dir, path) // to open a pipe is to wait for its writer
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() {
		return false, fmt.Errorf("%s: not a regular file", path)
	}
	f, err := dir.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	if len(text) > maxConfig {
		return false, fmt.Errorf("%s: more than %d bytes", path, maxConfig)
	}
	if err := json.Unmarshal(quoteNaN(text), v); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	return true, nil
}

// readConfig reads config.json. Configurations of timm before 0.9 had no
// pretrained_cfg: its keys stood at the top.
func readConfig(dir fs.FS) (*config, error) {
	var c config
	found, err := readJSON(dir, "config.json", &c)
	if err != nil || !found {
		return nil, err
	}
	if c.Architecture != "" && c.Pretrained == nil {
		var top pretrained
		if _, err := readJSON(dir, "config.json", &top); err != nil {
			return nil, err
		}
		if top.says() {
			c.Pretrained = &top
		}
		if c.LabelNames == nil {
			c.LabelNames = top.Labels
		}
	}
	if p := c.Pretrained; p != nil && c.LabelNames == nil {
		if c.LabelNames = p.LabelNames; c.LabelNames == nil {
			c.LabelNames = p.Labels
		}
		if c.LabelDescriptions == nil {
			c.LabelDescriptions = p.LabelTable
		}
	}
	return &c, nil
}

// arg decodes one of timm's model_args. It reports false where it is not
// there, or null.
func (c *config) arg(key string, v any) (bool, error) {
	text, ok := c.ModelArgs[key]
	if !ok || string(text) == "null" {
		return false, nil
	}
	if err := json.Unmarshal(text, v); err != nil {
		return false, fmt.Errorf("config.json: model_args.%s: %w", key, err)
	}
	return true, nil
}

// quoteNaN makes strings of NaN, Infinity and -Infinity, which Python writes
// for numbers and JSON does not have: where nobody needs the number it does no
// harm, and where one is needed a string is refused.
func quoteNaN(text []byte) []byte {
	if !bytes.Contains(text, []byte("NaN")) && !bytes.Contains(text, []byte("Infinity")) {
		return text
	}
	var out []byte
	inString := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\' && i+1 < len(text):
			out = append(out, c)
			i++
		case c == '"':
			inString = !inString
		case !inString:
			for _, word := range []string{"NaN", "Infinity", "-Infinity"} {
				if bytes.HasPrefix(text[i:], []byte(word)) {
					out = append(out, strconv.Quote(word)...)
					i += len(word)
					break
				}
			}
		}
		if i < len(text) {
			out = append(out, text[i])
		}
	}
	return out
}
