package models

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkOpen opens the embedded model (F16, every value converted) and
// DeiT-tiny (F32, looked at in place). Bytes are those of the file.
func BenchmarkOpen(b *testing.B) {
	names := map[string]string{"starter": ""}
	if shared := os.Getenv("VITSERVE_SHARED"); shared != "" {
		names["deit_tiny"] = filepath.Join(shared, "models", "deit_tiny_patch16_224")
	}
	for name, path := range names {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c, err := Open(path, Options{})
				require.NoError(b, err)
				b.SetBytes(int64(len(c.files[0].data)))
				require.NoError(b, c.Close())
			}
		})
	}
}
