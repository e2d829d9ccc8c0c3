package models

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/patch"
	"github.com/vitserve/vitserve/vit"
	"gorgonia.org/tensor"
)

// loaderFor is a loader for a model of 224×224 with the given files.
func loaderFor(t *testing.T, config, processorText string) *loader {
	t.Helper()
	l := &loader{Reader: &Reader{}}
	l.cfg.Image, l.saved = [2]int{224, 224}, [2]int{224, 224}
	if config != "" {
		c, err := readConfig(fstest.MapFS{"config.json": {Data: []byte(config)}})
		require.NoError(t, err)
		l.config = c
	}
	if processorText != "" {
		l.processor = &processor{file: "preprocessor_config.json"}
		require.NoError(t, json.Unmarshal([]byte(processorText), l.processor))
	}
	return l
}

// TestTimmFacts compares what is settled without a tensor with timm's own
// models: testdata/make_archs.py.
func TestTimmFacts(t *testing.T) {
	f, err := os.Open("timm_archs.csv")
	require.NoError(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	require.Greater(t, len(rows), 140)
	for _, row := range rows[1:] {
		t.Run(row[0], func(t *testing.T) {
			// By name, and by the facts where the table does not have it.
			names := []string{row[0], row[0] + "_of_the_future"}
			if row[15] != "" { // NaFlexVits, which are refused without the table
				names = names[:1]
			}
			for _, name := range names {
				l := &loader{Reader: &Reader{}, config: &config{Architecture: name}}
				l.cfg.Dim, err = strconv.Atoi(row[1])
				require.NoError(t, err)
				l.cfg.Depth, err = strconv.Atoi(row[3])
				require.NoError(t, err)
				l.cfg.Patch[0], err = strconv.Atoi(row[5])
				require.NoError(t, err)
				if row[8] == "swiglu" { // which shapes tell
					l.cfg.Act = backend.SwiGLU
				}
				require.NoError(t, l.timmFacts())
				require.Equal(t, row[2], strconv.Itoa(l.cfg.Heads), "heads")
				require.Equal(t, row[7], strconv.FormatFloat(float64(l.cfg.Eps), 'e', -1, 32), "eps")
				require.Equal(t, row[8], l.cfg.Act.String(), "activation")
			}
		})
	}
}

// TestTimmFactsHaveSources: each row says one thing or more, of something, and
// where it is from.
func TestTimmFactsHaveSources(t *testing.T) {
	for _, f := range timmFacts {
		require.NotEmpty(t, f.source, "%+v", f)
		require.True(t, f.heads > 0 || f.act != 0 || f.eps > 0 || f.refused != "", "%+v", f)
		require.True(t, f.arch != "" || f.arg != "" || f.dim > 0, "%+v", f)
		require.Equal(t, f.heads > 0, f.dim > 0, "%+v", f)
	}
}

// TestLayouts: a layout is chosen by its anchor and the model type, and each
// has a rule of its own for positions.
func TestLayouts(t *testing.T) {
	pos := tensor.New(tensor.WithShape(4, 1), tensor.WithBacking([]float32{1, 2, 3, 4}))
	for _, y := range layouts {
		require.NotPanics(t, func() { patch.ResamplePos(pos, [2]int{2, 2}, [2]int{3, 3}, y.positions) }, y.name)
	}
	const anchor = "embeddings.patch_embeddings.projection.weight"
	third := layout{name: "third", library: "transformers", anchor: anchor, types: []string{"third_vit"}, positions: patch.PosTimm}
	all := append(slices.Clone(layouts), third)
	for _, c := range []struct {
		tensor, config string
		name           string
		err            string
	}{
		{anchor, `{"model_type":"vit"}`, "huggingface", ""},
		{anchor, `{"model_type":"deit"}`, "huggingface", ""},
		{anchor, `{"model_type":"third_vit"}`, "third", ""},
		{anchor, "", "huggingface", ""}, // whose reader says what is missing
		{anchor, `{"model_type":"beit"}`, "huggingface", ""},
		{anchor, `{"model_type":"swin"}`, "", `model_type "swin" is not supported, want one of vit, deit, vit_mae, vit_msn, ijepa, dinov2, dinov2_with_registers, beit, data2vec-vision, pixio, third_vit`},
		{"patch_embed.proj.weight", `{"model_type":"beit"}`, "timm", ""},
		{"conv1.weight", "", "", "none of its 1 tensors is patch_embed.proj.weight (timm) or embeds.proj.weight (timm) or " + anchor + " (transformers)"},
	} {
		l := loaderFor(t, c.config, "")
		l.tensors = map[string]stored{c.tensor: {}}
		y, err := l.layoutAmong(all)
		if c.err != "" {
			require.ErrorContains(t, err, c.err)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.name, y.name)
	}
}

// TestTimmForm: what the blocks and the norms are is the architecture's; of one
// that is not known, what tensors show.
func TestTimmForm(t *testing.T) {
	for _, c := range []struct {
		arch, args, tensor string
		form               vit.Form
		rms                bool
		err                string
	}{
		{"vit_base_patch16_rpn_224", "{}", "blocks.0.norm1.weight", vit.FormPost, false, ""},
		{"eva02_enormous_patch14_clip_224", "{}", "blocks.0.norm1.weight", vit.FormPost, false, ""},
		{"vit_base_patch16_xp_224", "{}", "blocks.0.in_norm.weight", vit.FormParallel, true, ""},
		{"vit_tiny_patch16_224", "{}", "blocks.0.norm1.weight", vit.FormPre, false, ""}, // its bias is missing, not none
		{"vit_tiny_patch16_224", `{"norm_layer":"rmsnorm"}`, "blocks.0.norm1.weight", vit.FormPre, true, ""},
		{"vit_tiny_patch16_224", `{"norm_layer":"Layer_Norm"}`, "blocks.0.norm1.weight", vit.FormPre, false, ""},
		{"vit_tiny_patch16_224", `{"norm_layer":"batchnorm"}`, "blocks.0.norm1.weight", 0, false, `norm_layer = "batchnorm" is not supported`},
		{"aimv2_large_patch14_224", `{"norm_layer":"layernorm"}`, "blocks.0.norm1.weight", vit.FormPre, false, ""},
		{"mine", "{}", "blocks.0.norm1.weight", vit.FormPre, true, ""},
		{"mine", "{}", "blocks.0.in_norm.weight", vit.FormParallel, true, ""},
		{"vit_small_patch16_rpn_of_mine", "{}", "blocks.0.norm1.bias", vit.FormPost, false, ""},
		{"vit_small_patch16_18x2_224", "{}", "blocks.0.norm1.weight", 0, false, "blocks of ParallelThingsBlock, which are not supported"},
	} {
		l := loaderFor(t, `{"architecture":"`+c.arch+`","pretrained_cfg":{},"model_args":`+c.args+`}`, "")
		l.tensors = map[string]stored{c.tensor: {}}
		err := l.timmForm()
		if c.err != "" {
			require.ErrorContains(t, err, c.err)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.form, l.cfg.Form, c.arch)
		require.Equal(t, c.rms, l.cfg.RMS, "%s %s", c.arch, c.args)
	}
}

func TestTimmFactsSaidOrRefused(t *testing.T) {
	for _, c := range []struct {
		name, args string
		arch       string
		dim        int
		heads      int
		act        backend.Activation
		err        string
	}{
		{"said", `{"num_heads":4,"act_layer":"gelu_tanh"}`, "vit_tiny_patch16_224", 192, 4, backend.GELUTanh, ""},
		{"null", `{"num_heads":null,"act_layer":null,"norm_layer":null}`, "vit_tiny_patch16_224", 192, 3, backend.GELU, ""},
		{"no division", `{"num_heads":5}`, "vit_tiny_patch16_224", 192, 0, 0, "5 heads do not divide"},
		{"no heads", `{"num_heads":0}`, "", 192, 0, 0, "0 heads"},
		{"negative heads", `{"num_heads":-3}`, "", 192, 0, 0, "-3 heads"},
		{"not 64", `{}`, "mine", 100, 0, 0, "num_heads in config.json's model_args would decide"},
		{"giant or giantopt", `{}`, "", 1536, 0, 0, "would decide"},
		{"giantopt", `{}`, "vit_giantopt_patch16_siglip_gap_256", 1536, 16, backend.GELUTanh, ""},
		{"wrong type", `{"num_heads":"3"}`, "", 192, 0, 0, "model_args.num_heads"},
		{"unknown activation", `{"act_layer":"mish"}`, "", 192, 0, 0, `"mish" is not supported`},
		{"another block", `{"block_fn":"mine"}`, "", 192, 0, 0, `model_args.block_fn = "mine" is not supported`},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := loaderFor(t, `{"architecture":"`+c.arch+`","pretrained_cfg":{},"model_args":`+c.args+`}`, "")
			l.cfg.Dim = c.dim
			err := l.timmFacts()
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.heads, l.cfg.Heads)
			require.Equal(t, c.act, l.cfg.Act)
		})
	}
}

func TestTransform(t *testing.T) {
	inception := [3]float32{0.5, 0.5, 0.5}
	timm := func(fit patch.Fit, resize int, how patch.Interpolation) patch.Transform {
		return patch.Transform{
			Size: [2]int{224, 224}, Fit: fit, Resize: [2]int{resize, resize}, Interpolation: how, Rounding: patch.RoundTorchvision,
			Mean: imagenetMean, Std: imagenetStd,
		}
	}
	hf := func(fit patch.Fit, resize int, how patch.Interpolation, mean, std [3]float32) patch.Transform {
		return patch.Transform{Size: [2]int{224, 224}, Fit: fit, Resize: [2]int{resize, resize}, Interpolation: how, Rounding: patch.RoundFloor, Mean: mean, Std: std}
	}
	const vit = `{"model_type":"vit"}`
	for _, c := range []struct {
		name, config, processor string
		want                    patch.Transform
		err                     string
	}{
		{name: "timm", config: `{"architecture":"a","pretrained_cfg":{"input_size":[3,224,224],"crop_pct":0.9,"crop_mode":"center","interpolation":"bicubic","mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225]}}`, want: timm("short", 248, "bicubic")},
		{name: "timm's defaults", config: `{"architecture":"a","pretrained_cfg":{}}`, want: timm("short", 256, "bicubic")},
		{name: "timm, keys at the top", config: `{"architecture":"a","crop_pct":1.0,"interpolation":"bilinear"}`, want: timm("short", 224, "bilinear")},
		{name: "timm, squash", config: `{"architecture":"a","pretrained_cfg":{"crop_pct":1.0,"crop_mode":"squash"}}`, want: timm("squash", 224, "bicubic")},
		{name: "timm, border", config: `{"architecture":"a","pretrained_cfg":{"crop_pct":0.95,"crop_mode":"border","interpolation":"lanczos"}}`, want: timm("long", 235, "lanczos")},
		{name: "timm, random interpolation", config: `{"architecture":"a","pretrained_cfg":{"interpolation":"random"}}`, err: `interpolation "random"`},
		{name: "timm, crop mode", config: `{"architecture":"a","pretrained_cfg":{"crop_mode":"five"}}`, err: `crop_mode "five"`},
		{name: "timm, crop of nothing", config: `{"architecture":"a","pretrained_cfg":{"crop_pct":0}}`, err: "crop_pct 0"},
		{name: "timm, crop to a huge size", config: `{"architecture":"a","pretrained_cfg":{"crop_pct":0.011}}`, err: "resize"},
		{name: "timm, std 0", config: `{"architecture":"a","pretrained_cfg":{"std":[0,0,0]}}`, err: "std"},

		{name: "vit without a file", config: vit, want: hf("squash", 224, "bilinear", inception, inception)},
		{name: "deit without a file", config: `{"model_type":"deit"}`, err: "preprocessor_config.json"},
		{name: "no files", err: "pretrained_cfg"},
		{name: "vit", config: vit, processor: `{"image_processor_type":"ViTImageProcessor","size":{"height":224,"width":224},"resample":3,"image_mean":[0.485,0.456,0.406],"image_std":[0.229,0.224,0.225]}`, want: hf("squash", 224, "bicubic", imagenetMean, imagenetStd)},
		{name: "vit of 2021", config: vit, processor: `{"feature_extractor_type":"ViTFeatureExtractor","size":224}`, want: hf("squash", 224, "bilinear", inception, inception)},
		{name: "deit's defaults", config: vit, processor: `{"image_processor_type":"DeiTImageProcessor"}`, want: withSize(hf("squash", 256, "bicubic", inception, inception), 224)},
		{name: "deit of 2021", config: vit, processor: `{"feature_extractor_type":"DeiTFeatureExtractor","size":256,"crop_size":224,"do_center_crop":true,"resample":3,"image_mean":[0.485,0.456,0.406],"image_std":[0.229,0.224,0.225]}`, want: hf("squash", 256, "bicubic", imagenetMean, imagenetStd)},
		{name: "shortest edge", config: vit, processor: `{"image_processor_type":"BitImageProcessor","size":{"shortest_edge":256},"crop_size":{"height":224,"width":224},"image_mean":0.5,"image_std":[0.5]}`, want: hf("short", 256, "bicubic", inception, inception)},
		{name: "a number is the shortest edge of CLIP", config: vit, processor: `{"image_processor_type":"CLIPImageProcessor","size":224}`, want: hf("short", 224, "bicubic", clipMean, clipStd)},
		{name: "no normalisation", config: vit, processor: `{"image_processor_type":"ViTImageProcessor","do_normalize":false}`, want: hf("squash", 224, "bilinear", [3]float32{}, [3]float32{1, 1, 1})},
		{name: "no resize", config: vit, processor: `{"image_processor_type":"ViTImageProcessor","do_resize":false}`, want: hf("none", 0, "bilinear", inception, inception)},
		{name: "crop alone", config: vit, processor: `{"image_processor_type":"DeiTImageProcessor","do_resize":false}`, want: hf("crop", 0, "bicubic", inception, inception)},
		{name: "other size", config: vit, processor: `{"image_processor_type":"ViTImageProcessor","size":384}`, err: "makes photos of 384×384, the model's input is 224×224"},
		{name: "no crop", config: vit, processor: `{"image_processor_type":"BitImageProcessor","do_center_crop":false}`, err: "not cropped"},
		{name: "unknown class", config: vit, processor: `{"image_processor_type":"MobileViTImageProcessor"}`, err: "MobileViTImageProcessor"},
		{name: "no class: the model type decides", config: vit, processor: `{}`, want: hf("squash", 224, "bilinear", inception, inception)},
		{name: "no class, deit", config: `{"model_type":"deit"}`, processor: `{}`, want: withSize(hf("squash", 256, "bicubic", inception, inception), 224)},
		{name: "null is off", config: vit, processor: `{"image_processor_type":"ViTImageProcessor","do_normalize":null,"do_rescale":null}`, want: rescaled(hf("squash", 224, "bilinear", [3]float32{}, [3]float32{1, 1, 1}), 1)},
		{name: "BGR", config: vit, processor: `{"image_processor_type":"ViTImageProcessor","do_flip_channel_order":true}`, err: "do_flip_channel_order"},
		{name: "not rescaled", config: vit, processor: `{"image_processor_type":"ViTImageProcessor","do_rescale":false}`, want: rescaled(hf("squash", 224, "bilinear", inception, inception), 1)},
		{name: "rescaled to ±1", config: vit, processor: `{"image_processor_type":"ViTImageProcessor","rescale_factor":0.00784}`, want: rescaled(hf("squash", 224, "bilinear", inception, inception), 0.00784)},
		{name: "rescaled to nothing", config: vit, processor: `{"image_processor_type":"ViTImageProcessor","rescale_factor":0}`, err: "rescale_factor 0, want"},
		{name: "hamming", config: vit, processor: `{"image_processor_type":"ViTImageProcessor","resample":5}`, want: hf("squash", 224, "hamming", inception, inception)},
		{name: "resample by name", config: vit, processor: `{"image_processor_type":"ViTImageProcessor","resample":"PILImageResampling.LANCZOS"}`, want: hf("squash", 224, "lanczos", inception, inception)},
		{name: "SigLIP's number", config: vit, processor: `{"image_processor_type":"SiglipImageProcessor"}`, want: hf("squash", 224, "bicubic", inception, inception)},
		{name: "max_height", config: vit, processor: `{"image_processor_type":"ViTImageProcessor","size":{"max_height":224,"max_width":224}}`, err: "photos of many sizes"},
		{name: "fast", config: vit, processor: `{"image_processor_type":"ViTImageProcessorFast"}`, want: byTorchvision(hf("squash", 224, "bilinear", inception, inception))},
		{name: "timm in transformers", config: `{"model_type":"timm_wrapper","architecture":"a","pretrained_cfg":{"crop_pct":0.9}}`, want: timm("short", 248, "bicubic")},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := loaderFor(t, c.config, c.processor).transform()
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			if got.Fit == patch.FitNone || got.Fit == patch.FitCrop {
				got.Resize = [2]int{}
			}
			require.Equal(t, c.want, got)
		})
	}
}

func rescaled(t patch.Transform, by float64) patch.Transform {
	t.Rescale = by
	return t
}

func byTorchvision(t patch.Transform) patch.Transform {
	t.Resampler = patch.Torchvision
	return t
}

func withSize(t patch.Transform, size int) patch.Transform {
	t.Size = [2]int{size, size}
	return t
}

// TestTransformDecisions: a default is not passed off as said.
func TestTransformDecisions(t *testing.T) {
	by := func(l *loader) map[string]string {
		_, err := l.transform()
		require.NoError(t, err)
		out := map[string]string{}
		for _, d := range l.decisions {
			out[d.Setting] = d.By
		}
		return out
	}
	const timm, hf = "config.json: pretrained_cfg", "preprocessor_config.json"
	require.Equal(t, map[string]string{"resize": "timm's default, for " + timm + " does not say", "mean": timm, "std": "timm's default, for " + timm + " does not say"},
		by(loaderFor(t, `{"architecture":"a","pretrained_cfg":{"crop_pct":0.9,"mean":[0.5,0.5,0.5]}}`, "")))
	require.Equal(t, map[string]string{"resize": hf, "mean": hf, "std": hf},
		by(loaderFor(t, `{"model_type":"vit"}`, `{"image_processor_type":"ViTImageProcessor","size":224,"resample":2,"do_normalize":false}`)))
	require.Equal(t, "ViTImageProcessor's default, for "+hf+" does not say", by(loaderFor(t, `{"model_type":"vit"}`, ""))["mean"])
}

// TestTransformOfAnotherSize: the share of the photo that the model sees
// stays what it was.
func TestTransformOfAnotherSize(t *testing.T) {
	for name, c := range map[string]struct {
		config, processor string
		resize            [2]int
	}{
		"timm":      {`{"architecture":"a","pretrained_cfg":{"crop_pct":0.875}}`, "", [2]int{438, 219}},
		"hf squash": {`{"model_type":"vit"}`, `{"image_processor_type":"ViTImageProcessor"}`, [2]int{384, 192}},
		"hf crop":   {`{"model_type":"vit"}`, `{"image_processor_type":"DeiTImageProcessor"}`, [2]int{439, 219}},
	} {
		t.Run(name, func(t *testing.T) {
			l := loaderFor(t, c.config, c.processor)
			l.cfg.Image = [2]int{384, 192}
			got, err := l.transform()
			require.NoError(t, err)
			require.Equal(t, [2]int{384, 192}, got.Size)
			require.Equal(t, c.resize, got.Resize)
		})
	}
}

func TestConfigForms(t *testing.T) {
	var c config
	require.NoError(t, json.Unmarshal([]byte(`{"image_size":[24,40],"id2label":{"1":"b","0":7},"label_names":["x","y"]}`), &c))
	require.Equal(t, [2]int{24, 40}, c.ImageSize.square())
	require.Equal(t, labelNames{0: "7", 1: "b"}, c.ID2Label)
	require.Equal(t, labelNames{0: "x", 1: "y"}, c.LabelNames)
	for _, bad := range []string{
		`{"image_size":[24]}`, `{"image_size":0}`, `{"image_size":-1}`, `{"image_size":100000}`, `{"image_size":{"longest_edge":5}}`, `{"image_size":"224"}`,
		`{"id2label":{"one":"b"}}`, `{"pretrained_cfg":{"mean":[1,2]}}`, `{"pretrained_cfg":{"mean":"x"}}`,
	} {
		require.Error(t, json.Unmarshal([]byte(bad), &c), bad)
	}
}

func TestConfigFile(t *testing.T) {
	dir := t.TempDir()
	c, err := readConfig(os.DirFS(dir))
	require.NoError(t, err)
	require.Nil(t, c)
	path := filepath.Join(dir, "config.json")
	require.NoError(t, os.WriteFile(path, make([]byte, maxConfig+1), 0o600))
	_, err = readConfig(os.DirFS(dir))
	require.ErrorContains(t, err, "more than")
	require.NoError(t, os.WriteFile(path, []byte(`{"model_type":`), 0o600))
	_, err = readConfig(os.DirFS(dir))
	require.ErrorContains(t, err, "config.json")
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Mkdir(path, 0o700))
	_, err = readConfig(os.DirFS(dir))
	require.ErrorContains(t, err, "not a regular file")
}
