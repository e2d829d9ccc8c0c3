package models

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestShards(t *testing.T) {
	const one, two = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
	for _, c := range []struct {
		name   string
		damage func(dir string, weights map[string]string)
		err    string
	}{
		{"sound", func(string, map[string]string) {}, ""},
		{"shard missing", func(dir string, _ map[string]string) { _ = os.Remove(filepath.Join(dir, two)) }, "no such file"},
		{"tensor missing", func(_ string, w map[string]string) { w["more"] = one }, one + " holds other tensors than the index says: no more"},
		{"tensor not in the index", func(_ string, w map[string]string) { delete(w, "classifier.bias") }, "also classifier.bias"},
		{"tensor in another shard", func(_ string, w map[string]string) { w["classifier.bias"] = two }, "also classifier.bias"},
		{"empty", func(_ string, w map[string]string) { clear(w) }, "0 files"},
		{"upwards", func(_ string, w map[string]string) { w["classifier.bias"] = "../" + one }, "same folder"},
		{"absolute", func(_ string, w map[string]string) { w["classifier.bias"] = "/etc/passwd" }, "same folder"},
		{"folder", func(_ string, w map[string]string) { w["classifier.bias"] = "a/" + one }, "same folder"},
		{"no safetensors", func(_ string, w map[string]string) { w["classifier.bias"] = "model.bin" }, "same folder"},
		{"the index itself", func(_ string, w map[string]string) { w["classifier.bias"] = indexFile }, "same folder"},
		{"shard truncated", func(dir string, _ map[string]string) { _ = os.Truncate(filepath.Join(dir, two), 5000) }, "truncated"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := copyGolden(t, "hf_vit_sharded")
			path := filepath.Join(dir, indexFile)
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			var index map[string]any
			require.NoError(t, json.Unmarshal(text, &index))
			weights := map[string]string{}
			for k, v := range index["weight_map"].(map[string]any) {
				weights[k] = v.(string)
			}
			c.damage(dir, weights)
			text, err = json.Marshal(map[string]any{"weight_map": weights})
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, text, 0o600))
			for _, name := range []string{dir, path} {
				checkpoint, err := Open(name, Options{})
				if c.err != "" {
					require.ErrorContains(t, err, c.err)
					continue
				}
				require.NoError(t, err)
				require.Equal(t, "hf_vit_sharded", checkpoint.Name)
				require.Len(t, checkpoint.Revision(), 64)
				require.NoError(t, checkpoint.Close())
			}
		})
	}
}
