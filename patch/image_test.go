package patch

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFromImage: what is in memory is the photo that its PNG decodes to.
func TestFromImage(t *testing.T) {
	rect := image.Rect(0, 0, 23, 17)
	from := image.NewNRGBA(rect)
	for i := range from.Pix {
		from.Pix[i] = uint8(i * 7)
	}
	same := func(m image.Image) {
		t.Helper()
		var file bytes.Buffer
		require.NoError(t, png.Encode(&file, m))
		want, err := Decode(t.Context(), file.Bytes(), Options{})
		require.NoError(t, err)
		got, err := FromImage(m, Options{})
		require.NoError(t, err)
		require.Equal(t, want.Image, got.Image, "%T %v", m, m.Bounds())
		require.Equal(t, 1, got.Orientation)
	}
	before := bytes.Clone(from.Pix)
	for _, m := range []draw.Image{from, image.NewGray(rect), image.NewNRGBA64(rect), image.NewGray16(rect), image.NewPaletted(rect, color.Palette{color.White, color.NRGBA{9, 200, 3, 255}})} {
		if m != from {
			draw.Draw(m, rect, from, image.Point{}, draw.Src)
		}
		same(m)
	}
	same(from.SubImage(image.Rect(3, 5, 11, 16)))
	require.Equal(t, before, from.Pix, "it is not changed")

	// Colours of a JPEG are Go's, of every part of it.
	ycc := image.NewYCbCr(rect, image.YCbCrSubsampleRatio420)
	for i := range ycc.Y {
		ycc.Y[i] = uint8(i)
	}
	for i := range ycc.Cb {
		ycc.Cb[i], ycc.Cr[i] = uint8(3*i), uint8(255-5*i)
	}
	type other struct{ image.Image }
	for _, m := range []image.Image{ycc, ycc.SubImage(image.Rect(3, 5, 20, 14)), other{ycc}} {
		got, err := FromImage(m, Options{})
		require.NoError(t, err)
		b := m.Bounds()
		require.Equal(t, b.Size(), got.Image.Bounds().Size())
		for y := range b.Dy() {
			for x := range b.Dx() {
				require.Equal(t, color.NRGBAModel.Convert(m.At(b.Min.X+x, b.Min.Y+y)), got.Image.At(x, y))
			}
		}
	}

	_, err := FromImage(image.NewGray(image.Rectangle{}), Options{})
	require.ErrorIs(t, err, ErrImage)
	for _, m := range []image.Image{image.NewUniform(color.White), huge{image.NewUniform(color.White)}} {
		_, err = FromImage(m, Options{})
		require.ErrorIs(t, err, ErrSize)
	}
	_, err = FromImage(from, Options{MaxPixels: 23*17 - 1})
	require.ErrorIs(t, err, ErrSize)
	short := *ycc
	short.Cb = short.Cb[:3]
	_, err = FromImage(&short, Options{})
	require.ErrorIs(t, err, ErrImage, "memory that does not hold its bounds")
}

// huge takes no memory and would fill it.
type huge struct{ *image.Uniform }

func (huge) Bounds() image.Rectangle { return image.Rect(0, 0, 60_000, 60_000) }
