package jpeg

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// synthetic is the picture of testdata/make_compressed.py.
func synthetic(w, h int) []byte {
	m := make([]byte, 3*w*h)
	state := uint32(1)
	for y := range h {
		for x := range w {
			for c := range 3 {
				state = state*1664525 + 1013904223
				v := (x*(c+3)+y*(5-c))%256/2 + int(state>>24)%24
				if x > y {
					v += 100
				}
				m[3*(y*w+x)+c] = uint8(min(v, 255))
			}
		}
	}
	return m
}

// TestCompressed: what is left is what Pillow's files hold, to the bit, at
// every edge of a block.
func TestCompressed(t *testing.T) {
	data, err := os.ReadFile("testdata/compressed.json")
	require.NoError(t, err)
	var cases []struct {
		Width, Height, Quality int
		File                   []byte
	}
	require.NoError(t, json.Unmarshal(data, &cases))
	require.NotEmpty(t, cases)
	for _, c := range cases {
		t.Run(fmt.Sprintf("%dx%d at %d", c.Width, c.Height, c.Quality), func(t *testing.T) {
			want, err := Decode(context.Background(), c.File)
			require.NoError(t, err)
			src := synthetic(c.Width, c.Height)
			got := make([]byte, len(src))
			Compressed(got, src, c.Width, c.Height, c.Quality)
			var rgb []byte
			for i := 0; i < len(want.Pix); i += 4 {
				rgb = append(rgb, want.Pix[i:i+3]...)
			}
			require.Equal(t, rgb, got)
		})
	}
	m := synthetic(8, 8)
	require.Panics(t, func() { Compressed(m, m, 8, 9, 50) })
	require.Panics(t, func() { Compressed(m, m, 8, 8, 0) })
}

func BenchmarkCompressed(b *testing.B) {
	src := synthetic(224, 224)
	dst := make([]byte, len(src))
	for b.Loop() {
		Compressed(dst, src, 224, 224, 15)
	}
}
