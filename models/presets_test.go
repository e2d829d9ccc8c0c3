package models

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/vit"
)

// TestPresets holds the sizes against the numbers of parameters that timm
// 1.0 counts for the models of these names.
func TestPresets(t *testing.T) {
	want := map[string]int64{
		"deit_tiny_patch16_224": 5_717_416, "deit_small_patch16_224": 22_050_664, "deit_base_patch16_224": 86_567_656,
		"vit_tiny_patch16_224": 5_717_416, "vit_small_patch32_224": 22_878_952, "vit_small_patch16_224": 22_050_664,
		"vit_base_patch32_224": 88_224_232, "vit_base_patch16_224": 86_567_656, "vit_base_patch16_384": 86_859_496, "vit_base_patch8_224": 86_576_872,
		"vit_large_patch16_224": 304_326_632, "vit_large_patch16_384": 304_715_752, "vit_huge_patch14_224": 632_045_800,
	}
	require.Len(t, Presets(), len(want))
	for _, p := range Presets() {
		require.NoError(t, p.Config.Validate(), p.Name)
		require.NoError(t, p.Transform.Validate(), p.Name)
		require.NotEmpty(t, p.Source)
		// timm keeps a position for the class token, which is folded here.
		require.Equal(t, want[p.Name], vit.Params(p.Config)+int64(p.Config.Dim), p.Name)
		found, err := FindPreset(p.Name)
		require.NoError(t, err)
		require.Equal(t, p, found)
	}
	_, err := FindPreset("vit_enormous")
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorContains(t, err, "deit_tiny_patch16_224")
}
