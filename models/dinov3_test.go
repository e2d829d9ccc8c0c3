package models

import (
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
)

// TestMetaDINOv3: Meta's own file tells everything: biases of keys are masked,
// periods are the file's, and the head is over class token and mean.
func TestMetaDINOv3(t *testing.T) {
	const dim, d = 32, 16
	names := strings.NewReplacer("reg_token", "storage_tokens", "gamma_1", "ls1.gamma", "gamma_2", "ls2.gamma",
		"mlp.fc1_g", "mlp.w1", "mlp.fc1_x", "mlp.w2", "mlp.fc2", "mlp.w3")
	nan := slices.Repeat([]float32{float32(math.NaN())}, dim)
	dir := edit(t, "timm_dinov3", func(m map[string]floatTensor) {
		for name, v := range maps.Clone(m) {
			delete(m, name)
			at, isQuery := strings.CutSuffix(name, "q_bias")
			switch {
			case strings.HasPrefix(name, "head.") || strings.HasSuffix(name, "v_bias"):
			case isQuery:
				of := readSafetensors(t, filepath.Join("testdata", "golden", "timm_dinov3", "model.safetensors"))[at+"v_bias"].values
				m["backbone."+at+"qkv.bias"] = floatTensor{[]int{3 * dim}, slices.Concat(v.values, slices.Repeat([]float32{7}, dim), of)}
				m["backbone."+at+"qkv.bias_mask"] = floatTensor{[]int{3 * dim}, slices.Concat(nan, nan, nan)}
			default:
				m["backbone."+names.Replace(name)] = v
			}
		}
		m["backbone.mask_token"] = floatTensor{[]int{1, dim}, nan}
		m["backbone.local_cls_norm.weight"] = floatTensor{[]int{dim}, nan}
		m["linear_head.weight"] = floatTensor{[]int{3, 2 * dim}, make([]float32, 6*dim)}
		m["linear_head.bias"] = floatTensor{[]int{3}, []float32{1, 2, 3}}
		var periods []float32
		for k := range d / 4 {
			periods = append(periods, float32(math.Pow(100, 2*float64(k)/(d/2))))
		}
		m["backbone.rope_embed.periods"] = floatTensor{[]int{d / 4}, periods}
	})
	want, err := Open(filepath.Join("testdata", "golden", "timm_dinov3"), Options{})
	require.NoError(t, err)
	defer want.Close()
	require.NoError(t, os.Remove(filepath.Join(dir, "config.json")))
	got, err := Open(dir, Options{ImageSize: [2]int{24, 40}})
	require.NoError(t, err)
	defer got.Close()

	require.Equal(t, 2, got.Config.Heads)
	require.Equal(t, 3, got.Config.Classes)
	require.Equal(t, []backend.Span{{Lo: 0, Hi: 1}, {Lo: 5, Hi: got.Config.Tokens()}}, got.Config.Pool)
	require.Equal(t, patch.Torchvision, got.Transform.Resampler)
	require.Contains(t, got.Note, "DINOv3")
	want.Config.Pool, want.Config.Classes = got.Config.Pool, got.Config.Classes
	want.Weights.Head, want.Weights.HeadBias = got.Weights.Head, got.Weights.HeadBias
	require.Equal(t, want.Config, got.Config)
	require.Equal(t, numbers(want.Weights), numbers(got.Weights))

	again, err := Open(dir, Options{})
	require.NoError(t, err)
	defer again.Close()
	require.Equal(t, dinov3Photos, again.Config.Image)
	require.Equal(t, dinov3Photos, again.Transform.Resize)
}

// TestNoPlaces: a file without positions, of an architecture that nobody knows,
// is refused, and model_args decide it.
func TestNoPlaces(t *testing.T) {
	dir := edit(t, "timm_dinov3", func(map[string]floatTensor) {})
	for _, c := range []struct {
		args string
		rope vit.Rope
		err  string
	}{
		{`{"num_heads":2}`, 0, `where patches are is not known`},
		{`{"num_heads":2,"use_rot_pos_emb":true,"rope_type":"dinov3","rope_temperature":100,"rope_rotate_half":true}`, vit.RopeHalves, ""},
		{`{"num_heads":2,"use_rot_pos_emb":true}`, vit.RopePairs, ""},
		{`{"num_heads":2,"use_rot_pos_emb":true,"rope_type":"mixed"}`, 0, "want both or none"},
		{`{"num_heads":2,"use_rot_pos_emb":true,"rope_type":"spiral"}`, 0, `rope_type "spiral"`},
		{`{"num_heads":2,"use_rot_pos_emb":true,"rope_grid_indexing":"ji"}`, 0, `rope_grid_indexing "ji"`},
		{`{"num_heads":2,"use_rot_pos_emb":true,"ref_feat_shape":-1}`, 0, "ref_feat_shape"},
		{`{"num_heads":2,"use_rot_pos_emb":true,"rope_temperature":0}`, 0, "temperature 0"},
		{`{"num_heads":2,"use_rot_pos_emb":true,"rope_type":"mrope","rope_mrope_section":[1]}`, 0, "want three numbers"},
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"architecture":"mine","model_args":`+c.args+`,"pretrained_cfg":{"input_size":[3,24,40],"mean":[0.5,0.5,0.5],"std":[0.5,0.5,0.5]}}`), 0o600))
		ck, err := Open(dir, Options{})
		if c.err != "" {
			require.ErrorContains(t, err, c.err, c.args)
			continue
		}
		require.NoError(t, err, c.args)
		require.Equal(t, c.rope, ck.Config.Rope)
		require.NoError(t, ck.Close())
	}
}
