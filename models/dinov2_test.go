package models

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/patch"
)

// TestAnySize: DINOv2 takes photos of the size that its processor makes, and of
// another where the caller says so. What the processor makes keeps its share.
func TestAnySize(t *testing.T) {
	for _, c := range []struct{ asked, image, resize [2]int }{
		{[2]int{}, [2]int{24, 24}, [2]int{27, 27}},
		{[2]int{32, 32}, [2]int{32, 32}, [2]int{36, 36}},
		{[2]int{48, 24}, [2]int{48, 24}, [2]int{54, 27}},
	} {
		ck, err := Open(filepath.Join("testdata", "golden", "hf_dinov2_registers_head"), Options{ImageSize: c.asked})
		require.NoError(t, err)
		require.Equal(t, c.image, ck.Config.Image)
		require.Equal(t, c.image, ck.Transform.Size)
		require.Equal(t, c.resize, ck.Transform.Resize)
		require.Equal(t, ck.Config.Tokens(), ck.Config.Pool[1].Hi, "the mean is over all patches of the size")
		require.Equal(t, 3, ck.Config.Pool[1].Lo)
		require.NoError(t, ck.Close())
	}
}

// metaNames are Meta's names of transformers' tensors, without those of q, k, v.
var metaNames = strings.NewReplacer(
	"dinov2.", "", "dinov2_with_registers.", "", "embeddings.patch_embeddings.projection", "patch_embed.proj", "embeddings.position_embeddings", "pos_embed",
	"embeddings.", "", "encoder.layer.", "blocks.", "attention.output.dense", "attn.proj", "layer_scale1.lambda1", "ls1.gamma", "layer_scale2.lambda1", "ls2.gamma",
	"mlp.weights_in", "mlp.w12", "mlp.weights_out", "mlp.w3", "layernorm.", "norm.",
)

// TestMetaNames: Meta's names make the model that transformers' make, with a
// configuration of timm beside them.
func TestMetaNames(t *testing.T) {
	for _, golden := range []string{"hf_dinov2", "hf_dinov2_registers", "hf_dinov2_head"} {
		dir := edit(t, golden, func(m map[string]floatTensor) {
			for name, v := range maps.Clone(m) {
				delete(m, name)
				if strings.Contains(name, "classifier") || strings.Contains(name, ".attention.attention.") {
					at, isQuery := strings.CutSuffix(name, "attention.attention.query.weight")
					if !isQuery {
						continue
					}
					whole := readSafetensors(t, filepath.Join("testdata", "golden", golden, "model.safetensors"))
					for _, w := range []string{"weight", "bias"} {
						var packed []float32
						for _, p := range []string{"query", "key", "value"} {
							packed = slices.Concat(packed, whole[at+"attention.attention."+p+"."+w].values)
						}
						shape := []int{96, 32}
						if w == "bias" {
							shape = shape[:1]
						}
						m[metaNames.Replace(at)+"attn.qkv."+w] = floatTensor{shape, packed}
					}
					continue
				}
				m[metaNames.Replace(name)] = v
			}
		})
		require.NoError(t, os.Remove(filepath.Join(dir, "preprocessor_config.json")))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"architecture":"dinov2","model_args":{"num_heads":2},`+
			`"pretrained_cfg":{"input_size":[3,32,32],"mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225]}}`), 0o600))
		want, err := Open(filepath.Join("testdata", "golden", golden), Options{ImageSize: [2]int{32, 32}})
		require.NoError(t, err)
		got, err := Open(dir, Options{})
		require.NoError(t, err, golden)
		// The file has no head.
		want.Config.Pool, want.Config.Classes, want.Weights.Head, want.Weights.HeadBias = clsPool, 0, nil, nil
		require.Equal(t, want.Config, got.Config, golden)
		require.Equal(t, numbers(want.Weights), numbers(got.Weights), golden)
		require.NoError(t, want.Close())
		require.NoError(t, got.Close())
	}
}

// TestMetaAlone: Meta's own file tells everything: heads are 64 wide, photos
// are 224 pixels large, positions are resampled as its authors do.
func TestMetaAlone(t *testing.T) {
	for registers, rule := range map[int]patch.PosRule{0: patch.PosDINOv2, 4: patch.PosTimm} {
		const dim, grid = 1536, 3
		rng := rand.New(rand.NewPCG(1, 1))
		m := map[string]floatTensor{}
		put := func(name string, shape ...int) {
			n := 1
			for _, s := range shape {
				n *= s
			}
			v := make([]float32, n)
			for i := range v {
				v[i] = rng.Float32()
			}
			m[name] = floatTensor{shape, v}
		}
		put("cls_token", 1, 1, dim)
		put("mask_token", 1, dim)
		if registers > 0 {
			put("register_tokens", 1, registers, dim)
		}
		put("pos_embed", 1, 1+grid*grid, dim)
		put("patch_embed.proj.weight", dim, 3, 14, 14)
		put("patch_embed.proj.bias", dim)
		for _, n := range []string{"blocks.0.norm1.weight", "blocks.0.norm1.bias", "blocks.0.norm2.weight", "blocks.0.norm2.bias", "norm.weight", "norm.bias", "blocks.0.ls1.gamma", "blocks.0.ls2.gamma", "blocks.0.attn.proj.bias", "blocks.0.mlp.w3.bias"} {
			put(n, dim)
		}
		put("blocks.0.attn.qkv.weight", 3*dim, dim)
		put("blocks.0.attn.qkv.bias", 3*dim)
		put("blocks.0.attn.proj.weight", dim, dim)
		put("blocks.0.mlp.w12.weight", 16, dim)
		put("blocks.0.mlp.w12.bias", 16)
		put("blocks.0.mlp.w3.weight", dim, 8)
		path := filepath.Join(t.TempDir(), "dinov2_vitg14_pretrain.safetensors")
		writeSafetensors(t, path, m)
		c, err := Open(path, Options{ImageSize: [2]int{56, 84}})
		require.NoError(t, err)
		require.Equal(t, 24, c.Config.Heads)
		require.Equal(t, backend.SwiGLU, c.Config.Act)
		require.Equal(t, 1+registers, c.Config.Prefix)
		require.Contains(t, c.Note, "Meta's own")
		require.Equal(t, [2]int{64, 96}, c.Transform.Resize)
		pos := dense(m["pos_embed"].values[dim:], grid*grid, dim)
		require.Equal(t, patch.ResamplePos(pos, [2]int{grid, grid}, [2]int{4, 6}, rule).Float32s(), c.Weights.Pos.Float32s())
		require.NoError(t, c.Close())
		c, err = Open(path, Options{})
		require.NoError(t, err)
		require.Equal(t, dinov2Photos, c.Config.Image)
		require.Equal(t, [2]int{256, 256}, c.Transform.Resize)
		require.Equal(t, [2]int{224, 224}, c.Transform.Size)
		require.NoError(t, c.Close())
	}
}
