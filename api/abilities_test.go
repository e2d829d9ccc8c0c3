package api_test

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/api"
	"github.com/vitserve/vitserve/api/hf"
	"github.com/vitserve/vitserve/api/kserve"
	"github.com/vitserve/vitserve/api/oip"
	"github.com/vitserve/vitserve/api/op"
	v1 "github.com/vitserve/vitserve/api/v1"
	"github.com/vitserve/vitserve/backend"
)

// families serves golden models in every dialect.
func families(t *testing.T, goldens ...string) *client {
	return start(t, func(cfg *api.Config) {
		cfg.Dialects = []op.Dialect{hf.Dialect(), oip.Dialect(), kserve.Dialect()}
		for _, g := range goldens {
			cfg.Models = append(cfg.Models, api.ModelConfig{ID: g, Path: filepath.Join("..", "models", "testdata", "golden", g)})
		}
	})
}

// TestAbilities: a model's card says what it can do, in the field's terms.
func TestAbilities(t *testing.T) {
	cards := []struct {
		model, pooling, attentionOf string
		features                    int
		classless                   string // part of; "": it has classes
	}{
		{"hf_vit", "class token", "class", 32, ""},
		{"timm_reg_gap", "mean of patches", "patches", 32, ""},
		{"timm_deit_distilled", "class token, distillation token", "class", 64, ""},
		{"hf_dinov2_head", "class token, mean of patches", "class", 64, ""},
		{"hf_siglip", "attention of a probe", "probe", 32, "pools by attention to an embedding of 32 values"},
		{"hf_clip", "class token", "class", 24, "CLIP's projection to an embedding of 24 values"},
		{"timm_dino", "class token", "class", 32, "an encoder without a head, whose features have 32 values"},
	}
	var names []string
	for _, w := range cards {
		names = append(names, w.model)
	}
	c := families(t, names...)
	for _, w := range cards {
		r := c.get("/v1/models/" + w.model)
		require.Equal(t, http.StatusOK, r.status)
		var card v1.Model
		require.NoError(t, json.Unmarshal(r.body, &card))
		require.Equal(t, w.pooling, card.Pooling, w.model)
		require.Equal(t, w.attentionOf, card.AttentionOf, w.model)
		require.Equal(t, w.features, card.Features, w.model)
		require.False(t, card.Words, w.model)
		require.Contains(t, string(r.body), `"words":false`, "it is said, not left out")
		require.Equal(t, "f32", card.Precision)
		require.Equal(t, backend.Precisions(), card.Precisions)
		if w.classless == "" {
			require.Empty(t, card.Classless, w.model)
			require.Contains(t, card.Operations, "classify")
			require.Contains(t, card.Methods, "legrad")
			continue
		}
		require.Contains(t, card.Classless, w.classless)
		require.Contains(t, card.Classless, "words cannot be its classes")
		require.NotContains(t, card.Operations, "classify")
		require.NotContains(t, card.Methods, "legrad")
	}
}

// TestClassless: a model without classes and without words says so on every
// way in.
func TestClassless(t *testing.T) {
	c := families(t, "hf_clip", "timm_dino", "hf_siglip")
	banana := photo(t, "banana.jpg")
	for model, says := range map[string]string{"hf_clip": "CLIP's projection", "timm_dino": "an encoder without a head", "hf_siglip": "pools by attention"} {
		for way, r := range map[string]reply{
			"classify":    c.post("/v1/classify?model="+model, banana),
			"huggingface": c.post("/pipeline/image-classification/"+model, banana),
			"protocol":    c.post("/v2/models/"+model+"/infer", []byte(`{"inputs": [{"name": "IMAGE", "datatype": "BYTES", "shape": [1], "data": ["iVBORw0KGgo="]}], "outputs": [{"name": "probs"}]}`)),
		} {
			require.GreaterOrEqual(t, r.status, 400, "%s %s", model, way)
			require.Less(t, r.status, 500, "%s %s", model, way)
			require.Contains(t, string(r.body), says, "%s %s", model, way)
			require.Contains(t, string(r.body), "words cannot be its classes", "%s %s", model, way)
		}
		require.Contains(t, string(c.get("/v2/models/"+model+"/config").body), says, "%s: what a client reads first", model)
	}
}
