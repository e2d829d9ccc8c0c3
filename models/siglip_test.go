package models

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/backend"
	"github.com/vitserve/vitserve/vit"
)

// TestSigLIPWithoutHead: without a classifier the tower pools by attention,
// and a part of that which is lost is named.
func TestSigLIPWithoutHead(t *testing.T) {
	without := func(names ...string) string {
		return edit(t, "hf_siglip_head", func(m map[string]floatTensor) {
			for _, n := range append(names, "classifier.weight", "classifier.bias") {
				delete(m, n)
			}
		})
	}
	c, err := Open(without(), Options{})
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, vit.Probe{Heads: 2, Hidden: 96, Act: backend.GELUTanh}, c.Config.Probe)
	for _, lost := range []string{"head.probe", "head.attention.in_proj_weight", "head.attention.in_proj_bias", "head.mlp.fc2.weight"} {
		_, err = Open(without("vision_model."+lost), Options{})
		require.ErrorContains(t, err, lost+" (", lost)
	}
}

// TestTextTower: what stands beside an image tower is passed over and told of.
func TestTextTower(t *testing.T) {
	c, err := Open(filepath.Join("testdata", "golden", "hf_clip"), Options{})
	require.NoError(t, err)
	defer c.Close()
	require.Contains(t, c.Note, "text tower")
	require.Contains(t, c.Skipped, "logit_scale")
	require.Contains(t, c.Skipped, "text_model.embeddings.token_embedding.weight")
	require.Equal(t, 24, c.Config.Projection)
	require.Zero(t, c.Config.Classes)
}
