package models

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestConfigurationsAreCompared: what a configuration says and the tensors
// contradict is refused with both numbers, or followed as the reference does.
func TestConfigurationsAreCompared(t *testing.T) {
	for _, c := range []struct{ golden, old, new, err string }{
		{"hf_vit", `"num_hidden_layers": 2`, `"num_hidden_layers": 1`, "num_hidden_layers says a depth of 1, the file has 2"},
		{"hf_vit", `"num_hidden_layers": 2`, `"num_hidden_layers": 3`, "num_hidden_layers says a depth of 3, the file has 2"},
		{"hf_vit", `"num_hidden_layers": 2`, `"layers": 2`, "default for num_hidden_layers says a depth of 12, the file has 2"},
		{"hf_vit", `"hidden_size": 32`, `"hidden_size": 64`, "hidden_size says a dim of 64, the file has 32"},
		{"hf_vit", `"intermediate_size": 96`, `"intermediate_size": 128`, "intermediate_size says an MLP width of 128, the file has 96"},
		{"hf_vit", `"num_channels": 3`, `"num_channels": 1`, "num_channels says channels 1, the file has 3"},
		{"hf_vit", `"patch_size": 8`, `"patch_size": 16`, "patch_size says 16×16, the file has 8×8"},
		{"hf_vit", `"image_size": `, `"image_size": 1`, "image_size says an input of 1"},
		{"hf_vit", `"image_size": `, `"size": `, "default for image_size says an input of 224×224, which is 784 patches of 8×8; embeddings.position_embeddings has"},
		{"timm_vit", `"depth": 2`, `"depth": 3`, "model_args.depth says a depth of 3, the file has 2"},
		{"timm_vit", `"embed_dim": 32`, `"embed_dim": 48`, "model_args.embed_dim says a dim of 48"},
		{"timm_vit", `"patch_size": 8`, `"patch_size": 16`, "model_args.patch_size says a patch size of 16"},
		{"timm_vit", `"patch_size": 8`, `"patch_size": [8, 8]`, ""},
		{"timm_vit", `"depth": 2,`, ``, "architecture vit_tiny_patch16_224 says a depth of 12, the file has 2"},
		{"timm_vit", `"num_classes": `, `"num_classes": 1`, "says classes 1"},
		{"timm_vit", `"num_heads": 2,`, ``, "3 heads do not divide a dim of 32"}, // the architecture's own
		{"timm_vit", `"vit_tiny_patch16_224"`, `"vit_of_mine"`, ""},
		{"timm_vit", `"depth": 2`, `"depth": "2"`, "want a whole number"},
	} {
		t.Run(c.golden+" "+c.old+" "+c.new, func(t *testing.T) {
			dir := copyGolden(t, c.golden)
			path := filepath.Join(dir, "config.json")
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Contains(t, string(text), c.old)
			require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(text), c.old, c.new, -1)), 0o600))
			ck, err := Open(dir, Options{})
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.NoError(t, ck.Close())
		})
	}
}

// TestEmbedDimKeepsHeads: timm's create_model("vit_tiny_patch16_224",
// embed_dim=384) has 3 heads of 128, and not 6 of 64.
func TestEmbedDimKeepsHeads(t *testing.T) {
	for arch, want := range map[string]int{"vit_tiny_patch16_224": 3, "vit_base_patch16_224": 12} {
		l := loaderFor(t, `{"architecture":"`+arch+`","pretrained_cfg":{},"model_args":{"embed_dim":384}}`, "")
		l.cfg.Dim = 384
		require.NoError(t, l.timmFacts())
		require.Equal(t, want, l.cfg.Heads, arch)
	}
	l := loaderFor(t, `{"architecture":"vit_of_mine","pretrained_cfg":{},"model_args":{"embed_dim":384}}`, "")
	l.cfg.Dim = 384
	require.ErrorContains(t, l.timmFacts(), "num_heads in config.json's model_args would decide")
}

// TestDynamicPadding: timm pads 230 to 240 pixels of 16, which makes one more
// row and column of patches.
func TestDynamicPadding(t *testing.T) {
	l := loaderFor(t, `{"architecture":"a","pretrained_cfg":{},"model_args":{"dynamic_img_pad":true}}`, "")
	l.cfg.Patch = [2]int{16, 16}
	require.NoError(t, l.timmPadding())
	l.cfg.Image = [2]int{230, 224}
	require.ErrorContains(t, l.timmPadding(), "pads an input of 230×224")
}

// TestNothingSaysHow: a configuration of timm without a pretrained_cfg is not
// given a default in silence; the keys of old ones stand at the top.
func TestNothingSaysHow(t *testing.T) {
	_, err := loaderFor(t, `{"architecture":"vit_tiny_patch16_224"}`, "").transform()
	require.ErrorContains(t, err, "vit_tiny_patch16_224 has no pretrained_cfg")
	l := loaderFor(t, `{"architecture":"vit_tiny_patch16_224","mean":[0.5,0.5,0.5],"std":[0.5,0.5,0.5],"labels":["ant","bee"]}`, "")
	tr, err := l.transform()
	require.NoError(t, err)
	require.Equal(t, [3]float32{0.5, 0.5, 0.5}, tr.Mean)
	require.Equal(t, labelNames{0: "ant", 1: "bee"}, l.config.LabelNames)
}
