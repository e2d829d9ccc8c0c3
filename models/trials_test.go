package models

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	_ "github.com/vitserve/vitserve/backend/cpu"
)

// TestTrialsRefused: configurations that contradict the tensors, or leave out
// how photos are prepared, are refused with what they say.
func TestTrialsRefused(t *testing.T) {
	for name, says := range map[string][]string{
		"hf_fewer_layers": {"num_hidden_layers", "depth of 1", "has 2"},
		"tm_nopretrained": {"pretrained_cfg"},
		"tm_meanstdless":  {"mean and std"},
	} {
		_, err := Open(filepath.Join("testdata", "trials", name), Options{})
		for _, s := range says {
			require.ErrorContains(t, err, s, name)
		}
	}
}

// TestTrialsConverted: averaged weights, and those beside a type of elements.
func TestTrialsConverted(t *testing.T) {
	for name, key := range map[string]string{"ema.pth": "state_dict_ema", "dtype.pth": ""} {
		out := filepath.Join(t.TempDir(), "model.safetensors")
		c, err := Convert(out, filepath.Join("testdata", "trials", name))
		require.NoError(t, err, name)
		if key != "" {
			require.Equal(t, key, c.Key)
		}
		require.NotZero(t, c.Tensors)
	}
}

// TestClipTower: the head of timm's CLIP towers is a projection, unless
// something says that classes were trained.
func TestClipTower(t *testing.T) {
	dir := filepath.Join("testdata", "trials", "tm_clip")
	c, err := Open(dir, Options{})
	require.NoError(t, err)
	require.Zero(t, c.Config.Classes)
	require.Equal(t, 512, c.Config.Projection)
	require.Empty(t, c.Labels)
	require.Contains(t, c.Note, "CLIP")
	require.Contains(t, c.Headless(), "512")
	require.NoError(t, c.Close())

	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	require.NoError(t, err)
	weights, err := filepath.Abs(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	for name, change := range map[string]func(config, cfg map[string]any){
		"label_names": func(c, _ map[string]any) { c["label_names"] = make([]string, 512) },
		"tag":         func(_, p map[string]any) { p["tag"] = "openai_ft_in1k" },
		"another":     func(c, _ map[string]any) { c["architecture"] = "vit_medium_patch32_224" },
	} {
		var config map[string]any
		require.NoError(t, json.Unmarshal(text, &config))
		change(config, config["pretrained_cfg"].(map[string]any))
		if name == "another" {
			delete(config, "model_args")
		}
		made := t.TempDir()
		changed, err := json.Marshal(config)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(made, "config.json"), changed, 0o600))
		require.NoError(t, os.Symlink(weights, filepath.Join(made, "model.safetensors")))
		c, err := Open(made, Options{})
		if name == "another" && err != nil {
			continue // it has a norm that this architecture has not, or nothing says its heads
		}
		require.NoError(t, err, name)
		require.Equal(t, 512, c.Config.Classes, name)
		require.Zero(t, c.Config.Projection, name)
		require.NoError(t, c.Close())
	}
}

// TestOpenCacheFolder: the folder that the hub's library keeps a model in is
// that model, whose files are links to blobs.
func TestOpenCacheFolder(t *testing.T) {
	golden, err := filepath.Abs(filepath.Join("testdata", "golden", "timm_vit"))
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "models--acme--tiny")
	snapshot := filepath.Join(dir, "snapshots", "0123456789abcdef0123456789abcdef01234567")
	require.NoError(t, os.MkdirAll(snapshot, 0o755))
	for _, name := range []string{"config.json", "model.safetensors"} {
		require.NoError(t, os.Symlink(filepath.Join(golden, name), filepath.Join(snapshot, name)))
	}
	for _, path := range []string{dir, dir + "/"} {
		c, err := Open(path, Options{})
		require.NoError(t, err)
		require.Equal(t, "tiny", c.Name)
		require.Equal(t, dir, c.Source)
		require.NoError(t, c.Close())
	}
}

// TestSynsets: ImageNet's own folders are known of its 1000 classes, however
// many of a class's names a checkpoint gives, and of no others.
func TestSynsets(t *testing.T) {
	names := strings.Split(strings.TrimSpace(imagenet1k), "\n")
	ids := synsets(names)
	require.Len(t, ids, 1000)
	for i, want := range map[int][2]string{0: {"n01440764", "tench"}, 1: {"n01443537", "goldfish"}, 207: {"n02099601", "golden retriever"}, 281: {"n02123045", "tabby"}, 954: {"n07753592", "banana"}, 999: {"n15075141", "toilet tissue"}} {
		require.Equal(t, want[0], ids[i])
		require.Equal(t, want[1], names[i])
	}
	long := make([]string, len(names))
	for i, n := range names {
		long[i] = strings.ToUpper(n) + ", something else"
	}
	require.Equal(t, ids, synsets(long))
	require.Nil(t, synsets(names[:999]))
	require.Nil(t, synsets(make([]string, 1000)))
}

// TestMessagesNameTheFamily: a checkpoint of another family is refused by the
// family's name.
func TestMessagesNameTheFamily(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"model_type":"pvt_v2","architectures":["PvtV2ForImageClassification"]}`), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "model.safetensors"), pack(`{"pvt_v2.a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}`, 24), 0o600))
	_, err := Open(dir, Options{})
	require.ErrorContains(t, err, ": it is a hierarchical model")
	l := loaderFor(t, `{"architecture":"eva9_base_patch14_224"}`, "")
	require.ErrorContains(t, l.otherFamily(), `architecture "eva9_base_patch14_224" is not supported`)
	require.NoError(t, loaderFor(t, `{"architecture":"vit_tiny_patch16_224"}`, "").otherFamily())
	require.NoError(t, loaderFor(t, `{"model_type":"vit"}`, "").otherFamily())
}

// TestRefusedFamilies: what is no plain Vision Transformer is refused by its
// name and with the reason, before its tensors are listed, and what is one is
// not.
func TestRefusedFamilies(t *testing.T) {
	for name, why := range map[string]string{
		"vit_small_r26_s32_224": "hybrid", "vit_tiny_r_s16_p8_384": "hybrid", "vit_base_resnet50d_224": "hybrid", "vit_base_mci_224": "hybrid",
		"samvit_base_patch16": "SAM", "swin_tiny_patch4_window7_224": "hierarchical", "swinv2_base_window8_256": "hierarchical", "hiera_tiny_224": "hierarchical",
		"convnext_base": "convolutional", "resnet50": "convolutional", "tf_efficientnet_b0": "convolutional", "qwen3_vit_88m": "language model",
		"cait_xxs24_224": "class token", "xcit_nano_12_p16_224": "channels",
	} {
		err := loaderFor(t, `{"architecture":"`+name+`"}`, "").config.refused()
		require.ErrorContains(t, err, why, name)
		require.ErrorContains(t, err, "want a plain Vision Transformer")
	}
	for name, why := range map[string]string{"swin": "windows", "resnet": "no attention", "yolos": "detector", "vitpose": "detector", "vitdet": "windows", "bert": "no photos", "siglip2": "any shape", "mlcd": "learned", "dpt": "depth"} {
		require.ErrorContains(t, loaderFor(t, `{"model_type":"`+name+`"}`, "").config.refused(), why, name)
	}
	for name := range timmArchs() {
		require.NoError(t, loaderFor(t, `{"architecture":"`+name+`"}`, "").config.refused())
	}
	for _, y := range layouts {
		for _, name := range y.types {
			require.NoError(t, loaderFor(t, `{"model_type":"`+name+`"}`, "").config.refused())
		}
	}
	require.NoError(t, (*config)(nil).refused())

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"model_type":"swin"}`), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "model.safetensors"), pack(`{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}`, 24), 0o600))
	_, err := Open(dir, Options{})
	require.ErrorContains(t, err, ": it is a hierarchical model, and its grid of patches shrinks")
}
