package patch

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/tensor"
)

// TestResamplePos compares with timm and with torch as transformers calls it:
// testdata/make_pos.py.
func TestResamplePos(t *testing.T) {
	read := func(name string) *tensor.Dense {
		f, err := os.Open(filepath.Join("testdata", "pos", name))
		require.NoError(t, err)
		defer f.Close()
		a := new(tensor.Dense)
		require.NoError(t, a.ReadNpy(f))
		return a
	}
	files, err := filepath.Glob("testdata/pos/*-*-*.npy")
	require.NoError(t, err)
	require.Len(t, files, 149)
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".npy")
		t.Run(name, func(t *testing.T) {
			part := strings.SplitN(name, "-", 3)
			var from, to [2]int
			_, err := fmt.Sscanf(part[0]+" "+part[1], "%dx%d %dx%d", &from[0], &from[1], &to[0], &to[1])
			require.NoError(t, err)
			want := read(name + ".npy")
			got := ResamplePos(read(part[0]+".npy"), from, to, PosRule(part[2]))
			require.Equal(t, want.Shape(), got.Shape())
			// PyTorch computes sampling points in float32.
			require.InDeltaSlice(t, want.Float32s(), got.Float32s(), 1e-5)
		})
	}
}

// TestResamplePosOfConstant: weights sum to one, at the borders too.
func TestResamplePosOfConstant(t *testing.T) {
	values := make([]float32, 6*5*2)
	for i := range values {
		values[i] = 3
	}
	pos := tensor.New(tensor.WithShape(30, 2), tensor.WithBacking(values))
	for _, rule := range []PosRule{PosTimm, PosHuggingFace, PosDINOv2, PosBilinear, PosRADIO, PosRADIOCorners, PosTimmSquare} {
		for _, to := range [][2]int{{1, 1}, {2, 9}, {32, 32}, {600, 1}} {
			for _, v := range ResamplePos(pos, [2]int{6, 5}, to, rule).Float32s() {
				require.InDelta(t, 3, v, 1e-5)
			}
		}
		require.Same(t, pos, ResamplePos(pos, [2]int{6, 5}, [2]int{6, 5}, rule))
	}
	require.PanicsWithValue(t, "patch: positions (30, 2) of a grid of [6 6] to one of [2 2]", func() { ResamplePos(pos, [2]int{6, 6}, [2]int{2, 2}, PosTimm) })
	require.Panics(t, func() { ResamplePos(pos, [2]int{6, 5}, [2]int{2, 2}, "linear") })
}
