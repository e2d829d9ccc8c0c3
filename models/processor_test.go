package models

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/patch"
)

// TestProcessors holds what configurations of image processors say to what
// transformers makes of the same photo with them: testdata/make_processors.py.
func TestProcessors(t *testing.T) {
	var rows []struct {
		Config json.RawMessage
		Class  string
		Tensor []byte
	}
	text, err := os.ReadFile("testdata/processors.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &rows))
	require.Greater(t, len(rows), 40)
	photo, err := os.ReadFile("testdata/trials/plain.png")
	require.NoError(t, err)
	for _, row := range rows {
		t.Run(string(row.Config), func(t *testing.T) {
			l := loaderFor(t, `{"model_type":"vit"}`, string(row.Config))
			l.cfg.Image, l.saved = [2]int{16, 16}, [2]int{16, 16}
			tr, err := l.transform()
			require.NoError(t, err)
			r, err := tr.Receipt(t.Context(), photo, patch.Options{})
			require.NoError(t, err)
			got := r.NPY[len(r.NPY)-len(row.Tensor):]
			worst := 0.0
			for i := 0; i < len(got); i += 4 {
				a := math.Float32frombits(binary.LittleEndian.Uint32(got[i:]))
				b := math.Float32frombits(binary.LittleEndian.Uint32(row.Tensor[i:]))
				worst = max(worst, math.Abs(float64(a-b))/(1+math.Abs(float64(b))))
			}
			// One rounding of float32 where the arithmetic is fused otherwise;
			// a grey level would be 8e-3.
			require.Less(t, worst, 5e-7)
		})
	}
}

// TestProcessorFiles: the nested configuration goes before the plain one, and
// a processor_config.json of another kind is passed over.
func TestProcessorFiles(t *testing.T) {
	plain := `{"image_processor_type":"ViTImageProcessor","resample":1}`
	for nested, want := range map[string]patch.Interpolation{
		`{"image_processor":{"image_processor_type":"CLIPImageProcessor","resample":3},"processor_class":"CLIPProcessor"}`: patch.Bicubic,
		`{"processor_class":"CLIPProcessor"}`: patch.Lanczos,
	} {
		p, err := readProcessor(fstest.MapFS{"preprocessor_config.json": {Data: []byte(plain)}, "processor_config.json": {Data: []byte(nested)}})
		require.NoError(t, err)
		require.Equal(t, want, p.Resample.Interpolation)
	}
	p, err := readProcessor(fstest.MapFS{})
	require.NoError(t, err)
	require.Nil(t, p)
	_, err = readProcessor(fstest.MapFS{"processor_config.json": {Data: []byte(`{"image_processor":[]}`)}})
	require.ErrorContains(t, err, "processor_config.json")
}

// TestNaN: Python's NaN and Infinity do no harm where nobody needs the number,
// and are refused where one is needed.
func TestNaN(t *testing.T) {
	read := func(text string) (*config, error) {
		return readConfig(fstest.MapFS{"config.json": {Data: []byte(text)}})
	}
	c, err := read(`{"model_type":"vit","temperature":NaN,"limits":[-Infinity,Infinity],"name\"NaN":"NaN, Infinity","hidden_act":"gelu"}`)
	require.NoError(t, err)
	require.Equal(t, "gelu", *c.HiddenAct)
	_, err = read(`{"layer_norm_eps":NaN}`)
	require.ErrorContains(t, err, "layer_norm_eps")
	_, err = read(`{"num_attention_heads":Infinity}`)
	require.ErrorContains(t, err, "num_attention_heads")
}
