package vitserve_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
	"github.com/x448/float16"
)

// forms are odd forms of checkpoints with what transformers and timm answer of
// two pictures: models/testdata/make_forms.py.
type forms struct {
	Bases   map[string]map[string]any `json:"bases"`
	Tensors []formTensor              `json:"tensors"`
	Tables  [][]int                   `json:"tables"` // of Tensors, those of a file
	Forms   []form                    `json:"forms"`
}

type form struct {
	Name    string                 `json:"name"`
	Flags   []string               `json:"flags"`   // of the command line: --image-size
	Weights map[string]formWeights `json:"weights"` // of a weight file its table, and what stands before its names
	Files   map[string]formFile    `json:"files"`

	Fails    bool        `json:"fails"` // the library refuses it, too
	Scores   vit.Scoring `json:"scores"`
	Logits   [][]float32 `json:"logits"`
	Features [][]float32 `json:"features"`
	Tensors  []string    `json:"tensors"` // sha256 of the pictures' .npy files, the beginning
}

type formWeights struct {
	table  int
	prefix string
}

func (f *formWeights) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&f.table, &f.prefix})
}

// formTensor is a tensor of a file, whose numbers are made of a seed.
type formTensor struct {
	name, dtype    string
	shape          []int
	seed           uint32
	centre, spread float64
}

func (f *formTensor) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&f.name, &f.dtype, &f.shape, &f.seed, &f.centre, &f.spread})
}

// formFile is a configuration: the name of one and what is changed in it.
type formFile struct {
	base   string
	change formChange
}

func (f *formFile) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&f.base, &f.change})
}

type formChange struct {
	Put  map[string]any        `json:"put"`
	Drop []string              `json:"drop"`
	In   map[string]formChange `json:"in"`
}

func (c formChange) of(base map[string]any) map[string]any {
	out := maps.Clone(base)
	maps.Copy(out, c.Put)
	for _, k := range c.Drop {
		delete(out, k)
	}
	for k, inner := range c.In {
		out[k] = inner.of(base[k].(map[string]any))
	}
	return out
}

// value is number i of a tensor: MurmurHash3's last steps of index and seed.
func (f *formTensor) value(i int) float32 {
	x := uint32(i)*0x9E3779B1 + f.seed
	x = (x ^ x>>16) * 0x85EBCA6B
	x = (x ^ x>>13) * 0xC2B2AE35
	x ^= x >> 16
	return float32(f.centre + f.spread*(float64(x)/(1<<31)-1))
}

// bytes are the tensor as a file holds it.
func (f *formTensor) bytes() []byte {
	n := 1
	for _, d := range f.shape {
		n *= d
	}
	var out []byte
	for i := range n {
		switch v := f.value(i); f.dtype {
		case "F32":
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
		case "F64":
			out = binary.LittleEndian.AppendUint64(out, math.Float64bits(float64(v)))
		case "BF16":
			bits := math.Float32bits(v)
			out = binary.LittleEndian.AppendUint16(out, uint16((bits+0x7fff+bits>>16&1)>>16))
		case "F16":
			out = binary.LittleEndian.AppendUint16(out, float16.Fromfloat32(v).Bits())
		default:
			out = binary.LittleEndian.AppendUint64(out, 0) // indices, which nobody reads
		}
	}
	return out
}

// write makes the folder of a form.
func (f *forms) write(t *testing.T, dir string, c form) {
	for name, w := range c.Weights {
		header, data := map[string]any{}, []byte{}
		for _, i := range f.Tables[w.table] {
			x := f.Tensors[i]
			b := x.bytes()
			header[w.prefix+x.name] = map[string]any{"dtype": x.dtype, "shape": append([]int{}, x.shape...), "data_offsets": []int{len(data), len(data) + len(b)}}
			data = append(data, b...)
		}
		text, err := json.Marshal(header)
		require.NoError(t, err)
		file := append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), append(file, data...), 0o600))
	}
	for name, file := range c.Files {
		text, err := json.Marshal(file.change.of(f.Bases[file.base]))
		require.NoError(t, err)
		text = []byte(strings.NewReplacer(`"@NaN"`, "NaN", `"@Infinity"`, "Infinity").Replace(string(text)))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
}

// refusedForms are those that a library answers and this program may refuse,
// with what the refusal says.
var refusedForms = map[string]string{
	"config/fewer layers than tensors": "num_hidden_layers says a depth of 1, the file has 2",
	"preprocessor/flipped channels":    "do_flip_channel_order",
	"preprocessor/Perceiver":           `image processor "PerceiverImageProcessor" is not read`,
	"timm-config/mean and std absent":  "does not say both mean and std",
	"timm-config/no pretrained_cfg":    "has no pretrained_cfg",
	"timm-config/another patch":        "model_args.patch_size says a patch size of 16, patch_embed.proj.weight has 8",
}

// TestForms: every odd form of a checkpoint answers as its library does, or is
// refused; none answers otherwise.
func TestForms(t *testing.T) {
	const folder = "models/testdata/forms"
	text, err := os.ReadFile(filepath.Join(folder, "forms.json"))
	require.NoError(t, err)
	var all forms
	require.NoError(t, json.Unmarshal(text, &all))
	exact := 0
	for _, c := range all.Forms {
		t.Run(c.Name, func(t *testing.T) {
			dir := t.TempDir()
			all.write(t, dir, c)
			o := vitserve.Options{}
			if len(c.Flags) > 0 {
				_, err := fmt.Sscanf(c.Flags[1], "%dx%d", &o.ImageSize[0], &o.ImageSize[1])
				require.NoError(t, err)
			}
			m, err := vitserve.Open(dir, o)
			if err != nil {
				want, known := refusedForms[c.Name]
				require.True(t, known || c.Fails, "refused: %v", err)
				require.ErrorContains(t, err, want)
				return
			}
			defer func() { require.NoError(t, m.Close()) }()
			for i, name := range []string{"wide.png", "tall.jpg"} {
				c.check(t, m, filepath.Join(folder, name), i)
			}
			exact++
		})
	}
	require.GreaterOrEqual(t, exact, len(all.Forms)-30)
}

// check holds what m makes of a picture to what the library does.
func (c form) check(t *testing.T, m *vitserve.Model, path string, i int) {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	r, err := m.Checkpoint.Transform.Receipt(t.Context(), data, patch.Options{})
	require.NoError(t, err)
	var got, want []float32
	if c.Features != nil {
		e, err := m.Embed(t.Context(), vitserve.File(path))
		require.NoError(t, err)
		got, want = e.Float32s(), c.Features[i]
	} else {
		a, err := m.Classify(t.Context(), vitserve.File(path))
		require.NoError(t, err)
		require.False(t, c.Fails, "it answers what the library refuses")
		got, want = a.Logits, c.Logits[i]
		require.Equal(t, c.Scores, m.Checkpoint.Scoring)
	}
	require.Equal(t, c.Tensors[i], r.SHA256[:12], "tensor of %s", path)
	largest := 0.0
	for _, x := range want {
		largest = max(largest, math.Abs(float64(x)))
	}
	require.InDeltaSlice(t, want, got, 2e-5*largest, path)
}
