package patch

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vitserve/vitserve/internal/hostile"
)

// beyond are whole pictures that the decoders may refuse, and why.
var beyond = map[string]string{
	"png: zeros far beyond the picture":      "more data than pixels",
	"gif: data far beyond the frame":         "more data than pixels",
	"bmp: runs that fill the picture":        "a kind of BMP that not every decoder reads",
	"dib: runs that fill the picture":        "the same",
	"ico: png: zeros far beyond the picture": "more data than pixels",
	"webp: lossless, 65,536 groups of codes": "golang.org/x/image/vp8l has its own limit on groups",
}

// TestBombs decodes a hostile file of every kind: those that are whole are
// pictures, the others are one or an error of the package's, and none takes
// more than its pixels and bytes allow. (Each strip of a TIFF has an unpacker of
// 45 kB, of which one lives at a time.)
func TestBombs(t *testing.T) {
	for _, a := range hostile.Bombs(7, hostile.Small) {
		t.Run(a.Format+": "+a.Kind, func(t *testing.T) {
			var err error
			begin := time.Now()
			used := allocated(func() { _, err = Decode(t.Context(), a.Data, Options{}) })
			took := time.Since(begin)
			if err != nil {
				require.True(t, wraps(err, ErrFormat, ErrImage, ErrSize), err)
				if a.Whole {
					require.Contains(t, beyond, a.Format+": "+a.Kind, "%v", err)
				}
			}
			require.Less(t, used, uint64(256*hostile.Small.Pixels+64*len(a.Data)), "bytes allocated")
			require.Less(t, took, 2*time.Second)
		})
	}
}
