package patch

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"io"
)

// inks is a JPEG of four components. Adobe's APP14 segment tells whether they
// are CMYK or YCCK, which is the YCbCr of the first three inks, inverted, and
// black; without the segment they are CMYK, as libjpeg has it.
//
// Adobe, "Supporting the DCT Filters in PostScript Level 2", Technical Note
// 5116, section 18.
type inks struct {
	scan   int // where the first scan's header begins in the file
	ycck   bool
	hs, vs int // samples of the first component per sample of the second and third
}

// jpegInks reads the headers of a JPEG; ok is false if it has not four
// components.
func jpegInks(data []byte) (f inks, ok bool) {
	const sos, app14 = 0xda, 0xee
	eachSegment(data, func(at int, marker byte, body []byte) bool {
		switch {
		case isFrame(marker) && len(body) == 6+3*4:
			ok = true
			f.hs, f.vs = int(body[7]>>4), int(body[7]&15)
		case marker == app14 && len(body) >= 12 && matches(body, "Adobe"):
			f.ycck = body[11] != 0
		case marker == sos:
			f.scan = at
		}
		return f.scan > 0
	})
	return f, ok && f.scan > 0
}

// decode reads the picture as libjpeg and Pillow do. image/jpeg would repeat
// chroma samples and convert YCCK with other roundings, and refuses a file
// without Adobe's segment; a segment of our own, which says CMYK, makes it
// return the samples as they are, inverted.
func (f inks) decode(ctx context.Context, data []byte) (*image.NRGBA, error) {
	const plainInks = "\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
	m, err := jpeg.Decode(io.MultiReader(newReader(ctx, data[:f.scan]), bytes.NewReader([]byte(plainInks)), newReader(ctx, data[f.scan:])))
	if err != nil {
		return nil, err
	}
	c, ok := m.(*image.CMYK)
	if !ok {
		return nil, fmt.Errorf("four components became %T", m)
	}
	w, h := c.Rect.Dx(), c.Rect.Dy()
	second, third := f.plane(c, 1), f.plane(c, 2)
	first := make([]byte, w)
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	var up upsampler
	for y := range h {
		src, dst := c.Pix[y*c.Stride:][:4*w], out.Pix[y*out.Stride:][:4*w]
		for x := range first {
			first[x] = 255 - src[4*x]
		}
		up.row(&up.cb, &second, f.hs, f.vs, y, 0, w)
		up.row(&up.cr, &third, f.hs, f.vs, y, 0, w)
		if f.ycck { // the inks' inversion undoes YCCK's own
			yccRow(dst, first, up.cb, up.cr, w)
		} else {
			for x, v := range first {
				d := dst[4*x : 4*x+4 : 4*x+4]
				d[0], d[1], d[2], d[3] = 255-v, 255-up.cb[x], 255-up.cr[x], 255
			}
		}
		for i := 0; i < len(dst); i += 4 { // Pillow's convert("RGB")
			k := 255 - int(src[i+3])
			for j := range 3 {
				dst[i+j] = clip(k - mulDiv255(int(dst[i+j]), k))
			}
		}
	}
	return out, nil
}

// plane takes a component out of its inverted and repeated samples.
func (f inks) plane(c *image.CMYK, component int) jpegComponent {
	p := jpegComponent{width: ceilDiv(c.Rect.Dx(), f.hs), height: ceilDiv(c.Rect.Dy(), f.vs)}
	p.stride = p.width
	p.plane = make([]byte, p.stride*p.height)
	for y := range p.height {
		src := c.Pix[y*f.vs*c.Stride+component:]
		for x := range p.width {
			p.plane[y*p.stride+x] = 255 - src[4*x*f.hs]
		}
	}
	return p
}

// mulDiv255 is round(a·b/255).
func mulDiv255(a, b int) int {
	t := a*b + 128
	return (t>>8 + t) >> 8
}
