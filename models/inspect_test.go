package models

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInspect(t *testing.T) {
	r, err := Inspect("testdata/golden/hf_dino", Options{})
	require.NoError(t, err)
	require.Empty(t, r.Refused)
	require.Nil(t, r.Wrong)
	require.Equal(t, "huggingface", r.Layout)
	require.Equal(t, "ViTModel", r.Architecture)
	require.Equal(t, "pt", r.Metadata["format"])
	require.NotEmpty(t, r.Decisions)
	status := map[string]int{}
	var params int64
	for _, x := range r.Tensors {
		status[x.Status]++
		n := int64(1)
		for _, d := range x.Shape {
			n *= int64(d)
		}
		params += n
	}
	require.Equal(t, map[string]int{"used": 38, "skipped": 2}, status)
	require.Equal(t, params-32*32-32, r.Params)
	// The class token's position is folded into it.
	require.Equal(t, 4*(r.Params-32), r.WeightBytes)
	require.Positive(t, r.FLOPs)
	info, err := os.Stat("testdata/golden/hf_dino/model.safetensors")
	require.NoError(t, err)
	require.Equal(t, info.Size(), r.FileBytes)

	def, err := Inspect("", Options{})
	require.NoError(t, err)
	require.Equal(t, "starter", def.Name)
	require.Len(t, def.Labels, 20)
}

// TestInspectRefused: a checkpoint that cannot be opened is still described.
func TestInspectRefused(t *testing.T) {
	dir := edit(t, "timm_vit", func(m map[string]floatTensor) {
		m["extra"] = floatTensor{[]int{1}, []float32{0}}
		delete(m, "norm.bias")
	})
	r, err := Inspect(dir, Options{})
	require.NoError(t, err)
	require.Contains(t, r.Refused, "extra")
	require.Equal(t, &TensorError{Missing: []string{"norm.bias (32)"}, Unused: []string{"extra"}}, r.Wrong)
	require.Nil(t, r.Config)
	require.Equal(t, "vit_tiny_patch16_224", r.Architecture)
	require.NotEmpty(t, r.Decisions, "what had been settled before")
	require.Contains(t, r.Tensors, TensorReport{"extra", "F32", []int{1}, "unused"})
	text, err := json.Marshal(r)
	require.NoError(t, err)
	require.Contains(t, string(text), `"missing":["norm.bias (32)"]`)

	resnet := filepath.Join(t.TempDir(), "resnet.safetensors")
	writeSafetensors(t, resnet, map[string]floatTensor{"conv1.weight": {[]int{1}, []float32{1}}})
	r, err = Inspect(resnet, Options{})
	require.NoError(t, err)
	require.Contains(t, r.Refused, "no known layout")
	require.Len(t, r.Tensors, 1)

	_, err = Inspect(filepath.Join(dir, "none"), Options{})
	require.ErrorIs(t, err, ErrNotFound)
}
