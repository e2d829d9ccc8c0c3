package jpeg

import (
	"bytes"
	"image"
	std "image/jpeg"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzReader: any bytes are rows, planes of every size and a picture, or an
// error, in all ways alike. Where image/jpeg decodes the file too, the samples
// are the same within four grey levels. That holds for what an encoder can
// write; coefficients beyond it overflow differently.
func FuzzReader(f *testing.F) {
	paths, err := filepath.Glob("../testdata/formats/*.jpg")
	require.NoError(f, err)
	require.NotEmpty(f, paths)
	for _, p := range paths {
		data, err := os.ReadFile(p)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := ReadHeader(data)
		if err != nil || h.Width*h.Height > 1<<18 {
			return
		}
		m, err := Decode(t.Context(), data)
		for _, size := range []int{1, 2, 4, 8} {
			r, fault := Open(t.Context(), data)
			require.NoError(t, fault)
			planes, fault := r.Planes(size)
			if h.Lossless {
				require.ErrorIs(t, fault, ErrUnsupported)
				continue
			}
			require.Equal(t, err == nil, fault == nil, "%v, %v", err, fault)
			if size == 8 && err == nil {
				compare(t, data, h, planes)
			}
			r.Close()
		}
		if err != nil {
			return
		}
		// A part of the rows is that part.
		r, err := Open(t.Context(), data)
		require.NoError(t, err)
		defer r.Close()
		x, y, n := h.Width/3, h.Height/3, (h.Width+2)/3
		r.Crop(x, y, x+n, h.Height)
		row := make([]byte, 4*n)
		for ; y < h.Height; y++ {
			require.Equal(t, m.Pix[y*m.Stride+4*x:][:4*n], r.Row(row, y, x, n)[:4*n])
		}
		require.NoError(t, r.Finish())
	})
}

func compare(t *testing.T, data []byte, h Header, planes []Plane) {
	m, err := std.Decode(bytes.NewReader(data))
	if err != nil || wild(t, data) {
		return
	}
	for i, c := range planes {
		var pix []byte
		var stride int
		switch s := m.(type) {
		case *image.Gray:
			pix, stride = s.Pix, s.Stride
		case *image.YCbCr:
			pix, stride = [][]byte{s.Y, s.Cb, s.Cr}[i], s.YStride
			if i > 0 {
				stride = s.CStride
			}
		default:
			return
		}
		for y := range c.Height {
			for x := range c.Width {
				require.InDelta(t, pix[y*stride+x], c.Pix[y*c.Stride+x], 4, "component %d at (%d, %d)", i, x, y)
			}
		}
	}
}

// wild reports whether a file is one that the two decoders take differently:
// a block holds more than samples of eight bits can give (the transform keeps
// the length of a block, which is at most 8·128, and quantization is given as
// much again), or coefficients are missing.
func wild(t *testing.T, data []byte) bool {
	r, err := Open(t.Context(), data)
	require.NoError(t, err)
	defer r.Close()
	r.Scans = true // keeps the coefficients
	if err := r.readScans(); err != nil || r.smooth || r.scan.insufficient {
		return true
	}
	for i := range r.Components {
		c := &r.comps[i]
		for y := range c.high {
			for x := range c.wide {
				sum := 0.0
				for j, v := range c.read(x, y) {
					d := float64(v) * float64(c.latched.v[j])
					sum += d * d
				}
				if math.Sqrt(sum) > 2*8*128 {
					return true
				}
			}
		}
	}
	return false
}
