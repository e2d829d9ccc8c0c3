package models

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzSafetensors: whatever a file holds, opening it neither panics nor
// accepts tensors that are not within it, side by side, each once.
func FuzzSafetensors(f *testing.F) {
	f.Add(pack(`{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}`, 24))
	f.Add(pack(`{"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[],"data_offsets":[0,2]},"a":{"dtype":"F64","shape":[0],"data_offsets":[2,2]}}`, 2))
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := memoryFile("f", data)
		if err != nil {
			return
		}
		var end int64
		names := map[string]bool{}
		for _, e := range in.head.entries {
			require.False(t, names[e.name])
			names[e.name] = true
			require.Equal(t, end, e.lo)
			n := dtypeSizes[e.dtype]
			for _, d := range e.shape {
				n *= int64(d)
			}
			require.Equal(t, n, e.hi-e.lo)
			require.Len(t, in.bytes(e), int(n))
			_, _ = floats(e.dtype, in.bytes(e))
			end = e.hi
		}
		require.Equal(t, int64(len(data)), in.head.data+end)
		if r, err := newReader(in); err == nil {
			_, _ = (&loader{Reader: r}).layoutOf()
		}
	})
}

// FuzzConfig puts any configuration beside sound weights: it is refused, or
// makes a checkpoint that vit and patch call valid.
func FuzzConfig(f *testing.F) {
	goldens := []string{"timm_vit", "timm_deit3", "timm_reg_gap", "hf_vit", "hf_deit_distilled", "hf_dinov2_head"}
	files := map[int]*file{}
	for i, name := range goldens {
		dir := filepath.Join("testdata", "golden", name)
		config, err := os.ReadFile(filepath.Join(dir, "config.json"))
		require.NoError(f, err)
		processor, err := os.ReadFile(filepath.Join(dir, "preprocessor_config.json"))
		if err != nil {
			processor = nil
		}
		f.Add(uint8(i), config, processor)
		weights, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
		require.NoError(f, err)
		files[i], err = memoryFile(name, weights)
		require.NoError(f, err)
	}
	f.Fuzz(func(t *testing.T, which uint8, configText, processorText []byte) {
		l := &loader{}
		c := &Checkpoint{files: []*file{files[int(which)%len(goldens)]}}
		if len(configText) > 0 {
			l.config = new(config)
			if json.Unmarshal(configText, l.config) != nil {
				return
			}
		}
		if len(processorText) > 0 {
			l.processor = new(processor)
			if json.Unmarshal(processorText, l.processor) != nil {
				return
			}
		}
		if c.read(l) != nil {
			return
		}
		require.NoError(t, c.Config.Validate())
		require.NoError(t, c.Transform.Validate())
		require.Len(t, c.Labels, c.Config.Classes)
		require.Equal(t, c.Config.Image, c.Transform.Size)
		for _, x := range c.Weights.PatchProj.Float32s() {
			require.Zero(t, x-x, "the patch projection is not finite")
		}
		rows, cols := c.Config.Grid()
		if c.Weights.Pos != nil {
			require.Equal(t, rows*cols, c.Weights.Pos.Shape()[0])
		}
	})
}

// FuzzIndex: an index opens nothing outside its folder.
func FuzzIndex(f *testing.F) {
	golden := filepath.Join("testdata", "golden", "hf_vit_sharded")
	text, err := os.ReadFile(filepath.Join(golden, indexFile))
	require.NoError(f, err)
	f.Add(text)
	f.Add([]byte(`{"weight_map":{"a":"../hf_vit/model.safetensors"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, indexFile), text, 0o600))
		_, err := openShards(os.DirFS(dir), dir, indexFile)
		require.Error(t, err, "there are no shards")
	})
}
