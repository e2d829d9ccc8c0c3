package models

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/patch"
)

const openCLIPConfigText = `{"model_cfg":{"embed_dim":24,"quick_gelu":true,"vision_cfg":{"image_size":32,"layers":2,"width":32,"patch_size":8,"head_width":16},` +
	`"text_cfg":{"width":16}},"preprocess_cfg":{"interpolation":"bicubic","resize_mode":"shortest"}}`

// asOpenCLIP writes a golden CLIP of transformers under OpenAI's names, with
// queries, keys and values packed and the projection transposed.
func asOpenCLIP(t *testing.T, config string, more map[string]floatTensor) string {
	names := strings.NewReplacer(
		"vision_model.embeddings.class_embedding", "visual.class_embedding", "vision_model.embeddings.patch_embedding", "visual.conv1",
		"vision_model.embeddings.position_embedding.weight", "visual.positional_embedding", "vision_model.pre_layrnorm", "visual.ln_pre",
		"vision_model.post_layernorm", "visual.ln_post", "vision_model.encoder.layers.", "visual.transformer.resblocks.",
		"layer_norm1", "ln_1", "layer_norm2", "ln_2", "self_attn.out_proj", "attn.out_proj", "mlp.fc1", "mlp.c_fc", "mlp.fc2", "mlp.c_proj",
	)
	dir := edit(t, "hf_clip", func(m map[string]floatTensor) {
		for name, v := range maps.Clone(m) {
			delete(m, name)
			switch {
			case strings.HasPrefix(name, "text_"):
			case strings.Contains(name, "self_attn.k_proj"), strings.Contains(name, "self_attn.v_proj"):
			case strings.Contains(name, "self_attn.q_proj"):
				k, w := "attn.in_proj_", strings.TrimPrefix(filepath.Ext(name), ".")
				at := names.Replace(strings.TrimSuffix(name, "self_attn.q_proj."+w))
				shape := slices.Clone(v.shape)
				shape[0] *= 3
				packed := floatTensor{shape, slices.Clone(v.values)}
				m[at+k+w] = packed
			case name == "visual_projection.weight":
				rows, cols := v.shape[0], v.shape[1]
				turned := make([]float32, len(v.values))
				for r := range rows {
					for c := range cols {
						turned[c*rows+r] = v.values[r*cols+c]
					}
				}
				m["visual.proj"] = floatTensor{[]int{cols, rows}, turned}
			default:
				m[names.Replace(name)] = v
			}
		}
		whole := readSafetensors(t, filepath.Join("testdata", "golden", "hf_clip", "model.safetensors"))
		for i := range 2 {
			for _, w := range []string{"weight", "bias"} {
				at := "visual.transformer.resblocks." + string(rune('0'+i)) + ".attn.in_proj_" + w
				packed := m[at]
				for _, p := range []string{"k", "v"} {
					packed.values = append(packed.values, whole["vision_model.encoder.layers."+string(rune('0'+i))+".self_attn."+p+"_proj."+w].values...)
				}
				m[at] = packed
			}
		}
		// The text tower has OpenAI's names at the top.
		m["logit_scale"] = floatTensor{[]int{}, []float32{2.6}}
		m["positional_embedding"] = floatTensor{[]int{5, 16}, make([]float32, 80)}
		m["token_embedding.weight"] = floatTensor{[]int{11, 16}, make([]float32, 176)}
		m["transformer.resblocks.0.ln_1.weight"] = floatTensor{[]int{16}, make([]float32, 16)}
		maps.Copy(m, more)
	})
	for _, name := range []string{"config.json", "processor_config.json"} {
		require.NoError(t, os.Remove(filepath.Join(dir, name)))
	}
	if config != "" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, openCLIPFile), []byte(config), 0o600))
	}
	return dir
}

// TestOpenCLIP: OpenAI's names make the model that transformers' make.
func TestOpenCLIP(t *testing.T) {
	want, err := Open(filepath.Join("testdata", "golden", "hf_clip"), Options{})
	require.NoError(t, err)
	defer want.Close()
	got, err := Open(asOpenCLIP(t, openCLIPConfigText, nil), Options{})
	require.NoError(t, err)
	defer got.Close()
	require.Equal(t, "openclip", got.Layout)
	require.Equal(t, want.Config, got.Config)
	require.Equal(t, numbers(want.Weights), numbers(got.Weights))
	require.Equal(t, want.Weights.Head.Float32s(), got.Weights.Head.Float32s())
	require.Equal(t, patch.FitShort, got.Transform.Fit)
	require.Equal(t, [2]int{32, 32}, got.Transform.Resize)
	require.Equal(t, [3]float32(clipMean), got.Transform.Mean)
	require.Contains(t, got.Note, "text tower")
}

// TestOpenCLIPIsToldFromOpenAI: the two libraries' weights want different GELUs,
// and a file that does not tell which is refused.
func TestOpenCLIPIsToldFromOpenAI(t *testing.T) {
	for _, c := range []struct {
		name, config string
		more         map[string]floatTensor
		act          backend.Activation
		err          string
	}{
		{"quick_gelu", openCLIPConfigText, nil, backend.QuickGELU, ""},
		{"none", strings.Replace(openCLIPConfigText, `"quick_gelu":true,`, ``, 1), nil, backend.GELU, ""},
		{"nothing", "", nil, 0, "the activation is not known"},
		{"pooling", strings.Replace(openCLIPConfigText, `"layers"`, `"attentional_pool":true,"layers"`, 1), nil, 0, "only the class token"},
		{"depth", strings.Replace(openCLIPConfigText, `"layers":2`, `"layers":3`, 1), nil, 0, "layers says a depth of 3, the file has 2"},
		{"resize", strings.Replace(openCLIPConfigText, `"shortest"`, `"longest"`, 1), nil, 0, `resize_mode "longest"`},
		{"unknown tensor", openCLIPConfigText, map[string]floatTensor{"visual.attn_pool.query": {[]int{1}, []float32{1}}}, 0, "1 unused: visual.attn_pool.query"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Open(asOpenCLIP(t, c.config, c.more), Options{})
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.act, got.Config.Act)
			require.NoError(t, got.Close())
		})
	}
	// OpenAI's files hold the sizes of their input; heads are 64 wide.
	l := loaderFor(t, "", "")
	l.tensors = map[string]stored{"input_resolution": {}}
	act, _, err := l.openCLIPAct()
	require.NoError(t, err)
	require.Equal(t, backend.QuickGELU, act)
}
