package models

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSigLIPWithoutHead: pooling by attention is refused by its name.
func TestSigLIPWithoutHead(t *testing.T) {
	dir := edit(t, "hf_siglip_head", func(m map[string]floatTensor) {
		delete(m, "classifier.weight")
		delete(m, "classifier.bias")
	})
	_, err := Open(dir, Options{})
	require.ErrorContains(t, err, "pooling by attention (head.probe) is not supported")
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
