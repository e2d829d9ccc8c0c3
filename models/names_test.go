package models

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/backend/cpu"
	"github.com/vitserve/vitserve/vit"
)

// answersOf returns logits and features of one picture, to the bit.
func answersOf(t *testing.T, b backend.Backend, dir string, o Options) (logits, features []float32) {
	t.Helper()
	c, err := Open(dir, o)
	require.NoError(t, err)
	defer c.Close()
	m, err := c.Model(b)
	require.NoError(t, err)
	defer m.Close()
	s, err := m.NewSession(vit.SessionOptions{})
	require.NoError(t, err)
	defer s.Close()
	pixels := make([]float32, 3*c.Config.Image[0]*c.Config.Image[1])
	for i := range pixels {
		pixels[i] = float32(0.5 + 0.5*math.Sin(float64(i*i%10007)/50))
	}
	out, err := s.Forward(dense(pixels, 1, 3, c.Config.Image[0], c.Config.Image[1]), vit.Wants{Features: true})
	require.NoError(t, err)
	if out.Logits != nil {
		logits = out.Logits.Float32s()
	}
	return logits, out.Features.Float32s()
}

// written makes a folder of tensors and JSON files.
func written(t *testing.T, tensors map[string]floatTensor, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	writeSafetensors(t, filepath.Join(dir, "model.safetensors"), tensors)
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

// renamedBy returns tensors under other names; an empty one leaves one out.
func renamedBy(m map[string]floatTensor, rename func(name string) string) map[string]floatTensor {
	out := map[string]floatTensor{}
	for name, v := range m {
		if name = rename(name); name != "" {
			out[name] = v
		}
	}
	return out
}

// chunked puts blocks into chunks of four, as DINOv2 is trained.
func chunked(name string) string {
	rest, ok := strings.CutPrefix(name, "blocks.")
	if !ok {
		return name
	}
	block, rest, _ := strings.Cut(rest, ".")
	return fmt.Sprintf("blocks.%d.%s.%s", parseIndex(block)/4, block, rest)
}

// TestSharedNames opens the real DeiT-tiny under the names of its relatives,
// and requires the same bits.
func TestSharedNames(t *testing.T) {
	shared := os.Getenv("VITSERVE_SHARED")
	if shared == "" {
		t.Skip("VITSERVE_SHARED is not set: no real weights to open")
	}
	dir := filepath.Join(shared, "models", "deit_tiny_patch16_224")
	config, err := os.ReadFile(filepath.Join(dir, "config.json"))
	require.NoError(t, err)
	timm := readSafetensors(t, filepath.Join(dir, "model.safetensors"))
	b, err := cpu.New(backend.Options{})
	require.NoError(t, err)
	defer b.Close()
	logits, features := answersOf(t, b, dir, Options{})

	hf := renamedBy(toHuggingFace(timm), func(n string) string { return strings.Replace(n, "vit.", "deit.", 1) })
	photos := `{"image_processor_type":"DeiTImageProcessor","size":{"height":256,"width":256},"do_center_crop":true,"crop_size":224,"resample":3,"image_mean":[0.485,0.456,0.406],"image_std":[0.229,0.224,0.225]}`
	headless := func(n string) string {
		if strings.HasPrefix(n, "head.") {
			return ""
		}
		return n
	}
	meta := renamedBy(timm, headless)
	meta["mask_token"] = floatTensor{[]int{1, 192}, make([]float32, 192)}
	ones := floatTensor{[]int{192}, slices.Repeat([]float32{1}, 192)}
	for i := range 12 {
		meta[fmt.Sprintf("blocks.%d.ls1.gamma", i)], meta[fmt.Sprintf("blocks.%d.ls2.gamma", i)] = ones, ones
	}
	for name, c := range map[string]struct {
		tensors map[string]floatTensor
		files   map[string]string
		head    bool
	}{
		"transformers' DeiT": {hf, map[string]string{
			"config.json":              `{"model_type":"deit","architectures":["DeiTForImageClassification"],"num_attention_heads":3,"layer_norm_eps":1e-6}`,
			"preprocessor_config.json": photos,
		}, true},
		"DINO's teacher": {renamedBy(timm, func(n string) string {
			if n = headless(n); n != "" {
				n = "module.backbone." + n
			}
			return n
		}), map[string]string{"config.json": strings.Replace(string(config), `"num_classes": 1000`, `"num_classes": 0`, 1)}, false},
		"Meta's DINOv2":            {meta, nil, false},
		"Meta's DINOv2 in chunks":  {renamedBy(meta, chunked), nil, false},
		"OpenCLIP's visual.trunk.": {renamedBy(timm, func(n string) string { return "visual.trunk." + n }), map[string]string{"config.json": string(config)}, true},
		"a script's, compiled":     {renamedBy(timm, func(n string) string { return "net._orig_mod." + n }), map[string]string{"config.json": string(config)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			gotLogits, gotFeatures := answersOf(t, b, written(t, c.tensors, c.files), Options{})
			require.Equal(t, features, gotFeatures)
			if c.head {
				require.Equal(t, logits, gotLogits)
			} else {
				require.Nil(t, gotLogits)
			}
		})
	}
}

// TestSharedPacked opens the real DeiT-tiny under OpenCLIP's names, with its
// queries, keys and values packed and a projection that changes nothing, and
// requires the bits of transformers' ViT with the eps that CLIP has.
func TestSharedPacked(t *testing.T) {
	shared := os.Getenv("VITSERVE_SHARED")
	if shared == "" {
		t.Skip("VITSERVE_SHARED is not set: no real weights to open")
	}
	timm := readSafetensors(t, filepath.Join(shared, "models", "deit_tiny_patch16_224", "model.safetensors"))
	b, err := cpu.New(backend.Options{})
	require.NoError(t, err)
	defer b.Close()
	hf := renamedBy(toHuggingFace(timm), func(n string) string {
		if strings.HasPrefix(n, "classifier.") {
			return ""
		}
		return strings.TrimPrefix(n, "vit.")
	})
	_, want := answersOf(t, b, written(t, hf, map[string]string{
		"config.json":              `{"model_type":"vit","architectures":["ViTModel"],"num_attention_heads":3,"layer_norm_eps":1e-5}`,
		"preprocessor_config.json": `{"image_processor_type":"ViTImageProcessor","size":{"height":224,"width":224},"image_mean":[0.485,0.456,0.406],"image_std":[0.229,0.224,0.225]}`,
	}), Options{})

	names := strings.NewReplacer(
		"patch_embed.proj.", "visual.conv1.", "cls_token", "visual.class_embedding", "pos_embed", "visual.positional_embedding", "blocks.", "visual.transformer.resblocks.",
		"norm1.", "ln_1.", "norm2.", "ln_2.", "attn.qkv.weight", "attn.in_proj_weight", "attn.qkv.bias", "attn.in_proj_bias", "attn.proj.", "attn.out_proj.",
		"mlp.fc1.", "mlp.c_fc.", "mlp.fc2.", "mlp.c_proj.",
	)
	packed := renamedBy(timm, func(n string) string {
		if strings.HasPrefix(n, "head.") {
			return ""
		}
		if rest, last := strings.CutPrefix(n, "norm."); last {
			return "visual.ln_post." + rest
		}
		return names.Replace(n)
	})
	for name, shape := range map[string][]int{"visual.class_embedding": {192}, "visual.positional_embedding": {197, 192}} {
		packed[name] = floatTensor{shape, packed[name].values}
	}
	same := make([]float32, 192*192)
	for i := range 192 {
		same[i*192+i] = 1
	}
	packed["visual.proj"] = floatTensor{[]int{192, 192}, same}
	_, got := answersOf(t, b, written(t, packed, map[string]string{openCLIPFile: `{"model_cfg":{"embed_dim":192,
		"vision_cfg":{"image_size":224,"patch_size":16,"layers":12,"width":192,"no_ln_pre":true}},
		"preprocess_cfg":{"mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225]}}`}), Options{})
	require.Equal(t, want, got)
}

// TestTrunk: a tower of timm's inside OpenCLIP, with the words beside it and
// the configuration that OpenCLIP writes, is timm's own.
func TestTrunk(t *testing.T) {
	golden := readSafetensors(t, "testdata/golden/timm_siglip/model.safetensors")
	tensors := renamedBy(golden, func(n string) string { return "visual.trunk." + n })
	tensors["text.token_embedding.weight"] = floatTensor{[]int{2, 3}, make([]float32, 6)}
	tensors["logit_scale"] = floatTensor{[]int{1}, []float32{1}}
	projection := floatTensor{[]int{5, 32}, slices.Repeat([]float32{0.5}, 160)}
	open := func(more map[string]floatTensor) *Checkpoint {
		all := renamedBy(tensors, func(n string) string { return n })
		for n, v := range more {
			all[n] = v
		}
		c, err := Open(written(t, all, map[string]string{"open_clip_config.json": `{
			"model_cfg": {"embed_dim": 32, "vision_cfg": {"image_size": 32, "timm_model_name": "vit_of_mine", "timm_pool": "map", "timm_proj": "none"}},
			"preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic", "resize_mode": "squash"}}`}), Options{})
		if err != nil { // heads of a dim of 32 are told by nothing
			require.ErrorContains(t, err, "the number of heads is not known for a dim of 32")
			return nil
		}
		return c
	}
	require.Nil(t, open(nil))

	text := `{"model_cfg": {"vision_cfg": {"image_size": 256, "timm_model_name": "vit_so400m_patch16_siglip_256", "timm_pool": "map"}},
		"preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "resize_mode": "squash"}}`
	var o openCLIPConfig
	dir := written(t, nil, map[string]string{openCLIPFile: text})
	_, err := readJSON(os.DirFS(dir), openCLIPFile, &o)
	require.NoError(t, err)
	c := o.trunkConfig()
	require.Equal(t, "vit_so400m_patch16_siglip_256", c.Architecture)
	require.Equal(t, "map", *c.GlobalPool)
	require.Equal(t, []int{3, 256, 256}, c.Pretrained.InputSize)
	require.Equal(t, "squash", *c.Pretrained.CropMode)
	require.Nil(t, (&openCLIPConfig{}).trunkConfig())

	// The head of a tower that OpenCLIP projects.
	l := loaderFor(t, `{"architecture":"a"}`, "")
	l.tensors, l.used = map[string]stored{}, map[string]bool{}
	l.cfg.Dim = 32
	f, err := memoryFile("m", packTensors(t, map[string]storedTensor{"visual.head.proj.weight": {projection.shape, appendFloats(nil, projection.values)}}))
	require.NoError(t, err)
	l.Reader, err = newReader(f)
	require.NoError(t, err)
	l.trunkHead()
	require.Equal(t, 5, l.cfg.Projection)
}

// TestChunksOfOneName: two tensors of one block are refused.
func TestChunksOfOneName(t *testing.T) {
	one := floatTensor{[]int{1}, []float32{1}}
	_, err := Open(written(t, map[string]floatTensor{"patch_embed.proj.weight": one, "blocks.0.1.norm1.weight": one, "blocks.1.norm1.weight": one}, nil), Options{})
	require.ErrorContains(t, err, "are of one block, without their chunks")
}

// TestHeadless: what a model gives in place of classes is said of each kind.
func TestHeadless(t *testing.T) {
	for golden, says := range map[string]string{
		"hf_vit": "", "hf_clip": "its head is CLIP's projection to an embedding of 24 values", "timm_dino": "it is an encoder without a head, whose features have 32 values; words cannot be its classes",
		"hf_siglip": "it pools by attention to an embedding of 32 values, and has no classes",
	} {
		c, err := Open(filepath.Join("testdata", "golden", golden), Options{})
		require.NoError(t, err)
		if got := c.Headless(); says == "" {
			require.Empty(t, got)
		} else {
			require.Contains(t, got, says)
		}
		require.NoError(t, c.Close())
	}
}
