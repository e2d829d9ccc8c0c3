package models

import (
	"encoding/binary"
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// floatTensor is a tensor of a file that a test makes.
type floatTensor struct {
	shape  []int
	values []float32
}

// writeSafetensors writes float32 tensors as a safetensors file.
func writeSafetensors(t testing.TB, path string, tensors map[string]floatTensor) {
	t.Helper()
	stored := map[string]storedTensor{}
	for name, f := range tensors {
		stored[name] = storedTensor{f.shape, appendFloats(nil, f.values)}
	}
	require.NoError(t, os.WriteFile(path, packTensors(t, stored), 0o600))
}

// storedTensor is a float32 tensor as a file has it.
type storedTensor struct {
	shape []int
	data  []byte
}

// packTensors makes the bytes of a safetensors file.
func packTensors(t testing.TB, tensors map[string]storedTensor) []byte {
	t.Helper()
	type field struct {
		Dtype   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	header, data := map[string]field{}, []byte{}
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		x := tensors[name]
		begin := len(data)
		data = append(data, x.data...)
		header[name] = field{"F32", x.shape, [2]int{begin, len(data)}}
	}
	text, err := json.Marshal(header)
	require.NoError(t, err)
	for len(text)%8 != 0 {
		text = append(text, ' ')
	}
	return append(pack(string(text), 0), data...)
}

// readSafetensors is its inverse; values are copies.
func readSafetensors(t testing.TB, path string) map[string]floatTensor {
	t.Helper()
	f, err := openFile(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.close()) }()
	tensors := map[string]floatTensor{}
	for _, e := range f.head.entries {
		v, err := floats(e.dtype, f.bytes(e))
		require.NoError(t, err)
		tensors[e.name] = floatTensor{e.shape, slices.Clone(v)}
	}
	return tensors
}

// edit rewrites the tensors of a copy of a golden checkpoint.
func edit(t testing.TB, golden string, change func(map[string]floatTensor)) string {
	t.Helper()
	dir := copyGolden(t, golden)
	path := filepath.Join(dir, "model.safetensors")
	tensors := readSafetensors(t, path)
	change(tensors)
	writeSafetensors(t, path, tensors)
	return dir
}

// copyGolden copies a golden checkpoint to a folder of the test's own.
func copyGolden(t testing.TB, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "golden", name))))
	return dir
}

// TestWrongCheckpoint: one error names every tensor that is missing,
// misshapen or unused.
func TestWrongCheckpoint(t *testing.T) {
	dir := edit(t, "timm_vit", func(m map[string]floatTensor) {
		delete(m, "norm.bias")
		delete(m, "blocks.1.mlp.fc1.weight")
		m["head.bias"] = floatTensor{[]int{8}, make([]float32, 8)}
		qkv := m["blocks.0.attn.qkv.weight"]
		m["blocks.0.attn.qkv.weight"] = floatTensor{[]int{32, 96}, qkv.values}
		m["blocks.0.attn.q_norm.weight"] = floatTensor{[]int{16}, make([]float32, 16)}
		m["extra"] = floatTensor{[]int{1}, []float32{0}}
	})
	_, err := Open(dir, Options{})
	var wrong *TensorError
	require.ErrorAs(t, err, &wrong)
	require.Equal(t, []string{
		"blocks.0.attn.q_norm.bias (16)", "blocks.0.attn.k_norm.weight (16)", "blocks.0.attn.k_norm.bias (16)", "blocks.1.mlp.fc1.weight (128, 32)", "norm.bias (32)",
	}, wrong.Missing)
	require.Equal(t, []string{"blocks.0.attn.qkv.weight: want (96, 32), found (32, 96)", "head.bias: want (7), found (8)"}, wrong.Misshapen)
	require.Equal(t, []string{"extra"}, wrong.Unused)
	for _, name := range slices.Concat(wrong.Missing, wrong.Misshapen, wrong.Unused) {
		require.ErrorContains(t, err, name)
	}
	require.ErrorContains(t, err, "5 missing")
}

// TestDamagedCheckpoint removes and misshapes every tensor of golden
// checkpoints in turn. Most are noticed by name; of what may be absent (a
// bias, LayerScale, a token) the rest has to go on without a panic.
func TestDamagedCheckpoint(t *testing.T) {
	optional := 0
	for _, golden := range []string{"timm_deit_distilled", "timm_reg_gap", "timm_pre_norm", "timm_deit3", "hf_vit", "hf_deit_distilled", "hf_dinov2_registers_head"} {
		dir := filepath.Join("testdata", "golden", golden)
		whole := map[string]storedTensor{}
		f, err := openFile(filepath.Join(dir, "model.safetensors"))
		require.NoError(t, err)
		for _, e := range f.head.entries {
			whole[e.name] = storedTensor{append([]int{}, e.shape...), slices.Clone(f.bytes(e))}
		}
		require.NoError(t, f.close())
		open := func(tensors map[string]storedTensor) error {
			f, err := memoryFile(golden, packTensors(t, tensors))
			require.NoError(t, err)
			return (&Checkpoint{files: []*file{f}}).load(os.DirFS(dir), &loader{})
		}
		require.NoError(t, open(whole))
		for name, x := range whole {
			if strings.HasSuffix(name, "mask_token") {
				continue // nobody reads it
			}
			part := maps.Clone(whole)
			delete(part, name)
			if open(part) == nil {
				optional++
			}
			n := len(x.data) / 4
			for _, changed := range []storedTensor{{[]int{0}, nil}, {[]int{1 << 40, 0}, nil}, {[]int{n, 1}, x.data}, {[]int{n, 1, 1, 1, 1}, x.data}} {
				part[name] = changed
				require.Error(t, open(part), "%s with %v", name, changed.shape)
			}
		}
	}
	require.NotZero(t, optional)
}

func TestReader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	writeSafetensors(t, path, map[string]floatTensor{
		"module.model.a":     {[]int{1, 1, 2}, []float32{1, 2}},
		"vit.blocks.0.x":     {[]int{1}, []float32{0}},
		"vit.blocks.2.x":     {[]int{1}, []float32{0}},
		"vit.blocks.02.x":    {[]int{1}, []float32{0}},
		"blocks.999999999.x": {[]int{1}, []float32{0}},
	})
	f, err := openFile(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.close()) }()
	r, err := newReader(f)
	require.NoError(t, err)

	require.Equal(t, []float32{1, 2}, r.Get("a", 1, 2).Float32s())
	require.Equal(t, 2, r.Dim("a", 2, 3))
	require.Equal(t, 1, r.Dim("a", 2, 4))
	require.Equal(t, 1, r.Dim("b", 0, 1))
	require.Equal(t, 3, r.Depth("blocks."), "a number that no file could hold is no block")
	require.Nil(t, r.Maybe("b", 1))
	require.NotNil(t, r.Get("b", 1<<40), "what is not there costs nothing")
	require.True(t, r.HasUnder("blocks."))
	r.Skip("blocks.")
	require.EqualError(t, r.Err(), "tensors do not fit the layout: 1 missing: b (1099511627776)")
	require.Len(t, r.skipped, 4)

	for name, want := range map[string]string{"module.": "module.", "vit.deit.x": "x", "student.x": "student.x", "model.module.backbone.a.b": "a.b"} {
		require.Equal(t, want, bare(name))
	}
}

func TestTwoNamesForOneTensor(t *testing.T) {
	dir := edit(t, "timm_vit", func(m map[string]floatTensor) { m["model.norm.bias"] = m["norm.bias"] })
	_, err := Open(dir, Options{})
	require.ErrorContains(t, err, `"model.norm.bias" and "norm.bias" have one name`)
}

func appendFloats(data []byte, values []float32) []byte {
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return data
}
