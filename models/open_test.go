package models

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/cpu"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

func TestOpenFinds(t *testing.T) {
	dir := copyGolden(t, "timm_vit")
	weights := filepath.Join(dir, "model.safetensors")
	c, err := Open(dir, Options{})
	require.NoError(t, err)
	require.Equal(t, "timm_vit", c.Name)
	require.Equal(t, dir, c.Source)
	require.Equal(t, "timm", c.Layout)
	require.Equal(t, "vit_tiny_patch16_224", c.Arch)
	require.Empty(t, c.Note)
	revision := c.Revision()
	require.Len(t, revision, 64)
	require.NoError(t, c.Close())
	require.Equal(t, revision, c.Revision())

	byFile, err := Open(weights, Options{})
	require.NoError(t, err)
	require.Equal(t, "timm_vit", byFile.Name)
	require.Equal(t, c.Config, byFile.Config)
	require.Equal(t, revision, byFile.Revision())
	require.NoError(t, byFile.Close())

	require.NoError(t, os.Rename(weights, filepath.Join(dir, "mine.safetensors")))
	for _, name := range []string{dir, filepath.Join(dir, "mine.safetensors")} {
		c, err := Open(name, Options{})
		require.NoError(t, err)
		require.Equal(t, revision, c.Revision())
		require.NoError(t, c.Close())
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "other.safetensors"), pack("{}", 0), 0o600))
	_, err = Open(dir, Options{})
	require.ErrorContains(t, err, "several weight files")
	_, err = Open(filepath.Join(dir, "other.safetensors"), Options{})
	require.ErrorContains(t, err, "no tensors")
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		file, err string
		notFound  bool
	}{
		{file: "", err: "no .safetensors file in the folder, which is empty; a model is", notFound: true},
		{file: "vit.gguf", err: ".gguf files are not read"},
		{file: "pytorch_model.bin", err: "vitserve convert"},
		{file: "vit.pth", err: "vitserve convert"},
		{file: "vit.onnx", err: "ONNX"},
		{file: "tf_model.h5", err: ".h5 files are not read"},
	} {
		folder := filepath.Join(dir, "with"+c.file)
		require.NoError(t, os.Mkdir(folder, 0o700))
		names := []string{folder}
		if c.file != "" {
			names = append(names, filepath.Join(folder, c.file))
			require.NoError(t, os.WriteFile(names[1], []byte("PK\x03\x04"), 0o600))
		}
		for _, name := range names {
			_, err := Open(name, Options{})
			require.ErrorContains(t, err, c.err)
			if c.notFound {
				require.ErrorIs(t, err, ErrNotFound)
			}
		}
	}
	album := t.TempDir()
	for i := range 7 {
		require.NoError(t, os.WriteFile(filepath.Join(album, fmt.Sprintf("%d.jpg", i)), nil, 0o600))
	}
	_, err := Open(album, Options{})
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorContains(t, err, `holds "0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg", 2 more; a model is a .safetensors file, or a folder`)
	_, err = Open(filepath.Join(dir, "none"), Options{})
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorContains(t, err, "starter")

	resnet := filepath.Join(dir, "resnet.safetensors")
	writeSafetensors(t, resnet, map[string]floatTensor{"conv1.weight": {[]int{1}, []float32{1}}})
	_, err = Open(resnet, Options{})
	require.ErrorContains(t, err, "no known layout")
}

// TestOpenPulled opens a model from a cache as package hub leaves it.
func TestOpenPulled(t *testing.T) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	cache := t.TempDir()
	t.Setenv("HF_HUB_CACHE", cache)
	repo := filepath.Join(cache, "models--acme--vit-tiny")
	require.NoError(t, os.CopyFS(filepath.Join(repo, "snapshots", commit), os.DirFS(filepath.Join("testdata", "golden", "hf_vit"))))
	require.NoError(t, os.MkdirAll(filepath.Join(repo, "refs"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(repo, "refs", "main"), []byte(commit), 0o600))
	for _, name := range []string{"acme/vit-tiny", "acme/vit-tiny@main", "acme/vit-tiny@" + commit} {
		c, err := Open(name, Options{})
		require.NoError(t, err)
		require.Equal(t, "vit-tiny", c.Name)
		require.NoError(t, c.Close())
	}
	for _, name := range []string{"acme/none", "acme/vit-tiny@v2", "acme/vit-tiny@../main"} {
		_, err := Open(name, Options{})
		require.Error(t, err)
		if name != "acme/vit-tiny@../main" {
			require.ErrorIs(t, err, ErrNotFound)
			require.ErrorContains(t, err, "vitserve pull acme/")
		}
	}
}

// TestWithoutConfig: weights alone do not say how photos are normalised, and
// transformers' do not say their heads.
func TestWithoutConfig(t *testing.T) {
	for golden, want := range map[string]string{"timm_vit": "would decide it", "hf_vit": "number of heads"} {
		dir := copyGolden(t, golden)
		require.NoError(t, os.Remove(filepath.Join(dir, "config.json")))
		_, err := Open(dir, Options{})
		require.ErrorContains(t, err, want)
	}
}

// TestPositionsOfNoSquare: a grid that is not square needs a configuration.
func TestPositionsOfNoSquare(t *testing.T) {
	for _, c := range []struct {
		rows, prefix int
		grid         [2]int
		ok           bool
	}{
		{197, 1, [2]int{14, 14}, true},
		{196, 1, [2]int{14, 14}, true},
		{198, 2, [2]int{14, 14}, true},
		{260, 4, [2]int{16, 16}, true},
		{256, 0, [2]int{16, 16}, true},
		{15, 1, [2]int{}, false},
		{4, 3, [2]int{}, false}, // 2×2, or 1×1 and three tokens
		{0, 0, [2]int{}, false},
		{1, 1, [2]int{1, 1}, true},
	} {
		grid, ok := squareGrid(c.rows, c.prefix, 0)
		require.Equal(t, c.ok, ok, "%d rows, %d prefix tokens", c.rows, c.prefix)
		require.Equal(t, c.grid, grid)
	}
	grid, ok := squareGrid(1370, 5, 4) // DINOv2's own: the class token has a position, registers have none
	require.True(t, ok)
	require.Equal(t, [2]int{37, 37}, grid)
	dir := copyGolden(t, "timm_deit3") // 3×5
	path := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(text), "40\n    ],\n    \"fixed", "32\n    ],\n    \"fixed", 1)), 0o600))
	_, err = Open(dir, Options{})
	require.ErrorContains(t, err, "pos_embed has 15 rows")
	require.ErrorContains(t, err, "would decide it")
}

func TestImageSize(t *testing.T) {
	c, err := Open("testdata/golden/timm_vit", Options{ImageSize: [2]int{48, 24}})
	require.NoError(t, err)
	require.Equal(t, [2]int{48, 24}, c.Config.Image)
	require.Equal(t, [2]int{48, 24}, c.Transform.Size)
	require.Equal(t, tensor.Shape{18, 32}, c.Weights.Pos.Shape())
	require.Contains(t, c.Decisions, Decision{"positions resampled", "6×3", "the input size, by the rule of timm"})
	require.NoError(t, c.Close())
	for _, bad := range [][2]int{{4, 32}, {32, 0}, {-1, 32}, {1 << 20, 32}} {
		_, err := Open("testdata/golden/timm_vit", Options{ImageSize: bad})
		require.Error(t, err, "%v", bad)
	}
}

// TestHuggingFaceFacts: what a configuration says holds, and what it leaves
// out is the library's default.
func TestHuggingFaceFacts(t *testing.T) {
	for _, c := range []struct {
		name, old, new, err string
		check               func(vit.Config) bool
	}{
		{name: "eps", old: `"layer_norm_eps": 1e-12`, new: `"layer_norm_eps": 1e-05`, check: func(c vit.Config) bool { return c.Eps == 1e-5 }},
		{name: "no eps", old: `"layer_norm_eps": 1e-12,`, new: ``, check: func(c vit.Config) bool { return c.Eps == 1e-12 }},
		{name: "eps 0", old: `"layer_norm_eps": 1e-12`, new: `"layer_norm_eps": 0`, err: "eps 0"},
		{name: "heads", old: `"num_attention_heads": 2`, new: `"num_attention_heads": 4`, check: func(c vit.Config) bool { return c.Heads == 4 }},
		{name: "no heads", old: `"num_attention_heads": 2,`, new: ``, err: "12 heads do not divide a dim of 32"},
		{name: "no activation", old: `"hidden_act": "gelu",`, new: ``, check: func(c vit.Config) bool { return c.Act == backend.GELU }},
		{name: "quick", old: `"hidden_act": "gelu"`, new: `"hidden_act": "quick_gelu"`, check: func(c vit.Config) bool { return c.Act == backend.QuickGELU }},
		{name: "unknown activation", old: `"hidden_act": "gelu"`, new: `"hidden_act": "mish"`, err: `"mish"`},
		{name: "size by pair", old: `"image_size": 32`, new: `"image_size": [32, 32]`, check: func(c vit.Config) bool { return c.Image == [2]int{32, 32} }},
		{name: "size by name", old: `"image_size": 32`, new: `"image_size": {"shortest_edge": 32}`, err: "image_size"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := copyGolden(t, "hf_vit")
			path := filepath.Join(dir, "config.json")
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Contains(t, string(text), c.old)
			require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(text), c.old, c.new, 1)), 0o600))
			checkpoint, err := Open(dir, Options{})
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.True(t, c.check(checkpoint.Config))
			require.NoError(t, checkpoint.Close())
		})
	}
}

// TestDecisions: every value of the configuration says what decided it.
func TestDecisions(t *testing.T) {
	c, err := Open("testdata/golden/hf_dino", Options{})
	require.NoError(t, err)
	defer c.Close()
	by := map[string]Decision{}
	for _, d := range c.Decisions {
		require.NotEmpty(t, d.Value)
		require.NotEmpty(t, d.By)
		by[d.Setting] = d
	}
	for _, setting := range []string{"dim", "patch", "prefix token", "positions", "input size", "depth", "MLP width", "last norm", "pool", "classes", "heads", "activation", "eps", "resize", "mean", "std"} {
		require.Contains(t, by, setting)
	}
	require.Equal(t, Decision{"heads", "2", "config.json: num_attention_heads"}, by["heads"])
	require.Equal(t, "preprocessor_config.json", by["mean"].By)
	require.NotContains(t, by, "scores", "there is no head")
	require.Equal(t, []string{"pooler.dense.bias", "pooler.dense.weight"}, c.Skipped)
	require.Zero(t, c.Config.Classes)
	require.Nil(t, c.Labels)
}

// TestOtherNames: the same weights under the names of other wrappers, and
// those that transformers 5 has in memory, make the same model.
func TestOtherNames(t *testing.T) {
	prefixed := func(prefix string) func(string) string { return func(name string) string { return prefix + name } }
	for _, c := range []struct {
		name, golden string
		rename       func(string) string
	}{
		{"DistributedDataParallel", "timm_vit", prefixed("module.")},
		{"two wrappers", "timm_vit", prefixed("model.module.")},
		{"torch.compile", "timm_vit", prefixed("_orig_mod.")},
		{"torch.compile around DistributedDataParallel", "timm_vit", prefixed("_orig_mod.module.")},
		{"DistributedDataParallel around torch.compile", "hf_vit", prefixed("module._orig_mod.")},
		{"Lightning", "timm_vit", prefixed("net.")},
		{"Lightning with an encoder", "timm_vit", prefixed("student.encoder.")},
		{"Lightning around transformers", "hf_vit", func(name string) string { return "classifier.net." + strings.TrimPrefix(name, "vit.") }},
		{"timm in transformers", "timm_vit", prefixed("timm_model.")},
		{"a backbone", "timm_dino", prefixed("backbone.")},
		{"transformers, wrapped", "hf_vit", prefixed("module.")},
		{"transformers, bare", "hf_vit", func(name string) string { return strings.TrimPrefix(name, "vit.") }},
		{"transformers 5", "hf_vit", strings.NewReplacer(
			"encoder.layer.", "layers.", "attention.attention.query", "attention.q_proj", "attention.attention.key", "attention.k_proj", "attention.attention.value", "attention.v_proj",
			"attention.output.dense", "attention.o_proj", "intermediate.dense", "mlp.fc1", "output.dense", "mlp.fc2",
		).Replace},
	} {
		t.Run(c.name, func(t *testing.T) {
			want, err := Open(filepath.Join("testdata", "golden", c.golden), Options{})
			require.NoError(t, err)
			defer want.Close()
			dir := edit(t, c.golden, func(m map[string]floatTensor) {
				for name, v := range maps.Clone(m) {
					delete(m, name)
					m[c.rename(name)] = v
				}
			})
			got, err := Open(dir, Options{})
			require.NoError(t, err)
			defer got.Close()
			require.Equal(t, want.Config, got.Config)
			require.Equal(t, numbers(want.Weights), numbers(got.Weights))
		})
	}
}

// TestBeside: what training leaves beside a model does not hinder it, and
// several models in one file are told.
func TestBeside(t *testing.T) {
	one := floatTensor{[]int{1}, []float32{1}}
	for _, golden := range []string{"timm_vit", "hf_vit"} {
		dir := edit(t, golden, func(m map[string]floatTensor) {
			m["n_averaged"], m["decoder.0.weight"], m["module.embeddings.position_ids"] = one, one, one
		})
		c, err := Open(dir, Options{})
		require.NoError(t, err)
		require.Subset(t, c.Skipped, []string{"n_averaged", "decoder.0.weight", "module.embeddings.position_ids"})
		require.NoError(t, c.Close())
	}
	dir := edit(t, "timm_vit", func(m map[string]floatTensor) {
		for name, v := range maps.Clone(m) {
			delete(m, name)
			m["student."+name], m["teacher."+name] = v, v
		}
	})
	_, err := Open(dir, Options{})
	require.ErrorContains(t, err, "several models, under student. and teacher.")
}

// numbers are all values of weights, in the order of the fields.
func numbers(w *vit.Weights) (all [][]float32) {
	add := func(tensors ...*tensor.Dense) {
		for _, t := range tensors {
			if t != nil {
				all = append(all, t.Float32s())
			}
		}
	}
	add(w.PatchProj, w.PatchBias, w.Prefix, w.Pos, w.PreNorm.Weight, w.PreNorm.Bias, w.Norm.Weight, w.Norm.Bias, w.Head, w.HeadBias, w.Angles)
	for _, b := range w.Blocks {
		add(b.Norm1.Weight, b.Norm1.Bias, b.QKV, b.QKVBias, b.Proj, b.ProjBias, b.Norm2.Weight, b.Norm2.Bias, b.FC1, b.FC1Bias, b.FC2, b.FC2Bias,
			b.Angles, b.Table, b.Inner.Weight, b.Inner.Bias, b.HiddenNorm.Weight, b.HiddenNorm.Bias)
	}
	return all
}

// TestHugeInput: an input size is refused before anything is made of it.
func TestHugeInput(t *testing.T) {
	_, err := Open("testdata/golden/timm_vit", Options{ImageSize: [2]int{8192, 8192}})
	require.ErrorContains(t, err, "tokens")
}

func TestModelType(t *testing.T) {
	dir := copyGolden(t, "hf_vit")
	path := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(text), `"model_type": "vit"`, `"model_type": "swin"`, 1)), 0o600))
	_, err = Open(dir, Options{})
	require.ErrorContains(t, err, `model_type "swin" is not supported, want one of vit, deit`)
}

func TestMultiLabel(t *testing.T) {
	for golden, want := range map[string]vit.Scoring{"hf_vit_sharded": vit.Sigmoid, "hf_vit": vit.Softmax} {
		c, err := Open(filepath.Join("testdata", "golden", golden), Options{})
		require.NoError(t, err)
		require.Equal(t, want, c.Scoring)
		require.NoError(t, c.Close())
	}
}

// toHuggingFace renames a timm ViT's tensors to transformers' and splits qkv.
func toHuggingFace(m map[string]floatTensor) map[string]floatTensor {
	names := strings.NewReplacer(
		"patch_embed.proj", "vit.embeddings.patch_embeddings.projection", "cls_token", "vit.embeddings.cls_token", "pos_embed", "vit.embeddings.position_embeddings",
		"blocks.", "vit.encoder.layer.", "norm1", "layernorm_before", "norm2", "layernorm_after", "attn.proj", "attention.output.dense",
		"mlp.fc1", "intermediate.dense", "mlp.fc2", "output.dense", "head.", "classifier.", "norm.", "vit.layernorm.",
	)
	out := map[string]floatTensor{}
	for name, v := range m {
		block, kind, packed := strings.Cut(name, ".attn.qkv.")
		if !packed {
			out[names.Replace(name)] = v
			continue
		}
		shape := append([]int{v.shape[0] / 3}, v.shape[1:]...)
		third := len(v.values) / 3
		for i, part := range []string{"query", "key", "value"} {
			out[names.Replace(block+".")+"attention.attention."+part+"."+kind] = floatTensor{shape, v.values[i*third : (i+1)*third]}
		}
	}
	return out
}

// TestSharedDeiT opens the real DeiT-tiny, and the same weights under
// transformers' names, and requires the same logits.
func TestSharedDeiT(t *testing.T) {
	shared := os.Getenv("VITSERVE_SHARED")
	if shared == "" {
		t.Skip("VITSERVE_SHARED is not set: no real weights to open")
	}
	dir := filepath.Join(shared, "models", "deit_tiny_patch16_224")
	one, err := Open(dir, Options{})
	require.NoError(t, err)
	defer one.Close()
	require.Equal(t, vit.Config{
		Image: [2]int{224, 224}, Patch: [2]int{16, 16}, Prefix: 1, Dim: 192, Depth: 12, Heads: 3, Hidden: 768,
		Act: backend.GELU, Eps: 1e-6, Pool: clsPool, Classes: 1000,
	}, one.Config)
	require.Equal(t, [2]int{248, 248}, one.Transform.Resize)
	require.Equal(t, "goldfish", one.Labels[1])

	renamed := t.TempDir()
	writeSafetensors(t, filepath.Join(renamed, "model.safetensors"), toHuggingFace(readSafetensors(t, filepath.Join(dir, "model.safetensors"))))
	for name, text := range map[string]string{
		"config.json":              `{"model_type":"vit","architectures":["ViTForImageClassification"],"num_attention_heads":3,"layer_norm_eps":1e-6}`,
		"preprocessor_config.json": `{"image_processor_type":"ViTImageProcessor","size":{"shortest_edge":248},"do_center_crop":true,"crop_size":224,"resample":3,"image_mean":[0.485,0.456,0.406],"image_std":[0.229,0.224,0.225]}`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(renamed, name), []byte(text), 0o600))
	}
	two, err := Open(renamed, Options{})
	require.NoError(t, err)
	defer two.Close()
	require.Equal(t, "huggingface", two.Layout)
	require.Equal(t, one.Config, two.Config)
	require.Equal(t, one.Labels, two.Labels)

	b, err := cpu.New(backend.Options{})
	require.NoError(t, err)
	defer b.Close()
	pixels := make([]float32, 3*224*224)
	for i := range pixels {
		pixels[i] = float32(0.5 + 0.5*math.Sin(float64(i*i%10007)/50))
	}
	var logits [2][]float32
	for i, c := range []*Checkpoint{one, two} {
		m, err := c.Model(b)
		require.NoError(t, err)
		s, err := m.NewSession(vit.SessionOptions{})
		require.NoError(t, err)
		out, err := s.Forward(dense(pixels, 1, 3, 224, 224), vit.Wants{})
		require.NoError(t, err)
		logits[i] = out.Logits.Float32s()
		require.NoError(t, s.Close())
	}
	require.Equal(t, logits[0], logits[1])
}
