package patch

import (
	"fmt"
	"image"
	"image/color"
)

// FromImage returns a picture in memory as a Photo: upright as it is, its
// alpha dropped as that of a file is. It does not change m. Its errors are
// ErrImage and ErrSize.
func FromImage(m image.Image, o Options) (p *Photo, err error) {
	b := m.Bounds()
	if w, h, limit := b.Dx(), b.Dy(), o.maxPixels(); h > 0 && w > limit/h || max(w, h) > maxEdge {
		return nil, fmt.Errorf("patch: image of %d×%d pixels, the limit is %d and %d an edge: %w", w, h, limit, maxEdge, ErrSize)
	}
	err = guard("image", func() error {
		o, err := copied(m)
		p = &Photo{Image: o, Format: "image", Orientation: 1}
		return err
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// copied is opaque of any image, into memory of its own.
func copied(m image.Image) (*image.NRGBA, error) {
	if m.Bounds().Empty() {
		return opaque(m) // which says so
	}
	if c, ok := m.(*image.NRGBA); ok {
		own := *c // opaque writes to what it can use as it is
		own.Pix = append([]byte(nil), c.Pix...)
		return opaque(&own)
	}
	if _, err := rowReader(m); err == nil {
		return opaque(m)
	}
	at := func(x, y int) color.NRGBA { return color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA) }
	if c, ok := m.(*image.YCbCr); ok { // what image/jpeg decodes, without an allocation a pixel
		at = func(x, y int) color.NRGBA {
			v := c.YCbCrAt(x, y)
			r, g, b := color.YCbCrToRGB(v.Y, v.Cb, v.Cr)
			return color.NRGBA{r, g, b, 255}
		}
	}
	b := m.Bounds()
	out := image.NewNRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	for y := range b.Dy() {
		for x := range b.Dx() {
			c := at(b.Min.X+x, b.Min.Y+y)
			out.SetNRGBA(x, y, color.NRGBA{c.R, c.G, c.B, 255})
		}
	}
	return out, nil
}
