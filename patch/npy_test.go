package patch

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWriteNpy: the tuple of the header is Python's.
func TestWriteNpy(t *testing.T) {
	for want, shape := range map[string][]int{"(4,)": {4}, "(2, 2)": {2, 2}, "(1, 2, 2)": {1, 2, 2}} {
		var b bytes.Buffer
		require.NoError(t, WriteNpy(&b, shape, []float32{1, 2}, []float32{3, 4}))
		require.Contains(t, b.String(), "'shape': "+want+", }")
		require.Equal(t, 128+4*4, b.Len())
		require.Equal(t, []byte{0, 0, 0x80, 0x3f}, b.Bytes()[128:132])
	}
}
