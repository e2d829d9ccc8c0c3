package models

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
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
